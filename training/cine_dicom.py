"""Cine from DICOM: a folder or a zip of single images, as UK Biobank field 20209 is delivered, put into one stack."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from training.cine import Cine, UnreadableCine, beat, checked, upright

MAX_FILES = 4000
MAX_FILE = 8 * 2**20
MAX_TOTAL = 2**30
"""Bytes: UK Biobank has about 500 files of 90 kB a visit, research scanners a few thousand."""

_SHORT_AXIS = re.compile(r"(?i)(?<![a-z])(sax?|short[ _-]?axis)(?![a-z])")
_DRAWN_UPON = re.compile(r"(?i)inlinevf")
"""Siemens' inline ventricular function: copies of the short axis with contours drawn into the pixels."""

_PARALLEL = np.cos(np.radians(2.0))
_SAME_PLACE = 1.0  # mm along the normal
_ALIGNED = 5.0  # mm in the plane that slices may be shifted against each other
_EVEN = 0.1  # of the slice step
_BEAT_SPANNED = 5  # phases from which trigger times tell how long the beat is

_TAGS = [
    *("SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "InstanceNumber"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("TriggerTime", "NominalInterval", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept", "PixelData"),
]


class MixedSeries(UnreadableCine):
    """Images of more than one view; name the series to read."""


class IncompleteStack(UnreadableCine):
    """Slices or phases are missing, or the slices are no stack."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Image:
    """One slice at one phase; lengths in mm, times in ms."""

    series: str
    number: int
    description: str
    instance: int
    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    """(3, 3): along slices, rows, columns."""
    pixel: tuple[float, float]
    step: float | None
    trigger: float | None
    beat: float | None
    dataset: Dataset

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.dataset.Rows), int(self.dataset.Columns)

    @property
    def place(self) -> float:
        """Millimetres along the normal."""
        return float(self.position @ self.axes[0])


# zlib: damaged streams; struct and Overflow: damaged sizes; EOF: ends; the rest: what pydicom makes of them.
_DAMAGED = (
    zlib.error,
    struct.error,
    ValueError,
    OverflowError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
)


def read_dicom(source: Path | bytes, series: str | None = None) -> Cine:
    """Read the short-axis cine of a folder or zip of single-frame DICOM images.

    Slices are told by where they lie along the normal, phases by trigger time, or by instance number where it is
    missing. A slice that was imaged again under the same description is taken from the last series. What is no DICOM
    (a manifest) is passed over.

    Parameters
    ----------
    source : folder, zip, or bytes of a zip
    series : part of the SeriesDescription to read; without it the one view there is, or the one called short axis

    Raises
    ------
    MixedSeries
        If there is more than one view and no description says which one is the short axis.
    IncompleteStack
        If a slice or a phase is missing, or the slices are not parallel and evenly spaced.
    UnreadableCine
        If there is no image, too much, or an image that cannot be decoded.
    """
    images = _one_view([_image(name, data) for name, data in _files(source)], series)
    stack = _stack(images)
    cycle = _cycle(stack)
    first = stack[0][0]
    spacing = (_step(stack), *first.pixel)
    checked((len(stack[0]), len(stack), *first.shape), spacing, "The short-axis series")
    voxels = np.stack([[_pixels(image) for image in phases] for phases in stack], axis=1)
    frames, spacing = upright(voxels, spacing, first.axes)
    return Cine(frames=frames, spacing=spacing, cycle=cycle)


def _files(source: Path | bytes) -> Iterator[tuple[str, bytes]]:
    """The DICOM files, bounded before they are read."""
    if isinstance(source, Path) and source.is_dir():
        entries = [(path.name, path.stat().st_size) for path in sorted(source.iterdir()) if path.is_file()]
        _bounded(entries)
        yield from _dicom((name, (source / name).read_bytes()) for name, _ in entries)
        return
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            entries = [(info.filename, info.file_size) for info in archive.infolist() if not info.is_dir()]
            _bounded(entries)
            yield from _dicom((name, archive.read(name)) for name, _ in entries)
    except (zipfile.BadZipFile, *_DAMAGED) as error:
        raise UnreadableCine(f"No folder and no readable zip: {error}.") from error


def _dicom(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    return ((name, data) for name, data in files if data[128:132] == b"DICM")


def _bounded(entries: Sequence[tuple[str, int]]) -> None:
    sizes = [size for _, size in entries]
    if len(sizes) > MAX_FILES or max(sizes, default=0) > MAX_FILE or sum(sizes) > MAX_TOTAL:
        raise UnreadableCine(
            f"{len(sizes)} files of {sum(sizes)} bytes, the largest {max(sizes)}; at most {MAX_FILES} of {MAX_FILE} "
            f"bytes and {MAX_TOTAL} in all are read. Leave only the short-axis series in it."
        )


def _image(name: str, data: bytes) -> _Image:
    try:
        dataset = pydicom.dcmread(io.BytesIO(data), specific_tags=[*_TAGS])
        along_row, along_column = np.reshape([float(x) for x in dataset.ImageOrientationPatient], (2, 3))
        if int(dataset.get("NumberOfFrames") or 1) != 1 or int(dataset.SamplesPerPixel) != 1:
            raise UnreadableCine(f"{name} holds several frames or colours; export single-frame MR images.")
        height, width = (float(x) for x in dataset.PixelSpacing)
        return _Image(
            series=_raw(dataset, "SeriesInstanceUID"),
            number=int(dataset.get("SeriesNumber") or 0),
            description=str(dataset.get("SeriesDescription") or ""),
            instance=int(dataset.get("InstanceNumber") or 0),
            position=np.array([float(x) for x in dataset.ImagePositionPatient]).reshape(3),
            axes=np.array([np.cross(along_row, along_column), along_column, along_row]),
            pixel=(height, width),
            step=_number(dataset, "SpacingBetweenSlices") or _number(dataset, "SliceThickness"),
            trigger=_number(dataset, "TriggerTime"),
            beat=_number(dataset, "NominalInterval"),
            dataset=dataset,
        )
    except (InvalidDicomError, AttributeError, TypeError, KeyError, *_DAMAGED) as error:
        raise error if isinstance(error, UnreadableCine) else UnreadableCine(f"{name}: {error}.") from error


def _raw(dataset: Dataset, keyword: str) -> str:
    """A value as stored: anonymisers write identifiers that are none, and here they only tell series apart."""
    element = dataset.get_item(keyword)
    return "" if element is None else str(element.value)


def _number(dataset: Dataset, keyword: str) -> float | None:
    value = dataset.get(keyword)
    return None if value is None or value == "" else float(value)


def _one_view(images: list[_Image], series: str | None) -> list[_Image]:
    """The images of the short axis."""
    if series is not None:
        images = [image for image in images if series in image.description]
    images = [image for image in images if not _DRAWN_UPON.search(image.description)]
    if not images:
        raise UnreadableCine("There is no DICOM image in it, or none of the series asked for.")
    if not _parallel(images):
        named = [image for image in images if _SHORT_AXIS.search(image.description)]
        if series is not None or not named or not _parallel(named):
            found = sorted({image.description or f"(series {image.number}, not named)" for image in images})
            raise MixedSeries(f"Images of several views: {', '.join(found)}. Name the short-axis series.")
        images = named
    if len({(image.shape, image.pixel) for image in images}) > 1:
        raise IncompleteStack("The slices differ in pixels or pixel spacing; name one short-axis series.")
    return images


def _parallel(images: list[_Image]) -> bool:
    first = images[0].axes
    return all(np.einsum("ij,ij->i", first, image.axes).min() > _PARALLEL for image in images)


def _stack(images: list[_Image]) -> list[list[_Image]]:
    """Slice by slice, the phases in order of time."""
    images = sorted(images, key=lambda image: image.place)
    cuts = [n for n, (one, next_) in enumerate(pairwise(images), 1) if next_.place - one.place > _SAME_PLACE]
    places = [images[i:j] for i, j in pairwise([0, *cuts, len(images)])]
    stack = [_in_time(_last_taken(place)) for place in places]
    if len({len(phases) for phases in stack}) > 1:
        counts = ", ".join(str(len(phases)) for phases in stack)
        raise IncompleteStack(f"The slices do not have the same number of phases: {counts}. Export all of them.")
    return stack


def _last_taken(place: list[_Image]) -> list[_Image]:
    """One series of a slice: the last of those with one description."""
    if len({image.description for image in place}) > 1:
        found = sorted({image.description for image in place})
        raise MixedSeries(f"Series at the same place: {', '.join(found)}. Name the one to read.")
    by_series: dict[tuple[int, str], list[_Image]] = defaultdict(list)
    for image in place:
        by_series[image.number, image.series].append(image)
    return by_series[max(by_series)]


def _in_time(phases: list[_Image]) -> list[_Image]:
    triggers = [image.trigger for image in phases if image.trigger is not None]
    if len(set(triggers)) == len(phases):
        return sorted(phases, key=lambda image: image.trigger or 0.0)
    if len({image.instance for image in phases}) < len(phases):
        raise IncompleteStack("Neither trigger time nor instance number tells the phases of a slice apart.")
    return sorted(phases, key=lambda image: image.instance)


def _step(stack: list[list[_Image]]) -> float:
    """Millimetres from slice to slice, by where they lie."""
    firsts = [phases[0] for phases in stack]
    if len(firsts) == 1:
        if firsts[0].step is None:
            raise IncompleteStack("A single slice that does not say how thick it is.")
        return firsts[0].step
    steps = np.diff([image.place for image in firsts])
    if np.ptp(steps) > _EVEN * np.median(steps):
        stated = ", ".join(f"{step:.1f}" for step in steps)
        raise IncompleteStack(f"The slices are {stated} mm apart: one is missing, or lies elsewhere.")
    across = np.array([image.axes[1:] @ image.position for image in firsts])
    if np.ptp(across, axis=0).max() > _ALIGNED:
        raise IncompleteStack("The slices are shifted against each other in their plane; resample them to one grid.")
    return float(steps.mean())


def _cycle(stack: list[list[_Image]]) -> float | None:
    """Seconds of the beat: as the scanner says, else from the trigger times; the median over slices."""
    stated = [image.beat for phases in stack for image in phases if image.beat]
    if stated:
        return beat(float(np.median(stated)) / 1000)
    triggers = [[image.trigger for image in phases if image.trigger is not None] for phases in stack]
    n = len(stack[0])
    if n < _BEAT_SPANNED or any(len(times) < n for times in triggers):
        return None
    return beat(float(np.median([times[-1] - times[0] for times in triggers])) / (n - 1) * n / 1000)


def _pixels(image: _Image) -> NDArray[np.float32]:
    dataset = image.dataset
    slope = _number(dataset, "RescaleSlope")
    try:
        stored = dataset.pixel_array.astype(np.float32)
    except (AttributeError, TypeError, KeyError, *_DAMAGED) as error:
        raise UnreadableCine(f"The pixels of an image cannot be decoded: {error}. Export it uncompressed.") from error
    return stored * np.float32(1.0 if slope is None else slope) + np.float32(_number(dataset, "RescaleIntercept") or 0)
