"""Measure: rate, intervals and axes of an ECG, as this project measures them."""

from __future__ import annotations

from models.ecg.beats import heart_rate
from models.ecg.measurements import Measurements
from models.ecg.recording import Recording


def measure(recording: Recording) -> Measurements:
    """What can be measured on a recording; None for what cannot."""
    return Measurements(heart_rate=heart_rate(recording))
