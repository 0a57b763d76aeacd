"""JSON: ``{"sampling_rate_hz": 500, "unit": "uV", "leads": {"I": [...], ...}, "patient": {"age": 78, "sex": "F"}}``.

The signal may also come as ``"signal": [[...], ...]`` with ``"lead_names": [...]``, one list a lead. A sample that is
missing is null or NaN. What else may be said is what `models.ecg.writers.json_document` writes: height and weight of
the patient, ``acquired_at``, ``device``, ``filters``, ``paced``, ``measurements``, ``statements``, ``derived``.
"""

from __future__ import annotations

import re
from array import array
from datetime import datetime
from typing import Annotated

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, ValidationError

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile, UnsupportedFormat
from models.ecg.leads import MAX_LEADS, MAX_SAMPLES, arrange
from models.ecg.measurements import plausible
from models.ecg.patient import age_in_years, height_of, sex_of, weight_of
from models.ecg.recording import INDEPENDENT_LEADS, LEADS, Filters, Recording
from models.ecg.stated import Stated
from models.ecg.statements import kept, paced
from models.ecg.text import moment

MAX_DEPTH = 16
MAX_CONTAINERS = 100_000
MAX_CELLS = 12 * MAX_SAMPLES
"""Numbers of one document, each an object of its own until it is in an array."""

_DERIVABLE = tuple(lead for lead in LEADS if lead not in INDEPENDENT_LEADS)
_WANTED = 'send {"sampling_rate_hz": …, "unit": …, "leads": {name: samples}}, or "signal" and "lead_names"'
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_PARTS = {**dict.fromkeys((b"[", b"]", b"{", b"}", b":"), MAX_CONTAINERS), b'"': 4 * MAX_CONTAINERS}
_NAN = re.compile(rb"(?<=[\[,\s])NaN(?=[\],\s])")

# A sender's own identifier may be a number; everything else keeps its type.
_Text = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)]


def _moment(value: object) -> datetime:
    """Never from a number, which pydantic would count as seconds since 1970."""
    found = moment(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("a date is needed, as 2026-03-01T10:20:30+01:00")
    return found


_Moment = Annotated[datetime, BeforeValidator(_moment)]

_SPELLINGS = {"sampling rate": ("sampling_rate_hz", "sampling_rate", "fs"), "unit": ("unit", "units")}


class _Patient(BaseModel, extra="ignore"):
    age: _Text | None = None
    sex: str | None = None
    id: _Text | None = None
    height: _Text | None = None
    weight: _Text | None = None


class _Filters(BaseModel, extra="ignore"):
    high_pass: float | None = None
    low_pass: float | None = None
    notch: float | None = None


class _Document(BaseModel, extra="ignore"):
    """Everything but the samples, which are checked faster below."""

    sampling_rate: Annotated[float, Field(gt=0, strict=True)] | None = Field(
        None, validation_alias=AliasChoices(*_SPELLINGS["sampling rate"])
    )
    unit: str | None = Field(None, validation_alias=AliasChoices(*_SPELLINGS["unit"]))
    lead_names: list[str] | None = None
    acquired_at: _Moment | None = None
    device: str | None = None
    paced: bool | None = None
    patient: _Patient = _Patient()
    filters: _Filters = _Filters()
    measurements: dict[str, float | None] = {}
    statements: list[str] = []
    derived: list[str] = []


def matches(data: bytes) -> bool:
    """Whether this begins as a JSON object or array does."""
    return re.match(rb"(?:\xef\xbb\xbf)?\s*[{\[]", data[:64]) is not None


def read(data: bytes, stated: Stated) -> Recording:
    """Read the document.

    Raises
    ------
    UnsafeFile
        If it is nested deeper, or into more parts, than an ECG is.
    EcgError
        If it is no JSON, its samples are no numbers, or rate, unit or leads are missing.
    """
    content = _parse(data)
    document = _validated(content)
    names, rows = _rows(content, document.lead_names)
    rate = stated.agreed_rate(document.sampling_rate)
    scale = stated.agreed_unit(document.unit)
    labels = stated.agreed_leads(names, len(rows))
    truths = b"true" in data or b"false" in data
    channels = ((label, _samples(label, row, scale, truths)) for label, row in zip(labels, rows, strict=True))
    signal, derived, remarks = arrange(channels)
    patient, statements = document.patient, kept(document.statements)
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=age_in_years(patient.age),
        sex=sex_of(patient.sex),
        height=height_of(patient.height),
        weight=weight_of(patient.weight),
        patient_id=patient.id,
        acquired_at=document.acquired_at,
        device=document.device,
        filters=_filters(document.filters),
        paced=paced(statements) if document.paced is None else document.paced,
        measured=plausible(document.measurements),
        statements=statements,
        source_format="JSON",
        derived=tuple(lead for lead in _DERIVABLE if lead in {*derived, *document.derived}),
        remarks=remarks,
    )


