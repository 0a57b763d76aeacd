"""Probe: what a linear reader finds in frozen features, so that a stage is judged before the next one hides it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from torch import Tensor

from models.phenotypes import PREDICTED
from training.dataset import Dataset

PENALTIES = np.logspace(-1, 5, 13)
"""Ridge penalties for standardised features; leave-one-out error on the labelled rows chooses."""


def probe(features: Tensor, data: Dataset) -> dict[str, float]:
    """R² of each phenotype on the validation part, by ridge regression on the labelled rows of the train part.

    Parameters
    ----------
    features : (n, size) of every participant; a phenotype that too few have is left out.
    """
    x, y = features.cpu().numpy().astype(np.float64), data.targets.cpu().numpy().astype(np.float64)
    known, held_out = data.labelled.numpy(), data.parts["validation"].numpy()
    found = {symbol: _r2(x, y[:, column], known, held_out) for column, symbol in enumerate(PREDICTED)}
    return {symbol: r2 for symbol, r2 in found.items() if r2 is not None}


def _r2(
    x: NDArray[np.float64], y: NDArray[np.float64], known: NDArray[np.int64], held_out: NDArray[np.int64]
) -> float | None:
    known, held_out = (rows[~np.isnan(y[rows])] for rows in (known, held_out))
    if min(len(known), len(held_out)) < 2:
        return None
    mean, sd = x[known].mean(0), x[known].std(0) + 1e-6
    reader = RidgeCV(alphas=PENALTIES).fit((x[known] - mean) / sd, y[known])
    return float(reader.score((x[held_out] - mean) / sd, y[held_out]))
