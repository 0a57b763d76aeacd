"""HL7 v3 values: codes, physical quantities and timestamps as XML writes them, in attributes (HL7 v3 Data Types)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from xml.etree.ElementTree import Element

from models.ecg.text import NUMBER

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "\N{MICRO SIGN}s": 1e-6}
"""Of one unit of time (UCUM, and the micro sign that it does not know)."""

_TIMESTAMP = re.compile(r"(\d{8}(?:\d\d){0,3})(?:\.(\d{1,9}))?([+-]\d{4})?")


def attribute(parent: Element, path: str, name: str) -> str:
    """An attribute of the first element at a path; "" where it is missing."""
    element = parent.find(path)
    return "" if element is None else element.get(name, "").strip()


def code_of(element: Element) -> str:
    """The code of an act; "" where it has none."""
    return attribute(element, "code", "code")


def figure(quantity: Element | None) -> float | None:
    """The number of a physical quantity (PQ); None where it is missing or no number."""
    text = "" if quantity is None else quantity.get("value", "").strip()
    return float(text) if NUMBER.fullmatch(text) else None


def rate_every(seconds: float) -> float:
    """Hertz of samples that are so many seconds apart; intervals have few digits: 0.0041667 s is 240 Hz."""
    hertz = 1 / seconds
    return float(round(hertz)) if abs(round(hertz) - hertz) <= 1e-5 * hertz else hertz


def moment(text: str) -> datetime | None:
    """A timestamp (TS) from its day to its fraction of a second, with its zone; None where it is none."""
    found = _TIMESTAMP.fullmatch(text.strip())
    if not found:
        return None
    digits, fraction, zone = found.groups(default="")
    try:
        time = datetime.strptime(digits.ljust(14, "0"), "%Y%m%d%H%M%S")
        return time.replace(microsecond=int(fraction[:6].ljust(6, "0")), tzinfo=_zone(zone) if zone else None)
    except ValueError:  # there is no such day, or no such zone
        return None


def _zone(text: str) -> timezone:
    minutes = 60 * int(text[1:3]) + int(text[3:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
