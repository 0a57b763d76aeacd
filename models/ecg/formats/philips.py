"""Philips Sierra XML: the ``restingecgdata`` of PageWriter carts, HeartStart monitors, TraceMasterVue and IntelliSpace.

::

    <restingecgdata xmlns="http://www3.medical.philips.com">
      <documentinfo><documenttype>PhilipsECG</documenttype><documentversion>1.04</documentversion> …
      <dataacquisition date="2010-01-19" time="15:19:22"><machine/><signalcharacteristics/> …
      <patient><generalpatientdata/></patient>
      <interpretations><interpretation><globalmeasurements/><statement><leftstatement/><rightstatement/> …
      <waveforms><parsedwaveforms compression="XLI" leadlabels="I II III aVR …" durationperchannel="11000" …>

Version 1.03 names some of it otherwise, and its twelve leads not at all. Samples are in steps of so many microvolts.
The stated 11 s are 10 s of ECG and then, from 5050 to 5300 samples on, zeros and a calibration pulse of 1 mV in all
leads: never more than 10 s are read. ``repbeats`` are averaged beats and are not read.

No real file was met of version 1.04.02, without compression, with a pacemaker, or of other than 11 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from xml.etree.ElementTree import Element

from models.ecg import statements
from models.ecg.errors import MissingMetadata, UnsupportedFormat
from models.ecg.formats.device_values import centimetres, degrees, kilograms, milliseconds, per_minute
from models.ecg.formats.philips_samples import Stored
from models.ecg.formats.xml_document import parse, root_name, text_at
from models.ecg.leads import arrange
from models.ecg.measurements import UNMEASURED, Measurements
from models.ecg.patient import age_between, age_in_years, sex_of
from models.ecg.recording import Recording, Remark
from models.ecg.stated import Stated
from models.ecg.text import moment

SECONDS = 10
"""Of ECG; what follows ends in the calibration pulse."""

_ROOT = "restingecgdata"
_TYPES = {"SierraECG", "PhilipsECG"}
_VERSIONS = {"1.03", "1.04", "1.04.01", "1.04.02"}
_PACED = {"yes": True, "paced": True, "pacemaker": True, "true": True, "no": False, "not paced": False, "false": False}
_NOT_PACING = {"", "0", "none", "unknown"}
_CORRECTIONS = {
    "bazett": "qtc_bazett",
    "fridericia": "qtc_fridericia",
    "framingham": "qtc_framingham",
    "hodges": "qtc_hodges",
}


def matches(data: bytes) -> bool:
    """Whether the root element is that of Philips."""
    return root_name(data) == _ROOT


def read(data: bytes, stated: Stated) -> Recording:
    """Read the first 10 s of all leads.

    Raises
    ------
    UnsupportedFormat
        If the type or version of the document, or the way it stores samples, is not known.
    MissingMetadata
        If rate, resolution or lead names are not stated, or there are no waveforms.
    EcgError
        If the XML is broken or unsafe, or does not hold the twelve leads.
    """
    document = parse(data)
    _check_version(document)
    waveforms = document.find("waveforms/parsedwaveforms")
    if waveforms is None:
        raise MissingMetadata("the Philips file holds no waveforms: export the ECG with its waveforms")
    stored = Stored.of(waveforms, document.find("dataacquisition/signalcharacteristics"))
    rate = stated.agreed_rate(stored.rate())
    labels = stated.agreed_leads(stored.leads(), stored.channels())
    steps = stored.steps(labels, rate)
    voltages = steps[:, : round(SECONDS * rate)] * (stored.resolution() * stated.agreed_unit("uV"))
    signal, derived, remarks = arrange(zip(labels, voltages, strict=True))
    said = statements.kept(_statements(document))
    acquired_at = _acquired_at(document)
    patient = document.find("patient/generalpatientdata")
    person = Element("generalpatientdata") if patient is None else patient
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=_age(person, acquired_at),
        sex=sex_of(text_at(person, "sex")),
        height=centimetres(text_at(person, "height/cm"), "cm") or centimetres(text_at(person, "height/inch"), "in"),
        weight=kilograms(text_at(person, "weight/kg"), "kg") or kilograms(text_at(person, "weight/lb"), "lb"),
        patient_id=text_at(person, "patientid") or None,
        acquired_at=acquired_at,
        device=_device(document),
        filters=stored.filters(),
        paced=_paced(document, person, said),
        measured=_measured(document),
        statements=said,
        source_format="Philips XML",
        derived=derived,
        remarks=remarks + _shortened(steps.shape[1] / rate),
    )


def _check_version(document: Element) -> None:
    kind, version = (text_at(document, f"documentinfo/{name}") for name in ("documenttype", "documentversion"))
    if kind not in _TYPES or version not in _VERSIONS:
        raise UnsupportedFormat(
            f"this is a Philips file of type {kind[:40]!r}, version {version[:40]!r}; "
            f"{' and '.join(sorted(_TYPES))} of {', '.join(sorted(_VERSIONS))} are read"
        )


def _shortened(seconds: float) -> tuple[Remark, ...]:
    """Something to say only where more is left out than the second of the calibration pulse."""
    if seconds <= SECONDS + 1:
        return ()
    return (Remark(code="shortened", message=f"the first {SECONDS} of {seconds:g} s were read"),)


def _acquired_at(document: Element) -> datetime | None:
    acquisition = document.find("dataacquisition")
    if acquisition is None:
        return None
    return moment(f"{acquisition.get('date', '')} {acquisition.get('time', '')}")


def _age(person: Element, then: datetime | None) -> float | None:
    """As stated, else between birth and recording; ``defaultage`` is a setting of the device."""
    units = ("years", "months", "weeks", "days")
    ages = (age_in_years(f"{text_at(person, f'age/{unit}')} {unit}") for unit in units)
    stated = next((age for age in ages if age is not None), None)
    try:
        birth = date.fromisoformat(text_at(person, "age/dateofbirth"))
    except ValueError:
        return stated
    return stated if stated is not None or then is None else age_between(birth, then.date())


def _device(document: Element) -> str | None:
    """Model, and what the device says about itself."""
    machine = document.find("dataacquisition/machine")
    parts = () if machine is None else ((machine.text or "").strip(), machine.get("detaildescription", "").strip())
    return " ".join(part[:64] for part in parts if part) or None


def _paced(document: Element, person: Element, said: tuple[str, ...]) -> bool | None:
    """As the patient's record says; or True if the device found pulses or a statement says so."""
    stated = _PACED.get(text_at(person, "pacestatus").lower())
    found = [
        text.lower() not in _NOT_PACING
        for group in ("internalmeasurements/crossleadmeasurements", "measurements/globalmeasurements")
        for name in ("pacemode", "pacemodes")
        if (text := text_at(document, f"{group}/{name}"))
    ]
    return True if stated or any(found) or statements.paced(said) else stated


