"""Participant: one simulated person, whose ECG and cardiac MRI come from the same heart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ecg.recording import Recording, Sex
from training.simulate.population import RhythmName


@dataclass(frozen=True, eq=False, kw_only=True)
class Participant:
    """An ECG, the heart at end-diastole and end-systole, and what is true of both.

    Attributes
    ----------
    seed : int
        Reproduces this participant.
    pathology : str
        Class of the population model ("normal", "LVH", "DCM" …).
    recording : Recording
        12 leads, 10 s at 500 Hz, as an electrocardiograph would have stored it (noise included).
    ed, es : ndarray, (slices, rows, columns) float32
        Short-axis bSSFP magnitude at end-diastole and end-systole.
    spacing : (float, float, float)
        Millimetres between slices, rows and columns.
    phenotypes : mapping
        Measured on the label maps: every symbol of `models.phenotypes`, in its unit. These are the labels.
    analytic : mapping
        The same symbols as the parametric heart has them: the truth behind the labels.
    """

    seed: int
    pathology: str
    severity: float
    sex: Sex
    age: float
    height: float
    weight: float
    heart_rate: float
    rhythm: RhythmName
    recording: Recording
    ed: NDArray[np.float32]
    es: NDArray[np.float32]
    spacing: tuple[float, float, float]
    phenotypes: Mapping[str, float]
    analytic: Mapping[str, float]
