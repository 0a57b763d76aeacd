"""Median beat: the beat that a recording repeats, with wander, noise and ectopic beats left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, resample_poly, sosfiltfilt

from models.ecg.beats import r_peaks
from models.ecg.recording import Recording

Array = NDArray[np.float64]

RATE = 500
"""Hz at which beats are aligned; recordings of other rates are resampled."""

BEFORE, AFTER = 400, 600
"""Milliseconds of the median beat on either side of its centre: a PR interval of 300 ms, a QT interval of 550 ms."""

_HIGH_PASS = 0.5
"""Hz, forwards and backwards: a zero-phase filter may reach up to 0.67 Hz without bending ST (Kligfield et al.,
AHA/ACC/HRS recommendations part I, J Am Coll Cardiol 2007;49:1109)."""

_COMPLEX = 40  # samples on either side of the centre that are compared between beats: 80 ms
_REACH = 20  # samples by which a beat may be moved to fit: 40 ms
_ALIKE = 0.90  # correlation above which two beats are of one morphology (as electrocardiographs commonly ask)
_FEWEST = 3  # beats of one morphology


class NoMedianBeat(ValueError):
    """The recording repeats no beat at least three times."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MedianBeat:
    """The dominant beat of a recording.

    Attributes
    ----------
    signal : ndarray, (12, BEFORE + AFTER) float64
        Millivolts, one sample a millisecond; the QRS complex lies around sample `BEFORE`.
    centres : ndarray, (kept,)
        Where sample `BEFORE` lies in the recording for each beat of the median, ms.
    rr : ndarray, (beats - 1,)
        Milliseconds between successive beats, ectopic ones included.
    share : float
        Of the beats that have this morphology.
    noise : float
        Microvolts: spread of the signal above 40 Hz, robust against the QRS complexes, averaged over the leads.
    """

    signal: Array
    centres: Array
    rr: Array
    share: float
    noise: float


def median_beat(recording: Recording) -> MedianBeat:
    """The sample-wise median of the aligned beats of the dominant morphology.

    Raises
    ------
    NoMedianBeat
        If fewer than three beats of one morphology lie wholly inside the recording.
    """
    raw = _resampled(recording)
    flat = sosfiltfilt(_filter("highpass", _HIGH_PASS), raw, axis=1)
    peaks = np.rint(r_peaks(recording) * RATE / recording.sampling_rate).astype(np.int64)
    margin = _COMPLEX + _REACH
    found = peaks[(peaks >= margin) & (peaks < flat.shape[1] - margin)]
    centres, alike = _aligned(flat, found) if len(found) >= _FEWEST else (found, np.zeros(len(found), bool))
    kept = centres[alike]
    if len(kept) < _FEWEST:
        raise NoMedianBeat(f"{len(peaks)} beats, of which {len(kept)} are alike; a median needs {_FEWEST}")
    beat = np.nanmedian(_windows(_padded(flat), kept + _before(), _before(), _after()), axis=0)
    return MedianBeat(
        signal=resample_poly(beat, 1000 // RATE, 1, axis=1, padtype="line"),
        centres=kept.astype(np.float64) * (1000 / RATE),
        rr=np.diff(np.where(alike, centres, found)) * (1000 / RATE),
        share=float(alike.mean()),
        noise=_noise(raw),
    )


def _before() -> int:
    return BEFORE * RATE // 1000


def _after() -> int:
    return AFTER * RATE // 1000


def _resampled(recording: Recording) -> Array:
    if recording.sampling_rate == RATE:
        return recording.signal
    return np.asarray(resample_poly(recording.signal, RATE, round(recording.sampling_rate), axis=1, padtype="line"))


@lru_cache(maxsize=8)
def _filter(kind: str, edge: float) -> Array:
    sections: Array = butter(1, edge, kind, fs=RATE, output="sos")
    return sections


def _noise(raw: Array) -> float:
    fast = sosfiltfilt(_filter("highpass", 40.0), raw, axis=1)
    return float(1000 * 1.4826 * np.median(np.abs(fast), axis=1).mean())  # 1.4826: the SD of a Gaussian from its MAD


def _padded(signal: Array) -> Array:
    """Not-a-number beyond both ends, so that the first and the last beat give what they have."""
    return np.pad(signal, ((0, 0), (_before(), _after())), constant_values=np.nan)


def _windows(signal: Array, centres: NDArray[np.int64], before: int, after: int) -> Array:
    """(beats, 12, before + after) around each centre."""
    columns = centres[:, None] + np.arange(-before, after)
    return signal[:, columns].transpose(1, 0, 2)


def _aligned(flat: Array, centres: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Centres moved to where each beat fits the dominant one best, and which beats are like it.

    The first template is the beat that most others resemble, the second the median of those that resemble it.
    """
    wide = _windows(flat, centres, _COMPLEX + _REACH, _COMPLEX + _REACH)
    lags, fits = _fit(wide, wide[:, :, _REACH:-_REACH])
    best = int(np.argmax((fits > _ALIKE).sum(axis=1) + fits.mean(axis=1) / 2))
    alike = fits[best] > _ALIKE
    moved = _windows(flat, centres[alike] + lags[best, alike], _COMPLEX, _COMPLEX)
    (lag,), (fit,) = _fit(wide, np.median(moved, axis=0)[None])
    return centres + lag, fit > _ALIKE


def _fit(wide: Array, templates: Array) -> tuple[NDArray[np.int64], Array]:
    """Lag at which each beat correlates best with each template over all leads, and that correlation.

    Both (templates, beats); the products at all lags come from one Fourier transform.
    """
    samples, length = wide.shape[2], templates.shape[2]
    beats, shapes = np.fft.rfft(wide, axis=2), np.fft.rfft(templates, samples, axis=2)
    spectrum = np.einsum("blf,tlf->tbf", beats, shapes.conj(), optimize=True)
    product = np.fft.irfft(spectrum, samples, axis=2)[:, :, : samples - length + 1]
    running = np.pad(np.cumsum((wide**2).sum(axis=1), axis=1), ((0, 0), (1, 0)))
    energy = running[:, length:] - running[:, :-length]
    size = np.sqrt(energy[None] * (templates**2).sum(axis=(1, 2))[:, None, None])
    correlation = product / np.maximum(size, np.finfo(np.float64).tiny)
    best = correlation.argmax(axis=2)
    return best - _REACH, np.take_along_axis(correlation, best[:, :, None], axis=2)[:, :, 0]
