"""WFDB comments: what the lines behind ``#`` say of the patient, the device and the ECG.

There is no standard. Read are the tags that header(5) recommends and LUDB has, ``<age>: 51 <sex>: F <diagnoses>:``,
where the lines behind the last tag are diagnoses, and the fields of the PhysioNet/CinC Challenges, ``Age: 59``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from models.ecg import statements
from models.ecg.patient import age_in_years, sex_of
from models.ecg.recording import HEAVIEST, TALLEST, Sex

_TAG = re.compile(r"<([A-Za-z ]{1,40})>:?([^<]*)")
_FIELD = re.compile(r"([A-Za-z]{1,40})\s{0,8}:(.*)")
_SIZE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s{0,8}([a-z]{0,2})", re.IGNORECASE)
_DIAGNOSES = {"diagnoses", "diagnosis", "dx"}
_UNKNOWN = {"", "unknown", "none", "(none)", "nan", "n/a", "?"}
_PACING = re.compile(r"\b10370003\b")  # SNOMED CT, "rhythm from artificial pacing", as the Challenges write it


@dataclass(frozen=True)
class Comments:
    """Fields by their names in lower case, and diagnoses as they stand."""

    fields: dict[str, str] = field(default_factory=dict)
    statements: tuple[str, ...] = ()

    @property
    def age(self) -> float | None:
        """Years."""
        return age_in_years(self.fields.get("age"))

    @property
    def sex(self) -> Sex | None:
        """As `models.ecg.patient.sex_of`."""
        return sex_of(self.fields.get("sex") or self.fields.get("gender"))

    @property
    def height(self) -> float | None:
        """Centimetres."""
        return _size(self.fields.get("height"), {"cm": 1.0, "m": 100.0}, least=20, most=TALLEST)

    @property
    def weight(self) -> float | None:
        """Kilograms."""
        return _size(self.fields.get("weight"), {"kg": 1.0}, least=0.2, most=HEAVIEST)

    @property
    def device(self) -> str | None:
        """Maker and model."""
        return self.fields.get("device", "")[:128] or None

    @property
    def paced(self) -> bool | None:
        """True if a diagnosis, in words or as a code, says so."""
        return True if any(map(_PACING.search, self.statements)) else statements.paced(self.statements)


def read(lines: Iterable[str]) -> Comments:
    """What is said in the lines, which come without their ``#``; of a field that is there twice, the first."""
    fields: dict[str, str] = {}
    said: list[str] = []
    section = ""
    for line in map(str.strip, lines):
        tags, named = _TAG.findall(line) if line.startswith("<") else [], _FIELD.fullmatch(line)
        pairs = tags if tags or section in _DIAGNOSES or named is None else [named.groups()]
        section = tags[-1][0].strip().lower() if tags else section
        for name, value in ((name.strip().lower(), value.strip()) for name, value in pairs):
            fields.setdefault(name, value)
            said += [f"Dx: {value}" if name == "dx" else value] * (name in _DIAGNOSES and value.lower() not in _UNKNOWN)
        said += [line] * (not pairs and section in _DIAGNOSES)
    return Comments(fields, statements.kept(said))


def _size(text: str | None, units: dict[str, float], least: float, most: float) -> float | None:
    """A size of a person in the first of the units, which is meant where none is written; None if nobody has it."""
    found = _SIZE.fullmatch((text or "").strip())
    factor = units.get(found[2].lower() or next(iter(units))) if found else None
    if found is None or factor is None:
        return None
    size = round(float(found[1]) * factor, 6)
    return size if least <= size <= most else None
