"""Conditions: yes-or-no statements about a heart, as probabilities that follow from the same report's estimates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ecg.recording import Sex

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A limit on one phenotype, written as a limit on a weighted sum of natural logarithms of predicted ones.

    An ejection fraction of at most c % is ln ESV − ln EDV ≥ ln(1 − c / 100); a mass of at least m is ln LVM ≥ ln m. So
    under log-normal errors each probability has a closed form and needs no sampling.

    Attributes
    ----------
    code : the key, in manifest and report
    definition : the rule and where it comes from, for a person
    symbol : the phenotype; a condition is withheld with it
    weights : predicted phenotype -> weight of its logarithm
    limits : sex -> limit of the weighted sum, from which on the condition holds
    within : code of a wider condition, which is never less probable than this one
    """

    code: str
    name: str
    definition: str
    symbol: str
    weights: Mapping[str, float]
    limits: Mapping[Sex, float]
    within: str | None = None

    @property
    def needs_sex(self) -> bool:
        """Whether the limit differs between women and men."""
        return len(set(self.limits.values())) > 1

    def limit(self, sex: Sex | None) -> float | None:
        """The limit for a person, or None where it depends on a sex that is not stated."""
        if sex is None:
            return None if self.needs_sex else next(iter(self.limits.values()))
        return self.limits[sex]

    def holds(self, measured: Mapping[str, float], sex: Sex | None) -> bool | None:
        """Whether it holds for measured phenotypes; None where one, or a sex that matters, is missing."""
        limit = self.limit(sex)
        total = sum(weight * math.log(measured[symbol]) for symbol, weight in self.weights.items())
        return None if limit is None or math.isnan(total) else total >= limit

    def score(
        self, symbols: Sequence[str], mean: Floats, sd: Floats, correlation: Floats, sex: Sex | None
    ) -> float | None:
        """By how many standard deviations the estimate lies on the side where the condition holds.

        Φ of it is the probability under the joint log-normal of `models.intervals`.

        Parameters
        ----------
        symbols : the predicted phenotypes, in the order of `mean`, `sd` and `correlation`
        mean, sd : (phenotypes,) of the natural logarithms
        correlation : (phenotypes, phenotypes) of their errors
        """
        limit = self.limit(sex)
        if limit is None:
            return None
        weights = np.array([self.weights.get(symbol, 0.0) for symbol in symbols])
        spread = weights * sd
        return float((weights @ mean - limit) / math.sqrt(spread @ correlation @ spread))


def logistic(value: float) -> float:
    """1 / (1 + e^−value), without overflow on either side."""
    return 0.5 * (1.0 + math.tanh(0.5 * value))


def _low_ejection(
    ventricle: str, per_cent: float, *, code: str, name: str, source: str, within: str | None = None
) -> Condition:
    return Condition(
        code=code,
        name=name,
        definition=f"{ventricle}EF at most {per_cent:g} % ({source})",
        symbol=f"{ventricle}EF",
        weights={f"{ventricle}ESV": 1.0, f"{ventricle}EDV": -1.0},
        limits=dict.fromkeys(("F", "M"), math.log(1.0 - per_cent / 100.0)),
        within=within,
    )


_UNIVERSAL = "Bozkurt et al., Eur J Heart Fail 2021;23:352"

HEAVY: Mapping[Sex, float] = {"F": 95.0, "M": 144.0}
"""Grams of left ventricular mass at the upper limit of healthy people: mean + 1.96 SD, 70 + 1.96 · 13 and
103 + 1.96 · 21, of 804 UK Biobank participants (Petersen et al., J Cardiovasc Magn Reson 2017;19:18). [R]: these
absolute figures are recalled; the abstract gives 42 ± 7 and 53 ± 9 g/m², which are the same people at 1.67 and
1.94 m²."""

CONDITIONS: Mapping[str, Condition] = {
    condition.code: condition
    for condition in (
        _low_ejection(
            "LV", 40, code="lvef-40", name="Reduced ejection fraction", source=_UNIVERSAL, within="lvef-50"
        ),
        _low_ejection("LV", 50, code="lvef-50", name="Reduced or mildly reduced ejection fraction", source=_UNIVERSAL),
        Condition(
            code="lvh",
            name="Left ventricular hypertrophy",
            definition=(
                f"LV mass of {HEAVY['M']:g} g or more in men, {HEAVY['F']:g} g in women (mean + 1.96 SD of 804 healthy "
                "UK Biobank participants, Petersen et al., JCMR 2017;19:18, recalled; not indexed to body size)"
            ),
            symbol="LVM",
            weights={"LVM": 1.0},
            limits={sex: math.log(grams) for sex, grams in HEAVY.items()},
        ),
        _low_ejection(
            "RV", 40, code="rv-dysfunction", name="Right ventricular dysfunction",
            source="as in the UK Biobank study of PMC10863807",
        ),
    )
}  # fmt: skip
"""In the order in which they are shown."""
