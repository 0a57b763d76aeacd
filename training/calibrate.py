"""Calibrate: intervals that cover what they claim, whom they fail, and which ECGs are unlike the training data."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from models.bundle import Intervals, OutOfDistribution, SubgroupCoverage
from models.intervals import Propagation, correlated_normals
from models.phenotypes import PHENOTYPES, PREDICTED
from training.config import Calibration
from training.evaluate import Floats, Predictions

Mask = NDArray[np.bool_]

NO_GROUPS: Mapping[str, Mask] = {}


def calibrated(
    calibration: Predictions,
    test: Predictions,
    settings: Calibration,
    groups: Mapping[str, Mask] = NO_GROUPS,
    smallest: int = 30,
) -> Intervals:
    """Correlation and stretch from the calibration split; the coverage they then have on the test split.

    Parameters
    ----------
    groups : name -> which of the test split belong to it, e.g. by sex, age or disease
    smallest : group, below which its coverage would be noise
    """
    logarithms = np.log(np.stack([calibration.measured(symbol) for symbol in PREDICTED], axis=1))
    errors = (logarithms - calibration.mean) / calibration.sd
    correlation = _correlation(errors[np.isfinite(errors).all(axis=1)])
    normals = correlated_normals(correlation, settings.draws, settings.seed)
    raw = Propagation(symbols=PREDICTED, level=settings.level, normals=normals, stretch=dict.fromkeys(PHENOTYPES, 1.0))
    points, bounds = calibration.points(), calibration.intervals(raw)
    stretch = {
        symbol: stretch_factor(calibration.measured(symbol), points[symbol], bounds[symbol], settings.level)
        for symbol in PHENOTYPES
    }
    final = Propagation(symbols=PREDICTED, level=settings.level, normals=normals, stretch=stretch)
    shown = test.intervals(final)
    return Intervals(
        level=settings.level,
        method="correlated log-normal errors, sampled; split-conformal stretch of each arm about the point",
        draws=settings.draws,
        seed=settings.seed,
        correlation=correlation.tolist(),
        stretch=stretch,
        coverage={symbol: coverage(test.measured(symbol), bounds) for symbol, bounds in shown.items()},
        subgroups=[
            SubgroupCoverage(group=group, symbol=symbol, n=n, coverage=coverage(truth[rows], bounds[rows]))
            for group, rows in groups.items()
            for symbol, bounds in shown.items()
            if (n := int((rows & judged(truth := test.measured(symbol), bounds)).sum())) >= smallest
        ],
    )


def _correlation(errors: Floats) -> Floats:
    """Shrunk as Ledoit and Wolf (2004) choose, so that it can be inverted however few the participants."""
    covariance: Floats = LedoitWolf().fit(errors).covariance_
    spread = np.sqrt(np.diag(covariance))
    correlation: Floats = covariance / np.outer(spread, spread)
    return correlation


def stretch_factor(truth: Floats, points: Floats, bounds: Floats, level: float) -> float:
    """By how much intervals must be stretched about their points to cover `level` of new participants.

    The score of a participant is its error in units of the arm on its side; the factor is the ⌈(n + 1) · level⌉-th
    smallest score (split conformal prediction: Lei et al., J Am Stat Assoc 2018;113:1094, theorem 2.2), or the largest
    one when n is too small for the level.
    """
    known = np.isfinite(truth) & np.isfinite(points)
    error = (truth - points)[known]
    arm = np.where(error > 0, bounds[known, 1] - points[known], points[known] - bounds[known, 0])
    scores = np.sort(np.abs(error) / np.maximum(arm, np.finfo(np.float64).tiny))
    return float(scores[min(math.ceil((len(scores) + 1) * level), len(scores)) - 1])


def coverage(truth: Floats, bounds: Floats) -> float:
    """Share of measured values inside their intervals, bounds (n, 2)."""
    known = judged(truth, bounds)
    low, high = bounds[known].T
    return float(((truth[known] >= low) & (truth[known] <= high)).mean())


def judged(truth: Floats, bounds: Floats) -> Mask:
    """Where there is a measured value and an interval."""
    known: Mask = np.isfinite(truth) & np.isfinite(bounds).all(axis=1)
    return known


def whitening(embeddings: Floats) -> tuple[Floats, Floats]:
    """Mean (d,) and symmetric inverse square root (d, d) of the covariance of the training embeddings.

    Shrunk as Ledoit and Wolf (J Multivariate Anal 2004;88:365) choose; the distance of a whitened embedding from the
    mean is Mahalanobis', as in Lee et al., NeurIPS 2018.
    """
    estimate = LedoitWolf().fit(embeddings)
    sizes, axes = np.linalg.eigh(estimate.covariance_)
    return estimate.location_, (axes / np.sqrt(sizes)) @ axes.T


def out_of_distribution(scores: Floats, settings: Calibration) -> OutOfDistribution:
    """The threshold, and quantiles for the reader, from the scores of the calibration split."""
    quantiles = {f"{q:g}": float(np.quantile(scores, q)) for q in (0.5, 0.9, 0.95, 0.99)}
    return OutOfDistribution(
        method=f"root mean square of the whitened embedding; flagged from quantile {settings.ood_quantile:g} of the "
        "calibration split on",
        threshold=float(np.quantile(scores, settings.ood_quantile)),
        quantiles=quantiles,
    )
