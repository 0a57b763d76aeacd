"""Recording: the beats of a rhythm to ten seconds of twelve leads, with breathing, noise and an electrocardiograph."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.ecg.recording import INDEPENDENT_LEADS, Recording, twelve_leads
from training.simulate.cart import Cart
from training.simulate.electrics import ONSET, Beat
from training.simulate.p_wave import P_ONSET
from training.simulate.person import Person
from training.simulate.rhythm import DURATION, Fibrillation, Kind, Rhythm
from training.simulate.torso import ELECTRODES, MONTAGE

Array = NDArray[np.float64]
Rng = np.random.Generator

_RESPIRATORY_GAIN: Array = np.array([1, -1, 0.6, 0.5, 0.2, -0.3, -0.6, -0.8])
"""Breathing moves the heart under the electrodes: sign and share of the swing in each lead, I, II, V1 to V6."""

_F_GAIN: Array = np.array([0.25, 0.45, 1.0, 0.6, 0.35, 0.25, 0.2, 0.2])
"""f waves are largest in V1, over the right atrium, then in II [R]."""

_SPIKE: Array = np.array([0.2, -1.0, 0.3, 0.1, -0.3, -0.6, -0.6, -0.4])
"""A pacing spike from the apex (cathode) up to the device: the share of its size in each lead; ours."""

_LATENCY = 15.0  # ms from the spike to the onset of QRS; ours

_WANDER: Array = np.linspace(0.05, 0.75, 15)  # Hz, of the sinusoids that make the baseline


def record(
    beats: Mapping[Kind, Beat], p_wave: Array, rhythm: Rhythm, person: Person, cart: Cart, rng: Rng
) -> Recording:
    """Ten seconds as an electrocardiograph would store them; the limb leads follow exactly from I and II.

    Parameters
    ----------
    beats : the template of each kind of beat in `rhythm.kinds`.
    p_wave : (8, samples) mV at 1 kHz, of a beat from the sinus node.
    rng : of the noise.
    """
    heart = _heartbeats(beats, p_wave, rhythm, rng)[:, :: 1000 // cart.sampling_rate]
    t = np.arange(heart.shape[1]) / cart.sampling_rate
    if rhythm.fibrillation is not None:
        heart = heart + f_waves(rhythm.fibrillation, t)
    if "paced" in rhythm.kinds:
        _add_spikes(heart, rhythm, cart.sampling_rate, rng)
    noisy = heart + MONTAGE @ electrode_noise(cart, rhythm, rng)
    stored = cart.digitised(cart.connected(noisy))
    signal, _, _ = twelve_leads(dict(zip(INDEPENDENT_LEADS, stored, strict=True)))
    return Recording(
        signal=signal,
        sampling_rate=cart.sampling_rate,
        age=person.age,
        sex=person.sex,
        filters=cart.filters,
        paced=rhythm.name == "paced",
        source_format="simulated",
    )


def _heartbeats(beats: Mapping[Kind, Beat], p_wave: Array, rhythm: Rhythm, rng: Rng) -> Array:
    """(8, samples) at 1 kHz without noise: P, QRS and T of every beat."""
    signal = np.zeros((len(_RESPIRATORY_GAIN), int(1000 * DURATION)))
    for event in rhythm.events:
        beat = beats[event.kind]
        first = ONSET + int(np.floor(beat.activation.min()))  # sample at which the ventricles start
        breath = np.sin(2 * np.pi * rhythm.breathing * event.time / 1000 + rhythm.phase)
        gain = (1 + rhythm.swing * breath * _RESPIRATORY_GAIN + 0.023 * rng.standard_normal())[:, None]
        start = round(event.time)
        _add(signal, gain * (beat.qrs + _late(beat.t, 0.14 * (event.rr - rhythm.usual))), start - first)
        if event.pr is not None:
            _add(signal, np.array(event.p_gain)[:, None] * p_wave, start - round(event.pr) - P_ONSET)
    return signal


def _late(t_wave: Array, delay: float) -> Array:
    """The T wave `delay` ms later, at most 60: QT follows a single RR interval weakly."""
    sample = np.arange(t_wave.shape[1])
    moved = sample - np.clip(delay, -60, 60) * np.clip((sample - ONSET - 100) / 150, 0, 1)
    moved = np.clip(moved, 0, len(sample) - 1.001)
    left = moved.astype(int)
    early = t_wave.take(left, axis=1)
    return np.asarray(early + (t_wave.take(left + 1, axis=1) - early) * (moved - left))


def _add(signal: Array, wave: Array, start: int) -> None:
    """Add a wave in place, cut off at both ends of the signal."""
    begin, end = max(0, start), min(signal.shape[1], start + wave.shape[1])
    if begin < end:
        signal[:, begin:end] += wave[:, begin - start : end - start]


def f_waves(fibrillation: Fibrillation, t: Array) -> Array:
    """(8, samples) mV at the times `t` in seconds: three harmonics whose frequency and size wander.

    The wave reaches the leads one after another, so that they differ in shape.
    """
    turn = 2 * np.pi * fibrillation.rate * t + 0.9 * np.sin(2 * np.pi * 0.23 * t + fibrillation.phase)
    size = fibrillation.size * (1 + 0.3 * np.sin(2 * np.pi * 0.31 * t + 2 * fibrillation.phase)) / _SAWTOOTH_HEIGHT
    harmonic, lag = np.arange(1, 4), 0.35 * np.arange(len(_F_GAIN))
    angle, behind = np.outer(harmonic, turn + fibrillation.phase), np.outer(lag, harmonic)
    wave = (np.cos(behind) / harmonic) @ np.sin(angle) - (np.sin(behind) / harmonic) @ np.cos(angle)
    return np.asarray(_F_GAIN[:, None] * size * wave)


_SAWTOOTH_HEIGHT = 2 * (np.sin(np.pi / 4) + np.sin(np.pi / 2) / 2 + np.sin(3 * np.pi / 4) / 3)
"""Peak to peak of sin x + sin 2x / 2 + sin 3x / 3, whose maximum is at pi / 4."""


def _add_spikes(heart: Array, rhythm: Rhythm, rate: int, rng: Rng) -> None:
    """A spike before each paced QRS, one sample wide; small from a bipolar lead, as most are, mV from a unipolar."""
    size = float(np.exp(rng.normal(np.log(0.5), 0.7)))
    for event in rhythm.events:
        sample = round((event.time - _LATENCY) / 1000 * rate)
        if event.kind == "paced" and 0 <= sample < heart.shape[1]:
            heart[:, sample] += size * _SPIKE


def electrode_noise(cart: Cart, rhythm: Rhythm, rng: Rng) -> Array:
    """(9, samples) mV at each electrode, so that a bad one disturbs all the leads that it shares.

    Baseline, breathing, muscle and mains, each with its own random strength in every recording and at every electrode.
    The medians and spreads were fitted to what is left between T and P, below 0.5 Hz and of the height of R in LUDB and
    the CinC 2021 samples.
    """
    t = np.arange(int(DURATION * cart.sampling_rate)) / cart.sampling_rate
    contact = np.exp(0.4 * rng.standard_normal(len(ELECTRODES)))
    breath = np.sin(2 * np.pi * rhythm.breathing * t + rhythm.phase)
    swing = 0.015 * np.exp(0.4 * rng.standard_normal()) * rng.standard_normal(len(ELECTRODES))
    hum = np.sin(2 * np.pi * cart.mains * t + rng.uniform(0, 2 * np.pi))
    pickup = 0.0025 * np.exp(0.9 * rng.standard_normal()) * rng.uniform(0.3, 1, len(ELECTRODES))
    noise = _baseline(cart.sampling_rate, contact, rng) + _muscle(cart.sampling_rate, contact, rng)
    return np.asarray(noise + np.outer(swing, breath) + np.outer(pickup, hum))


def _baseline(rate: int, contact: Array, rng: Rng) -> Array:
    """(9, samples): slow drift, a sum of sinusoids of random phase whose power falls with frequency."""
    strength = 0.024 * np.exp(0.4 * rng.standard_normal())
    weight = np.sqrt(2 / _WANDER / (1 / _WANDER).sum())
    phase = rng.uniform(0, 2 * np.pi, (len(contact), len(_WANDER)))
    cosines, sines = _slow_waves(rate)
    wave = (weight * np.sin(phase)) @ cosines + (weight * np.cos(phase)) @ sines
    return np.asarray(strength * contact[:, None] * wave)


@lru_cache(maxsize=4)
def _slow_waves(rate: int) -> tuple[Array, Array]:
    """Cosines and sines of the frequencies of the baseline, (15, samples) each."""
    turn = 2 * np.pi * np.outer(_WANDER, np.arange(int(DURATION * rate)) / rate)
    return np.cos(turn), np.sin(turn)


def _muscle(rate: int, contact: Array, rng: Rng) -> Array:
    """(9, samples): muscle from 15 Hz on and the 1/f noise of the contacts below; the arms tremble most."""
    shape, samples = _muscle_spectrum(rate), int(DURATION * rate)
    drawn = rng.standard_normal((2, len(contact), len(shape)))
    wave = np.fft.irfft((drawn[0] + 1j * drawn[1]) * shape, samples, axis=1)
    trembling = np.where(np.arange(len(contact)) < 2, 2.2, 1.0) * np.sqrt(contact)
    strength = 0.0022 * np.exp(0.75 * rng.standard_normal())
    turn = 2 * np.pi * rng.uniform(0.05, 0.3) / rate * np.arange(samples)
    tension = 1 + 0.5 * np.sin(turn + rng.uniform(0, 2 * np.pi))
    return np.asarray(strength * trembling[:, None] * wave * tension)


@lru_cache(maxsize=8)
def _muscle_spectrum(rate: int) -> Array:
    """Amplitude of the Fourier coefficients below 220 Hz; the part above 40 Hz has a variance of 1."""
    samples = int(DURATION * rate)
    frequency = np.fft.rfftfreq(samples, 1 / rate)
    frequency = frequency[frequency < min(220.0, 0.49 * rate)]
    rising = 1 / (1 + (15 / np.maximum(frequency, 0.1)) ** 4)
    falling = 1 / (1 + (frequency / 110) ** 2)
    contacts = 20 / np.maximum(frequency, 1.0) * (frequency > 0.6)
    power = rising * falling + contacts * 0.4
    power[0] = 0
    fast = power[frequency > 40].sum()
    return np.asarray(np.sqrt(power / fast) * samples / 2)
