"""Microvolts: a recording's samples as they stand in text, to the 10 nV of the canonical form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.ecg.recording import CANONICAL_STEP, Recording

UNIT = "uV"


def microvolts(recording: Recording) -> NDArray[np.int64] | NDArray[np.float64]:
    """(12, samples) whole microvolts where all of them are, else with two decimals."""
    steps = np.rint(recording.signal / CANONICAL_STEP)
    whole = not (steps % 100).any()
    return (steps / 100).astype(np.int64) if whole else steps / 100