def load(data: bytes) -> object:
    """What a document holds.

    Raises
    ------
    UnsafeFile
        If it is nested deeper, or into more parts, than an ECG is.
    TruncatedFile, DecodeError
        If it ends too early, or is no JSON.
    """
    _check_nesting(data)
    text = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return orjson.loads(_NAN.sub(b"null", text) if b"NaN" in text else text)
    except orjson.JSONDecodeError as error:
        broken = TruncatedFile if error.pos >= len(error.doc) else DecodeError
        raise broken(f"this is no JSON: {error.msg}") from error


def _parse(data: bytes) -> dict[str, object]:
    content = load(data)
    if not isinstance(content, dict):
        raise UnsupportedFormat(f"this JSON document is no ECG: {_WANTED}")
    return content


def _check_nesting(data: bytes) -> None:
    """Count marks before anything is built from them; those within strings count too, which no ECG minds."""
    if any(data.count(mark) > most for mark, most in _PARTS.items()):
        raise UnsafeFile(f"the JSON document has more than {MAX_CONTAINERS} parts")
    if data.count(b",") > MAX_CELLS:
        raise UnsafeFile(f"the JSON document has more than {MAX_CELLS} numbers, more than any resting ECG")
    if data.count(b"NaN") > MAX_SAMPLES:
        raise UnsafeFile(f"more than {MAX_SAMPLES} samples of the JSON document are missing")
    brackets = np.frombuffer(data.translate(None, _OTHERS), np.uint8)
    depth = np.cumsum(np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1))
    if depth.max(initial=0) > MAX_DEPTH:
        raise UnsafeFile(f"the JSON document is nested deeper than {MAX_DEPTH} levels")


def _validated(content: dict[str, object]) -> _Document:
    for what, names in _SPELLINGS.items():
        said = [content[name] for name in names if name in content]
        if any(each != said[0] for each in said):
            raise DecodeError(f"the JSON document states its {what} twice, and differently")
    described = {key: value for key, value in content.items() if key not in {"leads", "signal"}}
    try:
        return _Document.model_validate(described)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DecodeError(f"{where} of the JSON document: {first['msg']}") from error


def _rows(content: dict[str, object], names: list[str] | None) -> tuple[list[str] | None, list[object]]:
    """Labels, if there are any, and the list of samples of each lead."""
    leads, signal = content.get("leads"), content.get("signal")
    if isinstance(leads, dict) and signal is None:
        if len(leads) > MAX_LEADS:
            raise UnsafeFile(f"{len(leads)} leads are no ECG")
        return list(leads), list(leads.values())
    if isinstance(leads, list) and names is None and all(isinstance(name, str) for name in leads):
        names = leads
    if not isinstance(signal, list) or not 0 < len(signal) <= MAX_LEADS:
        raise UnsupportedFormat(f"this JSON document is no ECG: {_WANTED}")
    return names, signal


def _filters(said: _Filters) -> Filters:
    """A filter of 0 Hz is none."""
    return Filters(**{name: hertz if hertz and hertz > 0 else None for name, hertz in said})


def _samples(label: str, row: object, scale: float, truths: bool) -> NDArray[np.float64]:
    """One lead in millivolts; neither text nor truth values, of which there are `truths`, pass for numbers."""
    if not isinstance(row, list):
        raise DecodeError(f"lead {label[:40]!r} of the JSON document is no list of numbers")
    if len(row) > MAX_SAMPLES:
        raise UnsafeFile(f"lead {label[:40]!r} has {len(row)} samples, more than any resting ECG")
    with np.errstate(over="ignore"):  # what is not finite is refused by the recording
        return (_with_gaps(label, row) if truths else _numbers(label, row)) * scale


def _numbers(label: str, row: list[object]) -> NDArray[np.float64]:
    """A list without truth values: an array of doubles takes numbers only, and faster than their types are asked."""
    try:
        return np.frombuffer(array("d", row))  # type: ignore[type-var]  # that is what is found out here
    except (TypeError, OverflowError):
        return _with_gaps(label, row)


def _with_gaps(label: str, row: list[object]) -> NDArray[np.float64]:
    """A list in which samples may be missing."""
    if not {int, float, type(None)}.issuperset(map(type, row)):
        raise DecodeError(f"lead {label[:40]!r} of the JSON document is no list of numbers")
    return np.array(row, dtype=np.float64)
