"""DICOM file: bytes to a data set, with our own limits on deflated files and on files that end early (DICOM PS3.10)."""

from __future__ import annotations

import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile, UnsupportedFormat

MAX_INFLATED = 64 * 2**20
MAX_RATIO = 100  # waveforms shrink two- to fivefold; a megabyte of zeros a thousandfold

_PREAMBLE = 128
_META_GROUP = 0x0002
_META_START = b"\x02\x00\x00\x00UL\x04\x00"
_ENCODINGS = {  # transfer syntax: (implicit VR, little endian), PS3.5 section 10 and annex A
    ImplicitVRLittleEndian: (True, True),
    ExplicitVRLittleEndian: (False, True),
    ExplicitVRBigEndian: (False, False),
    DeflatedExplicitVRLittleEndian: (False, True),
}
# Whatever pydicom and its converters raise on damaged elements; found by changing bytes of real files at random.
_PARSING_ERRORS = (
    AttributeError,
    EOFError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    TypeError,
    UserWarning,
    ValueError,
    struct.error,
    OSError,
)
_ONE_AT_A_TIME = threading.Lock()  # warning filters belong to the whole process

# pydicom quotes values, that is patients, in its warnings: they are not for any log.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def is_dicom(data: bytes) -> bool:
    """Whether there is a DICOM prefix, or at least file meta information where a file without a preamble has it."""
    return data[_PREAMBLE : _PREAMBLE + 4] == b"DICM" or data.startswith(_META_START)


@contextmanager
def parsing() -> Iterator[None]:
    """Turn what pydicom raises or warns of into our errors, for the time of one file.

    Values that break the rules of their VR are let through, as carts write many; an early end of the file is not.

    Raises
    ------
    TruncatedFile
        If pydicom reached the end of the file within an element.
    DecodeError
        If it could not make sense of one.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".* in file ")
        try:
            yield
        except _PARSING_ERRORS as error:
            if isinstance(error, EOFError | OSError | UserWarning):  # OSError: "no tag to read" at the end
                raise TruncatedFile("the DICOM file ends within an element") from error
            raise DecodeError("an element of the DICOM file cannot be read") from error


def read_file(data: bytes) -> tuple[Dataset, bool]:
    """Parse a DICOM file; to be called within `parsing`.

    Returns
    -------
    dataset : Dataset
        Its elements are converted when they are looked at.
    little_endian : bool
        Byte order of the samples.

    Raises
    ------
    TruncatedFile
        If the file ends within its last element.
    UnsafeFile
        If it inflates beyond the limits above.
    UnsupportedFormat
        If the transfer syntax is none that waveforms are stored in.
    """
    stream = io.BytesIO(data)
    stream.seek(0 if data.startswith(_META_START) else _PREAMBLE + 4)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != _META_GROUP)
    syntax = meta.get("TransferSyntaxUID")
    if syntax not in _ENCODINGS:
        raise UnsupportedFormat(f"DICOM transfer syntax {str(syntax)[:64]!r} holds no waveforms")
    implicit, little = _ENCODINGS[syntax]
    body = data[stream.tell() :]
    if syntax == DeflatedExplicitVRLittleEndian:
        body = _inflate(body)
    dataset = read_dataset(io.BytesIO(body), implicit, little)
    _check_end(dataset)
    return dataset, little


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


def _check_end(dataset: Dataset) -> None:
    """Only the last element can be cut, and pydicom keeps what is left of it without a word."""
    if not dataset:
        raise TruncatedFile("the DICOM file ends before its data set")
    last: object = dataset.get_item(max(dataset.keys()))
    # Elements with a length of their own are still raw; the others end with a delimiter, which pydicom insists on.
    if isinstance(last, RawDataElement) and last.length != len(last.value or b""):
        raise TruncatedFile("the DICOM file ends within its last element")
