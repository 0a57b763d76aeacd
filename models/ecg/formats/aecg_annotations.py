"""Annotations of an aECG: what a device, or a person, measured in a series and said about it.

Codes are reference identifiers of ISO/IEEE 11073-10102, such as ``MDC_ECG_TIME_PD_PR``; vendors put a prefix of their
own in the place of MDC. Where each beat has annotations of its own, those of the whole ECG count, else the first's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element

from models.ecg.formats.hl7_values import SECONDS, attribute, code_of, figure
from models.ecg.formats.xml_document import text_at
from models.ecg.measurements import Measurements

_SETS = ("subjectOf/annotationSet", "derivation/derivedSeries/subjectOf/annotationSet")
_REGION = "support/supportingROI/component/boundary/code"

_DURATIONS = {
    "TIME_PD_RR": "rr_interval",
    "TIME_PD_P": "p_duration",
    "TIME_PD_PR": "pr_interval",
    "TIME_PD_QRS": "qrs_duration",
    "TIME_PD_QT": "qt_interval",
    "TIME_PD_QTC": "qtc",
    "TIME_PD_QTCB": "qtc_bazett",
    "TIME_PD_QTCF": "qtc_fridericia",
    "TIME_PD_QTCH": "qtc_hodges",
}
_AXES = {"ANGLE_P_FRONT": "p_axis", "ANGLE_QRS_FRONT": "qrs_axis", "ANGLE_T_FRONT": "t_axis"}
_RATES = {"HEART_RATE": "heart_rate"}
_NAMES = _DURATIONS | _AXES | _RATES
_WORDS = ("INTERPRETATION", "RHY")

_LONGEST, _FASTEST = 10_000.0, 1000.0
"""ms and beats per minute; beyond are markers of "not measured", such as 29999 and 32767."""


def annotations_of(series: Element) -> Iterator[Element]:
    """Annotations of all leads together, outermost first, so that the whole ECG comes before its beats."""
    level = [note for path in _SETS for note in series.findall(f"{path}/component/annotation")]
    while level:
        level = [note for note in level if not _of_one_lead(note)]
        yield from level
        level = [inner for note in level for inner in note.findall("component/annotation")]


def measured(notes: Iterable[Element]) -> Measurements:
    """The first of each that was measured."""
    found: dict[str, float] = {}
    for note in notes:
        subject = _subject(note)
        size = _size(subject, note.find("value")) if subject in _NAMES else None
        if size is not None:
            found.setdefault(_NAMES[subject], size)
    return Measurements(**found)


def words(notes: Iterable[Element]) -> Iterator[str]:
    """Interpretations and rhythms, as text or as the name of a code."""
    for note in notes:
        if _subject(note).startswith(_WORDS):
            yield text_at(note, "value") or attribute(note, "value", "displayName")


def _of_one_lead(note: Element) -> bool:
    return any(code.get("code", "").startswith("MDC_ECG_LEAD_") for code in note.findall(_REGION))


def _subject(note: Element) -> str:
    """What an annotation is about: its code without the prefix of MDC or of a vendor."""
    return code_of(note).upper().partition("_ECG_")[2]


def _size(subject: str, value: Element | None) -> float | None:
    """ms, degrees or beats per minute; None for another unit and for what no heart has.

    The unit of a rate is not asked for: real files write bpm, /min and "bmp".
    """
    size = figure(value)
    if value is None or size is None:
        return None
    unit = value.get("unit", "").strip()
    if subject in _AXES:
        return size if unit == "deg" and -180 <= size <= 180 else None
    if subject in _RATES:
        return size if 0 < size < _FASTEST else None
    milliseconds = size if unit == "ms" else 1e3 * SECONDS.get(unit, 0.0) * size
    return milliseconds if 0 < milliseconds < _LONGEST else None
