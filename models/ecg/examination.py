"""Examination: one upload, decoded and judged; what everything that takes ECGs wants to know of it first."""

from __future__ import annotations

from dataclasses import dataclass

from models.ecg.beats import Activity
from models.ecg.decode import decode
from models.ecg.measure import measure
from models.ecg.measurements import Measurements
from models.ecg.quality import Quality, assess, refusal
from models.ecg.recording import Recording
from models.ecg.stated import Stated


@dataclass(frozen=True, kw_only=True)
class Examination:
    """A recording, what was found in it, and what we measured on it; the device's measurements are in the recording."""

    recording: Recording
    quality: Quality
    ours: Measurements


def look(recording: Recording) -> Examination:
    """Look at a recording from every side, whether it can be used or not."""
    activity = Activity.of(recording)
    return Examination(recording=recording, quality=assess(recording, activity), ours=measure(recording, activity))


def examine(data: bytes, stated: Stated | None = None) -> Examination:
    """Decode and judge.

    Raises
    ------
    EcgError
        If the bytes are no ECG that is read here, or no heart can be read from it.
    """
    seen = look(decode(data, stated))
    refused = refusal(seen.quality)
    if refused is not None:
        raise refused
    return seen
