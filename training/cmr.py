"""CMR: where the heart is in a short-axis cine, and which of its phases are end-diastole and end-systole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from training.cine import Cine, Spacing
from training.label_maps import LV_CAVITY, RV_CAVITY, Labels

Array = NDArray[np.float64]
Centre = tuple[float, float]

_HEART = 40.0
"""mm, SD of the window that is moved onto what beats: both ventricles are 100 to 130 mm across."""

_REACH = 50.0  # mm around the centre in which motion is compared
_MOVING = 0.2  # the share of those voxels that vary most: walls, where muscle and blood take turns
_BLUR = 2.0  # mm; a contour moves 5 to 10 mm in systole
_STEADY = 1.0  # phases: SD of the smoothing over time
_DIASTOLE, _SYSTOLE = 0.2, 0.2
"""Of the beat: how far from an R wave end-diastole may lie at most, and end-systole must at least (it lies at 0.3 to
0.6 of the beat from 50 to 120 a minute)."""


class UndetectedPhases(ValueError):
    """End-diastole and end-systole are not to be told in this cine; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Phases:
    """Which phase is end-diastole and which end-systole, counted from 0, and how that was found."""

    ed: int
    es: int
    how: str


class Segmenter(Protocol):
    """Any model that labels a cine: an ONNX session, a network, a person."""

    def __call__(self, frames: NDArray[np.float32], spacing: Spacing) -> Labels:
        """(phases, slices, rows, columns) to classes of `training.label_maps` of the same shape."""


def detect(cine: Cine, labels: Labels | None = None, segmenter: Segmenter | None = None) -> Phases:
    """End-diastole and end-systole of a cine.

    With label maps, or a model that makes them, the phases of the largest and the smallest left ventricle. Without,
    by motion: see `by_motion`.

    Parameters
    ----------
    labels : (phases, slices, rows, columns), classes of `training.label_maps`; phases without a left ventricle are
        taken as not labelled, as most public data sets label two phases of thirty

    Raises
    ------
    UndetectedPhases
        If fewer than two phases are labelled, all volumes are equal, or nothing moves as a heart does.
    """
    if labels is not None:
        return by_volume(labels, "volume of the label maps")
    if segmenter is not None:
        return by_volume(segmenter(cine.frames, cine.spacing), "volume of the segmentation model")
    return by_motion(cine)


def by_volume(labels: Labels, how: str) -> Phases:
    """Largest and smallest left ventricular cavity."""
    voxels = (labels == LV_CAVITY).sum((1, 2, 3))
    labelled = np.flatnonzero(voxels)
    if len(labelled) < 2 or np.ptp(voxels[labelled]) == 0:
        raise UndetectedPhases(
            "The left ventricle has two volumes in no two phases: label end-diastole and end-systole."
        )
    volumes = voxels[labelled]
    return Phases(ed=int(labelled[volumes.argmax()]), es=int(labelled[volumes.argmin()]), how=how)


def by_motion(cine: Cine) -> Phases:
    """The two phases that differ most where the heart moves most; the one nearer to the R wave is end-diastole.

    Difference is the mean absolute difference of intensity over the fifth of the voxels within 50 mm of the heart's
    centre that vary most, after smoothing over 2 mm and one phase. A retrospectively gated cine begins at the R wave
    and ends before the next, so nearness is counted around the beat: on the three hearts of Sunnybrook and the one of
    biv-me the largest volume lies in one of the last two phases. Of these and of simulated hearts this finds both
    phases within two of those that were contoured.
    """
    frames = cine.frames
    if len(frames) < 5:
        raise UndetectedPhases(f"{len(frames)} phases are too few to see the heart move; give label maps.")
    _, rows, columns = cine.spacing
    still = gaussian_filter(frames, (_STEADY, 0, _BLUR / rows, _BLUR / columns), mode=("wrap", *["nearest"] * 3))
    variance = still.var(0)
    near = _distance(frames.shape[2:], heart_centre(cine), cine.spacing) < _REACH
    moving = near & (variance > np.quantile(variance[:, near], 1 - _MOVING))
    courses = still[:, moving]
    unlike = np.array([np.abs(courses - course).mean(1) for course in courses])
    one, other = np.unravel_index(unlike.argmax(), unlike.shape)
    ed, es = sorted((int(one), int(other)), key=lambda phase: _from_r_wave(phase, len(frames)))
    if _from_r_wave(ed, len(frames)) > _DIASTOLE or _from_r_wave(es, len(frames)) < _SYSTOLE:
        raise UndetectedPhases(f"Phases {ed} and {es} differ most: this cine begins at no R wave; give label maps.")
    return Phases(ed=ed, es=es, how="motion: the two phases that differ most")


def heart_centre(cine: Cine, labels: Labels | None = None) -> Centre:
    """Row and column of the heart, in voxels of the cine.

    With label maps the centroid of both cavities over all labelled phases. Without, of what beats: the amplitude of
    the first harmonic of the heart rate in each voxel, summed over slices; a Gaussian window as wide as a heart is
    moved from the centroid of the strongest twentieth to the centroid of what it sees, until it rests.
    """
    if labels is not None:
        cavities = np.argwhere((labels == LV_CAVITY) | (labels == RV_CAVITY))
        if not len(cavities):
            raise UndetectedPhases("The label maps show neither ventricle; check which class is which.")
        row, column = cavities[:, 2:].mean(0)
        return float(row), float(column)
    return _rest(_beating(cine), cine.spacing)


def _beating(cine: Cine) -> Array:
    """(rows, columns): amplitude at the heart rate, smoothed over a wall's thickness."""
    turn = np.exp(-2j * np.pi * np.arange(len(cine.frames)) / len(cine.frames))
    amplitude = np.abs(np.tensordot(turn, cine.frames, axes=1)).sum(0)
    if not amplitude.any():
        raise UndetectedPhases("Nothing moves in this cine; give label maps, or the whole beat.")
    return np.asarray(gaussian_filter(amplitude, (2 * _BLUR / cine.spacing[1], 2 * _BLUR / cine.spacing[2])))


def _rest(beating: Array, spacing: Spacing, steps: int = 20) -> Centre:
    centre = _centroid(np.where(beating >= np.quantile(beating, 0.95), beating, 0))
    for _ in range(steps):
        seen = np.exp(-((_distance(beating.shape, centre, spacing) / _HEART) ** 2) / 2)
        centre = _centroid(beating * seen)
    return centre


def _centroid(weights: Array) -> Centre:
    rows, columns = np.indices(weights.shape)
    return float(np.average(rows, weights=weights)), float(np.average(columns, weights=weights))


def _distance(shape: tuple[int, ...], centre: Centre, spacing: Spacing) -> Array:
    """Millimetres in the plane from `centre`."""
    rows, columns = np.indices(shape)
    return np.asarray(np.hypot((rows - centre[0]) * spacing[1], (columns - centre[1]) * spacing[2]))


def _from_r_wave(phase: int, phases: int) -> float:
    """Share of the beat to the nearest R wave, which is at its start and its end."""
    return min(phase, phases - phase) / phases
