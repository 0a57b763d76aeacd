"""WFDB (PhysioNet): a recording as a header and one signal file in format 16 (header(5) and signal(5))."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.ecg.archive import pack
from models.ecg.recording import LEADS, Recording
from models.ecg.writers.errors import TextNotAllowed
from models.ecg.writers.identity import printable
from models.ecg.writers.storage import Stored, store

_NAME = re.compile(r"[A-Za-z0-9_-]{1,20}")  # header(5): letters, digits and underscores; PTB-XL and CinC write "-" too
_SEXES = {"F": "Female", "M": "Male"}


def write(recording: Recording, *, name: str = "ecg") -> bytes:
    """The two files of `files` in one zip, as `models.ecg.decode` takes them."""
    return pack(files(recording, name=name))


def files(recording: Recording, *, name: str = "ecg") -> dict[str, bytes]:
    """Header and signal file by their names.

    The format has no place for a patient's identifier, filters, pacing, measurements and time zone: they stay behind.

    Parameters
    ----------
    name : of the record: up to 20 letters, digits, ``_`` or ``-``.

    Raises
    ------
    TextNotAllowed
        If that is no name of a record, or device or a statement have control characters.
    VoltageTooLarge
        If 16 bits do not hold a sample.
    """
    if not _NAME.fullmatch(name):
        raise TextNotAllowed(f"{name[:80]!r} is no name of a WFDB record: up to 20 letters, digits, '_' or '-'")
    stored = store(recording.signal)
    return {
        f"{name}.hea": _header(recording, stored, name).encode(),
        f"{name}.dat": stored.samples.T.astype("<i2").tobytes(),
    }


def _header(recording: Recording, stored: Stored, name: str) -> str:
    samples = stored.samples.shape[1]
    record = f"{name} {len(LEADS)} {recording.sampling_rate:.17g} {samples}{_start(recording.acquired_at)}"
    signals = [_signal_line(name, lead, row, stored.step) for lead, row in zip(LEADS, stored.samples, strict=True)]
    return "\n".join([record, *signals, *_comments(recording)]) + "\n"


def _signal_line(name: str, lead: str, row: NDArray[np.int16], step: float) -> str:
    """File, format, gain(baseline)/unit, bits, zero, first sample, checksum, block size and lead."""
    checksum = int(row.sum(dtype=np.int64).astype(np.int16))  # the sum of all samples, in 16 bits
    return f"{name}.dat 16 {1000 / step:.17g}(0)/mV 16 0 {row[0]} {checksum} 0 {lead}"


def _start(moment: datetime | None) -> str:
    """Base time and date, on the clock of the place."""
    if moment is None:
        return ""
    fraction = f".{moment.microsecond:06}" if moment.microsecond else ""
    return f" {moment:%H:%M:%S}{fraction} {moment.day:02}/{moment.month:02}/{moment.year:04}"


def _comments(recording: Recording) -> list[str]:
    """Age and sex as the PhysioNet/CinC Challenges write them, and in the same way what else our reader reads."""
    fields = {
        "Age": None if recording.age is None else f"{recording.age:.6g}",
        "Sex": None if recording.sex is None else _SEXES[recording.sex],
        "Device": printable(recording.device) or None,
        "Height": None if recording.height is None else f"{recording.height:.6g} cm",
        "Weight": None if recording.weight is None else f"{recording.weight:.6g} kg",
    }
    said = [f"# Diagnosis: {text}" for text in recording.statements]
    return [f"# {name}: {value}" for name, value in fields.items() if value is not None] + said
