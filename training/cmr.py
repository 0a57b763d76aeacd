"""CMR: a short-axis stack on the one grid and intensity scale that the encoders read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

SHAPE = (16, 64, 64)
"""Slices, rows, columns."""

SPACING = (10.0, 2.5, 2.5)
"""Millimetres between them: the slice distance of UK Biobank (Petersen et al., JCMR 2016;18:8), 160 mm in the plane."""

PERCENTILES = (1.0, 99.0)
"""Intensities between which a volume is scaled: MR intensities have no unit, and the extremes are vessels and air."""


def canonical(volume: NDArray[np.floating], spacing: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Resample, centre and scale one volume.

    Parameters
    ----------
    volume : (slices, rows, columns), any intensity
    spacing : millimetres between slices, rows and columns

    Returns
    -------
    `SHAPE` uint8
        On a grid of `SPACING`; what lies outside the stack is 0.
    """
    factors = tuple(own / common for own, common in zip(spacing, SPACING, strict=True))
    if factors != (1.0, 1.0, 1.0):
        volume = zoom(volume, factors, order=1)
    low, high = np.percentile(volume, PERCENTILES)
    scaled = np.clip((volume - low) / max(high - low, np.finfo(np.float32).tiny), 0.0, 1.0)
    return _centred(np.rint(255.0 * scaled).astype(np.uint8))


def _centred(volume: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crop or pad each axis about its centre."""
    placed = np.zeros(SHAPE, np.uint8)
    source, target = [], []
    for have, want in zip(volume.shape, SHAPE, strict=True):
        kept = min(have, want)
        source.append(slice((have - kept) // 2, (have - kept) // 2 + kept))
        target.append(slice((want - kept) // 2, (want - kept) // 2 + kept))
    placed[tuple(target)] = volume[tuple(source)]
    return placed
