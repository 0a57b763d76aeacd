"""Covariates: what a model may read beside the ECG, as numbers; NaN where it is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.ecg.recording import Recording, Sex

Covariate = Literal["age", "sex", "height", "weight"]

SEX: dict[Sex, float] = {"F": -1.0, "M": 1.0}
"""Sex as a number, so that an unknown one may stand in the middle."""


def covariates_of(recording: Recording, names: Sequence[Covariate]) -> NDArray[np.float32]:
    """What is known of one person: years, sex as `SEX`, cm, kg; (len(names),) in the order of `names`."""
    stated: dict[Covariate, float | None] = {
        "age": recording.age,
        "sex": None if recording.sex is None else SEX[recording.sex],
        "height": recording.height,
        "weight": recording.weight,
    }
    return np.array([np.nan if stated[name] is None else stated[name] for name in names], np.float32)
