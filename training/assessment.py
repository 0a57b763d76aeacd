"""Assessment: everything that is measured of a checkpoint on the people it never saw, with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from models.bundle import Performance
from models.intervals import Propagation, values
from models.phenotypes import PHENOTYPES, PREDICTED
from training.bootstrap import Resampling, Span, span
from training.calibrate import coverage
from training.evaluate import LOW_EF, Predictions, discriminations
from training.subgroups import SMALLEST, Mask

Floats = NDArray[np.float64]

BINS = 10
NEAREST = 10


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One phenotype in one group, with intervals over participants and what its intervals cover.

    Attributes
    ----------
    performance : the figures
    spans : "r2", "r", "mae", "bias" -> 95 % of the draws
    coverage : share of measured values inside their prediction intervals
    width : median width of these, in the unit of the phenotype
    """

    performance: Performance
    spans: Mapping[str, Span]
    coverage: float
    width: float


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """How well the estimated LVEF ranks those at or below a cut-off."""

    group: str
    condition: str
    n: int
    positives: int
    auroc: float
    span: Span


@dataclass(frozen=True, eq=False, kw_only=True)
class Reliability:
    """Whether a stated probability is how often it happens.

    Attributes
    ----------
    brier : mean squared error of the probability (Brier, Mon Weather Rev 1950;78:1)
    brier_of_prevalence : the same of always saying how common it is
    stated, observed : (bins,) mean probability and share, in bins of equal numbers
    """

    condition: str
    n: int
    positives: int
    brier: float
    brier_of_prevalence: float
    stated: Floats
    observed: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class RiskCoverage:
    """Whether the estimates that claim to be surer are nearer to the truth.

    Attributes
    ----------
    sure, unsure : MAE of the halves with the narrower and the wider intervals
    curve : (10,) MAE of the surest tenth, two tenths … all
    """

    symbol: str
    sure: float
    unsure: float
    curve: Floats


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """How alike the nearest are: RMS difference of their standardised log phenotypes.

    Attributes
    ----------
    nearest : how many are looked at
    embedding : of the nearest by cosine of the ECG embedding
    people : of the nearest in age, sex and heart rate
    chance : of anybody
    best : of the nearest by phenotypes themselves, which no retrieval can beat
    """

    nearest: int
    embedding: float
    people: float
    chance: float
    best: float


def agreements(
    rows: Sequence[Performance],
    test: Predictions,
    groups: Mapping[str, Mask],
    propagation: Propagation,
    resampling: Resampling,
) -> list[Agreement]:
    """Intervals and coverage beside each performance."""
    points, bounds = test.points(), test.intervals(propagation)
    return [
        _agreement(
            row, test.measured(row.symbol), points[row.symbol], bounds[row.symbol], groups[row.group], resampling
        )
        for row in rows
    ]


def _agreement(
    row: Performance, truth: Floats, point: Floats, bounds: Floats, inside: Mask, resampling: Resampling
) -> Agreement:
    known = inside & np.isfinite(truth) & np.isfinite(point)
    draws = resampling.among(known).agreement(truth[known], point[known])
    return Agreement(
        performance=row,
        spans={name: span(drawn) for name, drawn in draws.items()},
        coverage=coverage(truth[known], bounds[known]),
        width=float(np.median(bounds[known, 1] - bounds[known, 0])),
    )


def worst_covered(rows: Sequence[Agreement]) -> Agreement:
    """The phenotype and group whose intervals cover the fewest."""
    return min(rows, key=lambda row: row.coverage)


def rankings(test: Predictions, groups: Mapping[str, Mask], resampling: Resampling) -> list[Ranking]:
    """The area under the ROC curve at each cut-off of LVEF, in every group large enough."""
    truth, estimated = test.measured("LVEF"), test.points()["LVEF"]
    known = np.isfinite(truth) & np.isfinite(estimated)
    limits = {f"LVEF <= {limit:g} %": limit for limit in LOW_EF}
    large = {name: inside for name, inside in groups.items() if (inside & known).sum() >= SMALLEST}
    found = []
    for one in discriminations(test, large):
        rows = known & large[one.group]
        draws = resampling.among(rows).auroc(truth[rows] <= limits[one.condition], -estimated[rows])
        found.append(
            Ranking(
                group=one.group,
                condition=one.condition,
                n=one.n,
                positives=one.positives,
                auroc=one.auroc,
                span=span(draws),
            )
        )
    return found


