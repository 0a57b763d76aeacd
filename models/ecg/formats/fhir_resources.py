"""FHIR resources: the parts of R4 and R5 that an ECG needs, how they are found and how they refer to each other."""

from __future__ import annotations

from pydantic import BaseModel, Field, ValidationError

from models.ecg.errors import DecodeError
from models.ecg.leads import MAX_LEADS

MAX_OBSERVATIONS = 1000

_LARGEST = 1e12  # no quantity of an ECG is larger, in any unit

LOINC = "http://loinc.org"
MDC = "urn:oid:2.16.840.1.113883.6.24"
ELECTRIC_POTENTIAL = 131_328
"""MDC_ECG_ELEC_POTL; each lead follows at its number in SCP-ECG: 131329 is I, 131389 III (ISO/IEEE 11073-10101)."""

REPORTED_AGE = "21612-7"  # LOINC, like those below
ECG_STUDY = "11524-6"
MEASUREMENTS = {  # name of the measurement and UCUM unit by LOINC; its code of the P axis is not certain
    "8867-4": ("heart_rate", "/min"),
    "8637-1": ("rr_interval", "ms"),
    "8625-6": ("pr_interval", "ms"),
    "8633-0": ("qrs_duration", "ms"),
    "8634-8": ("qt_interval", "ms"),
    "8636-3": ("qtc", "ms"),
    "8632-2": ("qrs_axis", "deg"),
    "8638-9": ("t_axis", "deg"),
}


Resources = list[tuple[str, dict[str, object]]]


class Coding(BaseModel):
    """One code of a system."""

    system: str | None = None
    code: str | None = None
    display: str | None = None


class Concept(BaseModel):
    """What something is, in codes and in words."""

    coding: list[Coding] = []
    text: str | None = None


class Quantity(BaseModel):
    """A number with a unit."""

    value: float | None = Field(None, ge=-_LARGEST, le=_LARGEST)
    unit: str | None = None
    code: str | None = None

    def named(self) -> str | None:
        """Its unit, by code before by text."""
        return self.code or self.unit


class SampledData(BaseModel):
    """Samples at regular intervals, in R4 or in R5."""

    origin: Quantity = Quantity()
    period: float | None = None
    interval: float | None = None
    interval_unit: str | None = Field(None, alias="intervalUnit")
    factor: float = Field(1.0, ge=-_LARGEST, le=_LARGEST)
    dimensions: int = Field(1, gt=0, le=MAX_LEADS)
    data: str = ""


class Component(BaseModel):
    """One part of an observation: a lead, or a number."""

    code: Concept = Concept()
    sampled: SampledData | None = Field(None, alias="valueSampledData")
    quantity: Quantity | None = Field(None, alias="valueQuantity")


class Identifier(BaseModel):
    """What somebody calls the patient."""

    value: str | None = None


class Reference(BaseModel):
    """Another resource, in this document or outside of it."""

    reference: str = ""
    display: str | None = None
    identifier: Identifier = Identifier()


class Period(BaseModel):
    """From when on."""

    start: str | None = None


class Note(BaseModel):
    """What somebody wrote."""

    text: str = ""


class Observation(Component):
    """An ECG."""

    status: str = ""
    subject: Reference = Reference()
    device: Reference = Reference()
    day: str | None = Field(None, alias="effectiveDateTime")
    instant: str | None = Field(None, alias="effectiveInstant")
    period: Period = Field(Period(), alias="effectivePeriod")
    component: list[Component] = []
    note: list[Note] = []


class Patient(BaseModel):
    """Whose it is."""

    identifier: list[Identifier] = []
    gender: str | None = None
    birth: str | None = Field(None, alias="birthDate")


class Name(BaseModel):
    """What a device is called, in R4 or in R5."""

    name: str | None = None  # R4
    value: str | None = None  # R5


class Device(BaseModel):
    """The electrocardiograph."""

    manufacturer: str | None = None
    model: str | None = Field(None, alias="modelNumber")
    names: list[Name] = Field([], alias="deviceName")
    name: list[Name] = []


def resources_of(content: object) -> Resources:
    """Every resource of the document, by the name that others refer to it with."""
    bundled = content.get("entry") if isinstance(content, dict) else None
    entries = bundled if isinstance(bundled, list) else [{"resource": content}]
    named: Resources = []
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            named.append((str(entry.get("fullUrl", "")), resource))
            named.append((f"{resource.get('resourceType')}/{resource.get('id')}", resource))
            contained = resource.get("contained")
            inner = [each for each in contained if isinstance(each, dict)] if isinstance(contained, list) else []
            named.extend((f"#{each.get('id')}", each) for each in inner)
    return named


def parsed(resource: dict[str, object]) -> Observation:
    """The resource as an observation; `DecodeError` if it is none by the rules of FHIR."""
    try:
        return Observation.model_validate(resource)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise DecodeError(f"{'.'.join(map(str, first['loc']))} of the FHIR Observation: {first['msg']}") from error


def referred(reference: Reference, kind: str, resources: Resources) -> dict[str, object]:
    """The resource of that kind that a reference leads to within the document; empty where it leads out of it."""
    name = reference.reference
    found = (each for key, each in resources if each.get("resourceType") == kind and key and key in (name, _tail(name)))
    return next(found, {})


def _tail(reference: str) -> str:
    """``Patient/7`` of ``https://example.org/fhir/Patient/7``."""
    return "/".join(reference.split("/")[-2:])
