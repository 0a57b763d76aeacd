"""Pairs: two leads as one complex number, so that a recursive filter runs over both in hardly more than one's time.

Such a filter waits for its own last value and not for arithmetic. What is real never touches what is imaginary: the
outcome is that of each lead alone, to the last bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def paired(leads: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Each two of an even number of leads, (leads, samples), as one."""
    return np.asarray(leads[::2] + 1j * leads[1::2])


def parted(pairs: NDArray[np.complex128]) -> NDArray[np.float64]:
    """The leads that were `paired`."""
    return np.stack((pairs.real, pairs.imag), axis=1).reshape(-1, pairs.shape[1])
