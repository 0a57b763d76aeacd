"""SCP-ECG patient and acquisition: the tagged fields of section 1 (EN 1064:2005 clause 5.4, table of tags)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone

from models.ecg.patient import age_between
from models.ecg.recording import HEAVIEST, OLDEST, TALLEST, Filters, Sex

Tags = Mapping[int, bytes]

_PATIENT_ID, _AGE, _BIRTH, _HEIGHT, _WEIGHT, _SEX, _DEVICE = 2, 4, 5, 6, 7, 8, 14
_DATE, _TIME, _HIGH_PASS, _LOW_PASS, _FILTERS, _HISTORY, _ZONE = 25, 26, 27, 28, 29, 32, 34
_LAST = 255

_PER_YEAR = {1: 1.0, 2: 12.0, 3: 365.25 / 7, 4: 365.25, 5: 365.25 * 24}
_CENTIMETRES = {1: 1.0, 2: 2.54, 3: 0.1}
_KILOGRAMS = {1: 1.0, 2: 1e-3, 3: 0.45359237, 4: 0.028349523125}
_SEXES: dict[int, Sex] = {1: "M", 2: "F"}
_NOTCHES = ((0x1, 60.0), (0x2, 50.0))
_PACEMAKER = 42  # among the codes of medical history, table 0
_NO_ZONE = 0x7FFF

# Manufacturer codes of tag 14; later ones stand as text at its end.
_MAKERS = {1: "Burdick", 2: "Cambridge", 3: "Compumed", 4: "Datamed", 5: "Fukuda", 6: "Hewlett-Packard"}
_MAKERS |= {7: "Marquette", 8: "Mortara", 9: "Nihon Kohden", 10: "Okin", 11: "Quinton", 12: "Siemens", 13: "Spacelabs"}
_MAKERS |= {14: "Telemed", 15: "Hellige", 16: "ESAOTE", 17: "Schiller", 18: "Picker-Schwarzer"}
_MAKERS |= {19: "et medical devices", 20: "Zwönitz"}
# Language codes of annex A, byte 17 of tag 14, for which Python has a codec; all others are read as Latin-1.
_CODECS = {0x03: "iso8859-2", 0x0B: "iso8859-4", 0x13: "iso8859-5", 0x1B: "iso8859-6", 0x23: "iso8859-7"}
_CODECS |= {0x2B: "iso8859-8", 0x33: "iso8859-11", 0x3B: "iso8859-15", 0x07: "utf-16-le", 0x0F: "shift_jis"}
_CODECS |= {0x17: "euc_jp", 0x1F: "euc_jp", 0x27: "gb2312", 0x2F: "euc_kr", 0x37: "utf-8"}


def tags(content: bytes) -> dict[int, bytes]:
    """The fields of section 1 by tag, the first of each; what a broken length hides is not there."""
    found: dict[int, bytes] = {}
    for tag, value in _fields(content):
        found.setdefault(tag, value)
    return found


def _fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 3 <= len(content) and content[position] != _LAST:
        length = int.from_bytes(content[position + 1 : position + 3], "little")
        if position + 3 + length > len(content):
            return
        yield content[position], content[position + 3 : position + 3 + length]
        position += 3 + length


def codec_of(tags: Tags) -> str:
    """Python's name of the encoding of all text in the file."""
    device = tags.get(_DEVICE, b"")
    return _CODECS.get(device[16], "latin-1") if len(device) > 16 else "latin-1"


def text_of(value: bytes, codec: str) -> str:
    """Text up to its terminator, blanks around it removed."""
    return value.decode(codec, errors="replace").partition("\0")[0].strip()


def patient_id(tags: Tags, codec: str) -> str | None:
    """Identification of the patient."""
    return text_of(tags.get(_PATIENT_ID, b""), codec)[:64] or None


def age(tags: Tags) -> float | None:
    """Years as stated; else between birth and recording."""
    number, unit = _numbers(tags, _AGE, "HB") or (0, 0)
    if number and unit in _PER_YEAR:
        years = number / _PER_YEAR[unit]
        return years if years <= OLDEST else None
    birth, then = _date(tags, _BIRTH), _date(tags, _DATE)
    return age_between(birth, then) if birth and then else None


def sex(tags: Tags) -> Sex | None:
    """F or M; None for unknown and unspecified."""
    return _SEXES.get((_numbers(tags, _SEX, "B") or (0,))[0])


def height(tags: Tags) -> float | None:
    """Centimetres."""
    return _quantity(tags, _HEIGHT, _CENTIMETRES, TALLEST)


def weight(tags: Tags) -> float | None:
    """Kilograms."""
    return _quantity(tags, _WEIGHT, _KILOGRAMS, HEAVIEST)


def has_pacemaker(tags: Tags) -> bool:
    """Whether the codes of medical history name one."""
    history = tags.get(_HISTORY, b"")
    return history[:1] == b"\0" and _PACEMAKER in history[1:]


def device(tags: Tags, codec: str) -> str | None:
    """Maker and model."""
    value = tags.get(_DEVICE, b"")
    if len(value) < 36:
        return None
    texts = [text_of(part, codec) for part in value[36:].split(b"\0")] + [""] * 5
    parts = (texts[4] or _MAKERS.get(value[7], ""), text_of(value[8:14], codec))
    return " ".join(part[:64] for part in parts if part) or None


def filters(tags: Tags) -> Filters:
    """Baseline filter in hundredths of hertz, low pass in hertz, notches as bits; 0 says that there was none."""
    bits = (_numbers(tags, _FILTERS, "B") or (0,))[0]
    return Filters(
        high_pass=(_numbers(tags, _HIGH_PASS, "H") or (0,))[0] / 100 or None,
        low_pass=float((_numbers(tags, _LOW_PASS, "H") or (0,))[0]) or None,
        notch=next((hertz for bit, hertz in _NOTCHES if bits & bit), None),
    )


def acquired_at(tags: Tags) -> datetime | None:
    """Date of acquisition, with its time and zone where they are stated; None where one of them is impossible."""
    day, clock = _date(tags, _DATE), _numbers(tags, _TIME, "BBB") or (0, 0, 0)
    if day is None:
        return None
    hour, minute, second = clock
    offset = (_numbers(tags, _ZONE, "h") or (_NO_ZONE,))[0]
    zone = timezone(timedelta(minutes=offset)) if abs(offset) < 24 * 60 else None
    try:
        return datetime.combine(day, time(hour, minute, second), tzinfo=zone)
    except ValueError:
        return None


def _numbers(tags: Tags, tag: int, layout: str) -> tuple[int, ...] | None:
    value = tags.get(tag, b"")
    return struct.unpack_from(f"<{layout}", value) if len(value) >= struct.calcsize(f"<{layout}") else None


def _date(tags: Tags, tag: int) -> date | None:
    parts = _numbers(tags, tag, "HBB")
    try:
        return date(*parts) if parts else None
    except ValueError:
        return None


def _quantity(tags: Tags, tag: int, units: Mapping[int, float], largest: float) -> float | None:
    number, unit = _numbers(tags, tag, "HB") or (0, 0)
    value = number * units.get(unit, 0.0)
    return value if 0 < value <= largest else None
