"""Made-up participants with honest predictions, for tests of what is measured on them."""

from __future__ import annotations

import numpy as np

from models.phenotypes import PHENOTYPES, PREDICTED, derive
from training.evaluate import Predictions

SPREAD = 0.15


def participants(rng, n, *, claimed=SPREAD):
    """Log-normal truth about honest means; the network claims an SD that may be wrong."""
    centre = np.log([150.0, 60.0, 100.0, 6.0, 160.0, 70.0, 60.0])
    mean = centre + 0.2 * rng.standard_normal((n, 7))
    truth = np.exp(mean + SPREAD * rng.standard_normal((n, 7)))
    rate = rng.uniform(50, 90, n)
    known = dict(zip(PREDICTED, truth.T, strict=True))
    every = known | derive(known, None)
    every["CO"] = every["LVSV"] * rate / 1000
    table = np.stack([every[symbol] for symbol in PHENOTYPES], axis=1)
    return Predictions(mean=mean, sd=np.full((n, 7), claimed), heart_rate=rate, truth=table)
