"""Thinning: the samples that a line needs, so that no sample lies off it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LONGEST = 64  # samples that one straight piece may replace


def thinned(values: NDArray[np.float64], tolerance: float) -> NDArray[np.int64]:
    """Places of the samples to keep, so that straight pieces between them pass within `tolerance` of all others.

    Pieces of 2, 4, 8 … samples that begin at their multiples are each tried as one straight line, the last that fits
    wins: what moves keeps its samples, and no peak is lost, whatever its width.

    Parameters
    ----------
    values : (samples,) at even distances
    tolerance : in the unit of the values
    """
    keep = np.ones(len(values), dtype=np.bool_)
    size = 2
    while size <= _LONGEST and size < len(values):
        pieces = (len(values) - 1) // size
        starts = np.arange(pieces) * size
        inner = starts[:, None] + np.arange(1, size)
        rise = (values[starts + size] - values[starts])[:, None] * (np.arange(1, size) / size)
        straight = (np.abs(values[inner] - values[starts][:, None] - rise) <= tolerance).all(axis=1)
        keep[inner[straight]] = False
        size *= 2
    return np.flatnonzero(keep)
