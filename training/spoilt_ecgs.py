"""Spoilt ECGs: one good recording, broken in the ways in which ECGs arrive broken, as files that a user would send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import orjson
from numpy.typing import NDArray

from models.ecg.recording import LEADS, Recording

Signal = NDArray[np.float64]

NOTHING: Mapping[str, Signal | None] = MappingProxyType({})
GOOD = "nothing (for comparison)"


def as_file(recording: Recording, *, unit: str = "mV", lost: Mapping[str, Signal | None] = NOTHING) -> bytes:
    """The recording as JSON, which can say what a `Recording` cannot.

    Parameters
    ----------
    lost : lead -> what is there instead; None for nothing
    """
    leads = {**dict(zip(LEADS, recording.signal, strict=True)), **lost}
    document = {
        "sampling_rate_hz": recording.sampling_rate,
        "unit": unit,
        "leads": {lead: row for lead, row in leads.items() if row is not None},
        "patient": {"age": recording.age, "sex": recording.sex},
        "paced": recording.paced,
    }
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)  # NaN becomes null


def spoilt(good: Recording, seed: int = 0) -> Mapping[str, bytes]:
    """What was done -> the file."""
    rng, signal = np.random.default_rng(seed), good.signal
    time = np.arange(signal.shape[1]) / good.sampling_rate
    quiet = 0.01 * rng.standard_normal(signal.shape)
    signals = {
        GOOD: signal,
        "electrodes off: no signal but noise of 10 µV": quiet,
        "flat in three leads": np.where(np.isin(LEADS, ("V2", "V3", "V4"))[:, None], 0.0, signal),
        "white noise of 1 mV instead of a heart": rng.standard_normal(signal.shape),
        "muscle noise of 0.5 mV over the heart": signal + 0.5 * rng.standard_normal(signal.shape),
        "mains of 1 mV over the heart, 50 Hz": signal + np.sin(2 * np.pi * 50 * time),
        "clipped at 0.1 mV": np.clip(signal, -0.1, 0.1),
        "arms swapped": _limbs(signal, left="right"),
        "arm and leg swapped": _limbs(signal, left="foot"),
        "chest leads in reverse order": np.concatenate((signal[:6], signal[:5:-1])),
        "upside down": -signal,
        "a third of the voltage": signal / 3.0,
    }
    files = {what: as_file(replace(good, signal=made)) for what, made in signals.items()}
    return files | {
        "one sample missing": as_file(good, lost={"V3": np.where(time == time[100], np.nan, good.lead("V3"))}),
        "4 s long": as_file(replace(good, signal=signal[:, : int(4 * good.sampling_rate)])),
        "microvolts called millivolts": as_file(replace(good, signal=1000 * signal)),
        "millivolts called microvolts": as_file(good, unit="uV"),
        "half the sampling rate stated": as_file(replace(good, sampling_rate=good.sampling_rate / 2)),
        "V6 missing": as_file(good, lost={"V6": None}),
        "a paced heart, stated": as_file(replace(good, paced=True)),
        "a child of 8 years": as_file(replace(good, age=8.0)),
        "cut off in the middle": as_file(good)[: len(as_file(good)) // 2],
        "a letter": b"Dear colleague, thank you for referring this patient.",
    }


def _limbs(signal: Signal, left: str) -> Signal:
    """The limb leads as two swapped electrodes make them, from I = L - R, II = F - R and III = F - L."""
    one, two, three = signal[:3]
    if left == "right":
        one, two, three = -one, three, two
    else:  # the left arm and the foot
        one, two, three = two, one, -three
    augmented = np.stack((-(one + two) / 2, (one - three) / 2, (two + three) / 2))
    return np.concatenate((np.stack((one, two, three)), augmented, signal[6:]))
