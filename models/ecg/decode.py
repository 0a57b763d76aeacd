"""Decode: bytes of an ECG file to a recording, by one ordered list of formats, asked by content and never by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from models.ecg import archive, inflate
from models.ecg.errors import DecodeError, EmptyFile, UnsafeFile, UnsupportedFormat
from models.ecg.formats import (
    aecg,
    cardiosoft,
    csv_table,
    dicom,
    edf,
    fhir,
    foreign,
    ishne,
    json_document,
    matlab,
    mfer,
    mortara,
    muse,
    numpy_array,
    parquet,
    pdf_report,
    philips,
    picture,
    schiller,
    scp,
    wfdb_record,
)
from models.ecg.recording import Recording
from models.ecg.stated import Stated

__all__ = ["FORMATS", "MAX_BYTES", "Stated", "decode"]

MAX_BYTES = 64 * 2**20
"""The largest real 10 s file met, uncompressed XML, has half a megabyte; a 24 h Holter is no resting ECG."""


class Format(Protocol):
    """What a module of `models.ecg.formats` offers."""

    def matches(self, data: bytes) -> bool:
        """Whether the bytes are of this format."""

    def read(self, data: bytes, stated: Stated) -> Recording:
        """The recording; an `EcgError` if there is none to be had."""


# From the surest mark to the weakest: DICOM, the root element and the magic numbers first, any table last.
FORMATS: tuple[Format, ...] = (
    dicom,
    scp,
    ishne,
    mfer,
    edf,
    numpy_array,
    parquet,
    matlab,
    muse,
    philips,
    cardiosoft,
    schiller,
    mortara,
    aecg,
    pdf_report,
    picture,
    foreign,
    fhir,
    json_document,
    wfdb_record,
    csv_table,
)


def decode(data: bytes, stated: Stated | None = None) -> Recording:
    """Read one ECG.

    Parameters
    ----------
    data : bytes
        The file, in one of `FORMATS`; or a zip or gzip of it, or a zip of the files of one WFDB record.
    stated : Stated, optional
        What the sender says beside the file.

    Raises
    ------
    EcgError
        And nothing else, whatever the bytes.
    """
    stated = stated or Stated()
    if not data:
        raise EmptyFile("there are no bytes")
    if len(data) > MAX_BYTES:
        raise UnsafeFile(f"{len(data) >> 20} MB is more than any resting ECG has ({MAX_BYTES >> 20} MB)")
    if inflate.matches(data):
        data = inflate.unpack(data)
    if archive.matches(data):
        return _decode_members(archive.unpack(data), stated)
    found = _format_of(data)
    if found is None:
        raise UnsupportedFormat("these bytes begin like no ECG format that is read here")
    return found.read(data, stated)


def _format_of(data: bytes) -> Format | None:
    return next((candidate for candidate in FORMATS if candidate.matches(data)), None)


def _decode_members(files: dict[str, bytes], stated: Stated) -> Recording:
    """The one record, or else the one readable file, of an archive."""
    formats = {name: found for name, content in files.items() if (found := _format_of(content))}
    if wfdb_record in formats.values():
        parts = wfdb_record.parts_of(files)
        _refuse_others(name for name in formats if name not in parts)
        return wfdb_record.read_files(files, stated)
    if numpy_array in formats.values():
        _refuse_others(name for name, found in formats.items() if found is not numpy_array)
        return numpy_array.read_files(files, stated)
    if not formats:
        raise UnsupportedFormat(f"the zip holds no ECG that is read here, only {', '.join(files)[:200] or 'nothing'}")
    _refuse_others(list(formats)[1:])
    ((name, found),) = formats.items()
    return found.read(files[name], stated)


def _refuse_others(names: Iterable[str]) -> None:
    """Two ECGs in one upload may be two patients: none is chosen here."""
    others = ", ".join(names)
    if others:
        raise DecodeError(f"the zip holds several files, send one ECG at a time: beside the first, {others[:200]}")
