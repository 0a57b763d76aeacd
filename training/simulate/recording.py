"""Recording: one heartbeat to ten seconds of twelve leads, with its rhythm, breathing, noise and filters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt, sosfiltfilt

from models.ecg.recording import INDEPENDENT_LEADS, Filters, Recording, twelve_leads
from training.simulate.electrics import ONSET, Beat
from training.simulate.p_wave import P_ONSET
from training.simulate.population import Person, bounded_normal
from training.simulate.torso import MONTAGE

Array = NDArray[np.float64]

SAMPLING_RATE = 500
DURATION = 10
RESOLUTION = 0.005
"""mV in one step of the converter: 5 µV, the coarsest in common use (AHA/ACC/HRS part I, Kligfield 2007)."""

BAND = 0.15, 150.0
"""Hz; a diagnostic electrocardiograph passes at least this to 150 Hz (AHA/ACC/HRS part I, Kligfield 2007)."""

_RESPIRATORY_GAIN = 0.025 * np.array([1, -1, 0.6, 0.5, 0.2, -0.3, -0.6, -0.8])
"""Breathing moves the heart under the electrodes: share of each lead's amplitude, I, II, V1 to V6."""


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """When the beats come.

    Attributes
    ----------
    rate : float
        Mean, beats per minute.
    pr : float
        Onset of P to onset of QRS, ms.
    breathing, phase : float
        Respiratory frequency in Hz and its phase.
    respiratory, slow, jitter : float
        Amplitudes of the RR modulation with breathing, at 0.1 Hz (Mayer waves) and at random, as shares of RR.
    first : float
        Onset of the first QRS before the recording starts, ms.
    """

    rate: float
    pr: float
    breathing: float
    phase: float
    respiratory: float
    slow: float
    jitter: float
    first: float


def sample_rhythm(person: Person, heart_rate: float, rng: np.random.Generator) -> Rhythm:
    """Draw PR, breathing and heart-rate variability; respiratory arrhythmia fades with age."""
    return Rhythm(
        rate=heart_rate,
        pr=bounded_normal(rng, 158 + 0.25 * (person.age - 60), 17),
        breathing=rng.uniform(0.18, 0.30),
        phase=rng.uniform(0, 2 * np.pi),
        respiratory=rng.uniform(0.008, 0.04) * float(np.exp(-(person.age - 55) / 40)),
        slow=rng.uniform(0.006, 0.02),
        jitter=0.006,
        first=-400 - rng.uniform(0, 60_000 / heart_rate),
    )


