"""What files write about a patient, read and written the same way whatever the format."""

from __future__ import annotations

import re
from datetime import date
from typing import Literal

from models.ecg.recording import HEAVIEST, OLDEST, TALLEST, Sex

_AGE = re.compile(r"(\d{1,3}(?:\.\d{1,20})?)\s*([YMWD]?)(?:EARS?|ONTHS?|EEKS?|AYS?)?", re.IGNORECASE)
_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_SEXES: dict[str, Sex] = {"f": "F", "female": "F", "w": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}


def age_in_years(text: str | None) -> float | None:
    """Years of ``59``, ``042Y``, ``010M``, ``003W`` or ``020D`` (DICOM PS3.5, VR AS); None for anything else."""
    found = _AGE.fullmatch((text or "").strip())
    if not found:
        return None
    years = float(found[1]) / _PER_YEAR[found[2].upper()]  # PTB-XL writes 300 for everybody above 89: no age
    return years if years <= OLDEST else None


def age_between(birth: date, then: date) -> float | None:
    """Years from birth to then, in whole years as a person counts them; None when the dates exclude each other."""
    years = then.year - birth.year - ((then.month, then.day) < (birth.month, birth.day))
    return float(years) if 0 <= years <= OLDEST else None


def completed_age(age: float) -> tuple[int, Literal["Y", "M"]]:
    """Completed years, or months below two years, with the letter of their unit (DICOM PS3.5, VR AS)."""
    return (int(age), "Y") if age >= 2 else (int(12 * age), "M")


def sex_of(text: str | None) -> Sex | None:
    """F or M as a file spells them; None for unknown, other and everything else."""
    return _SEXES.get((text or "").strip().lower())


def height_of(text: str | None) -> float | None:
    """Centimetres, as text says them; None for no number, and for a height that nobody has."""
    return _within(text, TALLEST)


def weight_of(text: str | None) -> float | None:
    """Kilograms, as text says them; None for no number, and for a weight that nobody has."""
    return _within(text, HEAVIEST)


def _within(text: str | None, most: float) -> float | None:
    found = re.fullmatch(r"\d{1,3}(?:\.\d{1,20})?", (text or "").strip())
    number = float(found[0]) if found else 0.0
    return number if 0 < number <= most else None
