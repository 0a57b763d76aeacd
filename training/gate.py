"""Gate: what is wrong with the segmentation of a cine, before it may teach."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, convolve
from scipy.ndimage import label as components

from models.phenotypes import PHENOTYPES
from training.cmr import Phases
from training.label_maps import BACKGROUND, LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY, Labels, Spacing, measured, volumes_of

Mask = NDArray[np.bool_]

NAMES = {LV_CAVITY: "left ventricular cavity", LV_MYOCARDIUM: "left ventricular wall", RV_CAVITY: "right ventricle"}

LENGTHS = (50.0, 150.0)
"""mm of slices that show the left ventricle at either phase; 70 to 140 in 120 simulated hearts."""

SLENDERNESS = (0.85, 2.2)
"""Length over outer diameter at end-diastole: 1.2 to 1.75 in 120 simulated hearts, 0.92 to 1.2 in three dilated ones of
Sunnybrook; a factor 2 in the slice or the pixel spacing alone leaves 1 of 40 simulated hearts within."""

MASS_CHANGE = 0.25
"""Of the mean: muscle keeps its mass, but it varies by 15 % over the beat in the fitted heart of biv-me, and by up to
14 % in simulated hearts on slices of 10 mm."""

NEAREST_PHASE = 0.05
"""Of the end-diastolic volume: next to its largest and smallest volume the heart of biv-me changes by 3 to 4 % a phase
of 25; so a neighbour passes, the phase after does not."""

APEX = 0.67  # of the largest area: the last slice over the apex is smaller, unless two or more are missing below it
LOOSE = 0.1  # of a class apart from its largest piece; at most 0.053 in 120 simulated hearts, at the tip of thin walls
HOLLOW = 0.005  # of the left ventricle: single voxels that a network missed
ENCLOSED = 0.8  # of the cavity's border that touches wall; 1 below the base, where the outflow tract opens the ring
_BASAL = 0.3  # of the slices from the base


def faults(labels: Labels, spacing: Spacing, phases: Phases) -> list[str]:
    """What speaks against learning from these label maps; nothing, if nothing does.

    It finds wrong classes, empty and cut slices, holes and stray pieces, impossible volumes and shapes, wrong phases,
    and a spacing that is wrong by a factor. It cannot find a slice that the array lacks (`training.cine_dicom`
    does, by the positions), a spacing wrong by a fifth, or contours that are everywhere too wide.

    Parameters
    ----------
    labels : (phases, slices, rows, columns), classes of `training.label_maps`
    spacing : millimetres between slices, rows and columns

    Returns
    -------
    Sentences, each one fault.
    """
    unknown = sorted(set(np.unique(labels).tolist()) - {BACKGROUND, *NAMES})
    if unknown:
        return [f"Classes {unknown} are none of 0 to 3."]
    ends = {"end-diastole": labels[phases.ed], "end-systole": labels[phases.es]}
    absent = [
        f"At {name} there is no {NAMES[class_]}."
        for name, shown in ends.items()
        for class_ in NAMES
        if not (shown == class_).any()
    ]
    if absent:
        return absent
    shown = [fault for name, end in ends.items() for fault in _of_phase(name, end, spacing)]
    return [*shown, *_volumes(labels, spacing, phases), *_shape(labels[phases.ed], spacing), *_timing(labels, phases)]


def _of_phase(name: str, labels: Labels, spacing: Spacing) -> Iterator[str]:
    ventricle = (labels == LV_CAVITY) | (labels == LV_MYOCARDIUM)
    yield from _coverage(name, ventricle, spacing)
    if (labels[:, [0, -1]] > 0).any() or (labels[:, :, [0, -1]] > 0).any():
        yield f"At {name} the heart reaches the edge of the image: part of it is outside the field of view."
    for class_, called in NAMES.items():
        loose = _loose(labels == class_)
        if loose > LOOSE:
            yield f"At {name} {loose:.0%} of the {called} is apart from the rest of it."
    hollow = _hollow(labels) / ventricle.sum()
    if hollow > HOLLOW:
        yield f"At {name} there are holes in the ventricles, {hollow:.1%} of the left one."
    enclosed = _enclosed(labels)
    if enclosed < ENCLOSED:
        yield f"At {name} only {enclosed:.0%} of the cavity's border is wall: classes are swapped or the wall has gaps."


def _coverage(name: str, ventricle: Mask, spacing: Spacing) -> Iterator[str]:
    """Slices without a gap from the base to the apex."""
    areas = ventricle.sum((1, 2))
    shown = np.flatnonzero(areas)
    missing = sorted(set(range(shown[0], shown[-1] + 1)) - set(shown.tolist()))
    if missing:
        yield f"At {name} the left ventricle is missing in slices {missing} between others that show it."
    length = len(shown) * spacing[0]
    if not LENGTHS[0] <= length <= LENGTHS[1]:
        yield f"At {name} the slices with left ventricle cover {length:.0f} mm: slices are missing or too far apart."
    if min(areas[shown[0]], areas[shown[-1]]) > APEX * areas.max():
        yield f"At {name} the left ventricle ends in a slice as wide as its middle: the apex is not covered."


def _loose(mask: Mask) -> float:
    """Share of a mask apart from its largest piece; voxels that touch at a corner are one piece."""
    pieces, _ = components(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces[mask])
    return float(1 - sizes.max() / sizes.sum())


def _hollow(labels: Labels) -> int:
    """Voxels of background that a ventricle surrounds in their slice."""
    left = [binary_fill_holes((slice_ == LV_CAVITY) | (slice_ == LV_MYOCARDIUM)) for slice_ in labels]
    right = [binary_fill_holes(slice_ == RV_CAVITY) for slice_ in labels]
    return int(((np.stack(left) | np.stack(right)) & (labels == BACKGROUND)).sum())


def _enclosed(labels: Labels) -> float:
    """Share of the cavity's border in its slices that touches wall, without the slices of the base."""
    shown = np.flatnonzero((labels == LV_CAVITY).any((1, 2)))
    areas = (labels[shown] == LV_CAVITY).sum((1, 2))
    basal = int(np.ceil(_BASAL * len(shown)))
    low = shown[:-basal] if areas[0] <= areas[-1] else shown[basal:]
    cavity, wall = (np.pad(labels[low] == class_, ((0, 0), (1, 1), (1, 1))) for class_ in (LV_CAVITY, LV_MYOCARDIUM))
    beside = np.array([[[0, 1, 0], [1, 0, 1], [0, 1, 0]]])
    outside = convolve(cavity.astype(np.int32), beside, mode="constant") * ~cavity
    return float(outside[wall].sum() / max(outside.sum(), 1))


