"""DICOM annotations: what a device measured and stated, as the waveform annotations of an object hold it (C.10.10)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from models.ecg import statements
from models.ecg.formats.dicom_elements import Item
from models.ecg.measurements import Measurements


class Code(NamedTuple):
    """A coded concept."""

    value: str
    scheme: str
    meaning: str


class Concept(NamedTuple):
    """A measurement as it is written: its code, the formula where the code leaves it open, and the unit."""

    code: Code
    unit: Code
    formula: Code | None = None


_MS = Code("ms", "UCUM", "millisecond")
_DEGREE = Code("deg", "UCUM", "degree")
_PER_MINUTE = Code("{H.B.}/min", "UCUM", "heart beats per minute")
_QTC = Code("2:15876", "MDC", "QTc interval global")

# PS3.16 TID 3713, CID 3227 to 3229. CID 3227 gives Framingham and Hodges the codes of Bazett and Fridericia, so that
# these two are named by the algorithms of CID 3678.
CONCEPTS: Mapping[str, Concept] = {
    "heart_rate": Concept(Code("2:16016", "MDC", "Ventricular Heart Rate"), _PER_MINUTE),
    "rr_interval": Concept(Code("2:16168", "MDC", "RR interval global"), _MS),
    "p_duration": Concept(Code("2:16184", "MDC", "P duration global"), _MS),
    "pr_interval": Concept(Code("2:15872", "MDC", "PR interval global"), _MS),
    "qrs_duration": Concept(Code("2:16156", "MDC", "QRS duration global"), _MS),
    "qt_interval": Concept(Code("2:16160", "MDC", "QT interval global"), _MS),
    "qtc": Concept(_QTC, _MS),
    "qtc_bazett": Concept(Code("2:15880", "MDC", "QTc global using Bazett formula"), _MS),
    "qtc_fridericia": Concept(Code("2:15892", "MDC", "QTc global using Fredericia formula"), _MS),
    "qtc_framingham": Concept(_QTC, _MS, Code("122733", "DCM", "Framingham QTc Algorithm")),
    "qtc_hodges": Concept(_QTC, _MS, Code("122731", "DCM", "Hodges QT Correction Algorithm")),
    "p_axis": Concept(Code("2:16128", "MDC", "P Axis"), _DEGREE),
    "qrs_axis": Concept(Code("2:16132", "MDC", "QRS axis"), _DEGREE),
    "t_axis": Concept(Code("2:16136", "MDC", "T axis"), _DEGREE),
}

# Beside these, what carts write: SCP-ECG fields as DICOM codes them (SCPECG, CID 3687 until 2010), and LOINC.
_NAMES = {concept.code.value: name for name, concept in CONCEPTS.items() if concept.formula is None} | {
    "5.10.2.5-1": "heart_rate",
    "8867-4": "heart_rate",
    "76282-3": "heart_rate",
    "5.10.2.1-3": "rr_interval",
    "2:16000": "rr_interval",
    "5.13.5-5": "p_duration",
    "5.13.5-7": "pr_interval",
    "8625-6": "pr_interval",
    "5.13.5-9": "qrs_duration",
    "8633-0": "qrs_duration",
    "5.13.5-11": "qt_interval",
    "8634-8": "qt_interval",
    "5.10.2.5-5": "qtc",
    "8636-3": "qtc",
    "5.10.3-11": "p_axis",
    "8626-4": "p_axis",
    "5.10.3-13": "qrs_axis",
    "8632-2": "qrs_axis",
    "5.10.3-15": "t_axis",
    "8638-9": "t_axis",
}
_FORMULAS = {
    "122730": "qtc_bazett",
    "122731": "qtc_hodges",
    "122732": "qtc_fridericia",
    "122733": "qtc_framingham",
}
_PACE_SPIKES = {f"10:{number}" for number in range(4096, 6144, 256)}  # antibradycardia pacing, MDC, CID 3335
_TIMES = {"ms": 1.0, "s": 1000.0, "us": 0.001}

_MOST_LINES = 10 * statements.MOST
"""Lines that are looked at: some are empty or there twice."""

_LONGEST, _FASTEST = 10_000.0, 1000.0
"""ms and beats per minute; beyond are markers of "not measured", such as 29999 and 32767."""


def measured(notes: Iterable[Item]) -> Measurements:
    """The first of each that was measured of all channels together; of one channel only the heart rate is general.

    The codes of MDC and LOINC, except for the heart rate, and modifiers for the formula of QTc are not covered by a
    real file.
    """
    found: dict[str, float] = {}
    for note in notes:
        name = _name(note)
        size = None if name is None or (_of_one_channel(note) and name != "heart_rate") else _size(name, note)
        if name is not None and size is not None:
            found.setdefault(name, size)
    return Measurements(**found)


def words(notes: Iterable[Item]) -> tuple[str, ...]:
    """Free text, one statement a line, and the meanings of coded findings (these are in no real file that was met)."""
    return statements.kept(islice((text for note in notes for text in _texts(note)), _MOST_LINES))


def paced(notes: Iterable[Item], said: tuple[str, ...]) -> bool | None:
    """True if a statement or the mark of a pacemaker's spike says so."""
    spikes = any(_code(note, "ConceptNameCodeSequence") in _PACE_SPIKES for note in notes)
    return True if spikes else statements.paced(said)


def _texts(note: Item) -> Iterator[str]:
    yield from note.text("UnformattedTextValue").splitlines()
    for finding in note.items("ConceptCodeSequence"):
        yield finding.text("CodeMeaning")


def _code(note: Item, keyword: str) -> str:
    codes = note.items(keyword)
    return codes[0].text("CodeValue") if codes else ""


def _name(note: Item) -> str | None:
    """Which measurement this is; a modifier names the formula of a QTc, in its concept or beside it."""
    name = _NAMES.get(_code(note, "ConceptNameCodeSequence"))
    if name != "qtc":
        return name
    modified = [note, *note.items("ConceptNameCodeSequence")]
    modifiers = [modifier for item in modified for modifier in item.items("ModifierCodeSequence")]
    return next((_FORMULAS[code] for code in (each.text("CodeValue") for each in modifiers) if code in _FORMULAS), name)


def _of_one_channel(note: Item) -> bool:
    """Channel 0 of a group is all of its channels (C.10.10.1.1)."""
    value = note.values.get("ReferencedWaveformChannels", b"")
    return any(value[at : at + 2] != b"\0\0" for at in range(2, len(value), 4))


def _size(name: str, note: Item) -> float | None:
    """Value in ms, degrees or beats per minute; None for a marker of "not measured" or an unknown unit."""
    number, unit = note.stated("NumericValue"), _code(note, "MeasurementUnitsCodeSequence")
    if number is None:
        return None
    if name == "heart_rate":
        return number if 0 < number <= _FASTEST and unit.lower().endswith(("/min", "bpm")) else None
    if name.endswith("_axis"):
        return number if -180 <= number <= 180 and unit == _DEGREE.value else None
    size = number * _TIMES.get(unit, 0.0)
    return size if 0 < size <= _LONGEST else None
