"""aECG: the HL7 v3 annotated ECG (PORT_MT020001, ANSI/HL7 V3 ECG, R1-2004), in which trials hand ECGs to the FDA.

::

    <AnnotatedECG xmlns="urn:hl7-org:v3">
      <component><series>
        <code code="RHYTHM"/>
        <component><sequenceSet>
          <component><sequence>
            <code code="TIME_ABSOLUTE"/>
            <value xsi:type="GLIST_TS"><head value="20021122091000.000"/><increment value="0.002" unit="s"/></value>
          <component><sequence>
            <code code="MDC_ECG_LEAD_I"/>
            <value xsi:type="SLIST_PQ"><origin value="0" unit="uV"/><scale value="2.5" unit="uV"/><digits>-2 -2 …

A sequence set holds leads that were recorded at once. Only rhythm is read: a ``REPRESENTATIVE_BEAT`` and every
``derivedSeries`` are averages of beats. No real file with missing digits (NaN) or several sequence sets was met.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from models.ecg import statements
from models.ecg.checks import SHORTEST
from models.ecg.errors import DecodeError, MissingLeads, MissingMetadata, TooShort, UnsafeFile
from models.ecg.formats.aecg_annotations import annotations_of, measured, words
from models.ecg.formats.hl7_values import SECONDS, attribute, code_of, figure, moment, rate_every
from models.ecg.formats.number_list import numbers
from models.ecg.formats.xml_document import parse, root_name, text_at
from models.ecg.leads import MAX_LEADS, arrange, lead_name
from models.ecg.patient import age_between, age_in_years, sex_of
from models.ecg.recording import INDEPENDENT_LEADS, Filters, Recording, Remark
from models.ecg.stated import Stated
from models.ecg.units import millivolts_per

_ROOT = "AnnotatedECG"
_RHYTHM = ("RHYTHM", "")
_TIMES = ("TIME_ABSOLUTE", "TIME_RELATIVE")

_GAPS = {"NaN", "nan", "NAN", "NA", "na"}

_SUBJECT = "componentOf/timepointEvent/componentOf/subjectAssignment/subject/trialSubject"
_PERSON = f"{_SUBJECT}/subjectDemographicPerson"
_REPORTED_AGE = "21612-7"  # LOINC, as in the example of the standard
_AGE_UNITS = {"a": "Y", "mo": "M", "wk": "W", "d": "D"}
_MAKER_AND_MODEL = (
    "author/seriesAuthor/manufacturerOrganization/name",
    "author/seriesAuthor/manufacturedSeriesDevice/manufacturerModelName",
)
_FILTER = "MDC_ECG_CTL_VBL_ATTR_FILTER_"
_FREQUENCIES = (f"{_FILTER}CUTOFF_FREQ", f"{_FILTER}NOTCH_FREQ")


@dataclass(frozen=True, kw_only=True)
class _Rhythm:
    """Leads that were recorded at once: their series, their time, and each lead's label and value."""

    series: Element
    time: Element | None
    leads: tuple[tuple[str, Element], ...]

    def names(self) -> set[str]:
        return {name for label, _ in self.leads if (name := lead_name(label))}

    def duration(self) -> float:
        """Seconds of the first lead; 0 where no increment is stated."""
        rate = _rate(self.time)
        return len(_steps(*self.leads[0])) / rate if rate else 0.0


def matches(data: bytes) -> bool:
    """Whether the root element is that of an annotated ECG."""
    return root_name(data) == _ROOT


def read(data: bytes, stated: Stated) -> Recording:
    """Read the first set of rhythm sequences that holds all leads.

    Raises
    ------
    EcgError
        If the XML is broken or unsafe, states no increment or unit, or does not hold twelve simultaneous leads.
    """
    document = parse(data)
    rhythm = _choose([*_rhythms(document)])
    rate = stated.agreed_rate(_rate(rhythm.time))
    labels = stated.agreed_leads([label for label, _ in rhythm.leads], len(rhythm.leads))
    values = (value for _, value in rhythm.leads)
    channels = ((label, _voltages(label, value, stated)) for label, value in zip(labels, values, strict=True))
    signal, derived, remarks = arrange(channels)
    notes = [*annotations_of(rhythm.series)]
    said = statements.kept(words(notes))
    acquired_at = _acquired_at(document, rhythm)
    age, doubts = _age(document, acquired_at)
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=age,
        sex=sex_of(attribute(document, f"{_PERSON}/administrativeGenderCode", "code")),
        patient_id=attribute(document, f"{_SUBJECT}/id", "extension") or None,
        acquired_at=acquired_at,
        device=" ".join(text[:64] for path in _MAKER_AND_MODEL if (text := text_at(rhythm.series, path))) or None,
        filters=_filters(rhythm.series),
        paced=statements.paced(said),
        measured=measured(notes),
        statements=said,
        source_format="HL7 aECG",
        derived=derived,
        remarks=remarks + doubts,
    )


def _rhythms(document: Element) -> Iterator[_Rhythm]:
    """Every set of rhythm sequences that has leads."""
    for series in document.findall("component/series"):
        if code_of(series).upper() in _RHYTHM:
            for sequences in series.findall("component/sequenceSet"):
                values = [(code_of(each), each.find("value")) for each in sequences.findall("component/sequence")]
                leads = tuple((code, value) for code, value in values if value is not None and code not in _TIMES)
                if len(leads) > MAX_LEADS:
                    raise UnsafeFile(f"{len(leads)} leads are no ECG")
                if leads:
                    time = next((value for code, value in values if code in _TIMES), None)
                    yield _Rhythm(series=series, time=time, leads=leads)


