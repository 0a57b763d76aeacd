"""Scan as NIfTI: image and label map, each a file, in the voxel order and patient frame that NIfTI readers expect."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from training.simulate.scan import Scan

_RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0])
"""NIfTI counts to the right and to the front where DICOM counts to the left and to the back (nifti1.h, "METHOD 3")."""

_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT: the affine leads to the patient
_STEADY = 1e-3  # of the mean time between phases: phases that vary less are evenly spaced


def write(scan: Scan, folder: Path) -> tuple[Path, Path]:
    """Write ``<name>.nii.gz`` and ``<name>_labels.nii.gz``, the same bytes for the same scan.

    Both are (columns, rows, slices, phases), or without the last axis where there is one phase. The fourth zoom is the
    time between phases in seconds, and 0, which says nothing, where the phases are not evenly spaced.

    Returns
    -------
    image, labels : where they are
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = scan.name.replace(" ", "_")
    image, labels = folder / f"{stem}.nii.gz", folder / f"{stem}_labels.nii.gz"
    nib.save(_volume(scan, scan.image, f"simulated {scan.name}"), image)
    label_map = _volume(scan, scan.labels, f"simulated {scan.name}, labels")
    label_map.header.set_intent("label")
    nib.save(label_map, labels)
    return image, labels


def affine(scan: Scan) -> NDArray[np.float64]:
    """(4, 4): from column, row and slice index to right, anterior and superior, mm, at the voxel's centre."""
    steps = scan.axes[::-1].T * scan.spacing[::-1]  # columns of the matrix: along columns, rows, slices
    matrix = np.eye(4)
    matrix[:3, :3] = _RAS_OF_LPS @ steps
    matrix[:3, 3] = _RAS_OF_LPS @ scan.origin
    return matrix


def _volume(scan: Scan, voxels: NDArray[np.float32] | NDArray[np.uint8], description: str) -> nib.Nifti1Image:
    still = len(scan.times) == 1
    volume = nib.Nifti1Image(voxels[0].T if still else voxels.transpose(3, 2, 1, 0), affine(scan))
    volume.set_sform(affine(scan), code=_SCANNER)
    volume.set_qform(affine(scan), code=_SCANNER)
    volume.header.set_xyzt_units("mm", "sec")
    volume.header["descrip"] = description[:79].encode("ascii", "replace")
    volume.header["toffset"] = scan.times[0]
    if not still:
        volume.header.set_zooms((*scan.spacing[::-1], _time_step(scan.times)))
    return volume


def _time_step(times: NDArray[np.float64]) -> float:
    """Seconds between phases that are evenly spaced; 0 otherwise."""
    steps = np.diff(times)
    mean = float(steps.mean())
    return mean if np.abs(steps - mean).max() <= _STEADY * mean else 0.0
