"""The recipe: every number of the chain in frozen dataclasses, read from TOML, written into checkpoint and manifest."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from models.bundle import Manifest
from models.ecg.preprocess import Preprocessing

PREPROCESSING = Preprocessing(sampling_rate=500.0, duration=10.0, high_pass=0.5, low_pass=40.0, order=3)
"""Close to the 0.67 to 40 Hz of ECGFounder (2024) and ST-MEM (2024): it keeps P, QRS and T and sheds wander, mains and
muscle, so that carts with other filters of their own look alike."""

Covariate = Literal["age", "sex", "height", "weight"]
COVARIATES: tuple[Covariate, ...] = ("age", "sex", "height", "weight")
"""What a hospital knows beside the ECG, in the order of every array of them."""


Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(gt=0, lt=1)]
Chance = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Channels = Annotated[tuple[Count, ...], Field(min_length=1)]


class RecipeError(ValueError):
    """A recipe that says something impossible, or something that nobody would read; the message says where."""


class _Stated:
    """A part of the recipe; a key that it does not have is refused, not ignored."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class Split(_Stated):
    """Shares of the participants; each participant falls by a digest of its id, so a growing cohort moves nobody.

    `labels` is the share of the train part whose phenotypes training may read; the rest are pairs without labels.
    `faults` says what becomes of what `training.check` finds: the cohort is refused, or the visit, or the one wrong
    number of it, is left out.
    """

    validation: Part = 0.08
    calibration: Part = 0.10
    test: Part = 0.12
    labels: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0
    faults: Literal["refuse", "exclude"] = "exclude"


@dataclass(frozen=True, kw_only=True)
class ConvWidths(_Stated):
    """Size of a convolutional ECG encoder."""

    kind: Literal["conv"] = "conv"
    decimation: Count = 4
    channels: Channels = (32, 48, 64, 96, 128)
    blocks: Count = 1
    kernel: Count = 7
    stem_kernel: Count = 9
    heads: Count = 8
    dropout: Chance = 0.0
    embedding: Count = 192


@dataclass(frozen=True, kw_only=True)
class VitWidths(_Stated):
    """Size of a vision transformer over an ECG.

    A token covers `patch_leads` leads and `patch_samples` samples: (1, 100) are the 600 tokens of Alvarez-Florez et
    al., arXiv 2602.12883; (12, 50) are 100 tokens in time.
    """

    kind: Literal["vit"] = "vit"
    decimation: Count = 1
    patch_leads: Count = 12
    patch_samples: Count = 50
    width: Count = 192
    depth: Count = 12
    heads: Count = 3
    mlp: Positive = 4.0
    drop_path: Chance = 0.1
    embedding: Count = 192


EcgWidths = ConvWidths | VitWidths


@dataclass(frozen=True, kw_only=True)
class CmrWidths(_Stated):
    """Size of the CMR encoder, and whether the anchors share one, told apart by a phase token."""

    channels: Channels = (24, 48, 96)
    shared: bool = False


@dataclass(frozen=True, kw_only=True)
class Augmentation(_Stated):
    """How an ECG may differ between two recordings of one heart; probabilities and sizes of each disturbance.

    `shortest` is in seconds; amplitudes are in millivolts or fractions.
    """

    shortest: Positive = 7.0
    shorten: Share = 0.25
    gain: NotNegative = 0.02
    lead_gain: NotNegative = 0.02
    noise: NotNegative = 0.015
    wander: NotNegative = 0.02
    mixing: NotNegative = 0.02


@dataclass(frozen=True, kw_only=True)
class Schedule(_Stated):
    """One training stage: AdamW under a one-cycle learning rate (Smith and Topin, 2017); no epochs, no stage.

    An epoch has `min_steps` batches at least: a few rows pass several times between two looks at the validation part.
    """

    epochs: Whole
    batch: Count
    learning_rate: Positive
    weight_decay: NotNegative
    min_steps: Count = 1


