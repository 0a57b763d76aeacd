"""Examination: one upload, decoded and judged; what everything that takes ECGs wants to know of it first."""

from __future__ import annotations

from dataclasses import dataclass

from models.ecg.decode import decode
from models.ecg.measure import measure
from models.ecg.measurements import Measurements
from models.ecg.quality import Quality, assess, refusal
from models.ecg.recording import Recording
from models.ecg.stated import Stated


@dataclass(frozen=True, kw_only=True)
class Examination:
    """A recording that can be used, and what was found in it."""

    recording: Recording
    quality: Quality
    measured: Measurements
    """Ours; the device's own are in the recording."""


def examine(data: bytes, stated: Stated | None = None) -> Examination:
    """Decode and judge.

    Raises
    ------
    EcgError
        If the bytes are no ECG that is read here, or no heart can be read from it.
    """
    recording = decode(data, stated)
    quality = assess(recording)
    refused = refusal(quality)
    if refused is not None:
        raise refused
    return Examination(recording=recording, quality=quality, measured=measure(recording))
