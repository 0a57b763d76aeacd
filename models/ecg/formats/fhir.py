"""FHIR: an Observation with SampledData, R4 (``period`` in ms) and R5 (``interval`` with ``intervalUnit``), as JSON.

::

    {"resourceType": "Observation", "effectiveDateTime": "2015-02-19T09:30:35+01:00", "component": [
      {"code": {"coding": [{"system": "urn:oid:2.16.840.1.113883.6.24", "code": "131329"}]},
       "valueSampledData": {"origin": {"value": 0, "code": "uV"}, "period": 2, "factor": 2.5, "dimensions": 1,
                            "data": "50 50 51 …"}}, …]}

Each component is one lead; leads may also stand side by side in one SampledData of so many dimensions, which names
none of them, so that the request has to. A sample is origin + factor × number (hl7.org/fhir/R4/datatypes.html,
SampledData). E, L and U (error, below and above the limits) are missing samples: what a limit counts in, the
specification leaves open. The Observation may stand in a Bundle. No real file of twelve leads, in R5 or in a Bundle
was met.
"""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from models.ecg import statements
from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile, UnsupportedFormat
from models.ecg.formats import json_document
from models.ecg.formats.fhir_resources import (
    ELECTRIC_POTENTIAL,
    LOINC,
    MAX_OBSERVATIONS,
    MDC,
    MEASUREMENTS,
    REPORTED_AGE,
    Coding,
    Concept,
    Device,
    Observation,
    Patient,
    Quantity,
    Reference,
    Resources,
    SampledData,
    parsed,
    referred,
    resources_of,
)
from models.ecg.formats.hl7_values import SECONDS, rate_every
from models.ecg.formats.number_list import MAX_NUMBERS, numbers
from models.ecg.leads import MAX_LEADS, arrange, lead_name
from models.ecg.measurements import Measurements
from models.ecg.patient import age_between, age_in_years, sex_of
from models.ecg.recording import Recording
from models.ecg.stated import Stated
from models.ecg.text import moment

_SYSTEMS = (MDC, "urn:iso:std:iso:11073:10101")
_MARK = b'"resourceType"'
_GAPS = {"E", "L", "U"}
_AGE_UNITS = {"a": "Y", "mo": "M", "wk": "W", "d": "D"}
_SANE = {"/min": (1.0, 1000.0), "ms": (1.0, 10_000.0), "deg": (-180.0, 180.0)}
_MEASUREMENTS = {**MEASUREMENTS, "76282-3": ("heart_rate", "/min")}  # of the ECG, beside that of any method
_VOID = {"entered-in-error", "cancelled"}
_MEANING = re.compile(r"MDC_ECG_(?:ELEC_POTL|LEAD)_")


def matches(data: bytes) -> bool:
    """Whether this is a JSON document of some FHIR resource."""
    return json_document.matches(data) and _MARK in data


def read(data: bytes, stated: Stated) -> Recording:
    """Read the one Observation with SampledData.

    Raises
    ------
    UnsupportedFormat
        If there is none.
    EcgError
        If there are several, one is broken or void, or rate, unit or leads are missing.
    """
    resources = resources_of(json_document.load(data))
    observation = _observation(resources)
    sampled = _sampled(observation)
    rate = stated.agreed_rate(_rate([samples for _, samples in sampled]))
    labels, rows = _rows(sampled, stated)
    signal, derived, remarks = arrange(zip(stated.agreed_leads(labels, len(rows)), rows, strict=True))
    patient = _patient(referred(observation.subject, "Patient", resources))
    acquired_at = moment(observation.day or observation.instant or observation.period.start)
    said = statements.kept(note.text for note in observation.note)
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=_age(observation, patient, acquired_at),
        sex=sex_of(patient.gender),
        patient_id=_patient_id(observation.subject, patient),
        acquired_at=acquired_at,
        device=_device(observation.device, resources),
        paced=statements.paced(said),
        measured=_measured(observation),
        statements=said,
        source_format="FHIR",
        derived=derived,
        remarks=remarks,
    )


def _observation(resources: Resources) -> Observation:
    """The one that has samples."""
    distinct = {id(resource): resource for _, resource in resources}.values()
    observations = [each for each in distinct if each.get("resourceType") == "Observation"]
    if len(observations) > MAX_OBSERVATIONS:
        raise UnsafeFile(f"{len(observations)} FHIR Observations are more than one ECG: send it alone")
    with_samples = [each for each in map(parsed, observations) if _sampled(each)]
    if not with_samples:
        kinds = ", ".join(dict.fromkeys(str(each.get("resourceType"))[:40] for each in distinct))
        raise UnsupportedFormat(
            f"this is FHIR ({kinds[:200]}) without SampledData: send the Observation that holds the samples of the ECG"
        )
    if len(with_samples) > 1:
        raise DecodeError(
            f"the FHIR document holds {len(with_samples)} Observations with samples: send one ECG at a time"
        )
    (observation,) = with_samples
    if observation.status in _VOID:
        raise DecodeError(f"the FHIR Observation is void: its status is {observation.status}")
    return observation


def _sampled(observation: Observation) -> list[tuple[Concept, SampledData]]:
    """What stands under each code, of the components or else of the Observation itself."""
    parts = [*observation.component, observation]
    found = [(part.code, part.sampled) for part in parts if part.sampled is not None]
    if len(found) > MAX_LEADS:
        raise UnsafeFile(f"{len(found)} leads are no ECG")
    return found