@dataclass(frozen=True, kw_only=True)
class MaskedEcg(_Stated):
    """Stage 1: an ECG with hidden patches is completed; numbers of Alvarez-Florez et al., public code.

    The loss is `mse` · squared error + `ncc` · (1 − normalised cross-correlation) + `similarity` · (1 − cosine of the
    embeddings of two disturbed copies). The disturbances: a Fourier surrogate with probability `surrogate` and phase
    noise of `phase_noise`; white noise and a rescaling, both in standard deviations of the ECG.
    """

    ratio: Part = 0.7
    patch_seconds: Positive = 0.2
    mse: NotNegative = 0.9
    ncc: NotNegative = 0.1
    similarity: NotNegative = 0.1
    surrogate: Share = 0.5
    phase_noise: NotNegative = 0.075
    jitter: NotNegative = 0.2
    rescale: NotNegative = 0.5


@dataclass(frozen=True, kw_only=True)
class Teacher(_Stated):
    """Stage 1b: what the CMR encoders learn before they are frozen.

    "phenotypes": those of their phase, of labelled participants alone, or of all with `every_label`, as is published;
    "masked": to complete volumes with hidden blocks, without any label.
    """

    by: Literal["phenotypes", "masked"] = "phenotypes"
    every_label: bool = False
    ratio: Part = 0.6


@dataclass(frozen=True, kw_only=True)
class Anchor(_Stated):
    """One CMR volume of each participant that the ECG is to agree with, and how much that counts."""

    name: str
    weight: Positive = 1.0


@dataclass(frozen=True, kw_only=True)
class Contrast(_Stated):
    """Stage 2: the pairs that are brought together, and the space in which they meet.

    Attributes
    ----------
    anchors : any number of volumes by name
    between : weight of each pair of anchors
    hidden, projection : sizes of the projection of each modality
    micro_batch : pairs that pass the encoders at once; the schedule's batch is the number of negatives
    soft_targets : 0 for one-hot targets, 1 for targets by phenotype distance alone (MyoECG)
    softness : temperature of these, in variances of the phenotypes
    temporal : weight of the local objective, ECG segments against cine frames (PTACL); needs a cohort with cines
    probabilistic : mean and variance for each embedding (PCME++, as in EchoingECG)
    """

    anchors: Annotated[tuple[Anchor, ...], Field(min_length=1)] = (Anchor(name="ed"), Anchor(name="es"))
    between: NotNegative = 0.0
    hidden: Count = 192
    projection: Count = 96
    micro_batch: Count = 128
    soft_targets: Share = 0.0
    softness: Positive = 1.0
    temporal: NotNegative = 0.0
    probabilistic: bool = False


@dataclass(frozen=True, kw_only=True)
class Heads(_Stated):
    """Stage 3: the phenotype heads.

    Attributes
    ----------
    beta : exponent of `losses.beta_nll`
    encoder_slowdown : the learning rate of the encoder, in learning rates of the heads; 0 freezes it
    covariates : what the heads may read beside the ECG
    ecg : False for the baseline that reads the covariates alone
    covariate_dropout : how often each covariate is hidden while training, so that it may be unknown in use
    """

    hidden: Count = 128
    dropout: Chance = 0.1
    beta: Share = 0.5
    encoder_slowdown: Annotated[float, Field(ge=0, le=10)] = 0.5
    covariates: tuple[Covariate, ...] = ()
    ecg: bool = True
    covariate_dropout: Chance = 0.2


@dataclass(frozen=True, kw_only=True)
class Calibration(_Stated):
    """Intervals of `level` from `draws` samples; ECGs beyond `ood_quantile` of the calibration split are flagged."""

    level: Part = 0.9
    draws: Annotated[int, Field(ge=2, multiple_of=2)] = 1024  # in pairs z, −z
    seed: Whole = 20
    ood_quantile: Part = 0.99