def _volumes(labels: Labels, spacing: Spacing, phases: Phases) -> Iterator[str]:
    found = measured(labels, spacing, phases.ed, phases.es)
    for side in ("LV", "RV"):
        large, small = found[f"{side}EDV"], found[f"{side}ESV"]
        found[f"{side}EF"] = 100 * (large - small) / large
        if small >= large:
            yield f"{side}ESV {small:.0f} mL is not below {side}EDV {large:.0f} mL."
    for symbol, value in found.items():
        low, high = PHENOTYPES[symbol].plausible
        if not low <= value <= high:
            yield f"{symbol} {value:.1f} {PHENOTYPES[symbol].unit} is outside {low} to {high}."
    ed, es = (volumes_of(labels[phase], spacing)["LVM"] for phase in (phases.ed, phases.es))
    if abs(ed - es) > MASS_CHANGE * (ed + es) / 2:
        yield f"The wall weighs {ed:.0f} g at end-diastole and {es:.0f} g at end-systole."


def _shape(labels: Labels, spacing: Spacing) -> Iterator[str]:
    """Length over diameter."""
    areas = ((labels == LV_CAVITY) | (labels == LV_MYOCARDIUM)).sum((1, 2)) * spacing[1] * spacing[2]
    slenderness = (areas > 0).sum() * spacing[0] / (2 * np.sqrt(areas.max() / np.pi))
    if not SLENDERNESS[0] <= slenderness <= SLENDERNESS[1]:
        yield f"The left ventricle is {slenderness:.1f} times as long as wide: slices or spacing are wrong."


def _timing(labels: Labels, phases: Phases) -> Iterator[str]:
    """Whether the phases are those of the largest and the smallest volume, among those that are labelled."""
    voxels = (labels == LV_CAVITY).sum((1, 2, 3))
    labelled = voxels[voxels > 0]
    room = NEAREST_PHASE * labelled.max()
    if voxels[phases.ed] < labelled.max() - room:
        yield f"Phase {phases.ed} is not end-diastole: phase {voxels.argmax()} has a larger left ventricle."
    if voxels[phases.es] > labelled.min() + room:
        yield f"Phase {phases.es} is not end-systole: another phase has a smaller left ventricle."
