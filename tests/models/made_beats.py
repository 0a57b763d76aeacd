"""Constructed ECGs whose waves begin and end where they say: raised cosines, zero outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ecg import Recording

Array = NDArray[np.float64]

FRONTAL = {"I": 0.0, "II": 60.0, "III": 120.0, "aVR": -150.0, "aVL": -30.0, "aVF": 90.0}
"""Angle of each limb lead in the frontal plane, degrees."""


@dataclass(frozen=True, kw_only=True)
class Beat:
    """Onset from that of QRS and duration, ms; axis, degrees; height, mV."""

    p: tuple[float, float] = (-160.0, 100.0)
    qrs: tuple[float, float] = (0.0, 90.0)
    t: tuple[float, float] = (220.0, 180.0)
    p_axis: float = 50.0
    qrs_axis: float = 40.0
    t_axis: float = 30.0
    p_height: float = 0.15


def onsets(rr: float = 800.0, seconds: float = 10.0) -> Array:
    """Milliseconds at which QRS complexes begin, with a whole beat on either side of the first and the last."""
    return np.arange(rr, 1000 * seconds - rr, rr)


def made(beat: Beat, starts: Array, rate: float = 500.0, seconds: float = 10.0, noise: float = 0.003) -> Recording:
    """A recording of one beat that begins again and again."""
    time = 1000 * np.arange(round(seconds * rate)) / rate
    rng = np.random.default_rng(0)
    signal = noise * rng.standard_normal((12, len(time)))
    for start in starts:
        waves = (beat.p, beat.p_axis, beat.p_height), (beat.qrs, beat.qrs_axis, 1.0), (beat.t, beat.t_axis, 0.3)
        for (begin, duration), axis, height in waves:
            signal += height * np.outer(_leads(axis), _raised_cosine(time - start - begin, duration))
    return Recording(signal=signal, sampling_rate=rate)


def _raised_cosine(time: Array, duration: float) -> Array:
    inside = (time >= 0) & (time <= duration)
    return np.where(inside, 0.5 - 0.5 * np.cos(2 * np.pi * time / duration), 0)


def _leads(axis: float) -> Array:
    """What each lead sees of a vector of length 1; the augmented leads are √3/2 long, the precordial ones made up."""
    limbs = [
        np.cos(np.radians(axis - angle)) * (np.sqrt(3) / 2 if lead.startswith("aV") else 1)
        for lead, angle in FRONTAL.items()
    ]
    return np.array([*limbs, -0.4, 0.3, 0.6, 1.0, 0.9, 0.7])
