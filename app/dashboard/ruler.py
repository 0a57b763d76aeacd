"""Ruler: what was measured on the ECG, ours beside the device's, as lines of the study page."""

from __future__ import annotations

from dataclasses import dataclass

from models.report import EcgMeasurements

LINES: dict[str, tuple[str, str]] = {
    "heart_rate": ("Heart rate", "/min"),
    "rr_interval": ("RR", "ms"),
    "p_duration": ("P duration", "ms"),
    "pr_interval": ("PR", "ms"),
    "qrs_duration": ("QRS duration", "ms"),
    "qt_interval": ("QT", "ms"),
    "qtc": ("QTc (formula not stated)", "ms"),
    "qtc_bazett": ("QTc Bazett", "ms"),
    "qtc_fridericia": ("QTc Fridericia", "ms"),
    "qtc_framingham": ("QTc Framingham", "ms"),
    "qtc_hodges": ("QTc Hodges", "ms"),
    "p_axis": ("P axis", "°"),
    "qrs_axis": ("QRS axis", "°"),
    "t_axis": ("T axis", "°"),
}
"""In the order of a printed ECG, with the units of `models.ecg.measurements.Measurements`."""


@dataclass(frozen=True)
class Line:
    """One measurement; None where one side did not make it."""

    name: str
    unit: str
    ours: float | None
    device: float | None


def lines_of(measurements: EcgMeasurements) -> list[Line]:
    """Every measurement that either side made."""
    ours, device = measurements.ours, measurements.device
    return [
        Line(name, unit, ours.get(key), device.get(key))
        for key, (name, unit) in LINES.items()
        if key in ours or key in device
    ]