def record(
    beat: Beat,
    p_wave: Array,
    rhythm: Rhythm,
    person: Person,
    rhythm_rng: np.random.Generator,
    noise_rng: np.random.Generator,
) -> Recording:
    """Ten seconds as an electrocardiograph would store them; the limb leads follow exactly from I and II."""
    clean = _repeat(beat, p_wave, rhythm, rhythm_rng)[:, :: 1000 // SAMPLING_RATE]
    noisy = clean + MONTAGE @ _electrode_noise(rhythm, noise_rng)
    band = butter(1, BAND, "bandpass", fs=SAMPLING_RATE, output="sos")
    stored = np.rint(sosfiltfilt(band, noisy, axis=1) / RESOLUTION) * RESOLUTION
    signal, _, _ = twelve_leads(dict(zip(INDEPENDENT_LEADS, stored, strict=True)))
    return Recording(
        signal=signal,
        sampling_rate=SAMPLING_RATE,
        age=person.age,
        sex=person.sex,
        filters=Filters(high_pass=BAND[0], low_pass=BAND[1]),
        paced=False,
        source_format="simulated",
    )


def _onsets(rhythm: Rhythm, rng: np.random.Generator) -> list[tuple[float, float]]:
    """(onset of QRS, RR that follows), ms, from before the recording to after it."""
    usual = 60_000 / rhythm.rate
    onsets, t = [], rhythm.first
    while t < DURATION * 1000 + 400:
        breath = np.sin(2 * np.pi * rhythm.breathing * t / 1000 + rhythm.phase)
        mayer = np.sin(2 * np.pi * 0.1 * t / 1000 + 1.7 * rhythm.phase)
        share = rhythm.respiratory * breath + rhythm.slow * mayer + rhythm.jitter * rng.standard_normal()
        onsets.append((t, usual * (1 + share)))
        t += onsets[-1][1]
    return onsets


def _repeat(beat: Beat, p_wave: Array, rhythm: Rhythm, rng: np.random.Generator) -> Array:
    """(8, samples) at 1 kHz without noise: a beat at every onset."""
    signal = np.zeros((len(_RESPIRATORY_GAIN), DURATION * 1000))
    first = ONSET + int(np.floor(beat.activation.min()))  # sample at which the ventricles start
    for onset, rr in _onsets(rhythm, rng):
        breath = np.sin(2 * np.pi * rhythm.breathing * onset / 1000 + rhythm.phase)
        gain = (1 + _RESPIRATORY_GAIN * breath + 0.008 * rng.standard_normal())[:, None]
        start = round(onset)
        _add(signal, gain * (beat.qrs + _late(beat.t, 0.14 * (rr - 60_000 / rhythm.rate))), start - first)
        _add(signal, gain * p_wave, start - round(rhythm.pr) - P_ONSET)
    return signal


def _late(t_wave: Array, delay: float) -> Array:
    """The T wave `delay` ms later: QT follows a single RR interval weakly."""
    sample = np.arange(t_wave.shape[1])
    moved = np.clip(sample - delay * np.clip((sample - ONSET - 100) / 150, 0, 1), 0, len(sample) - 1)
    return np.stack([np.interp(moved, sample, lead) for lead in t_wave])


def _add(signal: Array, wave: Array, start: int) -> None:
    """Add a wave in place, cut off at both ends of the signal."""
    begin, end = max(0, start), min(signal.shape[1], start + wave.shape[1])
    if begin < end:
        signal[:, begin:end] += wave[:, begin - start : end - start]


def _electrode_noise(rhythm: Rhythm, rng: np.random.Generator) -> Array:
    """(9, samples) mV at each electrode, so that a bad one disturbs all the leads that it shares.

    Baseline wander, breathing, muscle and mains of 50 or 60 Hz, each with its own random strength.
    """
    electrodes, samples = MONTAGE.shape[1], DURATION * SAMPLING_RATE
    t = np.arange(samples) / SAMPLING_RATE
    wander = 0.018 * rng.gamma(2, 0.5) * _band(np.cumsum(rng.standard_normal((electrodes, samples)), axis=1), 0.03, 0.6)
    breath = np.sin(2 * np.pi * rhythm.breathing * t + rhythm.phase)
    muscle = 0.0065 * rng.gamma(2.5, 0.4) * _band(rng.standard_normal((electrodes, samples)), 18, 140)
    tension = 1 + 0.6 * np.abs(np.sin(2 * np.pi * rng.uniform(0.05, 0.3) * t + rng.uniform(0, 6)))
    hum = np.sin(2 * np.pi * rng.choice([50, 60]) * t + rng.uniform(0, 2 * np.pi))
    pickup = 0.004 * rng.gamma(1.2, 0.5) * rng.uniform(0.3, 1, electrodes)
    swing = 0.02 * rng.uniform(0, 1, electrodes)
    return np.asarray(wander + np.outer(swing, breath) + muscle * tension + np.outer(pickup, hum))


def _band(noise: Array, low: float, high: float) -> Array:
    """Band-passed noise of unit standard deviation in each row."""
    centred = noise - noise.mean(axis=1, keepdims=True)
    passed = sosfilt(butter(2, (low, high), "bandpass", fs=SAMPLING_RATE, output="sos"), centred, axis=1)
    return np.asarray(passed / passed.std(axis=1, keepdims=True))
