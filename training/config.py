"""The recipe: every number of the chain in frozen dataclasses, written into the checkpoint and the manifest."""

from __future__ import annotations

from dataclasses import dataclass

from models.ecg.preprocess import Preprocessing

PREPROCESSING = Preprocessing(sampling_rate=500.0, duration=10.0, high_pass=0.5, low_pass=40.0, order=3)
"""Close to the 0.67 to 40 Hz of ECGFounder (2024) and ST-MEM (2024): it keeps P, QRS and T and sheds wander, mains and
muscle, so that carts with other filters of their own look alike."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Shares of the participants; each participant falls by a digest of its id, so a growing cohort moves nobody."""

    validation: float = 0.08
    calibration: float = 0.10
    test: float = 0.12
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class EcgWidths:
    """Size of the ECG encoder."""

    decimation: int = 4
    channels: tuple[int, ...] = (32, 48, 64, 96, 128)
    blocks: int = 1
    kernel: int = 7
    stem_kernel: int = 9
    heads: int = 8
    dropout: float = 0.0
    embedding: int = 192


@dataclass(frozen=True, kw_only=True)
class CmrWidths:
    """Size of the CMR encoder of one phase."""

    channels: tuple[int, ...] = (24, 48, 96)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How an ECG may differ between two recordings of one heart; probabilities and sizes of each disturbance.

    `shortest` is in seconds; amplitudes are in millivolts or fractions.
    """

    shortest: float = 7.0
    shorten: float = 0.25
    gain: float = 0.02
    lead_gain: float = 0.02
    noise: float = 0.015
    wander: float = 0.02
    mixing: float = 0.02


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One training stage: AdamW under a one-cycle learning rate (Smith and Topin, 2017)."""

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """Weights of the pairs in the contrastive loss, and the shared space."""

    ed: float = 0.5
    es: float = 0.5
    between: float = 0.0
    hidden: int = 192
    projection: int = 96


@dataclass(frozen=True, kw_only=True)
class Heads:
    """The phenotype heads: size, exponent of `losses.beta_nll`, and how much slower than they the encoder learns."""

    hidden: int = 128
    dropout: float = 0.1
    beta: float = 0.5
    encoder_slowdown: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Intervals of `level` from `draws` samples; ECGs beyond `ood_quantile` of the calibration split are flagged."""

    level: float = 0.9
    draws: int = 1024
    seed: int = 20
    ood_quantile: float = 0.99


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what comes out, beside the cohort itself."""

    name: str = "ecg2cmr-sim"
    version: str = "0.2.0"
    seed: int = 1
    preprocessing: Preprocessing = PREPROCESSING
    min_duration: float = 7.0
    min_age: float = 18.0
    split: Split = Split()
    ecg: EcgWidths = EcgWidths()
    cmr: CmrWidths = CmrWidths()
    augmentation: Augmentation = Augmentation()
    anchors: Anchors = Anchors()
    heads: Heads = Heads()
    calibration: Calibration = Calibration()
    cmr_schedule: Schedule = Schedule(epochs=6, batch=32, learning_rate=3e-3, weight_decay=0.02)
    pretraining: Schedule = Schedule(epochs=12, batch=128, learning_rate=2e-3, weight_decay=0.05)
    finetuning: Schedule = Schedule(epochs=20, batch=64, learning_rate=2e-3, weight_decay=0.05)
