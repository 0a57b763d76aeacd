"""Grid: the one spacing, size and intensity scale on which every CMR volume is kept."""

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


class UnusableVolume(ValueError):
    """A volume that cannot be put on the grid; the message says why."""


def canonical(
    volume: NDArray[np.floating], spacing: tuple[float, float, float], centre: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Resample, crop and scale one volume.

    Parameters
    ----------
    volume : (slices, rows, columns), any intensity
    spacing : millimetres between slices, rows and columns
    centre : row and column of the heart, in voxels of `volume`; None for the middle of the image

    Returns
    -------
    `SHAPE` uint8
        On a grid of `SPACING`, the heart in its middle; what lies outside the stack is 0. Intensities are scaled by
        those that are kept, so that a wide field of view does not darken the heart.

    Raises
    ------
    UnusableVolume
        If an intensity is not a number.
    """
    if not np.isfinite(volume).all():
        raise UnusableVolume("intensities that are not numbers: this volume must be read again, or left out")
    factors = tuple(own / common for own, common in zip(spacing, SPACING, strict=True))
    resampled = volume if factors == (1.0, 1.0, 1.0) else zoom(volume, factors, order=1)
    shifts = [_middle(have, want) for have, want in zip(resampled.shape, SHAPE, strict=True)]
    if centre is not None:
        shifts[1:] = [
            want // 2 - round(at * (new - 1) / max(old - 1, 1))  # zoom keeps the middles of the outermost voxels
            for at, old, new, want in zip(centre, volume.shape[1:], resampled.shape[1:], SHAPE[1:], strict=True)
        ]
    source, target = _overlap(resampled.shape, shifts)
    kept = resampled[source]
    low, high = np.percentile(kept, PERCENTILES)
    placed = np.zeros(SHAPE, np.uint8)
    placed[target] = np.rint(255.0 * np.clip((kept - low) / max(high - low, np.finfo(np.float32).tiny), 0.0, 1.0))
    return placed


def _middle(have: int, want: int) -> int:
    """Where the first voxel comes to lie when an axis is padded (positive) or cropped about its middle."""
    return (want - have) // 2 if have < want else -((have - want) // 2)


def _overlap(shape: tuple[int, ...], shifts: list[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Which part of a shifted volume lies on the grid, in its own voxels and in those of the grid.

    Raises
    ------
    UnusableVolume
        If none does.
    """
    starts = [max(0, -shift) for shift in shifts]
    ends = [min(have, want - shift) for have, want, shift in zip(shape, SHAPE, shifts, strict=True)]
    if any(start >= end for start, end in zip(starts, ends, strict=True)):
        raise UnusableVolume("the stated centre of the heart lies outside the image")
    source = tuple(slice(start, end) for start, end in zip(starts, ends, strict=True))
    target = tuple(slice(start + shift, end + shift) for start, end, shift in zip(starts, ends, shifts, strict=True))
    return source, target
