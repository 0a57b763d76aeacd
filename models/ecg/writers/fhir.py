"""FHIR: a recording as an R4 Observation with SampledData, one component a lead (hl7.org/fhir/R4/observation.html)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import orjson
from numpy.typing import NDArray

from models.ecg import statements
from models.ecg.formats.fhir_resources import ECG_STUDY, ELECTRIC_POTENTIAL, LOINC, MDC, MEASUREMENTS, REPORTED_AGE
from models.ecg.recording import CANONICAL_STEP, LEADS, Recording
from models.ecg.writers.errors import VoltageTooLarge
from models.ecg.writers.identity import printable

_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_UCUM = "http://unitsofmeasure.org"
_NUMBERS = dict(zip(LEADS, (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8), strict=True))  # SCP-ECG lead numbers
_SEXES = {"F": "female", "M": "male"}
_LARGEST = np.iinfo(np.int32).max  # canonical steps

Resource = dict[str, object]


def write(recording: Recording) -> bytes:
    """One Observation; patient and device are contained, and nothing that is not known is written.

    Samples are whole numbers of the largest step of 10 nV of which all are one, so that none is rounded further than
    the canonical form is. A moment without a time zone keeps only its day, as FHIR forbids its hour. The age, which
    FHIR knows only by birth, is a component of its own. Filters, and measurements without a certain LOINC code, stay
    behind.

    Raises
    ------
    VoltageTooLarge
        Beyond 21 V.
    TextNotAllowed
        If patient identifier or device hold control characters.
    """
    step, samples = _steps(recording.signal)
    observation: Resource = {
        "resourceType": "Observation",
        "contained": _contained(recording),
        "status": "final",
        "category": [{"coding": [{"system": _CATEGORY, "code": "procedure", "display": "Procedure"}]}],
        "code": {"coding": [{"system": LOINC, "code": ECG_STUDY, "display": "EKG study"}]},
        "subject": {"reference": "#patient"} if _patient(recording) else None,
        "effectiveDateTime": _moment(recording),
        "device": {"reference": "#device"} if recording.device else None,
        "note": [{"text": text} for text in _notes(recording)],
        "component": [
            *(_lead(lead, row, step, recording.sampling_rate) for lead, row in zip(LEADS, samples, strict=True)),
            *_quantities(recording),
        ],
    }
    return orjson.dumps({name: value for name, value in observation.items() if value})


def _steps(signal: NDArray[np.float64]) -> tuple[float, NDArray[np.int64]]:
    """Microvolts in one step, and the signal in steps."""
    units = np.rint(signal / CANONICAL_STEP)
    if np.abs(units).max() > _LARGEST:
        raise VoltageTooLarge("a sample beyond 21 V is no ECG: is the signal in microvolts?")
    whole = units.astype(np.int64)
    step = int(np.gcd.reduce(whole, axis=None)) or 1
    return step / 100, whole // step


def _contained(recording: Recording) -> list[Resource]:
    device = printable(recording.device)
    known = _patient(recording)
    patient = [{"resourceType": "Patient", "id": "patient", **known}] if known else []
    named = [{"name": device, "type": "model-name"}]
    return patient + ([{"resourceType": "Device", "id": "device", "deviceName": named}] if device else [])


def _patient(recording: Recording) -> Resource:
    """Identifier and sex, as far as they are known."""
    identifier = printable(recording.patient_id)
    known: Resource = {"identifier": [{"value": identifier}]} if identifier else {}
    return known | ({"gender": _SEXES[recording.sex]} if recording.sex else {})


def _moment(recording: Recording) -> str | None:
    moment = recording.acquired_at
    if moment is None:
        return None
    return moment.isoformat() if moment.tzinfo else moment.date().isoformat()


def _notes(recording: Recording) -> tuple[str, ...]:
    """Statements, with one of pacing where none of them says so."""
    said = recording.statements
    return (*said, "Paced rhythm") if recording.paced and not statements.paced(said) else said


def _lead(lead: str, row: NDArray[np.int64], step: float, rate: float) -> Resource:
    coding = {
        "system": MDC,
        "code": str(ELECTRIC_POTENTIAL + _NUMBERS[lead]),
        "display": f"MDC_ECG_ELEC_POTL_{lead.upper()}",
    }
    sampled = {
        "origin": {"value": 0, "unit": "uV", "system": _UCUM, "code": "uV"},
        "period": 1000 / rate,
        "factor": step,
        "dimensions": 1,
        "data": " ".join(map(str, row.tolist())),
    }
    return {"code": {"coding": [coding], "text": lead}, "valueSampledData": sampled}


def _quantities(recording: Recording) -> Iterator[Resource]:
    """The age, and what the device measured and LOINC has a code for."""
    if recording.age is not None:
        yield _quantity(REPORTED_AGE, "Reported age", recording.age, "a")
    known = recording.measured.known()
    for code, (name, unit) in MEASUREMENTS.items():
        if name in known:
            yield _quantity(code, name.replace("_", " "), known[name], unit)


def _quantity(code: str, text: str, value: float, unit: str) -> Resource:
    quantity = {"value": value, "unit": unit, "system": _UCUM, "code": unit}
    return {"code": {"coding": [{"system": LOINC, "code": code}], "text": text}, "valueQuantity": quantity}
