"""ECGs: any number of small ones, each another, all of which the released model reads."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, choose
from models.ecg import Recording
from models.ecg.writers import FORMATS
from worker.settings import ARTIFACTS

RATE = 250.0


@cache
def released() -> Bundle:
    return choose(None, ARTIFACTS)


@cache
def _heart() -> NDArray[np.float64]:
    """A golden example of the released bundle, 10 s in millivolts, as a device of 250 Hz would have recorded it."""
    whole = released().golden.tensors[0].astype(float)
    return whole[:, :: round(released().preprocessing.sampling_rate / RATE)]


def recording(number: int) -> Recording:
    """The ECG of a number: the same heart, a little larger each time."""
    return Recording(signal=_heart() * (0.8 + 1e-4 * number), sampling_rate=RATE, age=60.0, sex="F")


def recording_of_peak(peak: float, number: int = 0) -> Recording:
    """An ECG that reaches `peak` millivolts where the model sees it, for `tests.faults.slow_bundle`."""
    seen = np.abs(released().preprocessing(Recording(signal=_heart(), sampling_rate=RATE))).max()
    return Recording(signal=_heart() * (peak / seen * (1 + 1e-4 * number)), sampling_rate=RATE, age=60.0, sex="F")


def upload(recorded: Recording) -> bytes:
    """As a DICOM file, 60 kB."""
    return FORMATS["DICOM"].write(recorded)