def implied(test: Predictions, normals: Floats) -> dict[str, tuple[Floats, Mask]]:
    """Condition -> the probability that the predicted distribution of LVEF gives it, and whether it is so.

    Parameters
    ----------
    normals : (draws, phenotypes) correlated errors, as the intervals are made with
    """
    ejection = [values(PREDICTED, mean + sd * normals, None)["LVEF"] for mean, sd, _ in test]
    drawn, truth = np.array(ejection), test.measured("LVEF")
    known = np.isfinite(truth)
    return {f"LVEF <= {limit:g} %": ((drawn[known] <= limit).mean(axis=1), truth[known] <= limit) for limit in LOW_EF}


def reliability(condition: str, probability: Floats, happened: Mask) -> Reliability:
    """Reliability of one condition's probabilities."""
    observed, stated = calibration_curve(happened, probability, n_bins=BINS, strategy="quantile")
    prevalence = float(happened.mean())
    return Reliability(
        condition=condition,
        n=len(happened),
        positives=int(happened.sum()),
        brier=float(brier_score_loss(happened, probability)),
        brier_of_prevalence=prevalence * (1 - prevalence),
        stated=stated,
        observed=observed,
    )


def risk_coverage(test: Predictions, propagation: Propagation) -> list[RiskCoverage]:
    """Every phenotype, the estimates ordered by the widths of their intervals."""
    points, bounds = test.points(), test.intervals(propagation)
    found = []
    for symbol in PHENOTYPES:
        error = np.abs(points[symbol] - test.measured(symbol))
        one = _risk_coverage(symbol, error, np.ptp(bounds[symbol], axis=1))
        found += [] if one is None else [one]
    return found


def _risk_coverage(symbol: str, error: Floats, width: Floats) -> RiskCoverage | None:
    """None where too few were measured to be cut into tenths."""
    known = np.isfinite(error) & np.isfinite(width)
    if known.sum() < BINS:
        return None
    ordered = error[known][np.argsort(width[known], kind="stable")]
    half = len(ordered) // 2
    ends = np.linspace(0, len(ordered), BINS + 1).round().astype(int)[1:]
    return RiskCoverage(
        symbol=symbol,
        sure=float(ordered[:half].mean()),
        unsure=float(ordered[half:].mean()),
        curve=np.array([ordered[:end].mean() for end in ends]),
    )


def neighbours(
    embedding: Floats, people: Floats, logarithms: Floats, participants: NDArray[np.generic], nearest: int = NEAREST
) -> Neighbours:
    """How alike the phenotypes of the nearest are; another visit of the same participant is nobody's neighbour.

    Parameters
    ----------
    embedding : (n, d)
    people : (n, 3) age, sex as ±1, heart rate
    logarithms : (n, phenotypes); who lacks one is left out
    """
    known = np.isfinite(logarithms).all(axis=1) & np.isfinite(people).all(axis=1)
    own = participants[known][:, None] == participants[known][None, :]
    phenotypes = _standardised(logarithms[known])
    alike = cdist(phenotypes, phenotypes) / np.sqrt(phenotypes.shape[1])
    persons = _standardised(people[known])
    nearest = min(nearest, int((~own).sum(axis=1).min()))

    def of(distance: Floats) -> float:
        chosen = np.argsort(np.where(own, np.inf, distance), axis=1, kind="stable")[:, :nearest]
        return float(np.take_along_axis(alike, chosen, axis=1).mean())

    return Neighbours(
        nearest=nearest,
        embedding=of(cdist(embedding[known], embedding[known], "cosine")),
        people=of(cdist(persons, persons)),
        chance=float(alike[~own].mean()),
        best=of(alike),
    )


def _standardised(columns: Floats) -> Floats:
    spread = columns.std(axis=0)
    scaled: Floats = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scaled
