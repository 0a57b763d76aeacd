"""WFDB header: the text file that says what the signal files of a record hold (WFDB Applications Guide, header(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from models.ecg.errors import DecodeError, UnsafeFile, UnsupportedFormat
from models.ecg.formats import wfdb_comments
from models.ecg.formats.wfdb_comments import Comments
from models.ecg.formats.wfdb_samples import STORAGE
from models.ecg.leads import MAX_SAMPLES

MAX_SIGNALS = 64
MAX_BYTES = 2**20
"""A header of twelve signals has 700 bytes."""

MAX_FRAME = 64
"""Samples of one signal in a frame: more than 16 kHz of an ECG beside a channel at 250 Hz."""

_RECORD = re.compile(
    r"(?P<name>[\w-]+)(?P<segments>/\d+)?[ \t]+(?P<signals>\d{1,6})"
    r"(?:[ \t]+(?P<rate>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)(?:/\S+)?"
    r"(?:[ \t]+(?P<samples>\d{1,18})(?:[ \t]+(?P<time>[\d:.]+)(?:[ \t]+(?P<date>\d+/\d+/\d+))?)?)?)?[ \t]*"
)
_SIGNAL = re.compile(
    r"(?P<file>\S+)[ \t]+(?P<format>\d{1,4})(?:x(?P<frame>\d{1,4}))?(?::(?P<skew>\d{1,6}))?(?:\+(?P<offset>\d{1,9}))?"
    r"(?:[ \t]+(?P<gain>[-+]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,3})?)"
    r"(?:\((?P<baseline>-?\d{1,12})\))?(?:/(?P<unit>\S+))?"
    r"(?:[ \t]+\d{1,3}(?:[ \t]+(?P<zero>-?\d{1,12})(?:[ \t]+(?P<initial>-?\d{1,12})(?:[ \t]+(?P<checksum>-?\d{1,12})"
    r"(?:[ \t]+\d{1,9}(?:[ \t]+(?P<description>.*))?)?)?)?)?)?)?[ \t]*"
)
_FLAC = {508, 516, 524}  # signal(5): FLAC-compressed signals of 8, 16 and 24 bits
_GAINS = 1e-6, 1e12  # steps per unit: V with a step of a megavolt, and beyond any converter
_BREAK = re.compile(r"\r\n|\n|\r")  # str.splitlines breaks at bytes of other scripts, too
_UNCALIBRATED_GAIN = 200.0  # steps per millivolt where the header says 0 or nothing: header(5), "ADC gain"


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One signal line: where the samples are and what they mean.

    A frame holds `frame` samples of the signal; `skew` frames later than those of the others it has the same instant.
    """

    file: str
    storage: int
    frame: int
    skew: int
    offset: int
    gain: float
    baseline: int
    unit: str
    initial: int | None
    checksum: int | None
    description: str


@dataclass(frozen=True, kw_only=True)
class Header:
    """A header as it stands; `rate` and `samples`, both of frames, are None where it does not say them."""

    name: str
    rate: float | None
    samples: int | None
    started_at: datetime | None
    signals: tuple[Signal, ...]
    comments: Comments


def is_header(data: bytes) -> bool:
    """Whether these bytes are the text of a WFDB header: a record line, and a signal line of a known format."""
    if b"\0" in data[:4096]:
        return False
    lines, _ = _lines(data[:4096])
    record = _RECORD.fullmatch(lines[0]) if lines else None
    if record is None:
        return False
    if record["segments"]:
        return True
    signal = _SIGNAL.match(lines[1]) if len(lines) > 1 else None
    return signal is not None and int(signal["format"]) in _FLAC.union(STORAGE)


def parse(data: bytes) -> Header:
    """Read a header.

    Raises
    ------
    DecodeError
        If a line breaks the grammar or the numbers contradict each other.
    UnsafeFile
        If it names a file outside its folder, or more samples than any ECG has.
    UnsupportedFormat
        If it is a record of several segments, or of a storage format that is not read.
    """
    if len(data) > MAX_BYTES:
        raise UnsafeFile(f"the WFDB header has {len(data)} bytes")
    lines, comments = _lines(data)
    record = _RECORD.fullmatch(lines[0]) if lines else None
    if record is None:
        raise DecodeError("the first line of the WFDB header is no record line")
    if record["segments"]:
        raise UnsupportedFormat("a WFDB record of several segments: send one segment as its own record")
    count = int(record["signals"])
    if not 0 < count <= MAX_SIGNALS:
        raise UnsafeFile(f"the WFDB header announces {count} signals")
    if len(lines) - 1 != count:
        raise DecodeError(f"the WFDB header announces {count} signals and describes {len(lines) - 1}")
    samples = int(record["samples"] or 0) or None
    if samples and samples > MAX_SAMPLES:
        raise UnsafeFile(f"the WFDB header announces {samples} samples")
    return Header(
        name=record["name"],
        rate=float(record["rate"]) if record["rate"] else None,
        samples=samples,
        started_at=_start(record["date"], record["time"]),
        signals=tuple(_signal(line) for line in lines[1:]),
        comments=wfdb_comments.read(comments),
    )


def _lines(data: bytes) -> tuple[list[str], list[str]]:
    """Lines that say something, and comments; in UTF-8 where they are that, as comments are in any script."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    lines = [line.rstrip() for line in _BREAK.split(text) if line.strip()]
    return [line for line in lines if line[0] != "#"], [line[1:] for line in lines if line[0] == "#"]


def _signal(line: str) -> Signal:
    found = _SIGNAL.fullmatch(line)
    if found is None:
        raise DecodeError(f"no WFDB signal line: {line[:80]!r}")
    if re.search(r"[/\\:]|^\.", found["file"]):
        raise UnsafeFile(f"the WFDB header names {found['file'][:80]!r}, which is no plain file name")
    storage, frame, gain = int(found["format"]), int(found["frame"] or 1), float(found["gain"] or 0)
    if storage in _FLAC:
        raise UnsupportedFormat(f"WFDB format {storage} is compressed with FLAC: convert it to format 16 (xform)")
    if storage not in STORAGE:
        raise UnsupportedFormat(f"WFDB storage format {storage}; read are {', '.join(map(str, STORAGE))}")
    if not 0 < frame <= MAX_FRAME:
        raise UnsafeFile(f"{frame} samples of a WFDB signal in each frame")
    if gain and not _GAINS[0] <= abs(gain) <= _GAINS[1]:
        raise DecodeError(f"a WFDB gain of {gain:g} steps per unit is no converter's")
    zero = int(found["zero"] or 0)
    return Signal(
        file=found["file"],
        storage=storage,
        frame=frame,
        skew=int(found["skew"] or 0),
        offset=int(found["offset"] or 0),
        gain=gain or _UNCALIBRATED_GAIN,
        baseline=int(found["baseline"]) if found["baseline"] else zero,
        unit=found["unit"] or "mV",
        initial=int(found["initial"]) if found["initial"] else None,
        checksum=int(found["checksum"]) if found["checksum"] else None,
        description=(found["description"] or "").strip(),
    )


def _start(date: str | None, time: str | None) -> datetime | None:
    """Base date and time; None where either is missing or impossible."""
    if not (date and time):
        return None
    clock = "%H:%M:%S.%f" if "." in time else "%H:%M:%S"
    try:
        return datetime.strptime(f"{date} {time}", f"%d/%m/%Y {clock}")
    except ValueError:
        return None