def _rate(sampled: list[SampledData]) -> float | None:
    """Hertz, in which all must agree; None where nothing is stated."""
    rates = {_rate_of(samples) for samples in sampled}
    if len(rates) > 1:
        raise DecodeError("the leads of the FHIR Observation differ in their sampling rate")
    return rates.pop()


def _rate_of(samples: SampledData) -> float | None:
    """1000 / period (R4, ms), or one over the interval in its unit (R5)."""
    size, unit = (samples.period, "ms") if samples.period is not None else (samples.interval, samples.interval_unit)
    if size is None:
        return None
    if unit not in SECONDS or not 1e-6 < size < 1e9:
        raise DecodeError(f"{size:g} {(unit or 'of no unit')[:40]} between two samples is no time in s, ms or us")
    return rate_every(size * SECONDS[unit])


def _rows(
    sampled: list[tuple[Concept, SampledData]], stated: Stated
) -> tuple[list[str] | None, list[NDArray[np.float64]]]:
    """Millivolts of each lead, with its label; leads that stand side by side have none."""
    if len(sampled) == 1 and sampled[0][1].dimensions > 1:
        return None, [*_voltages("the FHIR Observation", sampled[0][1], stated)]
    labels: list[str] = []
    rows: list[NDArray[np.float64]] = []
    for code, samples in sampled:
        labels.append(_label(code))
        if samples.dimensions != 1:
            raise DecodeError(f"component {labels[-1]!r} has {samples.dimensions} dimensions, one lead has one")
        if lead_name(labels[-1]) is None:
            rows.append(np.empty(0))  # it is left out, whatever its unit is
            continue
        rows.extend(_voltages(f"lead {labels[-1]!r} of the FHIR Observation", samples, stated))
        if sum(map(len, rows)) > MAX_NUMBERS:
            raise UnsafeFile(f"the FHIR Observation has more than {MAX_NUMBERS} samples, more than any resting ECG")
    return labels, rows


def _voltages(where: str, samples: SampledData, stated: Stated) -> NDArray[np.float64]:
    """(dimensions, samples) millivolts: origin + factor × number, in the unit of the origin."""
    flat = numbers(samples.data, gaps=_GAPS, what=where, dimensions=samples.dimensions)
    if len(flat) % samples.dimensions:
        raise TruncatedFile(f"{where} has {len(flat)} samples, no whole number of {samples.dimensions} leads")
    unit = stated.agreed_unit(samples.origin.named())
    return ((samples.origin.value or 0.0) * unit + flat * (samples.factor * unit)).reshape(-1, samples.dimensions).T


def _label(code: Concept) -> str:
    """The lead that codes, displays and text name; another channel keeps its own name."""
    texts = [*map(_coded, code.coding), *(each.display for each in code.coding), code.text]
    spellings = [_MEANING.sub("", text) for text in texts if text]
    names = {name for text in spellings if (name := lead_name(text))}
    if len(names) > 1:
        raise DecodeError(f"one component of the FHIR Observation is called {' and '.join(sorted(names))}")
    return next(iter(names), spellings[-1][:40] if spellings else "a component without a name")


def _coded(coding: Coding) -> str | None:
    """A lead by its number, in the spelling of `lead_name`; any other code as it is."""
    code = coding.code or ""
    if coding.system in _SYSTEMS and re.fullmatch(r"\d{6}", code):
        return f"2:{int(code) - ELECTRIC_POTENTIAL}"
    return code


def _patient(resource: dict[str, object]) -> Patient:
    """What is known of the patient; nothing where the resource is broken."""
    try:
        return Patient.model_validate(resource)
    except ValidationError:
        return Patient()


def _patient_id(subject: Reference, patient: Patient) -> str | None:
    """An identifier, else the id of the resource that is referred to."""
    known = [each.value for each in (*patient.identifier, subject.identifier)]
    outside = "" if subject.reference.startswith(("#", "urn:")) else subject.reference.rpartition("/")[2]
    return next(filter(None, (*known, outside)), None)


def _age(observation: Observation, patient: Patient, then: datetime | None) -> float | None:
    """As reported, else between birth and recording."""
    for code, quantity in _quantities(observation):
        if code == REPORTED_AGE and quantity.value is not None:
            return age_in_years(f"{quantity.value:.6f} {_AGE_UNITS.get(quantity.named() or '', '?')}")
    born = moment(patient.birth)
    return age_between(born.date(), then.date()) if born and then else None


def _quantities(observation: Observation) -> list[tuple[str, Quantity]]:
    """Components that are one number, by their code in LOINC."""
    parts = [(part.code.coding, part.quantity) for part in observation.component if part.quantity is not None]
    return [(code.code or "", quantity) for codes, quantity in parts for code in codes if code.system == LOINC]


def _measured(observation: Observation) -> Measurements:
    """The first of each that was measured, in its unit and within what a heart has."""
    found: dict[str, float] = {}
    for code, quantity in _quantities(observation):
        name, unit = _MEASUREMENTS.get(code, ("", ""))
        if name and quantity.value is not None and quantity.named() == unit:
            low, high = _SANE[unit]
            if low <= quantity.value <= high:
                found.setdefault(name, quantity.value)
    return Measurements(**found)


def _device(reference: Reference, resources: Resources) -> str | None:
    """Maker and model, else what the reference displays."""
    try:
        device = Device.model_validate(referred(reference, "Device", resources))
    except ValidationError:
        device = Device()
    names = [each.name or each.value for each in (*device.names, *device.name)]
    parts = [device.manufacturer, device.model or next(iter(names), None)]
    return " ".join(part[:64] for part in parts if part) or (reference.display or "")[:128] or None
