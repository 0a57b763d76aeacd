"""SCP-ECG findings: what the device measured (section 7) and stated (sections 8 and 11; EN 1064:2005, 5.10 to 5.14)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from models.ecg.errors import DecodeError
from models.ecg.formats.scp_patient import text_of
from models.ecg.formats.scp_record import Section
from models.ecg.measurements import UNMEASURED, Measurements

_UNDEFINED = {0, 29999, 0xFFFF}
_FORMULAS = {1: "qtc_bazett", 2: "qtc_hodges"}
_BLOCK, _SPIKE = 16, 10  # bytes


def spikes(section: Section | None) -> int:
    """How many pacemaker spikes the device found."""
    return 0 if section is None or len(section.content) < 2 else section.content[1]


def measured(section: Section | None) -> Measurements:
    """Rate, intervals and axes, of the reference beat, which is the first block; nothing from a broken section."""
    if section is None:
        return UNMEASURED
    try:
        blocks, spikes, interval, _ = section.fields("BBHH")
        waves = _waves(section.fields("5H3h", 6)) if blocks else {}
    except DecodeError:
        return UNMEASURED
    rates = _rates(section, 6 + _BLOCK * blocks + _SPIKE * spikes)
    return Measurements(rr_interval=_known(interval), **waves, **rates)


def _known(value: int) -> float | None:
    return None if value in _UNDEFINED else float(value)


def _waves(block: tuple[int, ...]) -> dict[str, float | None]:
    """Durations between the marks of the reference beat, milliseconds; axes in degrees, 999 or 29999 for none.

    A wave that ends where it begins, as at 0 and 0, is none, and no interval begins with it.
    """
    p_on, p_off, qrs_on, qrs_off, t_off = (None if mark in _UNDEFINED - {0} else mark for mark in block[:5])
    p, qrs = _between(p_on, p_off), _between(qrs_on, qrs_off)
    p_axis, qrs_axis, t_axis = (float(axis) if abs(axis) <= 180 else None for axis in block[5:])
    return {
        "p_duration": p,
        "pr_interval": _between(p_on, qrs_on) if p else None,
        "qrs_duration": qrs,
        "qt_interval": _between(qrs_on, t_off) if qrs else None,
        "p_axis": p_axis,
        "qrs_axis": qrs_axis,
        "t_axis": t_axis,
    }


def _between(first: int | None, last: int | None) -> float | None:
    return float(last - first) if first is not None and last is not None and last > first else None


def _rates(section: Section, offset: int) -> dict[str, float | None]:
    """Ventricular rate and corrected QT, which stand behind the type of each beat where the section is long enough."""
    try:
        (beats,) = section.fields("H", offset)
        ventricular, _, qtc, formula = section.fields("3HB", offset + 2 + beats)
    except DecodeError:
        return {}
    return {"heart_rate": _known(ventricular), _FORMULAS.get(formula, "qtc"): _known(qtc)}


def texts(section: Section | None, codec: str) -> Iterator[str]:
    """The statements of section 8, or those of section 11 without the byte that says their kind."""
    if section is None or len(section.content) < 9:
        return
    content, position = section.content, 9
    for _ in range(content[8]):
        if position + 3 > len(content):
            return
        _, length = struct.unpack_from("<BH", content, position)
        value = content[position + 3 : position + 3 + length][1 if section.number == 11 else 0 :]
        position += 3 + length
        if codec == "utf-16-le":
            yield text_of(value, codec)
        else:
            yield " ".join(text_of(part, codec) for part in value.split(b"\0"))
