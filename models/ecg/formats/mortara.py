"""Mortara ELI XML: the ``ECG`` document of ELI electrocardiographs (Mortara, Welch Allyn, Hillrom) and ELI Link.

::

    <ECG ACQUISITION_TIME="20200102101112" VENT_RATE="66" AVERAGE_RR="909" AGE="78" AGE_UNITS="YEARS">
      <SUBJECT ID="…" GENDER="Female"/><SOURCE MANUFACTURER="MORTARA INSTRUMENT" MODEL="ELI 280"/>
      <AUTOMATIC_INTERPRETATION><STATEMENT TEXT="…" REASON="…"/></AUTOMATIC_INTERPRETATION>
      <TYPICAL_CYCLE PR_DURATION="160" QRS_DURATION="92" QT="400" QTC="410" …>   one averaged beat and its measurements
      <CHANNEL NAME="I" BITS="16" FORMAT="SIGNED" UNITS_PER_MV="200" SAMPLE_FREQ="500" DURATION="5000"
               OFFSET="0" ENCODING="BASE64" DATA="…"/> …

No specification is published; the layout is that which BRAVEHEART, EDFbrowser and ECGDataKit read. Only constructed
files were met: none from a device, none with statements, and none with an offset.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from models.ecg import statements
from models.ecg.errors import DecodeError, MissingMetadata, UnsafeFile, UnsupportedFormat
from models.ecg.formats.base64_samples import decode_base64, words
from models.ecg.formats.device_values import centimetres, degrees, hertz, kilograms, milliseconds, per_minute
from models.ecg.formats.number_list import check_length
from models.ecg.formats.xml_document import number_of, parse, root_name
from models.ecg.leads import MAX_LEADS, arrange
from models.ecg.measurements import Measurements
from models.ecg.patient import age_between, age_in_years, sex_of
from models.ecg.recording import Filters, Recording
from models.ecg.stated import Stated
from models.ecg.text import moment

_ROOT = "ECG"
_CLOCK = re.compile(r"^(\d{8})(\d{6})$")
_FORM = {"BITS": "16", "FORMAT": "SIGNED", "ENCODING": "BASE64"}


def matches(data: bytes) -> bool:
    """Whether the root element is that of Mortara."""
    return root_name(data) == _ROOT


def read(data: bytes, stated: Stated) -> Recording:
    """Read the rhythm of all leads.

    Raises
    ------
    MissingMetadata
        If rate or units per millivolt are not stated, or there is no rhythm.
    EcgError
        If the XML is broken or unsafe, or does not hold the twelve leads.
    """
    document = parse(data)
    rows = document.findall("CHANNEL")
    if not rows:
        raise MissingMetadata("the ELI file holds no CHANNEL: export the ECG with its rhythm")
    if len(rows) > MAX_LEADS:
        raise UnsafeFile(f"{len(rows)} leads are no ECG")
    rate = stated.agreed_rate(_rate(rows))
    labels = stated.agreed_leads([row.get("NAME", "") for row in rows], len(rows))
    scale = stated.agreed_unit("mV")
    channels = ((label, _samples(label, row) * scale) for label, row in zip(labels, rows, strict=True))
    signal, derived, remarks = arrange(channels)
    subject, source, cycle = (_attributes(document, name) for name in ("SUBJECT", "SOURCE", "TYPICAL_CYCLE"))
    said = statements.kept(_statements(document))
    acquired_at = _acquired_at(document)
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=_age(document, subject, acquired_at),
        sex=sex_of(subject.get("GENDER")),
        height=centimetres(document.get("HEIGHT"), document.get("HEIGHT_UNITS", "")),
        weight=kilograms(document.get("WEIGHT"), document.get("WEIGHT_UNITS", "")),
        patient_id=subject.get("ID", "").strip() or None,
        acquired_at=acquired_at,
        device=" ".join(part[:64] for name in ("MANUFACTURER", "MODEL") if (part := source.get(name, "").strip()))
        or None,
        filters=Filters(low_pass=hertz(source.get("LOW_PASS_FILTER"))),
        paced=statements.paced(said),
        measured=_measured(document.attrib, cycle),
        statements=said,
        source_format="Mortara ELI XML",
        derived=derived,
        remarks=remarks,
    )


def _attributes(document: Element, name: str) -> dict[str, str]:
    element = document.find(name)
    return {} if element is None else element.attrib


def _rate(rows: list[Element]) -> float | None:
    rates = {number_of(row.get("SAMPLE_FREQ"), "SAMPLE_FREQ") for row in rows}
    if len(rates) > 1:
        raise DecodeError("the leads of the ELI file have different sampling rates")
    return rates.pop()


def _samples(label: str, row: Element) -> NDArray[np.float64]:
    """Millivolts of one lead; its DURATION counts samples."""
    what = f"lead {label[:40]!r} of the ELI file"
    for name, known in _FORM.items():
        if row.get(name, known).strip().upper() != known:
            raise UnsupportedFormat(f"{what} is stored with {name} {row.get(name, '')[:40]!r}; {known} is read")
    if number_of(row.get("OFFSET"), "OFFSET"):
        raise UnsupportedFormat(f"{what} states an OFFSET, whose meaning is not published")
    per_millivolt = number_of(row.get("UNITS_PER_MV"), "UNITS_PER_MV")
    if not per_millivolt or per_millivolt < 0:
        raise MissingMetadata(f"{what} does not say how many of its units are a millivolt (UNITS_PER_MV)")
    units = words(decode_base64(row.get("DATA", ""), what), what)
    check_length(len(units), number_of(row.get("DURATION"), "DURATION"), what)
    return units / per_millivolt


def _acquired_at(document: Element) -> datetime | None:
    """With its zone where the file states one."""
    digits = _CLOCK.sub(r"\1T\2", document.get("ACQUISITION_TIME", "").strip())
    return moment(document.get("ACQUISITION_TIME_XML")) or moment(digits)


def _age(document: Element, subject: dict[str, str], then: datetime | None) -> float | None:
    """As stated, else between birth and recording."""
    stated = age_in_years(f"{document.get('AGE', '')} {document.get('AGE_UNITS', '')}")
    try:
        birth = date.fromisoformat(subject.get("DOB", "").strip())
    except ValueError:
        return stated
    return stated if stated is not None or then is None else age_between(birth, then.date())


def _measured(rhythm: dict[str, str], cycle: dict[str, str]) -> Measurements:
    """Of the rhythm, and of the averaged beat."""
    return Measurements(
        heart_rate=per_minute(rhythm.get("VENT_RATE")),
        rr_interval=milliseconds(rhythm.get("AVERAGE_RR")),
        p_duration=milliseconds(cycle.get("P_DURATION")),
        pr_interval=milliseconds(cycle.get("PR_DURATION")),
        qrs_duration=milliseconds(cycle.get("QRS_DURATION")),
        qt_interval=milliseconds(cycle.get("QT")),
        qtc=milliseconds(cycle.get("QTC")),
        qtc_bazett=milliseconds(cycle.get("QTB")),
        qtc_fridericia=milliseconds(cycle.get("QTF")),
        p_axis=degrees(cycle.get("P_AXIS")),
        qrs_axis=degrees(cycle.get("QRS_AXIS")),
        t_axis=degrees(cycle.get("T_AXIS")),
    )


def _statements(document: Element) -> Iterator[str]:
    """What is stated, and why."""
    for statement in document.findall("AUTOMATIC_INTERPRETATION/STATEMENT"):
        parts = (statement.get(name, "").strip() for name in ("TEXT", "REASON"))
        yield ": ".join(part for part in parts if part)