def _measured(document: Element) -> Measurements:
    """Of the first interpretation, which a person may have edited."""
    places = ("globalmeasurements", "interpretationmeasurements")  # 1.04, 1.03
    found = (document.find(f"interpretations/interpretation/{place}") for place in places)
    block = next((each for each in found if each is not None), None)
    if block is None:
        return UNMEASURED
    corrections = {"qtc_bazett": "qtcb", "qtc_fridericia": "qtcf", "qtc": "meanqtc"}
    corrected = {field: milliseconds(text_at(block, name)) for field, name in corrections.items()}
    for other in block.findall("qtco"):
        field = _CORRECTIONS.get(other.get("methodname", "").lower())
        corrected |= {field: milliseconds(other.text)} if field else {}
    return Measurements(
        heart_rate=per_minute(text_at(block, "heartrate")),
        rr_interval=milliseconds(text_at(block, "rrint")),
        p_duration=milliseconds(text_at(block, "pdur")),
        pr_interval=milliseconds(text_at(block, "print") or text_at(block, "meanprint")),
        qrs_duration=milliseconds(text_at(block, "qrsdur") or text_at(block, "meanqrsdur")),
        qt_interval=milliseconds(text_at(block, "qtint") or text_at(block, "meanqtint")),
        p_axis=degrees(text_at(block, "pfrontaxis")),
        qrs_axis=degrees(text_at(block, "qrsfrontaxis")),
        t_axis=degrees(text_at(block, "tfrontaxis")),
        **corrected,
    )


def _statements(document: Element) -> Iterator[str]:
    """What is stated, and by which criterion; the severity last."""
    for interpretation in document.findall("interpretations/interpretation"):
        for statement in interpretation.findall("statement"):
            parts = (text_at(statement, name) for name in ("leftstatement", "rightstatement"))
            yield ": ".join(part for part in parts if part)
        yield text_at(interpretation, "severity").strip("- ")
