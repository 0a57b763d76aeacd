"""Cine: a short-axis stack over the beat, read from NIfTI or DICOM, always the same way up."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

Spacing = tuple[float, float, float]
Matrix = NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)

MAX_VOXELS = 2**27
"""Of a cine, 512 MiB as float32: five times 50 phases of 12 slices of 208 x 210, which UK Biobank stores."""

SPACINGS = (0.3, 30.0)
"""Millimetres between voxels that a cine can have; outside them the header is in another unit."""

CYCLES = (0.2, 3.0)
"""Seconds of a beat, 300 to 20 a minute: a header that says otherwise does not tell the time."""

_LEFT = np.array([1.0, 0.0, 0.0])
_BACK_AND_DOWN = np.array([0.0, 1.0, -1.0])
_TO_THE_BASE = np.array([-1.0, 1.0, 1.0])
"""Patient directions in DICOM's axes (x left, y back, z head): the apex points to the left, the front and the feet."""

_LPS_OF_RAS = np.diag([-1.0, -1.0, 1.0])
_MILLIMETRES = {"meter": 1e3, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_THICK = 1.5  # times the pixel: a slice axis is told by its spacing from here on


_NIBABEL = (ImageFileError, HeaderDataError, WrapStructError)


class UnreadableCine(ValueError):
    """A file or folder that cannot be read as a short-axis cine; the message says why."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Cine:
    """A short-axis stack over the beat.

    Slices go from apex to base, rows to the back and the feet, columns to the left of the patient, as far as steps of
    90 degrees can turn the stack: the axes of `training.simulate.plan.short_axis_plan`.

    Attributes
    ----------
    frames : ndarray, (phases, slices, rows, columns) float32
        Any scale; one phase where the file holds a single volume.
    spacing : (float, float, float)
        Millimetres between the centres of slices (so with the gap), rows and columns.
    cycle : float or None
        Seconds of the beat that the phases cover; None where the file does not say.
    """

    frames: NDArray[np.float32]
    spacing: Spacing
    cycle: float | None


def read_nifti(path: Path) -> Cine:
    """Read a 3-D volume or a 4-D cine, ``.nii`` or ``.nii.gz``.

    The slice axis is the one with by far the largest spacing, the third where none stands out. A length without a unit
    is in mm, a time step without one is not used.

    Raises
    ------
    UnreadableCine
        If it is no NIfTI, not 3-D or 4-D, too large, or not of finite numbers.
    """
    voxels, spacing, header = _load(path)
    frames = voxels.astype(np.float32)
    if not np.isfinite(frames).all():
        raise UnreadableCine(f"{path.name} has voxels that are not finite numbers; export the series again.")
    step = float(header.get_zooms()[3]) if len(header.get_zooms()) > 3 else 0.0
    seconds = step * _SECONDS.get(header.get_xyzt_units()[1], 0.0)
    return Cine(frames=frames, spacing=spacing, cycle=beat(seconds * len(frames)))


def _whole(path: Path) -> None:
    """Read a compressed file to its end, where its checksum stands: nibabel stops before, and takes damaged voxels."""
    if path.suffix == ".gz":
        with gzip.open(path) as stream:
            while stream.read(1 << 20):
                pass


def read_labels(path: Path) -> tuple[NDArray[np.uint8], Spacing]:
    """Read a label map, turned as `read_nifti` turns its cine.

    Returns
    -------
    labels : (phases, slices, rows, columns), classes as the file numbers them
    spacing : millimetres between slices, rows and columns

    Raises
    ------
    UnreadableCine
        As `read_nifti`, and if a voxel is no whole number from 0 to 255.
    """
    voxels, spacing, _ = _load(path)
    labels = np.clip(np.nan_to_num(voxels, nan=-1.0), 0, 255).astype(np.uint8)
    if not np.array_equal(labels, voxels):
        raise UnreadableCine(f"{path.name} is no label map: its voxels are not all whole numbers from 0 to 255.")
    return labels, spacing


def upright(voxels: NDArray[Scalar], spacing: Spacing, axes: Matrix) -> tuple[NDArray[Scalar], Spacing]:
    """Turn a stack as `Cine` has it.

    Parameters
    ----------
    voxels : (phases, slices, rows, columns)
    axes : (3, 3), unit vectors in DICOM's patient axes along which the slice, row and column index grow
    """
    if abs(axes[1] @ _LEFT) > abs(axes[2] @ _LEFT):
        voxels, axes = voxels.swapaxes(2, 3), axes[[0, 2, 1]]
        spacing = (spacing[0], spacing[2], spacing[1])
    wanted = (_TO_THE_BASE, _BACK_AND_DOWN, _LEFT)
    turned = tuple(n + 1 for n in range(3) if axes[n] @ wanted[n] < 0)
    return np.flip(voxels, turned), spacing


def checked(shape: tuple[int, ...], spacing: Spacing, name: str) -> None:
    """Refuse what is too large, or has no length that a cine can have, before its voxels are read.

    Raises
    ------
    UnreadableCine
        Saying which number it is.
    """
    if np.prod(shape, dtype=float) > MAX_VOXELS or min(shape) < 1:
        raise UnreadableCine(f"{name} has {' x '.join(map(str, shape))} voxels; a cine has 1 to {MAX_VOXELS} in all.")
    if not all(SPACINGS[0] <= mm <= SPACINGS[1] for mm in spacing):
        stated = " x ".join(f"{mm:g}" for mm in spacing)
        raise UnreadableCine(f"{name} states voxels of {stated} mm; state the true spacing in its header.")


def beat(seconds: float) -> float | None:
    """The length of a beat, where it can be one."""
    return seconds if CYCLES[0] <= seconds <= CYCLES[1] else None


def _load(path: Path) -> tuple[Matrix, Spacing, nib.Nifti1Header]:
    try:
        volume = nib.Nifti1Image.from_filename(path)
        header = volume.header
        shape = volume.shape if len(volume.shape) == 4 else (*volume.shape, 1)
        if len(shape) != 4:
            raise UnreadableCine(f"{path.name} has {len(volume.shape)} axes; a cine has three, and a fourth for time.")
        unit = _MILLIMETRES[header.get_xyzt_units()[0]]
        zooms = np.array(header.get_zooms()[:3], float) * unit
        slices = int(zooms.argmax()) if zooms.max() >= _THICK * np.median(zooms) else 2
        columns, rows = (axis for axis in range(3) if axis != slices)
        order = [slices, rows, columns]
        spacing = (float(zooms[slices]), float(zooms[rows]), float(zooms[columns]))
        checked(shape, spacing, path.name)
        if volume.get_data_dtype().kind not in "iuf":
            raise UnreadableCine(f"{path.name} holds colours or complex numbers; export magnitude images.")
        _whole(path)
        voxels = np.asarray(volume.dataobj).reshape(shape).transpose(3, *order)
    # zlib: damaged streams; the rest: what nibabel and numpy make of damaged headers and ends.
    except (*_NIBABEL, zlib.error, OSError, EOFError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise error if isinstance(error, UnreadableCine) else UnreadableCine(f"{path.name}: {error}.") from error
    if not (int(header["sform_code"]) or int(header["qform_code"])):
        return voxels, spacing, header  # nothing is known of the patient: the stack stays as it is stored
    steps = _LPS_OF_RAS @ volume.affine[:3, :3]
    axes = (steps / np.linalg.norm(steps, axis=0)).T[order]
    turned, spacing = upright(voxels, spacing, axes)
    return turned, spacing, header
