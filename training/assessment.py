"""Assessment: everything that is measured of a checkpoint on the people it never saw, with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bundle import Performance, Retrieval
from models.intervals import Propagation
from models.phenotypes import PREDICTED
from training.bootstrap import Resampling, Span, span
from training.calibrate import coverage
from training.checkpoint import Checkpoint
from training.evaluate import LOW_EF, Predictions, discriminations, performances
from training.held_out import HeldOut
from training.neighbours import Neighbours, neighbours
from training.reliability import Reliability, RiskCoverage, reliabilities, risk_coverage
from training.subgroups import SMALLEST, Mask, subgroups

Floats = NDArray[np.float64]


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

    @property
    def covered(self) -> tuple[float, int]:
        """The share and of how many it is, as `training.proportion` takes them."""
        return self.coverage, self.performance.n


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
class Assessment:
    """All figures of one checkpoint.

    Attributes
    ----------
    simulated : whether the hearts are
    points : symbol -> (n,) estimates, for the plots
    level : that the intervals are meant to cover
    retrieval : as it was after the contrastive stage, before the encoder moved on
    """

    name: str
    version: str
    simulated: bool
    participants: int
    test: Predictions
    points: Mapping[str, Floats]
    level: float
    agreements: Sequence[Agreement]
    rankings: Sequence[Ranking]
    reliabilities: Sequence[Reliability]
    risks: Sequence[RiskCoverage]
    retrieval: Sequence[Retrieval]
    neighbours: Neighbours | None

    def of_group(self, group: str) -> list[Agreement]:
        """Every phenotype in one group."""
        return [row for row in self.agreements if row.performance.group == group]

    @property
    def groups(self) -> list[str]:
        """Those with figures, everybody first."""
        return list(dict.fromkeys(row.performance.group for row in self.agreements))


def assess(checkpoint: Checkpoint, held: HeldOut, ceilings: Mapping[tuple[str, str], float]) -> Assessment:
    """Measure everything on the test part.

    Parameters
    ----------
    ceilings : (group, symbol) -> the best R² that any model could reach on this cohort, where it is known
    """
    test, cohort, rows = held.test, held.cohort, held.rows
    measured, groups = checkpoint.evaluation, subgroups(cohort, rows)
    resampling = Resampling.of(cohort.participants[rows])
    propagation = Propagation.of(PREDICTED, measured.interval)
    smallest = min(SMALLEST, len(rows))
    found = performances(test, groups, held.train_truth, smallest, resampling, ceilings)
    return Assessment(
        name=checkpoint.recipe.name,
        version=checkpoint.recipe.version,
        simulated=held.simulated,
        participants=len(np.unique(cohort.participants[rows])),
        test=test,
        points=test.points(),
        level=measured.interval.level,
        agreements=agreements(found, test, groups, propagation, resampling),
        rankings=rankings(test, groups, resampling, smallest),
        reliabilities=list(
            reliabilities(
                measured.conditions,
                test,
                cohort.sex[rows].tolist(),
                np.array(measured.interval.correlation),
                resampling,
            )
        ),
        risks=risk_coverage(test, propagation),
        retrieval=measured.retrieval,
        neighbours=neighbours(held.embedding, _people(held), np.log(_predicted(test)), cohort.participants[rows]),
    )


def _people(held: HeldOut) -> Floats:
    """Age, sex and heart rate, (n, 3)."""
    cohort, rows = held.cohort, held.rows
    sex = np.select([cohort.sex[rows] == "F", cohort.sex[rows] == "M"], [-1.0, 1.0], np.nan)
    return np.stack((cohort.age[rows], sex, cohort.heart_rate[rows]), axis=1)


def _predicted(test: Predictions) -> Floats:
    return np.stack([test.measured(symbol) for symbol in PREDICTED], axis=1)


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


def rankings(
    test: Predictions, groups: Mapping[str, Mask], resampling: Resampling, smallest: int = SMALLEST
) -> list[Ranking]:
    """The area under the ROC curve at each cut-off of LVEF, in every group large enough."""
    truth, estimated = test.measured("LVEF"), test.points()["LVEF"]
    known = np.isfinite(truth) & np.isfinite(estimated)
    limits = {f"LVEF <= {limit:g} %": limit for limit in LOW_EF}
    large = {name: inside for name, inside in groups.items() if (inside & known).sum() >= smallest}
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
