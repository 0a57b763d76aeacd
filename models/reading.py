"""What may be said about one ECG: estimates with intervals and ranges, and what is withheld, each with its reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, Manifest, Precision
from models.conditions import CONDITIONS, logistic
from models.covariates import covariates_of
from models.ecg.recording import Recording
from models.intervals import Propagation
from models.phenotypes import DERIVED, PHENOTYPES, ReferenceRange, derive, reference_range
from models.report import (
    Abstention,
    ConditionEstimate,
    Estimate,
    Inference,
    Interval,
    ModelIdentity,
    Ood,
    Reference,
    Rejection,
)

Floats = NDArray[np.float64]

VENTRICLES = (("LVEDV", "LVESV"), ("RVEDV", "RVESV"))


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """What the network says about one ECG.

    Attributes
    ----------
    embedding : (d,)
    mean, sd : (phenotypes,) of the natural logarithms, in the order of the manifest's outputs
    ood : distance from what the network was trained on
    """

    embedding: NDArray[np.float32]
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    ood: float

    @property
    def finite(self) -> bool:
        """Whether every number is one."""
        return all(bool(np.isfinite(a).all()) for a in (self.embedding, self.mean, self.sd, self.ood))


@dataclass(frozen=True, eq=False, kw_only=True)
class Reader:
    """Turns the network's answers into what a person may read, by the rules of one bundle.

    Attributes
    ----------
    identity : which model, and which of its graphs, every answer names
    """

    bundle: Bundle
    identity: ModelIdentity
    propagation: Propagation

    @classmethod
    def of(cls, bundle: Bundle, precision: Precision | None = None) -> Reader:
        """The reader of a bundle; the draws of its intervals are made here, once.

        Parameters
        ----------
        precision : of the graph whose answers are read
        """
        symbols = tuple(output.symbol for output in bundle.manifest.outputs)
        return cls(
            bundle=bundle,
            identity=bundle.identity.model_copy(update={"precision": precision}),
            propagation=Propagation.of(symbols, bundle.manifest.interval),
        )

    def refusal(self, recording: Recording) -> Rejection | None:
        """Why this model cannot read the recording at all, or None when it can."""
        needed = self.bundle.manifest.input.min_duration
        if recording.duration >= needed:
            return None
        detail = f"{recording.duration:.1f} s were sent and this model reads at least {needed:g} s"
        return Rejection(model=self.identity, code="too-short", detail=detail)

    def read(self, recording: Recording, answer: Answer, heart_rate: float | None) -> Inference | Rejection:
        """The worker's answer about one ECG.

        Parameters
        ----------
        heart_rate : beats per minute as measured on the ECG, None when it could not be measured
        """
        manifest = self.bundle.manifest
        if not answer.finite:
            detail = "the model found no finite answer to this signal"
            return Rejection(model=self.identity, code="no-finite-answer", detail=detail)
        mean, sd = answer.mean.astype(np.float64), answer.sd.astype(np.float64)
        points = self.propagation.points(mean, heart_rate)
        withheld = reasons_to_withhold(manifest, recording, points)
        bounds = self.propagation.intervals(mean, sd, heart_rate)
        ood = Ood(score=answer.ood, flag=answer.ood >= manifest.ood.threshold)
        return Inference(
            model=self.identity,
            estimates=[
                self._estimate(symbol, points[symbol], bounds[symbol], recording)
                for symbol in PHENOTYPES
                if symbol in points and symbol not in withheld
            ],
            abstained=[Abstention(symbol=symbol, reason=reason) for symbol, reason in withheld.items()],
            ood=ood,
            heart_rate=heart_rate,
            embedding=answer.embedding.tolist(),
            notices=manifest.notices,
            conditions=conditions_of(manifest, recording, mean, sd, silenced(recording, points, withheld, ood)),
            covariates_used=covariates_used(manifest, recording),
        )

    def _estimate(self, symbol: str, value: float, bounds: tuple[float, float], recording: Recording) -> Estimate:
        phenotype = PHENOTYPES[symbol]
        fitting = reference_range(symbol, recording.sex, recording.age)
        found, missing = (fitting, None) if isinstance(fitting, ReferenceRange) else (None, fitting)
        return Estimate(
            symbol=symbol,
            name=phenotype.name,
            value=value,
            unit=phenotype.unit,
            interval=Interval(low=bounds[0], high=bounds[1], level=self.propagation.level),
            derived=phenotype.derived,
            reference=Reference(low=found.low, high=found.high, source=found.source) if found else None,
            reference_note=missing,
        )


def covariates_used(manifest: Manifest, recording: Recording) -> list[str]:
    """What is known of this person, of that which the model reads beside the ECG."""
    names = [covariate.name for covariate in manifest.input.covariates]
    return [name for name, value in zip(names, covariates_of(recording, names), strict=True) if np.isfinite(value)]


def silenced(recording: Recording, points: Mapping[str, float], withheld: Collection[str], ood: Ood) -> dict[str, str]:
    """The conditions that get no probability, each with its reason: a probability is no better than its estimate."""
    reasons = {}
    for code, condition in CONDITIONS.items():
        if condition.symbol in withheld or condition.symbol not in points:
            reasons[code] = f"{condition.symbol} is withheld"
        elif ood.flag:
            reasons[code] = "the ECG is unlike those on which probabilities were calibrated"
        elif condition.limit(recording.sex) is None:
            reasons[code] = "the limit differs between women and men, and the sex is not stated"
    return reasons


def conditions_of(
    manifest: Manifest, recording: Recording, mean: Floats, sd: Floats, reasons: Mapping[str, str]
) -> list[ConditionEstimate]:
    """Every condition that the bundle has calibrated, in the order of the catalogue.

    Parameters
    ----------
    mean, sd : (phenotypes,) of the natural logarithms
    reasons : code -> why there is no probability
    """
    symbols = [output.symbol for output in manifest.outputs]
    correlation = np.array(manifest.interval.correlation)
    found: dict[str, float | None] = {model.code: None for model in manifest.conditions}
    for model in manifest.conditions:
        score = CONDITIONS[model.code].score(symbols, mean, sd, correlation, recording.sex)
        if score is not None and model.code not in reasons:
            found[model.code] = logistic(model.slope * score + model.intercept)
    return [
        ConditionEstimate(
            code=code,
            name=condition.name,
            definition=condition.definition,
            probability=nested(found, code),
            withheld=reasons.get(code),
        )
        for code, condition in CONDITIONS.items()
        if code in found
    ]


def nested(probabilities: Mapping[str, float | None], code: str) -> float | None:
    """The probability of a condition, never above that of a wider one: each was calibrated alone."""
    own, wider = probabilities[code], CONDITIONS[code].within
    around = probabilities.get(wider) if wider is not None else None
    return own if own is None or around is None else min(own, around)


def reasons_to_withhold(manifest: Manifest, recording: Recording, points: Mapping[str, float]) -> dict[str, str]:
    """The phenotypes that are withheld, in the order of the catalogue, each with its reason.

    Parameters
    ----------
    points : symbol -> value, as `Propagation.points` gives them
    """
    predicted = [output.symbol for output in manifest.outputs]
    everything = _against_everything(manifest, recording)
    if everything is not None:
        return {symbol: everything for symbol in PHENOTYPES if symbol in predicted or symbol in DERIVED}
    reasons = _against_predictions(manifest, points) | _against_contradictions(points)
    trusted = {symbol: np.asarray(points[symbol]) for symbol in predicted if symbol not in reasons}
    reasons |= _against_derived(points, derive(trusted, heart_rate=60.0).keys())
    return {symbol: reasons[symbol] for symbol in PHENOTYPES if symbol in reasons}


def _against_everything(manifest: Manifest, recording: Recording) -> str | None:
    if recording.paced:
        return "the heart was paced, and estimates of paced hearts are not given"
    if recording.age is not None and recording.age < manifest.min_age:
        return f"the model is meant for people of {manifest.min_age:g} years and older"
    return None


def _against_predictions(manifest: Manifest, points: Mapping[str, float]) -> dict[str, str]:
    reasons = {}
    for output in manifest.outputs:
        low, high = output.trained_range
        if not low <= points[output.symbol] <= high:
            reasons[output.symbol] = (
                f"the estimate lies outside the training data, {low:.3g} to {high:.3g} {output.unit}"
            )
        reasons |= _against_implausible(output.symbol, points)
    return reasons


def _against_contradictions(points: Mapping[str, float]) -> dict[str, str]:
    reason = "the end-systolic volume was not smaller than the end-diastolic one"
    contradictory = (pair for pair in VENTRICLES if set(pair) <= points.keys() and points[pair[1]] >= points[pair[0]])
    return {symbol: reason for pair in contradictory for symbol in pair}


def _against_derived(points: Mapping[str, float], derivable: Collection[str]) -> dict[str, str]:
    reasons = {}
    for symbol in DERIVED:
        if symbol not in derivable:
            reasons[symbol] = "it follows from volumes that are withheld"
        elif symbol not in points:
            reasons[symbol] = "the heart rate could not be measured"
        else:
            reasons |= _against_implausible(symbol, points)
    return reasons


def _against_implausible(symbol: str, points: Mapping[str, float]) -> dict[str, str]:
    low, high = PHENOTYPES[symbol].plausible
    if low <= points[symbol] <= high:
        return {}
    return {symbol: f"the estimate is not physically plausible ({low:g} to {high:g} {PHENOTYPES[symbol].unit})"}
