"""Golden examples: chosen when training starts, so that nothing later can bend them to fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from models.ecg.preprocess import Preprocessing
from models.ecg.recording import Recording
from training.cohort import Cohort

MICROVOLTS = 1000.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Examples:
    """Recordings and what preprocessing made of them, (n, 12, samples), when training started."""

    recordings: list[Recording]
    tensors: NDArray[np.float32]


def choose(cohort: Cohort, validation: NDArray[np.intp], preprocessing: Preprocessing, min_duration: float) -> Examples:
    """Three validation participants: as recorded, at half the sampling rate, and as short as the model takes."""
    first, second, third = (cohort.recording(int(row)) for row in np.resize(validation, 3))
    recordings = [
        first,
        _with(second, resample_poly(second.signal, 1, 2, axis=1, padtype="line"), second.sampling_rate / 2),
        _with(third, third.signal[:, : round(min_duration * third.sampling_rate)], third.sampling_rate),
    ]
    return Examples(recordings=recordings, tensors=np.stack([preprocessing(recording) for recording in recordings]))


def _with(recording: Recording, signal: NDArray[np.float64], sampling_rate: float) -> Recording:
    """Another signal, rounded to the microvolt so that storing it loses nothing."""
    return replace(recording, signal=np.rint(signal * MICROVOLTS) / MICROVOLTS, sampling_rate=sampling_rate)
