"""Fiducials: where P, QRS and T begin, peak and end in every beat, in each lead and over all leads together.

QRS is bounded where its slope rises from the quiet and comes to rest (`models.ecg.qrs`); P and T are bumps in what is
left without it (`models.ecg.bumps`). A P wave counts where it looks the same from beat to beat, as the waves of atrial
fibrillation do not. Flutter waves that keep their distance to QRS cannot be told from P waves, nor can a paced atrium.

The constants were set on every second of the 100 LUDB records (Kalyakulina et al., IEEE Access 2020;8:186181); what is
left of error on these and on the others is in ``docs/beats.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from models.ecg.beats import Activity, Samples
from models.ecg.bumps import Bumps, Search, Shape, bumps
from models.ecg.median import median
from models.ecg.qrs import qrs_bounds, qrs_peaks
from models.ecg.recording import LEADS, Recording

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

ABSENT = -1
"""Stands for a mark that is not there."""

_RATE = 500.0  # hertz to which faster recordings are averaged: AHA's minimum (Kligfield et al., JACC 2007;49:1109)
_SMOOTH = 0.008  # s, SD

_T = Shape(width=0.072, near=0.04, varies=0.10, before=0.14, after=0.12, halves=2.4)
_T_EARLIEST = 0.06  # s from QRS to the peak of T
_T_LATEST, _T_END = 0.5, 0.65  # s from the onset of QRS to the peak and to the end of T, at 60 beats a minute
_T_TO_QRS = 0.04  # s from the end of T to the next QRS

_P = Shape(width=0.048, near=0.03, varies=0.03, before=0.08, after=0.055)
_P_EARLIEST, _P_LATEST = 0.30, 0.02  # s from the peak of P to QRS
_P_SHARE = 0.4  # of the RR interval, at most, from the peak of P to QRS
_P_NEAREST = 0.05  # s from the usual peak of P to QRS: what comes later is its beginning
_ALIKE, _BEAT_ALIKE = 0.65, 0.5  # correlation with the other beats: of the usual beat, and of each
_IRREGULAR = 0.15  # of RR, from beat to beat: above it the atria are likely to fibrillate,
_SURELY_ALIKE = 0.85  # and P waves, if there are any, must be as alike as this


@dataclass(frozen=True, eq=False, kw_only=True)
class Wave:
    """Marks of one wave, in samples; `ABSENT` where there is none.

    Attributes
    ----------
    onset, peak, offset : ndarray, (beats,) or (12, beats) int64
    """

    onset: Samples
    peak: Samples
    offset: Samples


@dataclass(frozen=True, eq=False, kw_only=True)
class Fiducials:
    """P, QRS and T of each beat. What an end of the recording cuts off has no mark there."""

    p: Wave
    qrs: Wave
    t: Wave


def delineate(recording: Recording, activity: Activity | None = None) -> Fiducials:
    """Marks of each beat over all leads together: (beats,) samples of the recording.

    QRS is bounded by the activity in any lead; its peak, and all of P and T, is the median of the leads.

    Parameters
    ----------
    activity : of this recording, where it is known already
    """
    return _delineated(recording, activity)[0]


def delineate_leads(recording: Recording) -> Fiducials:
    """Marks of each beat in each lead: (12, beats) samples of the recording."""
    return _delineated(recording, None)[1]


def _delineated(recording: Recording, activity: Activity | None) -> tuple[Fiducials, Fiducials]:
    step = max(round(recording.sampling_rate / _RATE), 1)
    thinned = _averaged(recording, step)
    signal, rate = thinned.signal, thinned.sampling_rate
    centres = (activity if activity and thinned is recording else Activity.of(thinned)).beats
    if not len(centres):
        return _nothing((0,)), _nothing((len(LEADS), 0))
    onset, offset, onsets, offsets = qrs_bounds(signal, rate, centres)
    calm = gaussian_filter1d(_without(signal, onset, offset), _SMOOTH * rate, axis=1)
    t = _t_waves(calm, rate, onset, offset)
    p = _p_waves(calm, rate, onset, median(t.offset).astype(np.int64))
    peaks = qrs_peaks(signal, onsets, offsets)
    back = _Back(step, signal.shape[1])
    qrs = back.wave(onset, median(peaks).astype(np.int64), offset)
    together = Fiducials(p=back.together(p), qrs=qrs, t=back.together(t))
    return together, Fiducials(p=back.each(p), qrs=back.wave(onsets, peaks, offsets), t=back.each(t))


def _nothing(shape: tuple[int, ...]) -> Fiducials:
    none = np.zeros(shape, np.int64)
    wave = Wave(onset=none, peak=none, offset=none)
    return Fiducials(p=wave, qrs=wave, t=wave)


def _averaged(recording: Recording, step: int) -> Recording:
    """The recording with the mean of each `step` samples in their place."""
    whole = recording.signal.shape[1] // step * step
    if step == 1 or whole == 0:
        return recording
    mean = recording.signal[:, :whole].reshape(len(LEADS), -1, step).mean(axis=2)
    return Recording(signal=mean, sampling_rate=recording.sampling_rate / step)


@dataclass(frozen=True)
class _Back:
    """From averaged samples to those of the recording itself."""

    step: int
    samples: int

    def wave(self, onset: Samples, peak: Samples, offset: Samples) -> Wave:
        return Wave(onset=self._mark(onset), peak=self._mark(peak), offset=self._mark(offset))

    def each(self, wave: Bumps) -> Wave:
        marks = (np.where(wave.found, mark, ABSENT) for mark in (wave.onset, wave.peak, wave.offset))
        return self.wave(*marks)

    def together(self, wave: Bumps) -> Wave:
        marks = (median(mark).astype(np.int64) for mark in (wave.onset, wave.peak, wave.offset))
        return self.wave(*(np.where(wave.found, mark, ABSENT) for mark in marks))

    def _mark(self, mark: Samples) -> Samples:
        inside = (mark > 0) & (mark < self.samples - 1)
        return np.where(inside, mark * self.step + self.step // 2, ABSENT)


def _without(signal: Array, onset: Samples, offset: Samples) -> Array:
    """The signal with a straight line for each QRS complex."""
    begun, ended = _passed(onset + 1, signal.shape[1]), _passed(offset, signal.shape[1])
    kept, bridged = np.flatnonzero(begun <= ended), np.flatnonzero(begun > ended)
    if len(kept) < 2:
        return signal
    right = np.clip(np.searchsorted(kept, bridged), 1, len(kept) - 1)
    left, right = kept[right - 1], kept[right]
    weight = np.clip((bridged - left) / (right - left), 0, 1)
    smooth = signal.copy()
    smooth[:, bridged] = signal[:, left] * (1 - weight) + signal[:, right] * weight
    return smooth


def _passed(marks: Samples, samples: int) -> Samples:
    """(samples,) how many marks lie at or before each sample."""
    return np.bincount(np.clip(marks, 0, samples), minlength=samples + 1)[:-1].cumsum()


def _t_waves(calm: Array, rate: float, onset: Samples, offset: Samples) -> Bumps:
    rr = np.append(np.diff(onset), _usual_interval(onset, rate))
    longest = np.sqrt(np.maximum(rr, 0) * rate)  # samples of a second at 60 beats a minute, by Bazett at others
    ceiling = np.minimum(onset + rr - _T_TO_QRS * rate, onset + _T_END * longest).astype(np.int64)
    search = Search(
        base=offset,
        earliest=offset + round(_T_EARLIEST * rate),
        latest=np.minimum(ceiling, onset + _T_LATEST * longest).astype(np.int64),
        floor=offset,
        ceiling=ceiling,
    )
    return bumps(calm, rate, search, _T)


def _p_waves(calm: Array, rate: float, onset: Samples, t_end: Samples) -> Bumps:
    """P waves before each QRS; found only where they are surely P waves."""
    rr = np.append(_usual_interval(onset, rate), np.diff(onset))
    earliest = onset - np.minimum(_P_EARLIEST * rate, _P_SHARE * np.maximum(rr, 0)).astype(np.int64)
    earliest = np.maximum(earliest, np.append(0, t_end[:-1]))
    search = Search(
        base=onset,
        earliest=earliest,
        latest=onset - round(_P_LATEST * rate),
        floor=np.minimum(earliest, onset) - round(_P.before * rate),
        ceiling=onset - 1,
    )
    wave = bumps(calm, rate, search, _P)
    return replace(wave, found=wave.found & _are_p_waves(wave, onset, rate))


def _are_p_waves(wave: Bumps, onset: Samples, rate: float) -> Mask:
    if not wave.found.any():
        return wave.found
    distance = float(median((onset - median(wave.peak))[wave.found]))
    needed = _SURELY_ALIKE if _irregularity(onset) > _IRREGULAR else _ALIKE
    real = float(median(wave.alike[wave.found])) >= needed and distance >= _P_NEAREST * rate
    return (wave.alike >= _BEAT_ALIKE) & real


def _usual_interval(onset: Samples, rate: float) -> int:
    """Samples between two beats; a second where there is but one."""
    return round(float(median(np.diff(onset)))) if len(onset) > 1 else round(rate)


def _irregularity(onset: Samples) -> float:
    """Median change of the interval from beat to beat, relative to the interval; 0 of fewer than three beats."""
    rr = np.diff(onset)
    return float(median(np.abs(np.diff(rr))) / median(rr)) if len(rr) > 1 else 0.0
