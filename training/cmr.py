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
_FEWEST = 8  # phases: fewer are over 100 ms apart, longer than end-systole lasts
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
    """The two phases that differ most where the heart moves most; the brighter one is end-diastole.

    Difference is the mean absolute difference of intensity over the fifth of the voxels within 50 mm of the heart's
    centre that vary most, after smoothing over 2 mm and one phase. Blood is brighter than muscle on a bSSFP cine, so
    those voxels are brighter when the ventricles are full: by 7 to 38 % in eight simulated hearts, the three of
    Sunnybrook and the one of biv-me. A gated cine begins and ends at an R wave; end-diastole must be near one.

    On these hearts both phases are within two, end-systole within one, of those that were contoured.
    """
    courses = _moving(cine)
    phases = len(courses)
    unlike = np.array([np.abs(courses - course).mean(1) for course in courses])
    ends = (int(phase) for phase in np.unravel_index(unlike.argmax(), unlike.shape))
    es, ed = sorted(ends, key=lambda phase: float(courses[phase].mean()))
    if _from_r_wave(ed, phases) > _DIASTOLE or _from_r_wave(es, phases) < _SYSTOLE:
        raise UndetectedPhases(f"Phases {ed} and {es} differ most, but {ed} is at no R wave; give label maps.")
    return Phases(ed=ed, es=es, how="motion: the two phases that differ most")


def _moving(cine: Cine) -> NDArray[np.float32]:
    """(phases, voxels): intensity over the beat where it changes most near the heart."""
    frames = cine.frames
    if len(frames) < _FEWEST:
        raise UndetectedPhases(f"{len(frames)} phases are too few to see the heart move; give label maps.")
    blur = (_STEADY, 0, _BLUR / cine.spacing[1], _BLUR / cine.spacing[2])
    steady = gaussian_filter(frames, blur, mode=("wrap", "nearest", "nearest", "nearest"))
    variance = steady.var(0)
    near = _distance(frames.shape[2:], heart_centre(cine), cine.spacing) < _REACH
    return np.asarray(steady[:, near & (variance > np.quantile(variance[:, near], 1 - _MOVING))])


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
