"""Measurements: what is read off an ECG with a ruler: rate, intervals, axes; the device's own, or ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Rate, intervals and axes of one ECG; None where nothing was measured.

    Intervals are in milliseconds, the unit in which every device stores and every guideline quotes them, so that what
    a file says is kept to the digit.

    Attributes
    ----------
    heart_rate : float or None
        Ventricular rate, beats per minute.
    rr_interval, p_duration, pr_interval, qrs_duration, qt_interval : float or None
        Milliseconds.
    qtc_bazett, qtc_fridericia, qtc_framingham, qtc_hodges : float or None
        QT corrected for the rate, milliseconds.
    qtc : float or None
        QT corrected by a formula that the device does not name, milliseconds.
    p_axis, qrs_axis, t_axis : float or None
        Frontal axes, degrees in −180 to 180.

    Raises
    ------
    ValueError
        If one of them is not finite: a device's marker for "not measured" is for its reader to recognise.
    """

    heart_rate: float | None = None
    rr_interval: float | None = None
    p_duration: float | None = None
    pr_interval: float | None = None
    qrs_duration: float | None = None
    qt_interval: float | None = None
    qtc: float | None = None
    qtc_bazett: float | None = None
    qtc_fridericia: float | None = None
    qtc_framingham: float | None = None
    qtc_hodges: float | None = None
    p_axis: float | None = None
    qrs_axis: float | None = None
    t_axis: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.known().items():
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}")

    def known(self) -> dict[str, float]:
        """Those that were measured, by name."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}


UNMEASURED = Measurements()
"""Nothing was measured."""


def plausible(values: Mapping[str, float | None]) -> Measurements:
    """Measurements of these names; those that nothing can have, and names of no measurement, are left out.

    Rates and intervals lie above 0 and below a minute, axes in −180 to 180 degrees.
    """
    names = {field.name for field in fields(Measurements)}
    kept = {name: float(value) for name, value in values.items() if name in names and value is not None}
    return Measurements(**{name: value for name, value in kept.items() if _can_be(name, value)})


def _can_be(name: str, value: float) -> bool:
    return -180 <= value <= 180 if name.endswith("_axis") else 0 < value < 60_000
