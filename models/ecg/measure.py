"""Measure: rate, intervals and axes of a recording as our own delineation gives them, beside what the device says.

Each is the median over the beats, so that an ectopic beat changes nothing; intervals are those of all leads together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.ecg.beats import Activity
from models.ecg.checks import BEAT_CONTRAST
from models.ecg.fiducials import ABSENT, Fiducials, Wave, delineate
from models.ecg.measurements import UNMEASURED, Measurements
from models.ecg.median import median
from models.ecg.recording import Recording

Array = NDArray[np.float64]
Samples = NDArray[np.int64]

_MINUTE = 60.0  # s; of what is longer the beginning is measured, so that memory does not grow with it
_FEWEST = 3  # beats that show an interval: with fewer one odd beat would decide
_SHARE = 0.5  # of the beats that must show it: a wave that most beats lack is no wave of this heart
_LEVEL = 0.012  # s before QRS that are the isoelectric level (CSE Working Party, Eur Heart J 1985;6:815)
_FLAT = 0.01  # mV, mean height of a wave in the frontal plane, below which its axis is chance

_LONGER = 2 / np.sqrt(3)
"""The augmented leads are shorter than the limb leads by this (Novosel et al., Croat Med J 1999;40:77)."""


def measure(recording: Recording, activity: Activity | None = None) -> Measurements:
    """Measure a recording.

    Parameters
    ----------
    activity : of this recording, where it is known already

    Returns
    -------
    Measurements
        None for what the recording does not show: nothing in noise; no P where the atria fibrillate or a pacemaker
        leads; no QTc of a paced heart, for whose wide complexes the formulas are not meant.
    """
    if recording.duration > _MINUTE:
        recording, activity = _beginning(recording), None
    activity = activity or Activity.of(recording)
    if activity.contrast < BEAT_CONTRAST:
        return UNMEASURED
    waves = delineate(recording, activity)
    rr = _typical(np.diff(waves.qrs.peak).astype(np.float64), recording.sampling_rate)
    qt = _interval(waves.qrs.onset, waves.t.offset, recording.sampling_rate)
    frontal = tuple(_above_rest(recording, lead, waves.qrs.onset) for lead in ("I", "aVF"))
    atrial = {} if recording.paced else _atrial(waves, frontal, recording.sampling_rate)
    corrected = corrections(qt, rr) if qt and rr and not recording.paced else {}
    return Measurements(
        heart_rate=60_000 / rr if rr else None,
        rr_interval=rr,
        qrs_duration=_interval(waves.qrs.onset, waves.qrs.offset, recording.sampling_rate),
        qt_interval=qt,
        qrs_axis=_axis(frontal, waves.qrs),
        t_axis=_axis(frontal, waves.t),
        **atrial,
        **corrected,
    )


def _beginning(recording: Recording) -> Recording:
    signal = recording.signal[:, : round(_MINUTE * recording.sampling_rate)]
    return Recording(signal=signal, sampling_rate=recording.sampling_rate, paced=recording.paced)


def corrections(qt: float, rr: float) -> dict[str, float]:
    """QT corrected for the rate by each formula; all in milliseconds.

    Bazett, Heart 1920;7:353; Fridericia, Acta Med Scand 1920;53:469; Sagie et al. (Framingham), Am J Cardiol
    1992;70:797; Hodges et al., J Am Coll Cardiol 1983;1:694.
    """
    seconds = rr / 1000
    return {
        "qtc_bazett": qt / seconds ** (1 / 2),
        "qtc_fridericia": qt / seconds ** (1 / 3),
        "qtc_framingham": qt + 154 * (1 - seconds),
        "qtc_hodges": qt + 1.75 * (60 / seconds - 60),
    }


def _atrial(waves: Fiducials, frontal: tuple[Array, ...], rate: float) -> dict[str, float | None]:
    return {
        "p_duration": _interval(waves.p.onset, waves.p.offset, rate),
        "pr_interval": _interval(waves.p.onset, waves.qrs.onset, rate),
        "p_axis": _axis(frontal, waves.p),
    }


def _typical(intervals: Array, rate: float) -> float | None:
    """Milliseconds; None of fewer than two intervals."""
    return float(1000 * median(intervals) / rate) if len(intervals) >= _FEWEST - 1 else None


def _interval(start: Samples, end: Samples, rate: float) -> float | None:
    """Milliseconds from mark to mark; None where too few beats have both."""
    shown = _shown(start, end)
    return float(1000 * median((end - start)[shown]) / rate) if _enough(shown) else None


def _shown(start: Samples, end: Samples) -> NDArray[np.bool_]:
    return np.asarray((start != ABSENT) & (end != ABSENT) & (end > start))


def _enough(shown: NDArray[np.bool_]) -> bool:
    return int(shown.sum()) >= max(_FEWEST, _SHARE * len(shown))


def _axis(frontal: tuple[Array, ...], wave: Wave) -> float | None:
    """Degrees of the net area of a wave in the frontal plane, from what leads I and aVF have summed up."""
    shown = _shown(wave.onset, wave.offset)
    if not _enough(shown):
        return None
    onset, offset = wave.onset[shown], wave.offset[shown]
    one, foot = (float(median((sums[offset + 1] - sums[onset]) / (offset + 1 - onset))) for sums in frontal)
    if np.hypot(one, _LONGER * foot) < _FLAT:
        return None
    return float(np.degrees(np.arctan2(_LONGER * foot, one)))


def _above_rest(recording: Recording, lead: str, qrs_onset: Samples) -> Array:
    """(samples + 1,) sums of a lead up to each sample, above the line through its isoelectric levels, mV."""
    return np.append(0, np.cumsum(recording.lead(lead) - _isoelectric(recording, lead, qrs_onset)))


def _isoelectric(recording: Recording, lead: str, qrs_onset: Samples) -> Array:
    """(samples,) the line through the levels just before each QRS complex."""
    width = max(round(_LEVEL * recording.sampling_rate), 1)
    sums = np.append(0, np.cumsum(recording.lead(lead)))
    end = qrs_onset[qrs_onset >= width]
    levels = (sums[end] - sums[end - width]) / width
    return np.interp(np.arange(len(sums) - 1), end - (width + 1) / 2, levels) if len(end) else np.zeros(len(sums) - 1)
