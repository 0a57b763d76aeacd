"""CardioSoft XML: GE's ``CardiologyXML`` of CardioSoft and CASE, in which UK Biobank keeps its resting ECGs (20205).

::

    <CardiologyXML>
      <PatientInfo><PID/><Age units="YEARS"/><Gender/><PaceMaker/></PatientInfo>
      <StripData>
        <SampleRate units="Hz">500</SampleRate><ChannelSampleCountTotal>5000</ChannelSampleCountTotal>
        <Resolution units="uVperLsb">5</Resolution>
        <WaveformData lead="I">10,10,7, …</WaveformData> …

Only ``StripData`` is read: ``MedianSamples`` is one averaged beat, ``FullDisclosure`` another, interleaved recording.
"""

from __future__ import annotations

import re
from datetime import datetime
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, MissingMetadata, UnsafeFile
from models.ecg.formats.number_list import check_length, whole_numbers
from models.ecg.formats.xml_document import number_at, parse, root_name, text_at
from models.ecg.leads import MAX_LEADS, arrange
from models.ecg.patient import age_between, age_in_years, sex_of
from models.ecg.recording import Filters, Recording
from models.ecg.stated import Stated

_ROOT = "CardiologyXML"
_PER_STEP = re.compile(r"(\S+)perLsb", re.IGNORECASE)
_DAY, _TIME = ("Year", "Month", "Day"), ("Hour", "Minute", "Second")
_ANSWERS = {"yes": True, "no": False}


def matches(data: bytes) -> bool:
    """Whether the root element is that of CardioSoft."""
    return root_name(data) == _ROOT


def read(data: bytes, stated: Stated) -> Recording:
    """Read the strip of all leads.

    Raises
    ------
    MissingMetadata
        If rate or resolution are stated neither in the file nor with the request, or there is no strip.
    EcgError
        If the XML is broken or unsafe, or does not hold the twelve leads.
    """
    document = parse(data)
    strip = document.find("StripData")
    if strip is None:
        raise MissingMetadata("the CardioSoft file holds no StripData: export the resting ECG with its full leads")
    rows = strip.findall("WaveformData")
    _check_count(strip, rows)
    rate = stated.agreed_rate(_quantity(strip, "SampleRate", "hz"))
    step = _step(strip, stated)
    labels = stated.agreed_leads([row.get("lead", "") for row in rows], len(rows))
    announced = number_at(strip, "ChannelSampleCountTotal")
    channels = ((label, _samples(label, row, announced) * step) for label, row in zip(labels, rows, strict=True))
    signal, derived, remarks = arrange(channels)
    acquired_at = _moment(document.find("ObservationDateTime"))
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=_age(document, acquired_at),
        sex=sex_of(text_at(document, "PatientInfo/Gender")),
        patient_id=text_at(document, "PatientInfo/PID") or None,
        acquired_at=acquired_at,
        device=_device(document),
        filters=_filters(document),
        paced=_ANSWERS.get(text_at(document, "PatientInfo/PaceMaker").lower()),
        source_format="CardioSoft XML",
        derived=derived,
        remarks=remarks,
    )


def _check_count(strip: Element, rows: list[Element]) -> None:
    announced = number_at(strip, "NumberOfLeads")
    if announced not in (None, len(rows)):
        raise DecodeError(f"the CardioSoft file announces {announced:g} leads and holds {len(rows)}")
    if len(rows) > MAX_LEADS:
        raise UnsafeFile(f"{len(rows)} leads are no ECG")


def _quantity(parent: Element, path: str, unit: str) -> float | None:
    """A number in the only unit that it may have; a file that names none means it."""
    element = parent.find(path)
    named = "" if element is None else element.get("units", unit)
    if element is not None and named.lower() != unit:
        raise DecodeError(f"{path} of the CardioSoft file is in {named[:40]!r}, not in {unit}")
    return number_at(parent, path)


def _step(strip: Element, stated: Stated) -> float:
    """Millivolts in one step of the samples."""
    resolution = strip.find("Resolution")
    size = number_at(strip, "Resolution")
    if resolution is None or not size or size < 0:
        raise MissingMetadata("the CardioSoft file does not say how much one step of its samples is (Resolution)")
    named = _PER_STEP.fullmatch(resolution.get("units", "").strip())
    return size * stated.agreed_unit(named[1] if named else None)


def _samples(label: str, row: Element, announced: float | None) -> NDArray[np.float64]:
    """The steps of one lead."""
    what = f"lead {label[:40]!r} of the CardioSoft file"
    steps = whole_numbers(row.text or "", ",", what)
    check_length(len(steps), announced, what)
    return steps


def _moment(element: Element | None) -> datetime | None:
    """Date, with the time of day where it is there; None where the date is missing or impossible."""
    if element is None:
        return None
    day, time = ([text_at(element, part) for part in parts] for parts in (_DAY, _TIME))
    parts = [*day, *time] if all(time) else day
    if not all(re.fullmatch(r"\d{1,4}", part) for part in parts):
        return None
    try:
        return datetime(*map(int, parts))  # type: ignore[arg-type]  # three numbers or six
    except ValueError:
        return None


def _age(document: Element, then: datetime | None) -> float | None:
    """As stated, else between birth and recording."""
    age = document.find("PatientInfo/Age")
    unit = "" if age is None else age.get("units", "")
    stated = age_in_years(f"{text_at(document, 'PatientInfo/Age')} {unit}")
    birth = _moment(document.find("PatientInfo/BirthDateTime"))
    return stated if stated is not None or birth is None or then is None else age_between(birth.date(), then.date())


def _device(document: Element) -> str | None:
    """Program and version."""
    parts = (text_at(document, f"ClinicalInfo/DeviceInfo/{name}") for name in ("Desc", "SoftwareVer"))
    return " ".join(part[:64] for part in parts if part) or None


def _filters(document: Element) -> Filters:
    """What was done to the signal; a filter of 0 Hz is one that was off."""
    setting = document.find("FilterSetting")
    if setting is None:
        return Filters()
    notches = [hertz for hertz in (50.0, 60.0) if _ANSWERS.get(text_at(setting, f"Filter{hertz:.0f}Hz").lower())]
    return Filters(
        high_pass=_quantity(setting, "HighPass", "hz") or None,
        low_pass=_quantity(setting, "LowPass", "hz") or None,
        notch=notches[0] if notches else None,
    )