@dataclass(frozen=True, kw_only=True)
class Recipe(_Stated):
    """Everything that decides what comes out, beside the cohort itself."""

    name: str = "ecg2cmr-sim"
    version: str = "0.3.1"
    seed: Whole = 1
    preprocessing: Preprocessing = PREPROCESSING
    min_duration: Positive = 7.0
    min_age: NotNegative = 18.0
    split: Split = Split()
    ecg: EcgWidths = ConvWidths()
    cmr: CmrWidths = CmrWidths()
    augmentation: Augmentation = Augmentation()
    masked: MaskedEcg = MaskedEcg()
    teacher: Teacher = Teacher()
    contrast: Contrast = Contrast()
    heads: Heads = Heads()
    calibration: Calibration = Calibration()
    masked_schedule: Schedule = Schedule(epochs=0, batch=128, learning_rate=2e-3, weight_decay=0.05)
    cmr_schedule: Schedule = Schedule(epochs=6, batch=32, learning_rate=3e-3, weight_decay=0.02)
    pretraining: Schedule = Schedule(epochs=12, batch=128, learning_rate=2e-3, weight_decay=0.05)
    finetuning: Schedule = Schedule(epochs=20, batch=64, learning_rate=2e-3, weight_decay=0.05)

    def __post_init__(self) -> None:
        """Refuse what no single number shows, also where an arm of an ablation changes a recipe."""
        split, names = self.split, [anchor.name for anchor in self.contrast.anchors]
        if split.validation + split.calibration + split.test >= 1:
            raise RecipeError("validation, calibration and test leave nobody to train on")
        if len(set(names)) < len(names):
            raise RecipeError(f"an anchor is named twice: {', '.join(names)}")
        if not self.finetuning.epochs:
            raise RecipeError("finetuning needs an epoch: without heads there is nothing to measure")
        if self.pretraining.epochs and not self.cmr_schedule.epochs:
            raise RecipeError("cmr_schedule needs an epoch where pretraining has one: CMR encoders must learn first")


_RECIPE = TypeAdapter(Recipe)


def read_recipe(path: Path) -> Recipe:
    """A recipe from TOML, where what the file does not state is as in `Recipe`; or that of a bundle's `manifest.json`.

    Raises
    ------
    RecipeError
        If the file is no TOML, names a key that no recipe has, or gives a value of another kind.
    """
    try:
        text = path.read_text()
        if path.suffix == ".json":
            return recipe_of(Manifest.model_validate_json(text))
        return _RECIPE.validate_python(tomllib.loads(text))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path} cannot be read as TOML: {error}") from error
    except ValidationError as error:
        raise RecipeError(f"{path} is no recipe: {_faults(error)}") from error


def _faults(error: ValidationError) -> str:
    """Where something is wrong, and what; what concerns the whole has no place."""
    return "; ".join(": ".join([*filter(None, [".".join(map(str, f["loc"]))]), f["msg"]]) for f in error.errors())


def recipe_of(manifest: Manifest) -> Recipe:
    """The recipe that a bundle was trained with.

    Raises
    ------
    RecipeError
        If the bundle does not state it, or states one of another version.
    """
    if "recipe" not in manifest.training:
        raise RecipeError(f"{manifest.name} {manifest.version} states no recipe of this project")
    try:
        return _RECIPE.validate_python(manifest.training["recipe"])
    except ValidationError as error:
        whose = f"{manifest.name} {manifest.version}"
        raise RecipeError(f"{whose} states a recipe of another version: {_faults(error)}") from error


def recipe_from_json(text: str) -> Recipe:
    """A recipe as a checkpoint keeps it."""
    return _RECIPE.validate_json(text)


def stated(recipe: Recipe) -> dict[str, JsonValue]:
    """A recipe as plain values, for checkpoint and manifest."""
    plain: dict[str, JsonValue] = _RECIPE.dump_python(recipe, mode="json")
    return plain
