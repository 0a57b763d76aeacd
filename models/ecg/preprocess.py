"""Preprocessing: frozen, without defaults; a recording becomes the float32 tensor that a model was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, firwin, resample_poly, sosfiltfilt

from models.ecg.recording import LEADS, Recording

_FINEST_RATIO = 10_000
"""Largest term of a resampling ratio: 10 s of any rate then drift by less than a sample (499.9 Hz is 4999 : 5000)."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a recording becomes a tensor. Its numbers live in the model bundle and nowhere else.

    Attributes
    ----------
    sampling_rate : float
        Hertz of the tensor.
    duration : float
        Seconds of the tensor. Of a longer recording the first `duration` seconds are taken, a shorter one is
        followed by zeros, so that what is read never depends on a choice made elsewhere.
    high_pass, low_pass : float
        Corners in hertz of a zero-phase Butterworth band-pass.
    order : int
        Order of the band-pass; run forwards and backwards, its attenuation doubles.
    """

    sampling_rate: float
    duration: float
    high_pass: float
    low_pass: float
    order: int

    def __post_init__(self) -> None:
        if not 0 < self.high_pass < self.low_pass < self.sampling_rate / 2:
            raise ValueError("0 < high_pass < low_pass < sampling_rate / 2 must hold")
        if self.duration <= 0 or self.order < 1:
            raise ValueError("duration and order must be positive")

    @property
    def samples(self) -> int:
        """Samples of one lead of the tensor."""
        return round(self.duration * self.sampling_rate)

    @cached_property
    def _band_pass(self) -> NDArray[np.float64]:
        sections: NDArray[np.float64] = butter(
            self.order, (self.high_pass, self.low_pass), "bandpass", fs=self.sampling_rate, output="sos"
        )
        return sections

    def __call__(self, recording: Recording) -> NDArray[np.float32]:
        """Resample, filter and window one recording.

        Returns
        -------
        (12, samples) float32
            Millivolts at `sampling_rate`, leads in the order of `LEADS`.
        """
        signal = self._resample(self._beginning(recording), recording.sampling_rate)
        filtered = sosfiltfilt(
            self._band_pass, signal, axis=1, padlen=min(signal.shape[1] - 1, round(self.sampling_rate))
        )
        tensor = np.zeros((len(LEADS), self.samples), np.float32)
        kept = filtered[:, : self.samples]
        tensor[:, : kept.shape[1]] = kept
        return tensor

    def _beginning(self, recording: Recording) -> NDArray[np.float64]:
        """As much as the window can feel: two periods of the high-pass later its filter has forgotten (e⁻⁶)."""
        seconds = self.duration + 2 / self.high_pass
        return recording.signal[:, : math.ceil(seconds * recording.sampling_rate)]

    def _resample(self, signal: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
        """A signal of some rate at ours; its ends are extended along their own line so that no edge rings."""
        if rate == self.sampling_rate:
            return signal
        ratio = Fraction(self.sampling_rate / rate).limit_denominator(_FINEST_RATIO)
        if ratio == 1:
            return signal
        up, down = ratio.as_integer_ratio()
        window = _anti_alias(max(up, down))
        resampled: NDArray[np.float64] = resample_poly(signal, up, down, axis=1, padtype="line", window=window)
        return resampled


@lru_cache(maxsize=8)  # for odd rates the design takes six times as long as the filter
def _anti_alias(factor: int) -> NDArray[np.float64]:
    """The low-pass that `resample_poly` would design anew for each recording, to the last bit."""
    taps: NDArray[np.float64] = firwin(2 * 10 * factor + 1, 1 / factor, window=("kaiser", 5.0))
    return taps
