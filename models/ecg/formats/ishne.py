"""ISHNE 1.0: the Holter standard output file (Badilini, Ann Noninvasive Electrocardiol 1998;3:263), of resting length.

::

    ISHNE1.0 | CRC | header of 512 bytes | comments | samples, 16 bits, one of each lead in turn

The CRC covers header and comments, not the samples. No public file of a resting ECG exists in this format: the header
is read as its paper describes it, and as other readers understand Holters.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from datetime import date, datetime, time

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import ChecksumMismatch, DecodeError, MissingMetadata, TruncatedFile, UnsafeFile
from models.ecg.leads import MAX_SAMPLES, arrange
from models.ecg.patient import age_between
from models.ecg.recording import Recording, Sex
from models.ecg.stated import Stated

_MAGIC = b"ISHNE1.0"
_CHECKED = 10  # the CRC covers what stands behind itself
_MAX_LEADS = 12

_HEADER = np.dtype(
    [
        ("comments", "<i4"),
        ("samples", "<i4"),
        ("offsets", "<i4", 2),
        ("version", "<i2"),
        ("names", "S40", 2),
        ("patient", "S20"),
        ("sex", "<i2"),
        ("race", "<i2"),
        ("birth", "<i2", 3),
        ("day", "<i2", 3),
        ("made", "<i2", 3),
        ("start", "<i2", 3),
        ("leads", "<i2"),
        ("codes", "<i2", 12),
        ("qualities", "<i2", 12),
        ("steps", "<i2", 12),
        ("pacemaker", "<i2"),
        ("recorder", "S40"),
        ("rate", "<i2"),
    ]
)
_END = 522
_LEADS = dict(enumerate(("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"), start=5))
_LEADS |= {1: "bipolar", 2: "X", 3: "Y", 4: "Z", 17: "ES", 18: "AS", 19: "AI"}
_SEXES: dict[int, Sex] = {1: "M", 2: "F"}
_FAULT = -32768  # marks samples of a lead that has come off
_PACED = {0: False} | dict.fromkeys(range(1, 6), True)
_NO_MODEL = ("analog", "digital", "")


Header = np.void  # a record of the fields above


def matches(data: bytes) -> bool:
    """Whether the file begins as an ECG in this format; annotations begin with ANN."""
    return data.startswith(_MAGIC)


def read(data: bytes, stated: Stated) -> Recording:
    """Read all leads.

    Raises
    ------
    ChecksumMismatch
        If the CRC does not fit the header.
    TruncatedFile
        If there are fewer samples than the header says.
    UnsafeFile
        If it is a Holter.
    EcgError
        If the header contradicts itself, or leads are missing.
    """
    header = _header(data)
    leads = int(header["leads"])
    labels = stated.agreed_leads([_LEADS.get(code, f"lead {code}") for code in header["codes"][:leads].tolist()], leads)
    rate = stated.agreed_rate(float(header["rate"]))
    scale = stated.agreed_unit("nV")
    steps = header["steps"][:leads].tolist()
    if min(steps) <= 0:
        raise MissingMetadata("the ISHNE file does not say how much one step of its samples is")
    rows = (row * (step * scale) for row, step in zip(_samples(data, header), steps, strict=True))
    signal, derived, remarks = arrange(zip(labels, rows, strict=True))
    birth, day, recorder = _date(header["birth"]), _date(header["day"]), _text(header["recorder"])
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=age_between(birth, day) if birth and day else None,
        sex=_SEXES.get(int(header["sex"])),
        patient_id=_text(header["patient"]) or None,
        acquired_at=_moment(day, header["start"]),
        device=None if recorder.lower() in _NO_MODEL else recorder,
        paced=_PACED.get(int(header["pacemaker"])),
        source_format="ISHNE",
        derived=derived,
        remarks=remarks,
    )


def _header(data: bytes) -> Header:
    if len(data) < _END:
        raise TruncatedFile(f"the ISHNE file ends after {len(data)} bytes, within its header")
    header: Header = np.frombuffer(data, _HEADER, 1, _CHECKED)[0]
    comments, leads = int(header["comments"]), int(header["leads"])
    _check(data, comments)
    if comments < 0:
        raise DecodeError(f"the ISHNE file has comments of {comments} bytes")
    if _END + comments > len(data):
        raise TruncatedFile("the ISHNE file ends within its comments")
    if not 0 < leads <= _MAX_LEADS:
        raise DecodeError(f"the ISHNE file has {leads} leads, and the format 1 to {_MAX_LEADS}")
    return header


def _check(data: bytes, comments: int) -> None:
    """Compare the CRC with header and comments.

    The paper leaves open in which order its two bytes stand, and writers that compute none store 0.
    """
    (stored,) = struct.unpack_from("<H", data, len(_MAGIC))
    end = _END + comments
    if not stored or not _END <= end <= len(data):
        return
    computed = crc_hqx(data[_CHECKED:end], 0xFFFF)
    if stored not in (computed, computed >> 8 | (computed & 0xFF) << 8):
        raise ChecksumMismatch("the CRC of the ISHNE file does not fit its header")


def _samples(data: bytes, header: Header) -> NDArray[np.float64]:
    """(leads, samples) steps; NaN where the lead had come off."""
    start, leads, announced = _END + int(header["comments"]), int(header["leads"]), int(header["samples"])
    count, rest = divmod(len(data) - start, 2 * leads)
    if announced > MAX_SAMPLES:
        hours = announced / max(int(header["rate"]), 1) / 3600
        raise UnsafeFile(f"the ISHNE file is a Holter of {hours:.1f} h: send a resting ECG, or a part of about 10 s")
    if announced > count or not count:
        raise TruncatedFile(f"the ISHNE file has {count} of the {announced} samples that its header announces")
    if announced < count or rest:
        raise DecodeError(f"the ISHNE file has more samples than the {announced} that its header announces")
    steps = np.frombuffer(data, "<i2", count * leads, start).reshape(count, leads).T
    return np.where(steps == _FAULT, np.nan, steps.astype(np.float64))


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("latin-1").strip()


def _date(parts: NDArray[np.int16]) -> date | None:
    """Day, month, year; an impossible one, or one of negative numbers, is none."""
    day, month, year = parts.tolist()
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _moment(day: date | None, start: NDArray[np.int16]) -> datetime | None:
    hour, minute, second = start.tolist()
    try:
        return datetime.combine(day, time(hour, minute, second)) if day else None
    except ValueError:
        return None
