"""Beats: where the heart beats, and how fast, from the energy of the QRS complex in all leads together.

The chain of band-pass, slope, square and moving window is that of Pan and Tompkins (IEEE Trans Biomed Eng
1985;32:230); here the squared slopes of all twelve leads are added before the window, so that a beat that is small in
one lead is found by the others, and the threshold follows the record's own peaks instead of a running state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, find_peaks, sosfiltfilt

from models.ecg.median import median
from models.ecg.pairs import paired, parted
from models.ecg.recording import Recording

Samples = NDArray[np.int64]

_BAND = (5.0, 20.0)  # hertz; the QRS complex has its energy here, P and T waves below (Pan and Tompkins 1985)
_LOWEST_RATE = 2.2 * _BAND[1]  # hertz; below it the band cannot be represented
_WINDOW = 0.15  # seconds; the moving window of Pan and Tompkins, about the widest QRS complex
_REFRACTORY = 0.20  # seconds; no ventricle beats again sooner (Pan and Tompkins 1985)
_T_WAVE = 0.36  # seconds; a peak nearer than this and half as high is a T wave (Pan and Tompkins 1985)
_THRESHOLD = 0.3  # of the way from the median energy to that of a typical beat
_SLOWEST_BEAT = 2.0  # seconds that are sure to hold a beat, from which a typical one is learnt

_FLATTEST = 0.2  # of the typical lead: one that moves less does not count as much
_NOTHING = 1e-6  # mV, a thousandth of a microvolt: below every converter's step


def r_peaks(recording: Recording) -> Samples:
    """Samples at which a QRS complex has its centre, in ascending order.

    Of the 908 beats marked by hand in 100 LUDB records all are found within 75 ms, and none beside them; the floor is
    asserted in ``tests/models/test_beats.py``.
    """
    return Activity.of(recording).beats


def heart_rate(recording: Recording) -> float | None:
    """Beats per minute from the median interval between beats; None if fewer than three beats are found."""
    peaks = r_peaks(recording)
    if len(peaks) < 3:
        return None
    return float(60 * recording.sampling_rate / median(np.diff(peaks)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Activity:
    """How much of a QRS complex there is at each moment; worked out once by whoever asks more than one thing of it.

    Attributes
    ----------
    energy : ndarray, (samples,) float64
        Root of the mean squared slope in the band of the QRS complex, over all leads and a moving window; millivolts
        per sample, zero at sampling rates that cannot hold the band.
    rate : float
        Hertz.
    """

    energy: NDArray[np.float64]
    rate: float

    @classmethod
    def of(cls, recording: Recording) -> Activity:
        """The activity of a recording."""
        return cls(energy=_energy(recording.signal, recording.sampling_rate), rate=recording.sampling_rate)

    @cached_property
    def contrast(self) -> float:
        """Energy of a typical beat over the median; 0 where nothing moves. Noise comes out between 1 and 2."""
        return self._typical_peak / self._floor if self._floor > 0 else 0.0

    @cached_property
    def beats(self) -> Samples:
        """Peaks of the energy above the threshold, without the T waves between them."""
        peaks, _ = find_peaks(self.energy, distance=max(round(_REFRACTORY * self.rate), 1))
        threshold = self._floor + _THRESHOLD * (self._typical_peak - self._floor)
        kept: list[int] = []
        for peak in peaks[self.energy[peaks] > threshold]:
            near = bool(kept) and peak - kept[-1] < _T_WAVE * self.rate
            if near and self.energy[peak] < self.energy[kept[-1]] / 2:
                continue
            if near and self.energy[kept[-1]] < self.energy[peak] / 2:
                kept[-1] = int(peak)
            else:
                kept.append(int(peak))
        return np.array(kept, dtype=np.int64)

    @cached_property
    def _floor(self) -> float:
        return float(median(self.energy))

    @cached_property
    def _typical_peak(self) -> float:
        """Energy of a typical beat: the median of the highest values of successive stretches that each hold one."""
        stretch = min(round(_SLOWEST_BEAT * self.rate), len(self.energy))
        whole = len(self.energy) // stretch * stretch
        return float(median(self.energy[:whole].reshape(-1, stretch).max(axis=1)))


@lru_cache(maxsize=16)  # the design takes longer than the filter
def _qrs_band(rate: float) -> NDArray[np.float64]:
    sections: NDArray[np.float64] = butter(1, _BAND, "bandpass", fs=rate, output="sos")
    return sections


def _energy(signal: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    if rate <= _LOWEST_RATE:
        return np.zeros(signal.shape[1])
    padding = min(round(rate), signal.shape[1] - 1)
    filtered = parted(sosfiltfilt(_qrs_band(rate), paired(signal), axis=1, padlen=padding))
    slope = np.diff(filtered, axis=1, append=filtered[:, -1:])
    energy = uniform_filter1d(np.einsum("ls,ls->s", slope, slope), max(round(_WINDOW * rate), 1))
    root: NDArray[np.float64] = np.sqrt(np.maximum(energy, 0))  # the running sum may end a rounding error below zero
    return root


def windows(signal: NDArray[np.float64], base: Samples, begin: int, end: int) -> NDArray[np.float64]:
    """The signal around each beat, (leads, beats, end - begin), from base + begin on; its ends are repeated."""
    return signal.take(base[:, None] + np.arange(begin, end), axis=1, mode="clip")


def balanced(curves: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Curves of each lead and beat, relative to what is usual in that lead, so that all leads count alike.

    Parameters
    ----------
    curves : (leads, beats, samples)
    counted : (beats, samples)
        Where the largest deflection of a beat is looked for.
    """
    usual = median(np.where(counted, np.abs(curves), 0).max(axis=2), axis=1)
    floor = max(_FLATTEST * float(median(usual)), _NOTHING)
    return np.asarray(curves / np.maximum(usual, floor)[:, None, None])
