"""Proportion: a share of so many, and how far another sample of them could move it."""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats

from training.bootstrap import LEVEL, Span


def wilson(share: float, n: int) -> Span:
    """Interval of a share of n independent cases (Wilson, J Am Stat Assoc 1927;22:209), which stays within 0 and 1."""
    found = stats.binomtest(round(share * n), n).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def excluding(level: float, shares: Sequence[tuple[float, int]]) -> int:
    """Of how many (share, n) the interval does not hold the level."""
    spans = [wilson(*one) for one in shares]
    return sum(not low <= level <= high for low, high in spans)
