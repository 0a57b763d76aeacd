"""Device values: a number that a device measured or a person typed, or None where it cannot be meant.

Devices write 0, −1, 999, 29999, 32767, ``Failed`` or nothing where they did not measure; none of these is a value.
"""

from __future__ import annotations

import re

from models.ecg.recording import HEAVIEST, TALLEST

_NUMBER = re.compile(r"[-+]?\d{1,9}(?:\.\d{0,9})?")
_INCH, _POUND = 2.54, 0.45359237  # cm, kg (international yard and pound, 1959)
_LENGTHS = {"cm": 1.0, "m": 100.0, "mm": 0.1, "in": _INCH, "inch": _INCH, "inches": _INCH}
_MASSES = {"kg": 1.0, "g": 1e-3, "lb": _POUND, "lbs": _POUND}


def per_minute(text: str | None) -> float | None:
    """A heart rate."""
    return _within(text, 600)


def milliseconds(text: str | None) -> float | None:
    """A duration or interval."""
    return _within(text, 10_000)


def hertz(text: str | None) -> float | None:
    """The corner of a filter; one of 0 Hz is one that was off."""
    return _within(text, 10_000)


def degrees(text: str | None) -> float | None:
    """An axis in −180 to 180; devices that count up to 270 or 360 mean the same direction."""
    angle = _number(text)
    if angle is None or not -360 <= angle <= 360:
        return None
    return angle if -180 <= angle <= 180 else angle - 360 if angle > 0 else angle + 360


def centimetres(text: str | None, unit: str) -> float | None:
    """A height of a person; None for a unit that is not known."""
    return _within(text, TALLEST, _LENGTHS.get(unit.strip().lower()))


def kilograms(text: str | None, unit: str) -> float | None:
    """A weight of a person; None for a unit that is not known."""
    return _within(text, HEAVIEST, _MASSES.get(unit.strip().lower()))


def _within(text: str | None, most: float, factor: float | None = 1.0) -> float | None:
    """A value above zero and up to `most`."""
    number = _number(text)
    if number is None or factor is None:
        return None
    return number * factor if 0 < number * factor <= most else None


def _number(text: str | None) -> float | None:
    text = (text or "").strip()
    return float(text) if _NUMBER.fullmatch(text) else None
