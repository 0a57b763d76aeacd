"""Bootstrap: how far a figure moves when other participants are drawn; the visits of one participant stay together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Span = tuple[float, float]

DRAWS, LEVEL = 1000, 0.95
"""Enough for percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 14.4)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Resampling:
    """Participants drawn with replacement, as weights: a statistic of all draws is then one product of matrices.

    Attributes
    ----------
    weights : (draws, visits) how often each visit is there
    """

    weights: Floats

    @classmethod
    def of(cls, participants: NDArray[np.generic], draws: int = DRAWS, seed: int = 0) -> Resampling:
        """Draw as many participants as there are, `draws` times.

        Parameters
        ----------
        participants : (visits,) whose visit each one is
        """
        people, codes = np.unique(participants, return_inverse=True)
        counts = np.random.default_rng(seed).multinomial(len(people), np.full(len(people), 1 / len(people)), size=draws)
        return cls(weights=counts[:, codes].astype(np.float64))

    def among(self, rows: NDArray[np.bool_]) -> Resampling:
        """The same draws, of some visits alone; a group is then as large as it happens to be drawn."""
        return Resampling(weights=self.weights[:, rows])

    def mean(self, values: Floats) -> Floats:
        """The mean in each draw, (draws,); NaN where a draw holds none of these visits."""
        with np.errstate(invalid="ignore"):
            drawn: Floats = self.weights @ values / self.weights.sum(axis=1)
        return drawn

    def agreement(self, truth: Floats, predicted: Floats) -> dict[str, Floats]:
        """R², r, MAE and bias of predictions in each draw, name -> (draws,)."""
        centre = truth.mean()  # sums of squares about a number near the mean lose no digits
        t, p, error = truth - centre, predicted - centre, predicted - truth
        mean_t, mean_p, t2, p2, tp, e2, absolute = (
            self.mean(value) for value in (t, p, t * t, p * p, t * p, error * error, np.abs(error))
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = t2 - mean_t**2
            return {
                "r2": 1.0 - e2 / variance,
                "r": (tp - mean_t * mean_p) / np.sqrt(variance * (p2 - mean_p**2)),
                "mae": absolute,
                "bias": mean_p - mean_t,
            }

    def auroc(self, positive: NDArray[np.bool_], score: Floats) -> Floats:
        """Area under the ROC curve in each draw: how often a positive is ranked above a negative, ties counted half.

        Mann and Whitney's U over its largest value (Hanley and McNeil, Radiology 1982;143:29).
        """
        order = np.argsort(score[~positive])
        ranks, weights = score[~positive][order], self.weights[:, ~positive][:, order]
        below = np.concatenate((np.zeros((len(weights), 1)), weights.cumsum(axis=1)), axis=1)
        first, last = (np.searchsorted(ranks, score[positive], side=side) for side in ("left", "right"))
        won = (below[:, first] + below[:, last]) / 2.0
        mine = self.weights[:, positive]
        with np.errstate(invalid="ignore"):
            area: Floats = (mine * won).sum(axis=1) / (mine.sum(axis=1) * below[:, -1])
        return area


def span(draws: Floats, level: float = LEVEL) -> Span:
    """The central `level` of the draws in which the figure exists; NaN where it exists in none."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
