"""Schiller XML: the ``SchillerEDI`` document that Schiller's SEMA exports.

::

    <com.xiriuz.sema.xml.schillerEDI.SchillerEDI>
      <patdata><id/><birthdate>19600102</birthdate><gender/><pacemaker><value>OFF</value></pacemaker> …
      <examdescript><startdatetime><date>20200102</date><time>101112000</time></startdatetime> …
      <eventdata><event>
        <wavedata><type>ECG_AVERAGES</type> …                                     one averaged beat, first
        <wavedata><type>ECG_RHYTHMS</type>
          <resolution><samplerate><exponent>1</exponent><value>500</value></samplerate>
                      <yres><unitperbit>1.0</unitperbit><units>UV</units></yres></resolution>
          <channel><name>AVR</name><data>-108,-108,…</data><datastype>COMMASEPARATE</datastype>
                   <samplecount>4998</samplecount></channel> …
        <annotation_global><name>HR</name><value>66</value></annotation_global> …

The exponent is 1 at 500 Hz: it is no power of ten, and with any other the rate is not known. No specification is
published; the layout is that of real files (which may not be passed on) and of BRAVEHEART. Of the annotations only the
heart rate is known by its name.
"""

from __future__ import annotations

from datetime import datetime
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, MissingMetadata, UnsafeFile, UnsupportedFormat
from models.ecg.formats.device_values import centimetres, kilograms, per_minute
from models.ecg.formats.number_list import check_length, whole_numbers
from models.ecg.formats.xml_document import number_at, parse, root_name, text_at
from models.ecg.leads import MAX_LEADS, arrange
from models.ecg.measurements import Measurements
from models.ecg.patient import age_between, sex_of
from models.ecg.recording import Recording
from models.ecg.stated import Stated
from models.ecg.text import moment

_ROOT = "com.xiriuz.sema.xml.schillerEDI.SchillerEDI"
_ANSWERS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}


def matches(data: bytes) -> bool:
    """Whether the root element is that of Schiller."""
    return root_name(data) == _ROOT


def read(data: bytes, stated: Stated) -> Recording:
    """Read the rhythm of all leads.

    Raises
    ------
    MissingMetadata
        If rate or unit are not stated, or there is no rhythm.
    EcgError
        If the XML is broken or unsafe, or does not hold the twelve leads.
    """
    document = parse(data)
    rhythm = _rhythm(document)
    rows = rhythm.findall("channel")
    if len(rows) > MAX_LEADS:
        raise UnsafeFile(f"{len(rows)} leads are no ECG")
    rate = stated.agreed_rate(_rate(rhythm))
    step = _step(rhythm, stated)
    labels = stated.agreed_leads([text_at(row, "name") for row in rows], len(rows))
    channels = ((label, _samples(label, row) * step) for label, row in zip(labels, rows, strict=True))
    signal, derived, remarks = arrange(channels)
    acquired_at = _acquired_at(document)
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=_age(document, acquired_at),
        sex=sex_of(text_at(document, "patdata/gender")),
        height=centimetres(text_at(document, "patdata/height/value"), text_at(document, "patdata/height/unit")),
        weight=kilograms(text_at(document, "patdata/weight/value"), text_at(document, "patdata/weight/unit")),
        patient_id=text_at(document, "patdata/id") or None,
        acquired_at=acquired_at,
        device=_device(document),
        paced=_ANSWERS.get(text_at(document, "patdata/pacemaker/value").lower()),
        measured=Measurements(heart_rate=per_minute(_annotation(document, "HR"))),
        source_format="Schiller XML",
        derived=derived,
        remarks=remarks,
    )


def _rhythm(document: Element) -> Element:
    """The waves that are no averages; nothing says which of several would be meant."""
    waves = document.findall("eventdata/event/wavedata")
    rhythms = [each for each in waves if text_at(each, "type").upper() == "ECG_RHYTHMS"]
    if not rhythms:
        raise MissingMetadata("the Schiller file holds no ECG_RHYTHMS: export the ECG with its rhythm")
    if len(rhythms) > 1:
        raise DecodeError(f"the Schiller file holds {len(rhythms)} rhythms: send one ECG at a time")
    return rhythms[0]


def _rate(rhythm: Element) -> float | None:
    place = "resolution/samplerate"
    if number_at(rhythm, f"{place}/exponent") not in (None, 1):
        raise UnsupportedFormat(f"the exponent {text_at(rhythm, f'{place}/exponent')[:40]} of the rate is not known")
    return number_at(rhythm, f"{place}/value")


def _step(rhythm: Element, stated: Stated) -> float:
    """Millivolts in one step of the samples."""
    size = number_at(rhythm, "resolution/yres/unitperbit")
    if not size or size < 0:
        raise MissingMetadata("the Schiller file does not say how much one step of its samples is (unitperbit)")
    return size * stated.agreed_unit(text_at(rhythm, "resolution/yres/units") or None)


def _samples(label: str, row: Element) -> NDArray[np.float64]:
    """The steps of one lead."""
    what = f"lead {label[:40]!r} of the Schiller file"
    kind = text_at(row, "datastype")
    if kind.upper() not in {"", "COMMASEPARATE"}:
        raise UnsupportedFormat(f"{what} is stored as {kind[:40]!r}; COMMASEPARATE is read")
    steps = whole_numbers(text_at(row, "data"), ",", what)
    check_length(len(steps), number_at(row, "samplecount"), what)
    return steps


def _acquired_at(document: Element) -> datetime | None:
    """Day, with the time of day to the millisecond where it is there."""
    place = "examdescript/startdatetime"
    day, clock = text_at(document, f"{place}/date"), text_at(document, f"{place}/time")
    return moment(f"{day}T{clock[:6]}.{clock[6:9]:0<3}") or moment(day)


def _age(document: Element, then: datetime | None) -> float | None:
    """Between birth and recording: no age is stated."""
    birth = moment(text_at(document, "patdata/birthdate"))
    return None if birth is None or then is None else age_between(birth.date(), then.date())


def _device(document: Element) -> str | None:
    """Maker and model."""
    hardware = "examdescript/aquiringdevice/hardware"
    parts = (text_at(document, f"{hardware}/{name}") for name in ("vendor", "model"))
    return " ".join(part[:64] for part in parts if part) or None


def _annotation(document: Element, name: str) -> str | None:
    notes = document.findall("eventdata/event/annotation_global")
    return next((text_at(note, "value") for note in notes if text_at(note, "name") == name), None)
