"""DICOM file: bytes to a data set, with our own limits on deflated files (DICOM PS3.10)."""

from __future__ import annotations

import zlib
from typing import Literal

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile, UnsupportedFormat
from models.ecg.formats import dicom_elements
from models.ecg.formats.dicom_elements import Item

MAX_INFLATED = 64 * 2**20
MAX_RATIO = 100  # waveforms shrink two- to fivefold; a megabyte of zeros a thousandfold

_PREAMBLE = 128
_META_END = 0x0002FFFF
_META_START = b"\x02\x00\x00\x00UL\x04\x00"
_ENCODINGS: dict[str, tuple[bool, Literal["<", ">"]]] = {  # explicit VR, byte order (PS3.5 10, annex A)
    ImplicitVRLittleEndian: (False, "<"),
    ExplicitVRLittleEndian: (True, "<"),
    ExplicitVRBigEndian: (True, ">"),
    DeflatedExplicitVRLittleEndian: (True, "<"),
}


def is_dicom(data: bytes) -> bool:
    """Whether there is a DICOM prefix, or at least file meta information where a file without a preamble has it."""
    return data[_PREAMBLE : _PREAMBLE + 4] == b"DICM" or data.startswith(_META_START)


def read_file(data: bytes) -> Item:
    """The data set of a DICOM file, as far as an ECG needs it.

    Raises
    ------
    TruncatedFile
        If the file ends within an element.
    UnsafeFile
        If it inflates beyond the limits above, or beyond those of `dicom_elements`.
    UnsupportedFormat
        If the transfer syntax is none that waveforms are stored in.
    DecodeError
        If an element is broken.
    """
    start = 0 if data.startswith(_META_START) else _PREAMBLE + 4
    meta, start = dicom_elements.read(data, start, last=_META_END)
    syntax = meta.text("TransferSyntaxUID")
    if syntax not in _ENCODINGS:
        raise UnsupportedFormat(f"DICOM transfer syntax {syntax[:64]!r} holds no waveforms")
    explicit, order = _ENCODINGS[syntax]
    body = data[start:]
    if syntax == DeflatedExplicitVRLittleEndian:
        body = _inflate(body)
    if not body:
        raise TruncatedFile("the DICOM file ends before its data set")
    shown = body[4:6].isalpha() and body[4:6].isupper()  # some say implicit and are not; 16 kB of UID there are none
    return dicom_elements.read(body, explicit=explicit or shown, order=order)[0]


def _inflate(body: bytes) -> bytes:
    limit = min(MAX_INFLATED, MAX_RATIO * len(body))
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = stream.decompress(body, limit)
    except zlib.error as error:
        raise DecodeError("the deflated DICOM file cannot be inflated") from error
    if stream.unconsumed_tail:
        raise UnsafeFile(f"the deflated DICOM file inflates to more than {limit} bytes")
    if not stream.eof:
        raise TruncatedFile("the deflated DICOM file ends too early")
    return inflated
