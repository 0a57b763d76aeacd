"""HL7 annotated ECGs as the tests write them, after the example of the standard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.ecg import LEADS

ORDER = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "III", "aVR", "aVL", "aVF")  # that of the standard's example

SUBJECT = (
    '<id root="1.2.3" extension="SBJ-7"/><subjectDemographicPerson><name>Doe</name>'
    '<administrativeGenderCode code="F"/><birthTime value="19581231"/></subjectDemographicPerson>'
)
AUTHOR = (
    "<author><seriesAuthor><manufacturedSeriesDevice><manufacturerModelName>Cart 3</manufacturerModelName>"
    "</manufacturedSeriesDevice><manufacturerOrganization><name>Maker</name></manufacturerOrganization>"
    "</seriesAuthor></author>"
)


def quantity(code: str, value: object, unit: str, *inside: str) -> str:
    """An annotation."""
    nested = "".join(f"<component>{each}</component>" for each in inside)
    return f'<annotation><code code="{code}"/><value xsi:type="PQ" value="{value}" unit="{unit}"/>{nested}</annotation>'


def words(code: str, text: str, *inside: str) -> str:
    nested = "".join(f"<component>{each}</component>" for each in inside)
    return f'<annotation><code code="{code}"/><value xsi:type="ST">{text}</value>{nested}</annotation>'


def of_lead(annotation: str, lead: str) -> str:
    """The same annotation, for one lead."""
    region = f'<support><supportingROI><component><boundary><code code="MDC_ECG_LEAD_{lead}"/></boundary></component>'
    return annotation.replace("</annotation>", f"{region}</supportingROI></support></annotation>")


def annotation_set(*annotations: str) -> str:
    inside = "".join(f"<component>{each}</component>" for each in annotations)
    return f"<subjectOf><annotationSet>{inside}</annotationSet></subjectOf>"


def filtered(kind: str, hertz: float, frequency: str = "CUTOFF_FREQ") -> str:
    prefix = "MDC_ECG_CTL_VBL_ATTR_FILTER_"
    return (
        f'<controlVariable><controlVariable><code code="{prefix}{kind}"/><component><controlVariable>'
        f'<code code="{prefix}{frequency}"/><value xsi:type="PQ" value="{hertz}" unit="Hz"/></controlVariable>'
        "</component></controlVariable></controlVariable>"
    )


def sequence_set(
    signal: NDArray[np.float64],
    *,
    leads: Sequence[str] = ORDER,
    increment: str = 'value="0.002" unit="s"',
    step: float = 1.0,
    origin: str = 'value="0" unit="uV"',
    unit: str = "uV",
) -> str:
    """Leads of `signal`, which are in the order of `LEADS`, as steps of so many of `unit` from 0."""
    per_millivolt = {"uV": 1e3, "mV": 1.0}[unit]
    sequences = [
        '<sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">'
        f'<head value="20240309050607.250"/><increment {increment}/></value></sequence>'
    ]
    for lead in leads:
        steps = np.rint(signal[LEADS.index(lead)] * per_millivolt / step).astype(int)
        sequences.append(
            f'<sequence><code code="MDC_ECG_LEAD_{lead.upper()}" codeSystem="2.16.840.1.113883.6.24"/>'
            f'<value xsi:type="SLIST_PQ"><origin {origin}/><scale value="{step:g}" unit="{unit}"/>'
            f"<digits>{wrapped(steps)}</digits></value></sequence>"
        )
    return "<sequenceSet>" + "".join(f"<component>{each}</component>\n" for each in sequences) + "</sequenceSet>"


def series(*sets: str, code: str = "RHYTHM", inside: str = "", after: str = "") -> str:
    time = '<effectiveTime><low value="20240309050607.250-0330" inclusive="true"/></effectiveTime>'
    components = "".join(f"<component>{each}</component>" for each in sets)
    return f'<series><code code="{code}"/>{time}{AUTHOR}{inside}{components}{after}</series>'


def aecg_xml(*all_series: str, subject: str = SUBJECT, reported_age: str = 'value="65" unit="a"') -> bytes:
    """One document; each series is written as `series` writes it."""
    age = (
        '<controlVariable><relatedObservation><code code="21612-7"/>'
        f'<value xsi:type="PQ" {reported_age}/></relatedObservation></controlVariable>'
    )
    components = "".join(f"<component>{each}</component>\n" for each in all_series)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'
        '<effectiveTime><center value="20240309"/></effectiveTime>\n<componentOf><timepointEvent><componentOf>'
        f"<subjectAssignment><subject><trialSubject>{subject}</trialSubject></subject></subjectAssignment>"
        f"</componentOf></timepointEvent></componentOf>\n{age}\n{components}</AnnotatedECG>\n"
    ).encode()


def wrapped(steps: NDArray[np.int64], width: int = 16) -> str:
    rows = [" ".join(map(str, steps[start : start + width])) for start in range(0, len(steps), width)]
    return "\n    ".join(["", *rows, ""])
