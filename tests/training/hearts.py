"""Toy hearts for tests: one size decides ECG amplitude, beat width, volumes and phenotypes; milliseconds each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.ecg.recording import Recording
from models.phenotypes import PHENOTYPES, derive
from training.cohort import Cohort, Entry, Manifest, load, write_cohort
from training.config import CmrWidths, Contrast, ConvWidths, Heads, Recipe, Schedule, Split
from training.manifest import SIMULATED

RATE = 500.0

TINY = replace(
    Recipe(),
    split=Split(validation=0.2, calibration=0.2, test=0.2),
    ecg=ConvWidths(channels=(8, 16, 16), embedding=16, heads=4),
    cmr=CmrWidths(channels=(4, 8)),
    contrast=Contrast(hidden=16, projection=8),
    heads=Heads(hidden=16),
    cmr_schedule=Schedule(epochs=2, batch=16, learning_rate=3e-3, weight_decay=0.0),
    pretraining=Schedule(epochs=2, batch=16, learning_rate=3e-3, weight_decay=0.0),
    finetuning=Schedule(epochs=8, batch=16, learning_rate=5e-3, weight_decay=0.0),
)


def entry(seed: int) -> Entry:
    rng = np.random.default_rng(seed)
    size, squeeze = float(np.exp(0.25 * rng.standard_normal())), float(rng.uniform(0.3, 0.6))
    predicted = {
        "LVEDV": 150 * size,
        "LVESV": 150 * size * squeeze,
        "LVM": 100 * size,
        "LVWT": 6.0 * size ** (1 / 3),
        "RVEDV": 160 * size,
        "RVESV": 160 * size * squeeze,
        "LAV": 70 * size,
    }
    rate = float(rng.uniform(55, 85))
    known = {symbol: np.asarray(value) for symbol, value in predicted.items()}
    every = {symbol: float(value) for symbol, value in (known | derive(known, rate)).items()}
    return Entry(
        id=f"toy-{seed}",
        participant=f"toy-{seed}",
        group="normal" if squeeze < 0.45 else "weak",
        severity=squeeze,
        sex="F" if seed % 2 else "M",
        age=float(rng.uniform(40, 75)),
        height=170.0,
        weight=70.0,
        heart_rate=rate,
        rhythm="sinus",
        recording=_ecg(size, squeeze, rate, rng),
        volumes={"ed": _ball(size), "es": _ball(size * squeeze)},
        phenotypes=np.array([every[symbol] for symbol in PHENOTYPES]),
    )


def _ecg(size: float, squeeze: float, rate: float, rng: np.random.Generator) -> Recording:
    time = np.arange(5000) / RATE
    since = (time + rng.uniform(0, 1)) % (60.0 / rate)
    qrs = np.exp(-(((since - 0.3) / (0.02 * size)) ** 2))
    t_wave = 0.4 * (1 - squeeze) * np.exp(-(((since - 0.55) / 0.05) ** 2))
    axes = np.linspace(0.4, 1.4, 12)[:, None]
    noisy = axes * size * (qrs + t_wave) + 0.01 * rng.standard_normal((12, 5000))
    return Recording(signal=np.rint(noisy * 2000) / 2000, sampling_rate=RATE)


def _ball(size: float) -> np.ndarray:
    z, y, x = np.meshgrid(np.linspace(-80, 80, 16), *(np.linspace(-80, 80, 64),) * 2, indexing="ij")
    inside = x**2 + y**2 + z**2 < (35.0 * size ** (1 / 3)) ** 2
    return np.where(inside, 255, 60).astype(np.uint8)


def cohort(tmp_path, participants: int = 60) -> Cohort:
    return written(tmp_path, [entry(seed) for seed in range(participants)])


def written(folder, entries, shard: int = 25, **stated) -> Cohort:
    """These visits as a cohort on disk."""
    write_cohort(folder, entries, Manifest(source=SIMULATED, made={"seed": 0, "setting": "toy"}, **stated), shard=shard)
    return load(folder)
