"""EDF header: who, when and how each signal is stored, in fields of text of a fixed width.

EDF: Kemp et al., Electroencephalogr Clin Neurophysiol 1992;82:391; EDF+: Kemp and Olivan, Clin Neurophysiol
2003;114:1755 (``edfplus.info/specs``). BDF is EDF with samples of 24 bits (BioSemi).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile

MAX_SIGNALS = 64
ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
NO_MOMENT = datetime(1985, 1, 1)
"""What stands in the fields of an anonymous file: the first moment that two digits of a year can say (EDF+ 2.1.3.2)."""

_EDF, _BDF = b"0       ", b"\xffBIOSEMI"
_BLOCK = 256  # bytes of the header itself, and again of the description of each signal
_FIELDS = (80, 80, 8, 8, 8, 44, 8, 8, 4)  # behind the version: patient, recording, date, time, and five more
_SIGNAL_FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
_WHOLE = re.compile(r"[-+]?\d{1,8}")
_NUMBER = re.compile(r"[-+]?(?:\d{1,8}(?:\.\d{0,8})?|\.\d{1,8})(?:[eE][-+]?\d{1,2})?")
_PATIENT = re.compile(r"(?P<code>\S+) (?P<sex>[FMX]) (?P<birth>\d\d-[A-Za-z]{3}-\d{4}|X)(?: (?P<more>.*))?")
_RECORDING = re.compile(r"Startdate (?P<date>\S+)(?: (?P<code>\S+)(?: (?P<person>\S+)(?: (?P<device>\S+).*)?)?)?")
_DAY = re.compile(r"(\d\d?)-([A-Z]{3})-(\d{4})")
_STARTED = re.compile(r"(\d\d)[.:/-](\d\d)[.:/-](\d\d|yy) (\d\d)[.:/-](\d\d)[.:/-](\d\d)")


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One channel: its label, its unit, and the straight line from digital to physical values."""

    label: str
    unit: str
    physical: tuple[float, float]
    digital: tuple[int, int]
    prefilter: str
    samples: int


@dataclass(frozen=True, kw_only=True)
class Header:
    """A header as it stands; `records` is None where it does not say how many there are.

    Attributes
    ----------
    patient, recording : dict
        Subfields of EDF+ by name; without those that are not known, and empty where the text has no subfields.
    start : datetime or None
        Of the first record, in whole seconds.
    bytes_per_sample : int
        2 in EDF, 3 in BDF.
    kind : str
        ``EDF+C``, ``EDF+D``, ``BDF+C``, ``BDF+D``, ``24BIT`` or "".
    """

    patient: dict[str, str]
    recording: dict[str, str]
    start: datetime | None
    bytes_per_sample: int
    kind: str
    records: int | None
    duration: float
    signals: tuple[Signal, ...]

    @property
    def size(self) -> int:
        """Bytes of the header: the samples begin behind it."""
        return _BLOCK * (1 + len(self.signals))


def is_edf(data: bytes) -> bool:
    """Whether the first bytes are the version of EDF or BDF."""
    return data.startswith((_EDF, _BDF))


def parse(data: bytes) -> Header:
    """Read the header.

    Raises
    ------
    TruncatedFile
        If the file ends within it.
    UnsafeFile
        If it announces more signals than any ECG has.
    DecodeError
        If a field holds no number, or they contradict each other.
    """
    if len(data) < _BLOCK:
        raise TruncatedFile("the EDF file ends within its header")
    patient, recording, day, time, size, reserved, records, duration, count = _texts(data[8:_BLOCK], _FIELDS)
    signals = _whole(count, "number of signals")
    if not 0 < signals <= MAX_SIGNALS:
        raise UnsafeFile(f"the EDF header announces {signals} signals")
    if _whole(size, "size of the header") != _BLOCK * (1 + signals):
        raise DecodeError(f"the EDF header announces {size} bytes of itself, which {signals} signals do not have")
    if len(data) < _BLOCK * (1 + signals):
        raise TruncatedFile("the EDF file ends within the description of its signals")
    announced = _whole(records, "number of records")
    who, what = _subfields(_PATIENT, patient), _subfields(_RECORDING, recording)
    return Header(
        patient=who,
        recording=what,
        start=_start(day, time, what.get("date")),
        bytes_per_sample=3 if data.startswith(_BDF) else 2,
        kind=reserved[:5],
        records=None if announced == -1 else announced,
        duration=_number(duration, "duration of a record"),
        signals=tuple(_signals(data[_BLOCK : _BLOCK * (1 + signals)], signals)),
    )


def day_of(text: str | None) -> date | None:
    """The day that ``02-MAY-1951`` is; None for anything else."""
    found = _DAY.fullmatch((text or "").upper())
    if not found or found[2] not in MONTHS:
        return None
    try:
        return date(int(found[3]), 1 + MONTHS.index(found[2]), int(found[1]))
    except ValueError:
        return None


def _texts(block: bytes, widths: tuple[int, ...]) -> list[str]:
    """Fields of these widths, without the blanks that fill them; Latin-1, as some write ``µV``."""
    text = block.decode("latin-1")
    return [text[end - width : end].strip(" \0") for width, end in zip(widths, accumulate(widths), strict=True)]


def _signals(block: bytes, count: int) -> Iterator[Signal]:
    """The descriptions: first the labels of all signals, then the transducers of all, and so on."""
    cells = _texts(block, tuple(width for width in _SIGNAL_FIELDS for _ in range(count)))
    for n in range(count):
        label, _, unit, low, high, lowest, highest, prefilter, samples, _ = cells[n::count]
        where = f"of signal {label[:16]!r}"
        yield Signal(
            label=label,
            unit=unit,
            physical=(_number(low, f"physical minimum {where}"), _number(high, f"physical maximum {where}")),
            digital=(_whole(lowest, f"digital minimum {where}"), _whole(highest, f"digital maximum {where}")),
            prefilter=prefilter,
            samples=_whole(samples, f"samples in a record {where}"),
        )


def _whole(text: str, what: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise DecodeError(f"the {what} in the EDF header is {text[:40]!r}, which is no whole number")
    return int(text)


def _number(text: str, what: str) -> float:
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise DecodeError(f"the {what} in the EDF header is {text[:40]!r}, which is no number")
    return float(text)


def _subfields(grammar: re.Pattern[str], text: str) -> dict[str, str]:
    """Subfields that are known: EDF+ writes X for those that are not (2.1.3.3)."""
    found = grammar.fullmatch(text)
    return {name: value for name, value in (found.groupdict() if found else {}).items() if value and value != "X"}


def _start(day: str, time: str, full: str | None) -> datetime | None:
    """Date and time; the day of EDF+, which has a whole year, is the surer one; None where there is none."""
    found = _STARTED.fullmatch(f"{day} {time}")
    if not found:
        return None
    stated = day_of(full)
    try:
        year = stated.year if found[3] == "yy" and stated else int(found[3])
        year = year if year > 99 else year + (1900 if year >= 85 else 2000)
        clock = datetime(year, int(found[2]), int(found[1]), int(found[4]), int(found[5]), int(found[6]))
    except ValueError:
        return None
    if stated:
        return clock.replace(year=stated.year, month=stated.month, day=stated.day)
    return None if clock == NO_MOMENT else clock
