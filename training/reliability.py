"""Reliability: whether a probability is how often it happens, and whether surer estimates are nearer to the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score

from models.bundle import ConditionModel
from models.conditions import CONDITIONS
from models.intervals import Propagation
from models.phenotypes import PHENOTYPES
from training.bootstrap import Resampling, Span, span
from training.conditions import scored
from training.evaluate import Floats, Predictions

Mask = NDArray[np.bool_]

BINS = 10


@dataclass(frozen=True, eq=False, kw_only=True)
class Reliability:
    """Whether a stated probability is how often it happens.

    Attributes
    ----------
    auroc, span : how well it ranks those who have it, and 95 % over participants
    brier : mean squared error of the probability (Brier, Mon Weather Rev 1950;78:1)
    brier_of_prevalence : the same of always saying how common it is
    stated, observed : (bins,) mean probability and share, in bins of equal numbers
    """

    condition: str
    n: int
    positives: int
    auroc: float
    span: Span
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


def reliabilities(
    models: Sequence[ConditionModel],
    test: Predictions,
    sex: Sequence[str],
    correlation: Floats,
    resampling: Resampling,
) -> Iterator[Reliability]:
    """Every condition that the model gives a probability of, on the part that did not calibrate it.

    Parameters
    ----------
    sex : "F", "M" or "" of each participant
    correlation : of the log errors, as the manifest's intervals state it
    """
    for model in models:
        judged = scored(CONDITIONS[model.code], test, sex, correlation)
        probability = expit(model.slope * judged.score + model.intercept)
        among = Resampling(weights=resampling.weights[:, judged.rows])
        yield reliability(model.code, probability, judged.happened, among)


def reliability(condition: str, probability: Floats, happened: Mask, resampling: Resampling) -> Reliability:
    """Reliability of one condition's probabilities, (n,), of the participants that are resampled."""
    observed, stated = calibration_curve(happened, probability, n_bins=BINS, strategy="quantile")
    prevalence = float(happened.mean())
    return Reliability(
        condition=condition,
        n=len(happened),
        positives=int(happened.sum()),
        auroc=float(roc_auc_score(happened, probability)),
        span=span(resampling.auroc(happened, probability)),
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
