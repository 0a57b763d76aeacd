"""CSV, TSV and their like: a header row of lead names, one row a sample, and comment lines for rate and unit."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile
from models.ecg.leads import MAX_SAMPLES, arrange, lead_name
from models.ecg.patient import age_in_years, sex_of
from models.ecg.recording import Recording
from models.ecg.stated import Stated

MAX_COLUMNS = 64
_MAX_PREFACE = 200  # comment lines before the table

_COMMENT = re.compile(r"#\s*([A-Za-z_ ]+?)\s*(?:[=:]\s*|\s(?=\d))(\S.*?)\s*")
_RATE_KEYS = {
    "fs", "rate", "hz", "sampling_rate", "sampling_rate_hz", "sampling rate", "sampling frequency", "frequency",
}  # fmt: skip
_UNIT_KEYS = {"unit", "units"}
_NUMBER = re.compile(r"\s*(?:[-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][-+]?\d+)?|nan|NaN)?\s*")
_HEADER_UNIT = re.compile(r"[(\[]\s*([munµμ]?V)\s*[)\]]", re.IGNORECASE)
_TIME = re.compile(r"(?:time|t)\s*(?:[(\[_]\s*(s|sec|seconds|ms|milliseconds)\s*[)\]]?)?", re.IGNORECASE)
_SLOWEST = 20.0  # hertz; no ECG is sampled below, but seconds counted in milliseconds come out so
_ROUNDING = 2e-4  # two timestamps rounded to a millisecond, 10 s apart
_EMPTY_CELL = rb"(?:(?<=[%b])|(?<=\n)|^)[ \t]*(?=[%b\r\n]|$)"


@dataclass(frozen=True)
class _Preface:
    """What stands before the numbers: comments, separator, labels (None without a header row), where they start."""

    comments: dict[str, str]
    separator: str
    labels: tuple[str, ...] | None
    columns: int
    start: int


def matches(data: bytes) -> bool:
    """Whether this is text with a row of lead names, or of numbers, in at least two columns."""
    if b"\0" in data[:4096]:
        return False
    preface = _preface(data)
    return preface is not None and (preface.labels is None or any(map(lead_name, preface.labels)))


def read(data: bytes, stated: Stated) -> Recording:
    """Read the table; nothing that it does not say is guessed.

    Raises
    ------
    MissingMetadata
        If rate, unit or lead names are stated neither in the file nor with the request.
    EcgError
        If the table is broken, too large, or does not hold the twelve leads.
    """
    preface = _preface(data)
    if preface is None:
        raise DecodeError("no table of numbers was found")
    labels = stated.agreed_leads(preface.labels, preface.columns)
    is_time = [_TIME.fullmatch(label.strip()) for label in labels]
    table = _numbers(data[preface.start :], preface)
    rate = stated.agreed_rate(_rate(preface.comments, table, is_time))
    scale = stated.agreed_unit(_unit(preface))
    columns = zip(labels, table.T * scale, is_time, strict=True)
    signal, derived, remarks = arrange((label, samples) for label, samples, time in columns if not time)
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=age_in_years(preface.comments.get("age")),
        sex=sex_of(preface.comments.get("sex")),
        source_format="CSV",
        derived=derived,
        remarks=remarks,
    )


def _preface(data: bytes) -> _Preface | None:
    """Comments and header row; None if no row of at least two cells follows."""
    comments: dict[str, str] = {}
    position = len(b"\xef\xbb\xbf") if data.startswith(b"\xef\xbb\xbf") else 0
    for _ in range(_MAX_PREFACE):
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        line = data[position : min(end, position + 4096)].decode("utf-8", errors="replace").strip("\r\ufeff")
        if line.strip() and not line.startswith("#"):
            return _first_row(line, comments, position, end + 1)
        if found := _COMMENT.fullmatch(line.rstrip()):
            comments[found[1].strip().lower()] = found[2]
        if end >= len(data):
            break
        position = end + 1
    return None


def _first_row(line: str, comments: dict[str, str], position: int, following: int) -> _Preface | None:
    separator = next((mark for mark in "\t;," if mark in line), None)  # a comma beside one of the others is decimal
    if separator is None:
        return None
    cells = tuple(cell.strip().strip('"') for cell in line.split(separator))
    if all(_NUMBER.fullmatch(cell) for cell in cells):
        return _Preface(comments, separator, None, len(cells), position)
    return _Preface(comments, separator, cells, len(cells), following)


def _numbers(body: bytes, preface: _Preface) -> NDArray[np.float64]:
    """(rows, columns); an empty cell is NaN."""
    if preface.columns > MAX_COLUMNS:
        raise UnsafeFile(f"a table of {preface.columns} columns is no ECG")
    if not body.strip():
        raise TruncatedFile("the table ends behind its header")
    if body.count(b"\n") > MAX_SAMPLES:
        raise UnsafeFile(f"a table of more than {MAX_SAMPLES} rows is no ECG")
    separator = preface.separator.encode()
    if separator != b"," and b"," in body:
        body = body.replace(b",", b".")  # the decimal comma that goes with a semicolon or tab
    try:
        table = _parse(body, preface.separator)
    except ValueError:
        filled = re.sub(_EMPTY_CELL % (separator, separator), b"nan", body.strip(b"\r\n"))
        try:
            table = _parse(filled, preface.separator)
        except ValueError as error:
            raise DecodeError("a cell of the table is no number, or its rows differ in length") from error
    if table.shape[0] == 0 or table.shape[1] != preface.columns:
        raise DecodeError(f"the header names {preface.columns} columns, the table has {table.shape[1]}")
    return table


def _parse(body: bytes, separator: str) -> NDArray[np.float64]:
    table: NDArray[np.float64] = np.loadtxt(
        io.BytesIO(body), delimiter=separator, ndmin=2, comments=None, encoding="ascii"
    )
    return table


def _unit(preface: _Preface) -> str | None:
    """Unit of all columns, from a comment or from the header cells, as in ``V1 (uV)``."""
    said = {value for key, value in preface.comments.items() if key in _UNIT_KEYS}
    said |= {found[1] for label in preface.labels or () if (found := _HEADER_UNIT.search(label))}
    if len(said) > 1:
        raise DecodeError(f"the table states several units: {', '.join(sorted(said))[:80]}")
    return next(iter(said), None)


def _rate(comments: dict[str, str], table: NDArray[np.float64], is_time: list[re.Match[str] | None]) -> float | None:
    """Hertz from a comment, else from the time column; None if neither is there."""
    said = next((value for key, value in comments.items() if key in _RATE_KEYS), None)
    if said is not None:
        number = re.match(r"\d+(?:\.\d+)?(?=\s*(?:hz)?$)", said.lower())
        if number is None:
            raise DecodeError(f"{said[:40]!r} is no sampling rate")
        return float(number[0])
    column = next((n for n, time in enumerate(is_time) if time), None)
    if column is None:
        return None
    match = is_time[column]
    return _rate_of(table[:, column], (match[1] if match else None) or "s")


def _rate_of(times: NDArray[np.float64], unit: str) -> float:
    """Hertz of an evenly running clock; its rounding (to milliseconds, over seconds) is told from its pace."""
    steps = np.diff(times)
    step = float(np.median(steps)) if len(steps) else 0.0
    if not (step > 0 and (np.abs(steps - step) <= step / 2).all()):  # half a step: timestamps are rounded when written
        raise DecodeError("the time column does not run evenly")
    seconds = (times[-1] - times[0]) * (1e-3 if unit.lower().startswith("m") else 1.0)
    rate = float(len(steps) / seconds)
    if rate < _SLOWEST:
        raise DecodeError(f"the time column runs at {rate:g} Hz: name it time_ms if it counts milliseconds")
    return float(round(rate)) if abs(rate - round(rate)) < _ROUNDING * rate else rate
