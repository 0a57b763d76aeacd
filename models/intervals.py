"""Intervals: log-normal errors of the predicted phenotypes, propagated by sampling, stretched to their coverage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bundle import Intervals
from models.phenotypes import derive

Floats = NDArray[np.float64]


def correlated_normals(correlation: Floats, draws: int, seed: int) -> Floats:
    """Standard normal draws with the given correlation, (draws, phenotypes), in pairs z, −z so that their mean is zero.

    The pairs are antithetic variates (Hammersley and Morton, 1956): half the noise of a quantile for nothing.
    """
    half = np.random.default_rng(seed).standard_normal((draws // 2, len(correlation)))
    half = half @ np.linalg.cholesky(correlation).T
    return np.concatenate((half, -half))


def values(symbols: tuple[str, ...], logarithms: Floats, heart_rate: float | None) -> dict[str, Floats]:
    """All phenotypes, predicted and derived, from the natural logarithms of the predicted ones.

    Parameters
    ----------
    symbols : the predicted phenotypes
    logarithms : (..., phenotypes), in the order of `symbols`
    heart_rate : beats per minute, or None; then there is no cardiac output.

    Returns
    -------
    symbol -> (...) in the unit of the catalogue
    """
    predicted = dict(zip(symbols, np.moveaxis(np.exp(logarithms), -1, 0), strict=True))
    return predicted | derive(predicted, heart_rate)


@dataclass(frozen=True, eq=False, kw_only=True)
class Propagation:
    """From mean and SD of the log phenotypes of one ECG to the intervals of all its phenotypes.

    Attributes
    ----------
    symbols : the predicted phenotypes, in the order of the network's outputs
    level : probability that an interval is to cover
    normals : (draws, phenotypes) correlated standard normal errors, the same for every ECG
    stretch : symbol -> factor by which calibration widens (or narrows) each arm of the interval
    """

    symbols: tuple[str, ...]
    level: float
    normals: Floats
    stretch: Mapping[str, float]

    @classmethod
    def of(cls, symbols: tuple[str, ...], intervals: Intervals) -> Propagation:
        """As the manifest of a bundle states it."""
        normals = correlated_normals(np.array(intervals.correlation), intervals.draws, intervals.seed)
        return cls(symbols=symbols, level=intervals.level, normals=normals, stretch=intervals.stretch)

    def points(self, mean: Floats, heart_rate: float | None) -> dict[str, float]:
        """The values shown: medians of the predicted phenotypes, and what is derived from exactly these."""
        return {symbol: float(value) for symbol, value in values(self.symbols, mean, heart_rate).items()}

    def intervals(self, mean: Floats, sd: Floats, heart_rate: float | None) -> dict[str, tuple[float, float]]:
        """The interval of every phenotype, about the point that is shown.

        The central `level` of the sampled values; each arm then stretched by the factor that split-conformal
        calibration found (Lei et al., J Am Stat Assoc 2018;113:1094). No phenotype is negative, so no bound is.

        Parameters
        ----------
        mean, sd : (phenotypes,) of the natural logarithms
        """
        sampled = values(self.symbols, mean + sd * self.normals, heart_rate)
        tail = (1.0 - self.level) / 2.0
        lows, highs = np.quantile(np.stack(list(sampled.values())), (tail, 1.0 - tail), axis=1)
        points = self.points(mean, heart_rate)
        return {
            symbol: self._stretched(points[symbol], float(low), float(high), self.stretch[symbol])
            for symbol, low, high in zip(sampled, lows, highs, strict=True)
        }

    @staticmethod
    def _stretched(point: float, low: float, high: float, factor: float) -> tuple[float, float]:
        # Far in the tails a ratio's sampled quantiles can pass its point; an arm has no negative length.
        below, above = max(point - low, 0.0), max(high - point, 0.0)
        return max(point - factor * below, 0.0), point + factor * above
