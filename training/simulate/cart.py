"""Cart: the electrocardiograph that takes the recording, with its pass band, converter and mains."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct

from models.ecg.recording import Filters

Array = NDArray[np.float64]

ARM_REVERSAL = 0.01
"""Share of recordings with the arm electrodes exchanged.

All exchanged cables: 0.4 % in an outpatient clinic, 4 % in intensive care (Rudiger, Am J Emerg Med 2007;25:174 [R]).
"""

_NOTCH_QUALITY = 20.0  # ours: 2.5 Hz wide at 50 Hz

_EXCHANGED: Array = np.eye(8)
_EXCHANGED[0, 0], _EXCHANGED[1, 0] = -1, -1  # I becomes -I, II becomes III = II - I; the central terminal stays


@dataclass(frozen=True, kw_only=True)
class Cart:
    """One electrocardiograph, and how it was connected.

    Attributes
    ----------
    sampling_rate : int
        250, 500 or 1000 Hz.
    mains : int
        50 or 60 Hz, of the place where it stands.
    high_pass, low_pass : float
        Hz; a diagnostic electrocardiograph passes 0.05 to 150 Hz (AHA/ACC/HRS part I, Kligfield 2007), many are set to
        less.
    notch : bool
        Whether the mains are filtered out.
    resolution : float
        mV in one step of the converter: 0.6 to 5 µV are in use (Kligfield 2007).
    full_scale : float
        mV beyond which the converter saturates, on either side.
    arms_exchanged : bool
        The electrodes of the right and the left arm are in each other's place.

    Raises
    ------
    ValueError
        If 1 kHz beats cannot be thinned to the rate, or it cannot carry the pass band.
    """

    sampling_rate: int = 500
    mains: int = 50
    high_pass: float = 0.05
    low_pass: float = 150.0
    notch: bool = False
    resolution: float = 0.005
    full_scale: float = 10.0
    arms_exchanged: bool = False

    def __post_init__(self) -> None:
        if self.sampling_rate not in (250, 500, 1000):
            raise ValueError(f"a cart samples at 250, 500 or 1000 Hz, not at {self.sampling_rate}")
        if not 0 < self.high_pass < self.low_pass < self.sampling_rate / 2:
            raise ValueError(f"{self.sampling_rate} Hz cannot carry {self.high_pass} to {self.low_pass} Hz")

    @property
    def filters(self) -> Filters:
        """What a file from this cart says of its filters."""
        return Filters(
            high_pass=self.high_pass, low_pass=self.low_pass, notch=float(self.mains) if self.notch else None
        )

    def connected(self, leads: Array) -> Array:
        """The independent leads (8, samples) as this cart's cables give them."""
        return np.asarray(_EXCHANGED @ leads) if self.arms_exchanged else leads

    def digitised(self, leads: Array) -> Array:
        """Filtered, saturated and in whole steps of the converter, (8, samples) mV.

        Zero phase: the cosine transform sees a recording that is mirrored at its ends, so that no filter rings there.
        """
        gain = _gain(leads.shape[1], self.sampling_rate, self.high_pass, self.low_pass, self.mains * self.notch)
        passed = idct(gain * dct(leads, axis=1), axis=1)
        most = np.floor(self.full_scale / self.resolution)
        return np.asarray(np.clip(np.rint(passed / self.resolution), -most, most) * self.resolution)


def sample_cart(rng: np.random.Generator, sampling_rate: int = 500) -> Cart:
    """Draw a cart; the shares are ours, those of the pass bands after the files in use."""
    bands = [40.0, 100.0, 150.0] if sampling_rate > 300 else [40.0, 100.0]
    return Cart(
        sampling_rate=sampling_rate,
        mains=int(rng.choice([50, 60])),
        high_pass=float(rng.choice([0.05, 0.15])),
        low_pass=float(rng.choice(bands, p=[0.3, 0.2, 0.5] if len(bands) == 3 else [0.5, 0.5])),
        notch=bool(rng.random() < 0.4),
        resolution=float(rng.choice([0.001, 0.002, 0.005])),
        full_scale=float(rng.choice([5.0, 10.0, 16.0])),
        arms_exchanged=bool(rng.random() < ARM_REVERSAL),
    )


@lru_cache(maxsize=64)
def _gain(samples: int, rate: int, low: float, high: float, notch: int) -> Array:
    """Of each cosine: Butterworth, first order below and third above, 3 dB down at both corners; a notch unless 0."""
    frequency = 0.5 * rate * np.arange(samples) / samples
    gain = frequency / np.hypot(frequency, low) / np.sqrt(1 + (frequency / high) ** 6)
    if notch:
        away = np.abs(frequency**2 - notch**2)
        gain *= away / np.hypot(away, frequency * notch / _NOTCH_QUALITY)
    return np.asarray(gain)
