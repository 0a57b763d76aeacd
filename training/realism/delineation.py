"""Delineation: where P, QRS and T of a median beat begin and end, over all leads together.

QRS and P are found on the length of the slope vector of all leads, T by the tangent of Lepeschkin and Surawicz
(Circulation 1952;6:378). The fractions below were set on the marks that cardiologists made in LUDB (Kalyakulina et al.,
IEEE Access 2020;8:186181); what is left of error is asserted in ``tests/training/test_realism_features.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from training.realism.median_beat import BEFORE, MedianBeat

Array = NDArray[np.float64]

_QRS_SMOOTH = 3.0  # ms, SD: mains and muscle go, a Q wave of 20 ms stays
_QRS_REACH = 130  # ms on either side of the steepest slope: half of the widest complex
_CORE = 0.35  # of the steepest slope: surely QRS
_ONSET_LEVEL, _OFFSET_LEVEL = 0.02, 0.025  # of the steepest slope, above the quietest slope beside the complex
_NOISE = 2.0  # times the quietest slope that count as noise
_QUIET = 8  # ms below the level that end the complex

_P_SMOOTH = 8.0  # ms, SD
_P_EARLIEST, _P_LATEST = 330, 10  # ms before the QRS complex between which P is looked for
_P_LEVEL = 0.25  # of the steepest slope of P
_P_SMALLEST = 0.030  # mV, root mean square over the leads: below it there is no P wave to speak of

_T_EARLIEST = 60  # ms after J: the ST segment
_T_SMOOTH = 8.0  # ms, SD
_T_SMALLEST = 0.05  # mV: T waves below it have no tangent worth drawing
_PQ = 12  # ms before QRS that are the isoelectric level (as of electrocardiographs, CSE: Eur Heart J 1985;6:815)


@dataclass(frozen=True, eq=False, kw_only=True)
class Delineation:
    """Where the waves are, in ms of the median beat; NaN where there is none.

    Attributes
    ----------
    signal : ndarray, (12, samples)
        mV from the isoelectric level just before QRS.
    qrs_onset, qrs_offset : int
        Earliest and latest activity of the ventricles in any lead; the offset is the J point.
    p_onset, p_offset, t_peak, t_end : float
    """

    signal: Array
    qrs_onset: int
    qrs_offset: int
    p_onset: float
    p_offset: float
    t_peak: float
    t_end: float

    @property
    def qrs(self) -> Array:
        """(12, n) mV."""
        return self.signal[:, self.qrs_onset : self.qrs_offset + 1]


def delineate(beat: MedianBeat) -> Delineation:
    """Find the waves of a median beat."""
    onset, offset = _qrs(beat.signal)
    level = beat.signal[:, max(onset - _PQ, 0) : onset].mean(axis=1, keepdims=True)
    signal = beat.signal - level
    p_onset, p_offset = _p_wave(signal, onset, float(np.median(beat.rr)))
    t_peak, t_end = _t_wave(signal, offset, float(np.median(beat.rr)), p_onset)
    return Delineation(
        signal=signal,
        qrs_onset=onset,
        qrs_offset=offset,
        p_onset=p_onset,
        p_offset=p_offset,
        t_peak=t_peak,
        t_end=t_end,
    )


def _slope(signal: Array, smooth: float) -> Array:
    """Length of the slope vector over all leads, mV/ms, (samples,)."""
    return np.asarray(np.sqrt((gaussian_filter1d(signal, smooth, axis=1, order=1) ** 2).sum(axis=0)))


def _qrs(signal: Array) -> tuple[int, int]:
    slope = _slope(signal, _QRS_SMOOTH)
    near = slice(BEFORE - _QRS_REACH, BEFORE + _QRS_REACH)
    steepest = near.start + int(slope[near].argmax())
    core = near.start + np.flatnonzero(slope[near] > _CORE * slope[steepest])
    before = slope[max(core[0] - _QRS_REACH, 0) : core[0]][::-1]
    after = slope[core[-1] : core[-1] + _QRS_REACH]
    onset = int(core[0]) - _quiet_after(before, _ONSET_LEVEL * slope[steepest])
    return onset, int(core[-1]) + _quiet_after(after, _OFFSET_LEVEL * slope[steepest])


def _quiet_after(slope: Array, rise: float) -> int:
    """Samples until the slope stays for a while within `rise`, or the noise, of its quietest level."""
    quietest = uniform_filter1d(slope, _QUIET).min()
    level = quietest + max(rise, _NOISE * quietest)
    calm = uniform_filter1d((slope < level).astype(np.float64), _QUIET, origin=-(_QUIET // 2)) > 1 - 1e-9
    return int(calm.argmax()) if calm.any() else int(slope.argmin())


def _p_wave(signal: Array, qrs_onset: int, rr: float) -> tuple[float, float]:
    """On- and offset of P between the last T wave and QRS."""
    start, stop = max(qrs_onset - min(_P_EARLIEST, round(0.45 * rr)), 0), qrs_onset - _P_LATEST
    if stop - start < 4 * _P_SMOOTH:
        return np.nan, np.nan
    part = gaussian_filter1d(signal[:, start:stop], _P_SMOOTH / 2, axis=1)
    ramp = np.linspace(0, 1, part.shape[1])
    ends = [part[:, :10].mean(axis=1), part[:, -10:].mean(axis=1)]
    lifted = part - np.outer(ends[0], 1 - ramp) - np.outer(ends[1], ramp)
    height = np.sqrt((lifted**2).mean(axis=0))
    peak = int(height.argmax())
    if height[peak] < _P_SMALLEST:
        return np.nan, np.nan
    slope = _slope(signal[:, start:stop], _P_SMOOTH)
    return start + _foot(slope[: peak + 1][::-1], peak), start + 2.0 * peak - _foot(slope[peak:], peak)


def _foot(slope: Array, peak: int) -> float:
    """Sample, counted down from the peak, at which the flank that follows has flattened out."""
    flank = int(slope[:80].argmax())
    flat = np.flatnonzero(slope[flank:] < _P_LEVEL * slope[flank])
    quietest = int(slope[flank:].argmin())
    return float(peak - flank - (flat[0] if len(flat) else quietest))


def _t_wave(signal: Array, offset: int, rr: float, p_onset: float) -> tuple[float, float]:
    """Peak of T over all leads, and the median over the leads of where its tangent meets the isoelectric level."""
    start = offset + _T_EARLIEST
    before_p = BEFORE + rr - (BEFORE - p_onset if np.isfinite(p_onset) else 0.2 * rr) - 20
    stop = int(min(signal.shape[1], max(before_p, start + 100)))
    part = gaussian_filter1d(signal[:, start:stop], _T_SMOOTH, axis=1)
    height = np.sqrt((part**2).mean(axis=0))
    peak = int(height.argmax())
    ends = [_tangent_end(lead) for lead in part if np.abs(lead).max() > _T_SMALLEST]
    found = [end for end in ends if np.isfinite(end)]
    return float(start + peak), float(start + np.median(found)) if found else np.nan


def _tangent_end(lead: Array) -> float:
    """Where the steepest tangent after the peak of T meets zero; NaN if T does not come down."""
    peak = int(np.abs(lead).argmax())
    fall = np.gradient(lead[peak:] * np.sign(lead[peak])) if len(lead) - peak > 10 else np.zeros(1)
    steepest = int(fall.argmin())
    if fall[steepest] >= 0:
        return np.nan
    return float(peak + steepest + abs(lead[peak + steepest]) / -fall[steepest])
