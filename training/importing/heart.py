"""Heart: what a cohort keeps of the images of one visit, end-diastole, end-systole, a slice over the beat, volumes."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.cine import Cine, UnreadableCine, read_labels, read_nifti
from training.cine_dicom import read_dicom
from training.cmr import Phases, UndetectedPhases, detect, heart_centre
from training.gate import faults
from training.grid import SHAPE, SPACING, UnusableVolume, canonical
from training.importing.label_values import LabelValues
from training.importing.wrong import Wrong
from training.label_maps import Labels, measured

CINE = SHAPE
"""Frames, rows and columns of a slice over the beat, on the grid of the volumes."""

_SAME = 0.01  # of a voxel's side: spacings are written in single precision
_ALONE = {
    "cmr": "correct the path, or export the short-axis series again",
    "labels": "correct the path, or state the classes with --label-values",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class HeartImages:
    """Images of one visit.

    Attributes
    ----------
    volumes : "ed" and "es", as `training.grid.canonical` makes them
    cine : `CINE` uint8, or None where none was asked for
    measured : phenotype -> value on the label maps, NaN where a structure is not labelled; empty without label maps
    faults : what the quality gate says against the label maps
    """

    volumes: Mapping[str, NDArray[np.uint8]]
    cine: NDArray[np.uint8] | None
    measured: Mapping[str, float]
    faults: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Labelled:
    """Label maps, and which of their phases are which."""

    labels: Labels
    phases: Phases


def heart_images(images: Mapping[str, Path], values: LabelValues, with_cine: bool) -> HeartImages:
    """Read the images of a visit.

    Parameters
    ----------
    images : as `training.importing.visit.Visit` has them
    values : classes of the label maps
    with_cine : whether to keep a slice over the beat

    Raises
    ------
    Wrong
        If a file is missing or unreadable, label maps are on another grid, or no phase can be told.
    """
    cine = _cine(images)
    labelled = _labelled(images, values, cine)
    try:
        phases = _phases(images, cine, labelled)
        centre = heart_centre(cine, None if labelled is None else labelled.labels)
        volumes = {
            name: canonical(cine.frames[phase], cine.spacing, centre)
            for name, phase in (("ed", phases.ed), ("es", phases.es))
        }
    except (UndetectedPhases, UnusableVolume) as error:
        raise Wrong("cmr", str(error), _ALONE["cmr"]) from error
    return HeartImages(
        volumes=volumes,
        cine=beat_of(cine, centre) if with_cine else None,
        measured={} if labelled is None else _measured(labelled, cine),
        faults=() if labelled is None else tuple(faults(labelled.labels, cine.spacing, labelled.phases)),
    )


def _cine(images: Mapping[str, Path]) -> Cine:
    """The cine, or end-diastole and end-systole as a cine of two phases."""
    if "cmr" in images:
        return _read(images["cmr"])
    ed, es = _read(images["ed"]), _read(images["es"])
    if ed.frames.shape != es.frames.shape or len(ed.frames) != 1 or not _near(ed.spacing, es.spacing):
        raise Wrong("ed", "ed and es are not two volumes on one grid", "export both from one cine")
    return Cine(frames=np.concatenate([ed.frames, es.frames]), spacing=ed.spacing, cycle=None)


def _read(path: Path) -> Cine:
    if not path.exists():
        raise Wrong("cmr", f"there is no {path}", "correct the path")
    try:
        return read_dicom(path) if path.is_dir() or zipfile.is_zipfile(path) else read_nifti(path)
    except UnreadableCine as error:
        raise Wrong("cmr", str(error), _ALONE["cmr"]) from error


def _labelled(images: Mapping[str, Path], values: LabelValues, cine: Cine) -> _Labelled | None:
    """The label maps of all phases, or of two of them; None where there are none."""
    if "labels" in images:
        labels = _read_labels(images["labels"], values, cine)
        if len(labels) != len(cine.frames):
            raise Wrong("labels", f"{len(labels)} phases for {len(cine.frames)} of the cine", "give one label map each")
        try:
            return _Labelled(labels=labels, phases=detect(cine, labels))
        except UndetectedPhases as error:
            raise Wrong("labels", str(error), _ALONE["labels"]) from error
    both = [images[name] for name in ("ed_labels", "es_labels") if name in images]
    if not both:
        return None
    if len(both) == 1:
        raise Wrong("labels", "only one of ed_labels and es_labels is there", "give both or neither")
    ed, es = (_read_labels(path, values, cine) for path in both)
    if len(ed) != 1 or len(es) != 1:
        raise Wrong("labels", "ed_labels and es_labels are not one volume each", "name maps of a cine 'labels'")
    return _Labelled(labels=np.concatenate([ed, es]), phases=Phases(ed=0, es=1, how="as labelled"))


def _read_labels(path: Path, values: LabelValues, cine: Cine) -> Labels:
    if not path.exists():
        raise Wrong("labels", f"there is no {path}", "correct the path")
    try:
        labels, spacing = read_labels(path)
    except UnreadableCine as error:
        raise Wrong("labels", str(error), _ALONE["labels"]) from error
    if labels.shape[1:] != cine.frames.shape[1:] or not _near(spacing, cine.spacing):
        raise Wrong("labels", f"{path.name} is not on the grid of the images", "resample the label maps to the images")
    strange = sorted(set(np.unique(labels).tolist()) - {0, *values})
    if strange:
        raise Wrong("labels", f"{path.name} has classes {strange} of no stated meaning", "state them: --label-values")
    meaning = np.zeros(256, np.uint8)
    for own, common in values.items():
        meaning[own] = common
    return np.asarray(meaning[labels])


def _near(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    return bool(np.allclose(one, other, rtol=_SAME, atol=0))


def _phases(images: Mapping[str, Path], cine: Cine, labelled: _Labelled | None) -> Phases:
    """Which phases of the cine are kept."""
    if "cmr" not in images:
        return Phases(ed=0, es=1, how="as named in the table")
    whole = labelled is not None and len(labelled.labels) == len(cine.frames)
    return labelled.phases if labelled is not None and whole else detect(cine)


def _measured(labelled: _Labelled, cine: Cine) -> dict[str, float]:
    return measured(labelled.labels, cine.spacing, labelled.phases.ed, labelled.phases.es)


def beat_of(cine: Cine, centre: tuple[float, float]) -> NDArray[np.uint8]:
    """`CINE`: the slice in the middle of the stack over one beat, evenly in time from the R wave on.

    A retrospectively gated cine covers the beat evenly from the R wave on, so that its last phase is followed by its
    first; between two phases intensities are interpolated linearly.
    """
    at = np.arange(CINE[0]) * len(cine.frames) / CINE[0]
    before = at.astype(int)
    share = (at - before).astype(np.float32)[:, None, None]
    middle = cine.frames[:, cine.frames.shape[1] // 2]
    moving = (1 - share) * middle[before] + share * middle[(before + 1) % len(middle)]
    # Frames take the place of slices, so that one scale of intensity holds for the whole beat.
    return canonical(moving, (SPACING[0], *cine.spacing[1:]), centre)
