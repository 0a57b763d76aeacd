"""Picture: photographs, scans and drawings of an ECG, refused, or handed to a digitizer where one is installed.

A digitizer turns a picture into samples. None comes with ecg2cmr; a package offers one by an entry point of the group
``ecg2cmr.digitizers`` (see docs/digitizers.md).
"""

from __future__ import annotations

import dataclasses
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from models.ecg.errors import DecodeError, EcgError, UnsupportedFormat
from models.ecg.formats.xml_document import root_name
from models.ecg.recording import Recording, Remark
from models.ecg.stated import Stated

GROUP = "ecg2cmr.digitizers"

_INSTEAD = (
    "send the ECG itself, as DICOM, SCP-ECG, HL7 aECG or the XML of the cart: a picture of it holds 2.5 s of most leads"
)

# (offset, bytes there, name): the published signature of each format.
_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF87a", "a GIF picture"),
    (0, b"GIF89a", "a GIF picture"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
    (0, b"II+\0\x08\0\0\0", "a BigTIFF picture"),
    (0, b"MM\0+\0\x08\0\0", "a BigTIFF picture"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
    (4, b"ftypheic", "a HEIC picture"),
    (4, b"ftypheix", "a HEIC picture"),
    (4, b"ftyphevc", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIC picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (8, b"WEBPVP8", "a WebP picture"),
)
_BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
"""Bytes of the header behind a bitmap's file header, for each version of BMP."""


class Digitizer(Protocol):
    """What an entry point of `GROUP` leads to."""

    def digitize(self, data: bytes) -> Recording:
        """The ECG that a picture shows; an `EcgError` if there is none to be had."""


def matches(data: bytes) -> bool:
    """Whether this is a picture."""
    return _kind(data) is not None


def read(data: bytes, stated: Stated) -> Recording:
    """Let a digitizer read the picture, if there is one.

    Raises
    ------
    UnsupportedFormat
        If no digitizer is installed, with what to send instead.
    EcgError
        What the digitizer raises.
    DecodeError
        If it fails in another way, or the request contradicts it.
    """
    return digitized(data, _kind(data) or "a picture", stated)


def digitized(data: bytes, kind: str, stated: Stated) -> Recording:
    """What the first installed digitizer, by name, makes of a picture of this kind; raises as `read`."""
    installed = sorted(entry_points(group=GROUP), key=lambda each: each.name)
    if not installed:
        raise UnsupportedFormat(f"this is {kind}, and pictures are not digitised here: {_INSTEAD}")
    recording = _ask(installed[0], data, kind)
    stated.agreed_rate(recording.sampling_rate)
    stated.agreed_unit("mV")
    stated.agreed_leads(recording.leads, len(recording.leads))
    message = f"read from {kind} by the digitizer {installed[0].name!r}: as exact as that is"
    remark = Remark(code="digitized", message=message)
    return dataclasses.replace(recording, source_format=kind.split(" ", 1)[1], remarks=(*recording.remarks, remark))


def _ask(installed: EntryPoint, data: bytes, kind: str) -> Recording:
    """Its answer, whatever its code does."""
    try:
        digitizer: Digitizer = installed.load()
        recording = digitizer.digitize(data)
    except EcgError:
        raise
    except Exception as error:  # a foreign package may raise anything
        failure = f"the digitizer {installed.name!r} failed on {kind} ({type(error).__name__}): {_INSTEAD}"
        raise DecodeError(failure) from error
    if not isinstance(recording, Recording):
        raise DecodeError(f"the digitizer {installed.name!r} gave no recording of {kind}: {_INSTEAD}")
    return recording


def _kind(data: bytes) -> str | None:
    """A picture by its name."""
    for offset, signature, name in _SIGNATURES:
        if data.startswith(signature, offset):
            return name
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BITMAP_HEADERS:
        return "a BMP picture"
    return "an SVG picture" if root_name(data).lower() == "svg" else None
