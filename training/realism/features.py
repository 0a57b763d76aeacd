"""Features: what a measuring electrocardiograph prints, by one algorithm for real and for simulated recordings.

==================  ======  ==========================================================================================
name                unit    meaning
==================  ======  ==========================================================================================
HR                  1/min   from the median interval between beats
RR SD               ms      standard deviation of the intervals
P, PR, QRS, QT      ms      durations; PR from the onset of P to that of QRS; QT by the tangent method
QTc                 ms      QT · (RR/s)^(−1/3) (Fridericia, Acta Med Scand 1920;53:469)
P axis, QRS axis,   degree  atan2(2 aVF/√3, I) of the areas of the wave
T axis
P_<lead>            mV      largest deflection of P, signed
Q_, R_, S_<lead>    mV      Q: deepest point before R; R: highest point; S: deepest point after R, all as amplitudes
                            ≥ 0; a complex without R is S (QS)
ST_<lead>           mV      60 ms after J
T_<lead>            mV      largest deflection after ST, signed
R peak_<lead>       ms      from the onset of QRS to the peak of R (or of S, where there is no R)
Sokolow-Lyon        mV      S in V1 + the larger R of V5 and V6 (Sokolow and Lyon, Am Heart J 1949;37:161)
Cornell             mV      R in aVL + S in V3 (Casale et al., J Am Coll Cardiol 1985;6:572)
QRS slope           mV/ms   steepest slope of QRS, length of the vector over all leads
QRS turns           count   changes of direction in QRS of more than 0.05 mV, mean over the leads
T skew              1       (fall − rise) / (fall + rise) of T at half its height, root mean square over the leads
like                1       share of beats of the dominant morphology
noise               µV      above 40 Hz, outside QRS
==================  ======  ==========================================================================================

All amplitudes are from the isoelectric level just before QRS; those of P from the line between its ends.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from models.ecg.recording import LEADS, Recording
from training.realism.delineation import Delineation, delineate
from training.realism.median_beat import MedianBeat, median_beat

Array = NDArray[np.float64]

_TURN = 0.05  # mV
_SMALLEST_R = 0.02  # mV: below it a complex counts as QS


def features(recording: Recording) -> dict[str, float]:
    """Measure a recording; see the table of this module. NaN where a wave is missing.

    Raises
    ------
    NoMedianBeat
        If no beat repeats.
    """
    beat = median_beat(recording)
    waves = delineate(beat)
    return _intervals(beat, waves) | _amplitudes(waves) | _shape(waves) | {"like": beat.share, "noise": beat.noise}


def scale_free(measured: Mapping[str, float]) -> dict[str, float]:
    """Intervals, and the waves of each lead as shares of its QRS complex from R to its deepest point.

    For recordings whose leads are scaled one by one: the public copies of LUDB are, each lead to 1 from its lowest to
    its highest sample, so that neither millivolts nor axes can be read from them.
    """
    kept = {name: measured[name] for name in ("P", "PR", "QRS", "QTc", "T skew")}
    for lead in LEADS:
        height = measured[f"R_{lead}"] + max(measured[f"Q_{lead}"], measured[f"S_{lead}"])
        waves = {f"{wave}_{lead} / QRS": measured[f"{wave}_{lead}"] / height for wave in ("P", "Q", "R", "ST", "T")}
        kept |= waves | {f"R peak_{lead} / QRS": measured[f"R peak_{lead}"] / measured["QRS"]}
    return kept


def _intervals(beat: MedianBeat, waves: Delineation) -> dict[str, float]:
    rr = float(np.median(beat.rr))
    qt = waves.t_end - waves.qrs_onset
    return {
        "HR": 60_000 / rr,
        "RR SD": float(beat.rr.std()),
        "P": waves.p_offset - waves.p_onset,
        "PR": waves.qrs_onset - waves.p_onset,
        "QRS": float(waves.qrs_offset - waves.qrs_onset),
        "QT": qt,
        "QTc": qt * (rr / 1000) ** (-1 / 3),
    }


def _amplitudes(waves: Delineation) -> dict[str, float]:
    p, t, qrs = _p(waves), _t(waves), waves.qrs
    found = {"P axis": _axis(p), "QRS axis": _axis(qrs), "T axis": _axis(t)}
    found |= {f"P_{lead}": _largest(row) for lead, row in zip(LEADS, p, strict=True)}
    for lead, row in zip(LEADS, qrs, strict=True):
        found |= {f"{wave}_{lead}": value for wave, value in _q_r_s(row).items()}
    j60 = waves.signal[:, min(waves.qrs_offset + 60, waves.signal.shape[1] - 1)]
    found |= {f"ST_{lead}": float(value) for lead, value in zip(LEADS, j60, strict=True)}
    found |= {f"T_{lead}": _largest(row) for lead, row in zip(LEADS, t, strict=True)}
    found["Sokolow-Lyon"] = found["S_V1"] + max(found["R_V5"], found["R_V6"])
    found["Cornell"] = found["R_aVL"] + found["S_V3"]
    return found


def _p(waves: Delineation) -> Array:
    """(12, n) P above the line between its ends; empty where there is none."""
    if not np.isfinite(waves.p_onset):
        return np.zeros((len(LEADS), 0))
    wave = gaussian_filter1d(waves.signal[:, int(waves.p_onset) : int(waves.p_offset) + 1], 3.0, axis=1)
    ramp = np.linspace(0, 1, wave.shape[1])
    return np.asarray(wave - np.outer(wave[:, 0], 1 - ramp) - np.outer(wave[:, -1], ramp))


def _t(waves: Delineation) -> Array:
    """(12, n) from 60 ms after J to a little beyond the end of T."""
    end = waves.t_end + 40 if np.isfinite(waves.t_end) else waves.t_peak + 100
    start = min(waves.qrs_offset + 60, waves.signal.shape[1] - 2)
    return np.asarray(gaussian_filter1d(waves.signal[:, start : max(int(end), start + 2)], 4.0, axis=1))


def _largest(row: Array) -> float:
    """The deflection farthest from zero, signed."""
    return float(row[np.abs(row).argmax()]) if len(row) else np.nan


def _axis(wave: Array) -> float:
    """Degrees; 2/√3 makes the augmented lead as long as lead I (Kligfield et al. 2007)."""
    if not wave.shape[1]:
        return np.nan
    one, foot = wave[LEADS.index("I")].sum(), wave[LEADS.index("aVF")].sum()
    return float(np.degrees(np.arctan2(2 / np.sqrt(3) * foot, one)))


def _q_r_s(row: Array) -> dict[str, float]:
    """Amplitudes of Q, R and S in one lead, and when its main wave peaks."""
    peak = int(row.argmax())
    if row[peak] < _SMALLEST_R:
        trough = int(row.argmin())
        return {"Q": 0.0, "R": 0.0, "S": max(-float(row[trough]), 0.0), "R peak": float(trough)}
    q, s = -float(row[: peak + 1].min()), -float(row[peak:].min())
    return {"Q": max(q, 0.0), "R": float(row[peak]), "S": max(s, 0.0), "R peak": float(peak)}


def _shape(waves: Delineation) -> dict[str, float]:
    smooth = gaussian_filter1d(waves.qrs, 2.0, axis=1)
    steepness = np.sqrt((np.diff(smooth, axis=1) ** 2).sum(axis=0))
    skews = [_skew(row) for row in _t(waves) if np.abs(row).max() > 2 * _TURN]
    return {
        "QRS slope": float(steepness.max()),
        "QRS turns": float(np.mean([_turns(row) for row in smooth])),
        "T skew": float(np.sqrt(np.mean(np.square(skews)))) if skews else np.nan,
    }


def _turns(row: Array) -> int:
    """Changes of direction between monotone stretches of at least `_TURN`."""
    extremes = row[np.r_[0, 1 + np.flatnonzero(np.diff(np.sign(np.diff(row)))), len(row) - 1]]
    strides = np.diff(extremes)
    signs = np.sign(strides[np.abs(strides) > _TURN])
    return int((np.diff(signs) != 0).sum())


def _skew(row: Array) -> float:
    """Asymmetry of a T wave: how much longer it falls than it rises, at half its height."""
    upright = row * np.sign(_largest(row))
    peak = int(upright.argmax())
    above = upright >= upright[peak] / 2
    rise = peak - int(np.flatnonzero(~above[:peak])[-1]) if (~above[:peak]).any() else peak
    fall = int((~above[peak:]).argmax()) or len(row) - peak
    return (fall - rise) / (fall + rise)
