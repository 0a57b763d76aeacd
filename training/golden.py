"""Golden examples: chosen when training starts, so that nothing later can bend them to fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from models.covariates import SEX
from models.ecg.preprocess import Preprocessing
from models.ecg.recording import Recording
from training.cohort import Cohort

MICROVOLTS = 1000.0

TRIED_ON = 128
"""ECGs on which a graph in fewer bits is calibrated and its errors are measured; 15 MB of a checkpoint."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Examples:
    """Recordings and what preprocessing made of them when training started.

    Attributes
    ----------
    recordings : what is replayed wherever the model is loaded
    tensors : (n, 12, samples) of these
    covariates : (n, 4) of these, in the order of `COVARIATES`, NaN where unknown
    trials : (m, 12, samples) float16 of the calibration split, on which variants in fewer bits are tried
    trial_covariates : (m, 4) of these
    """

    recordings: list[Recording]
    tensors: NDArray[np.float32]
    covariates: NDArray[np.float32]
    trials: NDArray[np.float16]
    trial_covariates: NDArray[np.float32]


def choose(
    cohort: Cohort,
    validation: NDArray[np.intp],
    calibration: NDArray[np.intp],
    preprocessing: Preprocessing,
    min_duration: float,
) -> Examples:
    """Three validation participants: as recorded, at half the sampling rate, and as short as the model takes.

    Beside them the first of the calibration split, on which variants in fewer bits are tried.
    """
    first, second, third = (cohort.recording(int(row)) for row in np.resize(validation, 3))
    recordings = [
        first,
        _with(second, resample_poly(second.signal, 1, 2, axis=1, padtype="line"), second.sampling_rate / 2),
        _with(third, third.signal[:, : round(min_duration * third.sampling_rate)], third.sampling_rate),
    ]
    tried = [cohort.recording(int(row)) for row in calibration[:TRIED_ON]]
    covariates = known(cohort, np.resize(validation, 3))
    covariates[-1, 0] = np.nan  # an age that is not known is replayed too
    return Examples(
        recordings=recordings,
        tensors=np.stack([preprocessing(recording) for recording in recordings]),
        covariates=covariates,
        trials=np.stack([preprocessing(recording) for recording in tried]).astype(np.float16),
        trial_covariates=known(cohort, calibration[:TRIED_ON]),
    )


def known(cohort: Cohort, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """The covariates of some participants as serving states them, (n, 4) in the order of `COVARIATES`."""
    sex = np.select([cohort.sex[rows] == name for name in SEX], list(SEX.values()), np.nan)
    stated = np.stack([cohort.age[rows], sex, cohort.height[rows], cohort.weight[rows]], axis=1)
    return stated.astype(np.float32)


def _with(recording: Recording, signal: NDArray[np.float64], sampling_rate: float) -> Recording:
    """Another signal, rounded to the microvolt so that storing it loses nothing."""
    return replace(recording, signal=np.rint(signal * MICROVOLTS) / MICROVOLTS, sampling_rate=sampling_rate)
