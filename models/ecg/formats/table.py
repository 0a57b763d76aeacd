"""Table: leads as rows of numbers, with what their file says of them in words; common to CSV, Parquet and arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, UnsafeFile
from models.ecg.leads import MAX_LEADS, MAX_SAMPLES, arrange
from models.ecg.measurements import plausible
from models.ecg.patient import age_in_years, height_of, sex_of, weight_of
from models.ecg.recording import Filters, Recording, Remark
from models.ecg.stated import Stated
from models.ecg.statements import kept, paced
from models.ecg.text import moment
from models.ecg.units import millivolts_per

MAX_CELLS = 16 * MAX_SAMPLES
"""Of one table: 64 MB as floating point numbers, of which two or three exist at a time."""

RATE_KEYS = frozenset(
    {"fs", "rate", "hz", "frequency", "sampling_rate", "sampling_rate_hz", "sampling_frequency", "sample_rate"}
    | {"curr_sample_rate"}  # in the MAT files into which CODE-15 % is often unpacked
)
UNIT_KEYS = frozenset({"unit", "units"})

_Number = TypeVar("_Number", bound=np.generic)

_NUMBER = re.compile(r"[-+]?\d{1,9}(?:\.\d{0,20})?")
_RATE = re.compile(r"(\d{1,9}(?:\.\d{0,20})?)\s*(?:hz)?", re.IGNORECASE)
_LABEL_UNIT = re.compile(r"[\s_/(\[]\s*([munµμ]?V)\s*[)\]]?", re.IGNORECASE)
_TIME = re.compile(r"(?:time|t)\s*(?:[(\[_]\s*(s|sec|seconds|ms|milliseconds)\s*[)\]]?)?", re.IGNORECASE)
_ANSWERS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_SLOWEST = 20.0  # hertz; no ECG is sampled below, but seconds counted in milliseconds come out so
_ROUNDING = 2e-4  # two timestamps rounded to a millisecond, 10 s apart


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """Numbers and words.

    Attributes
    ----------
    rows : ndarray, (leads, samples) float64
        NaN where a cell is empty; a clock may be among them.
    labels : tuple of str or None
        Of each row; None where the file has none.
    said : mapping
        What else the file says, by keys in small letters with underscores: ``fs``, ``unit``, ``age``, ``device`` …
    statements : tuple of str
    """

    rows: NDArray[np.float64]
    labels: tuple[str, ...] | None
    said: Mapping[str, str]
    statements: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()


def recording_of(table: Table, stated: Stated, source_format: str) -> Recording:
    """The recording in a table; nothing that neither it nor the request says is guessed.

    Raises
    ------
    MissingMetadata
        If nobody says rate, unit or lead names.
    EcgError
        If what is said contradicts itself, or there are not the twelve leads.
    """
    said = table.said
    labels = stated.agreed_leads(table.labels, len(table.rows))
    clocks = [_TIME.fullmatch(label.strip()) for label in labels]
    rate = stated.agreed_rate(_rate(said, table.rows, clocks))
    unit = stated.agreed_unit(_unit(said, labels))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by the recording
        rows = table.rows * unit
    channels = zip(labels, rows, clocks, strict=True)
    signal, derived, remarks = arrange((bare(label), samples) for label, samples, clock in channels if not clock)
    statements = kept(table.statements)
    answer = _ANSWERS.get(said.get("paced", "").lower())
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=age_in_years(said.get("age")),
        sex=sex_of(said.get("sex")),
        height=height_of(said.get("height")),
        weight=weight_of(said.get("weight")),
        patient_id=said.get("patient_id") or None,
        acquired_at=moment(said.get("acquired_at")),
        device=said.get("device") or None,
        filters=Filters(**{name: _number(said.get(name)) or None for name in ("high_pass", "low_pass", "notch")}),
        paced=paced(statements) if answer is None else answer,
        measured=plausible({name: _number(value) for name, value in said.items()}),
        statements=statements,
        source_format=source_format,
        derived=derived,
        remarks=remarks + table.remarks,
    )


def by_lead(matrix: NDArray[_Number]) -> NDArray[_Number]:
    """(leads, samples) of a matrix that does not say which of its axes is which: an ECG has more samples than leads.

    Raises
    ------
    DecodeError
        If it is square.
    UnsafeFile
        If it has more leads or samples than any ECG.
    """
    leads, samples = sorted(matrix.shape)
    if leads == samples:
        raise DecodeError(f"a matrix of {leads} x {samples} does not show which are the leads and which the samples")
    if leads > MAX_LEADS or samples > MAX_SAMPLES or leads * samples > MAX_CELLS:
        raise UnsafeFile(f"a matrix of {leads} x {samples} is no ECG")
    return matrix if matrix.shape[0] == leads else matrix.T


def _rate(said: Mapping[str, str], rows: NDArray[np.float64], clocks: list[re.Match[str] | None]) -> float | None:
    """Hertz as said, else from a clock among the rows; None if neither is there."""
    rates = {_hertz(value) for key, value in said.items() if key in RATE_KEYS}
    if len(rates) > 1:
        raise DecodeError(f"the file states several sampling rates: {', '.join(f'{rate:g}' for rate in sorted(rates))}")
    pace = next((_pace(row, clock[1] or "s") for row, clock in zip(rows, clocks, strict=True) if clock), None)
    said_rate = next(iter(rates), None)
    if pace is not None and said_rate is not None and abs(pace - said_rate) > _ROUNDING * said_rate + 1 / len(rows[0]):
        raise DecodeError(f"the file states {said_rate:g} Hz, and its time column runs at {pace:g} Hz")
    return pace if said_rate is None else said_rate


def _hertz(text: str) -> float:
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise DecodeError(f"{text[:40]!r} is no sampling rate")
    return float(found[1])


def _pace(times: NDArray[np.float64], unit: str) -> float:
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


def _unit(said: Mapping[str, str], labels: tuple[str, ...]) -> str | None:
    """Unit of all rows, as said or from the labels, as in ``V1 (uV)``."""
    units = [value for key, value in said.items() if key in UNIT_KEYS]
    units += [found[1] for label in labels if (found := _unit_in(label))]
    if len({*map(millivolts_per, units)}) > 1:
        raise DecodeError(f"the table states several units: {', '.join(sorted(set(units)))[:80]}")
    return units[0] if units else None


def _unit_in(label: str) -> re.Match[str] | None:
    """The unit at the end of a label."""
    tail = label.rstrip()[-10:]
    return next((found for n in range(len(tail)) if (found := _LABEL_UNIT.fullmatch(tail, n))), None)


def bare(label: str) -> str:
    """A label without its unit."""
    found = _unit_in(label)
    return label.rstrip().removesuffix(found[0]) if found else label


def _number(text: str | None) -> float | None:
    return float(text) if text and _NUMBER.fullmatch(text) else None
