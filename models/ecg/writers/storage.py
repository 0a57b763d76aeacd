"""Storage: voltages as 16-bit numbers of one step, the way electrocardiographs keep them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ecg.recording import CANONICAL_STEP
from models.ecg.writers.errors import VoltageTooLarge

_LIMIT = 2**15 - 1  # −32768 means "no sample" in WFDB (signal(5), format 16)
_COARSEST = 500  # of the canonical steps: 5 µV, the coarsest in common use (AHA/ACC/HRS part I, Kligfield 2007)


@dataclass(frozen=True, eq=False, kw_only=True)
class Stored:
    """Samples in whole steps.

    Attributes
    ----------
    samples : ndarray, (leads, samples) int16
    step : float
        Microvolts in one step, a whole number of 10 nV.
    """

    samples: NDArray[np.int16]
    step: float


def store(signal: NDArray[np.float64]) -> Stored:
    """Choose the step and quantise.

    The step is the largest of which every sample is a whole number: the converter's own, or a simple part of it where
    limb leads were derived. Where 16 bits cannot hold the signal in that step, it is the finest in which they can.

    Parameters
    ----------
    signal : (leads, samples) millivolts

    Raises
    ------
    VoltageTooLarge
        Beyond 163 mV, where the finest step would be coarser than any electrocardiograph's.
    """
    largest = float(np.abs(signal).max())
    if largest / CANONICAL_STEP > _LIMIT * _COARSEST:
        raise VoltageTooLarge(f"{largest:.0f} mV is no ECG: is the signal in microvolts?")
    units = np.rint(signal / CANONICAL_STEP).astype(np.int64)
    exact = int(np.gcd.reduce(units, axis=None)) or _COARSEST
    finest = -(-int(np.abs(units).max()) // _LIMIT)
    step = max(exact, finest)
    return Stored(samples=np.rint(units / step).astype(np.int16), step=step / 100)
