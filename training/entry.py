"""Entry: one visit of a participant, ECG, CMR and phenotypes, and the digest of what is stored of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.ecg.recording import Recording, Sex

MILLIVOLT = 2000
"""Steps of the stored samples in one millivolt: half a microvolt, finer than any converter; int16 reaches to 16 mV."""

TEXT = {"ids": "id", "participants": "participant", "groups": "group", "sex": "sex", "rhythms": "rhythm"}
NUMBERS = ("severity", "age", "height", "weight", "heart_rate")
"""Columns of a cohort, and the attributes of an entry that they come from."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Entry:
    """One visit of a participant.

    Attributes
    ----------
    id : str
        Of the visit, unique in the cohort.
    participant : str
        Whose visit it is; the split is by it.
    group : str
        What evaluation is broken down by, e.g. the pathology ("normal", …).
    severity : float
        Of the pathology, 0 to 1; NaN where nobody graded it.
    sex : empty where unknown
    age, height, weight, heart_rate : float
        Years, cm, kg, beats per minute; NaN where not measured.
    rhythm : str
        During the ECG: "sinus", …; empty where nobody said.
    recording : Recording
        The ECG; stored in steps of half a microvolt.
    volumes : anchor ("ed", "es", …) -> volume as `training.grid.canonical` makes it
    phenotypes : (12,) in the order of the catalogue; NaN where not measured
    cine : (frames, rows, columns) uint8, a mid-ventricular slice over a beat, from the R peak on; or None
    """

    id: str
    participant: str
    group: str
    severity: float
    sex: Sex | Literal[""]
    age: float
    height: float
    weight: float
    heart_rate: float
    rhythm: str
    recording: Recording
    volumes: Mapping[str, NDArray[np.uint8]]
    phenotypes: NDArray[np.float64]
    cine: NDArray[np.uint8] | None = None


def digest(text: Sequence[str], numbers: Sequence[float], arrays: Iterable[NDArray[np.generic]]) -> bytes:
    """SHA-256 of one visit, from its columns in their order."""
    running = hashlib.sha256(json.dumps(text).encode())
    running.update(np.array(numbers, "<f8").tobytes())
    for array in arrays:
        running.update(f"{array.dtype.str}{array.shape}".encode())
        running.update(np.ascontiguousarray(array).data)
    return running.digest()