def _choose(rhythms: list[_Rhythm]) -> _Rhythm:
    """The first set with all leads."""
    if not rhythms:
        raise MissingLeads("the aECG holds no rhythm series with leads: export the ECG with its rhythm waveforms")
    for rhythm in rhythms:
        if rhythm.names().issuperset(INDEPENDENT_LEADS):
            return rhythm
    together = set[str]().union(*(rhythm.names() for rhythm in rhythms))
    missing = [lead for lead in INDEPENDENT_LEADS if lead not in together]
    if missing:
        raise MissingLeads(f"no {', '.join(missing)} in any rhythm of the aECG")
    shortest = min(rhythm.duration() for rhythm in rhythms)
    reason = f"the leads are spread over {len(rhythms)} sequence sets of {shortest:.1f} s or more, not recorded at once"
    raise TooShort(reason) if shortest < SHORTEST else MissingLeads(reason)


def _rate(time: Element | None) -> float | None:
    """Hertz of the increment between two samples; None where none is stated."""
    increment = None if time is None else time.find("increment")
    if increment is None:
        return None
    unit, size = increment.get("unit", "").strip(), figure(increment)
    if size is None or size <= 0 or unit not in SECONDS:
        written = f"{increment.get('value', '')[:40]} {unit[:40]}"
        raise DecodeError(f"the increment of the aECG is {written!r}, which is no time in s, ms or us")
    return rate_every(size * SECONDS[unit])


def _voltages(label: str, value: Element, stated: Stated) -> NDArray[np.float64]:
    """Millivolts of one lead: origin + scale × digits, each in its own unit (HL7 v3 Data Types, SLIST)."""
    if lead_name(label) is None:
        return np.empty(0)  # it is left out, whatever its unit is
    scale = value.find("scale")
    size = figure(scale)
    if scale is None or size is None:
        raise MissingMetadata(f"lead {label[:40]!r} of the aECG does not say how much one step is (scale)")
    unit = scale.get("unit") or None
    steps = _steps(label, value)
    return steps * (size * stated.agreed_unit(unit)) + _zero(label, value.find("origin"), unit or stated.unit)


def _zero(label: str, origin: Element | None, unit_of_scale: str | None) -> float:
    """Millivolts of step 0; an origin that names no unit has that of the scale."""
    size = 0.0 if origin is None else figure(origin)
    if size is None:
        raise DecodeError(f"the origin of lead {label[:40]!r} of the aECG is no number")
    unit = (origin.get("unit") if origin is not None else None) or unit_of_scale
    return size * millivolts_per(unit) if unit else size


def _steps(label: str, value: Element) -> NDArray[np.float64]:
    """The steps of one lead as they are written."""
    return numbers(value.findtext("digits") or "", gaps=_GAPS, what=f"lead {label[:40]!r} of the aECG")


def _acquired_at(document: Element, rhythm: _Rhythm) -> datetime | None:
    """Start of the series, else of its samples, else of the whole document."""
    head = None if rhythm.time is None else rhythm.time.find("head")
    bounds = ("effectiveTime/low", "effectiveTime/center")
    times = [*map(rhythm.series.find, bounds), head, *map(document.find, bounds)]
    moments = (moment(time.get("value", "")) for time in times if time is not None)
    return next(filter(None, moments), None)


def _age(document: Element, then: datetime | None) -> tuple[float | None, tuple[Remark, ...]]:
    """As reported, else between birth and recording; with a remark where the two disagree."""
    born = moment(attribute(document, f"{_PERSON}/birthTime", "value"))
    counted = age_between(born.date(), then.date()) if born and then else None
    reported = _reported_age(document)
    if reported is None or counted is None or abs(reported - counted) <= 1:
        return (counted if reported is None else reported), ()
    message = f"the file reports an age of {reported:g} years, but its dates give {counted:g}"
    return reported, (Remark(code="age-disagrees", message=message),)


def _reported_age(document: Element) -> float | None:
    for observation in document.findall("controlVariable/relatedObservation"):
        if code_of(observation) == _REPORTED_AGE:
            unit = _AGE_UNITS.get(attribute(observation, "value", "unit"))
            return age_in_years(f"{attribute(observation, 'value', 'value')} {unit}") if unit else None
    return None


def _filters(series: Element) -> Filters:
    """Cut-off frequencies; a filter of 0 Hz is one that was off."""
    found: dict[str, float | None] = {}
    for variable in series.findall("controlVariable/controlVariable"):
        for part in variable.findall("component/controlVariable"):
            if code_of(part) in _FREQUENCIES:
                found.setdefault(code_of(variable).removeprefix(_FILTER), _hertz(part.find("value")))
    return Filters(high_pass=found.get("HIGH_PASS"), low_pass=found.get("LOW_PASS"), notch=found.get("NOTCH"))


def _hertz(value: Element | None) -> float | None:
    size = figure(value)
    return size if value is not None and size and size > 0 and value.get("unit", "Hz") == "Hz" else None
