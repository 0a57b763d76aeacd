"""Ruler: what was measured on the ECG, ours beside the device's, as lines of the study page."""

from __future__ import annotations

from dataclasses import dataclass

from models.ecg.facts import MEASURED
from models.report import EcgMeasurements


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
        Line(label[0].upper() + label[1:], unit, ours.get(key), device.get(key))
        for key, (label, unit) in MEASURED.items()
        if key in ours or key in device
    ]
