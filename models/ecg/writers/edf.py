"""EDF+: a recording as twelve signals of 16 bits and one of annotations (`models.ecg.formats.edf_header`)."""

from __future__ import annotations

import math
from datetime import datetime
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models.ecg.formats.edf_header import MONTHS, NO_MOMENT
from models.ecg.recording import LEADS, Filters, Recording
from models.ecg.statements import paced
from models.ecg.writers.errors import RateNotAllowed, TextNotAllowed
from models.ecg.writers.storage import Stored, store

_WIDTH = 8  # characters of every number
_CHANNELS = len(LEADS) + 1


def write(recording: Recording) -> bytes:
    """One file; what EDF+ has no field for stays behind: the time zone and what the device measured.

    Age, height and weight are additional subfields of the patient, as there is no birth to be had. A paced heart is
    told in an annotation, if no statement tells of it. Blanks in the name of the device become underscores (EDF+
    2.1.3.3). Samples come back as they are, unless one has more than 32 700 steps: then to five millionths.

    Raises
    ------
    RateNotAllowed
        If no record of whole samples has a duration that 8 characters can say.
    VoltageTooLarge
        If 16 bits do not hold a sample.
    TextNotAllowed
        If a text is too long for its field, or holds characters that the format forbids.
    """
    samples, duration = _record(recording.signal.shape[1], recording.sampling_rate)
    stored = store(recording.signal)
    notes = _notes(recording, recording.signal.shape[1] // samples, Fraction(duration))
    limits = [_limits(row, stored.step) for row in stored.samples]
    columns = (
        [*(f"ECG {lead}" for lead in LEADS), "EDF Annotations"],
        [""] * _CHANNELS,
        [*(unit for *_, unit in limits), ""],
        [*(f"-{physical}" for _, physical, _ in limits), "-1"],
        [*(physical for _, physical, _ in limits), "1"],
        [*(f"-{digital}" for digital, *_ in limits), "-32768"],
        [*(str(digital) for digital, *_ in limits), "32767"],
        [*[_prefilter(recording.filters)] * len(LEADS), ""],
        [*[str(samples)] * len(LEADS), str(notes.shape[1] // 2)],
        [""] * _CHANNELS,
    )
    widths = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
    described = "".join(_field(cell, width) for column, width in zip(columns, widths, strict=True) for cell in column)
    head = _head(recording, len(notes), duration) + described
    return head.encode("ascii") + _records(stored, samples, notes)


def _record(samples: int, rate: float) -> tuple[int, str]:
    """Samples in a record and its duration: the one nearest to a second that divides the recording into whole ones."""
    exact = Fraction(repr(rate))
    sizes = [size for size in range(1, samples + 1) if samples % size == 0]
    for size in sorted(sizes, key=lambda size: abs(math.log(size / rate))):
        text = _shortest(size / rate)
        if text is not None and Fraction(text) * exact == size:
            return size, text
    raise RateNotAllowed(f"{samples} samples at {rate:g} Hz fill no records of EDF: resample the ECG first")


def _shortest(number: float) -> str | None:
    """A number in 7 characters, which leave room for a sign; None if it has too many digits before the point."""
    digits = len(str(int(number)))
    if digits >= _WIDTH:
        return None
    text = f"{number:.{max(_WIDTH - 2 - digits, 0)}f}"[: _WIDTH - 1]
    return text.rstrip("0").rstrip(".") if "." in text else text


def _limits(row: NDArray[np.int16], step: float) -> tuple[int, str, str]:
    """Largest digital value, its physical value, and the unit: exact for whole hundreds of steps of 10 nV."""
    peak = int(np.abs(row.astype(np.int32)).max())
    hundreds = 100 * max(-(-peak // 100), 1)
    digital = hundreds if hundreds < 2**15 else 2**15 - 1
    microvolts = _shortest(digital * step)
    if microvolts is not None:
        return digital, microvolts, "uV"
    return digital, str(_shortest(digital * step / 1000)), "mV"


def _field(text: str, width: int) -> str:
    if len(text) > width or not (text.isascii() and text.isprintable()):
        raise TextNotAllowed(f"{text[:90]!r} is no field of EDF: up to {width} printable characters of ASCII")
    return text.ljust(width)


def _head(recording: Recording, records: int, duration: str) -> str:
    moment = recording.acquired_at
    known = (("age", recording.age), ("height", recording.height), ("weight", recording.weight))
    body = "".join(f" {name}={value:.6g}" for name, value in known if value is not None)
    patient = f"{_subfield(recording.patient_id)} {recording.sex or 'X'} X X{body}"
    device = _subfield((recording.device or "").replace(" ", "_"))
    cells = (
        ("0", 8),
        (patient, 80),
        (f"Startdate {_full_date(moment)} X X {device}", 80),
        (_date(moment or NO_MOMENT), 8),
        (f"{moment or NO_MOMENT:%H.%M.%S}", 8),
        (str(256 * (1 + _CHANNELS)), 8),
        ("EDF+C", 44),
        (str(records), 8),
        (duration, 8),
        (str(_CHANNELS), 4),
    )
    return "".join(_field(text, width) for text, width in cells)


def _subfield(text: str | None) -> str:
    if text and " " in text:
        raise TextNotAllowed(f"{text[:80]!r} holds a blank, which separates the subfields of EDF+")
    return text or "X"


def _full_date(moment: datetime | None) -> str:
    return "X" if moment is None else f"{moment.day:02}-{MONTHS[moment.month - 1]}-{moment.year:04}"


def _date(moment: datetime) -> str:
    """Two digits of the year say 1985 to 2084; ``yy`` stands for every other one (EDF+ 2.1.3.2)."""
    year = f"{moment.year % 100:02}" if 1985 <= moment.year <= 2084 else "yy"
    return f"{moment.day:02}.{moment.month:02}.{year}"


def _prefilter(filters: Filters) -> str:
    said = (("HP", filters.high_pass), ("LP", filters.low_pass), ("N", filters.notch))
    return " ".join(f"{name}:{hertz:.6g}Hz" for name, hertz in said if hertz is not None)


def _notes(recording: Recording, records: int, duration: Fraction) -> NDArray[np.uint8]:
    """(records, bytes): when each record starts, and the statements, spread over the records in their order."""
    texts = list(recording.statements)
    if recording.paced and not paced(texts):
        texts.append("PACED RHYTHM")
    first = Fraction(recording.acquired_at.microsecond if recording.acquired_at else 0, 10**6)
    share = -(-len(texts) // records)  # of each record
    rows = []
    for n in range(records):
        said = "".join(f"+{_seconds(first)}\x14{text}\x14\0" for text in texts[n * share : (n + 1) * share])
        rows.append(f"+{_seconds(first + n * duration)}\x14\x14\0{said}".encode())
    length = max(map(len, rows))
    filled = b"".join(row.ljust(length + length % 2, b"\0") for row in rows)
    return np.frombuffer(filled, np.uint8).reshape(records, -1)


def _seconds(time: Fraction) -> str:
    return f"{float(time):.9f}".rstrip("0").rstrip(".")


def _records(stored: Stored, samples: int, notes: NDArray[np.uint8]) -> bytes:
    """Each record: a run of every lead, and its annotations."""
    runs = stored.samples.astype("<i2").reshape(len(LEADS), -1, samples).transpose(1, 0, 2)
    return np.hstack([np.ascontiguousarray(runs).reshape(len(notes), -1).view(np.uint8), notes]).tobytes()
