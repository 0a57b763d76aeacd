"""Train: a cohort becomes a checkpoint; the stages of the method in their order, evaluation included."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor

from models.phenotypes import PREDICTED
from training.calibrate import calibrated, out_of_distribution, whitening
from training.checkpoint import Checkpoint, Evaluation
from training.cohort import PARTS, Cohort, Part, rows, split, write_split
from training.conditions import condition_models
from training.config import Recipe
from training.dataset import Dataset, prepare
from training.encoders import EcgEncoder
from training.evaluate import Predictions, discriminations, performances, retrievals
from training.finetune import Predictor, finetune
from training.fit import History
from training.golden import choose
from training.pretrain import SHOWN_BY, DualPhase, anchor_features, pairs, pretrain, projected, train_teacher
from training.run import Run
from training.stages import Stage

SMALLEST_GROUP = 30
"""Participants below which a group's figures would be noise."""


STAGES = "stages"


def train(cohort: Cohort, folder: Path, recipe: Recipe, run: Run) -> Checkpoint:
    """The whole chain: golden examples, CMR encoders, contrastive pretraining, heads, evaluation.

    Two runs on one machine with one number of threads give the same weights, bit by bit, interrupted or not.

    Parameters
    ----------
    folder : where the split file, the state of each stage and the checkpoint are written
    """
    torch.use_deterministic_algorithms(True)
    folder.mkdir(parents=True, exist_ok=True)
    parts = split(cohort.ids.tolist(), recipe.split)
    split_digest = write_split(folder / "split.json", parts)
    shown = rows(cohort, parts["validation"]), rows(cohort, parts["calibration"])
    examples = choose(cohort, *shown, recipe.preprocessing, recipe.min_duration)
    data = prepare(cohort, recipe, run.progress)

    start = Stage.of("data", cohort.digest, split_digest, recipe.preprocessing, recipe.seed)
    pretrained = pretrain_all(data, recipe, start, run, folder / STAGES)
    heads = Stage.of("heads", pretrained.stage, recipe.heads, recipe.augmentation, recipe.finetuning)
    network, finetuning = finetune(pretrained.encoder, data, recipe, heads.run(run, folder / STAGES))

    centre, white = whitening(_embeddings(network, data, "train"))
    checkpoint = Checkpoint(
        recipe=recipe,
        provenance=_provenance(cohort, parts, split_digest, recipe, pretrained.histories | {"heads": finetuning}),
        network=network.state_dict(),
        log_mean=data.log_mean,
        log_sd=data.log_sd,
        covariate_mean=data.covariate_mean,
        covariate_sd=data.covariate_sd,
        centre=torch.from_numpy(centre.astype(np.float32)),
        whitening=torch.from_numpy(white.astype(np.float32)),
        examples=examples,
        evaluation=_evaluate(cohort, data, network, (centre, white), pretrained.projections, recipe),
    )
    checkpoint.save(folder / "checkpoint.pt")
    return checkpoint


@dataclass(frozen=True, eq=False, kw_only=True)
class Pretrained:
    """The ECG encoder as it enters the last stage.

    Attributes
    ----------
    projections : unit vectors of the test part, by modality; empty where nothing was aligned
    """

    encoder: EcgEncoder
    stage: Stage
    histories: dict[str, History]
    projections: dict[str, NDArray[np.float32]]


def pretrain_all(data: Dataset, recipe: Recipe, start: Stage, run: Run, folder: Path) -> Pretrained:
    """The stages before the heads, each only if its schedule has epochs."""
    encoded = Stage.of("encoder", start, recipe.ecg)
    encoded.run(run, folder)
    encoder = EcgEncoder(recipe.ecg)
    untouched = Pretrained(encoder=encoder, stage=encoded, histories={}, projections={})
    return untouched if recipe.pretraining.epochs == 0 else _aligned(untouched, data, recipe, start, run, folder)


def _aligned(before: Pretrained, data: Dataset, recipe: Recipe, start: Stage, run: Run, folder: Path) -> Pretrained:
    histories, taught, teachers = dict(before.histories), [], {}
    for phase in SHOWN_BY:
        stage = Stage.of(f"teacher-{phase}", start, recipe.cmr, recipe.cmr_schedule)
        teachers[phase], histories[f"CMR encoder {phase}"] = train_teacher(phase, data, recipe, stage.run(run, folder))
        taught.append(stage)
    features = anchor_features(teachers, data)
    stage = Stage.of("contrastive", before.stage, *taught, recipe.contrast, recipe.augmentation, recipe.pretraining)
    aligned, histories["contrastive"] = pretrain(before.encoder, data, features, recipe, stage.run(run, folder))
    projections = _projections(aligned, data, features)  # before the encoder moves on
    return Pretrained(encoder=before.encoder, stage=stage, histories=histories, projections=projections)


@torch.no_grad()
def _projections(aligned: DualPhase, data: Dataset, anchors: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    vectors = projected(aligned, data, anchors, data.parts["test"])
    return {name: vector.numpy() for name, vector in vectors.items()}


def _embeddings(network: Predictor, data: Dataset, part: Part) -> NDArray[np.float64]:
    embedding, _, _ = network.predict(data.ecg[data.parts[part]], data.covariates[data.parts[part]])
    return embedding.numpy().astype(np.float64)


def _evaluate(
    cohort: Cohort,
    data: Dataset,
    network: Predictor,
    whitened: tuple[NDArray[np.float64], NDArray[np.float64]],
    retrieved: Mapping[str, NDArray[np.float32]],
    recipe: Recipe,
) -> Evaluation:
    calibration, test = (_predictions(cohort, data, network, part) for part in ("calibration", "test"))
    tested, trained = data.parts["test"].numpy(), data.parts["train"].numpy()
    centre, white = whitened
    scores = np.sqrt((((_embeddings(network, data, "calibration") - centre) @ white) ** 2).mean(axis=1))
    groups = {
        "all": np.ones(len(tested), bool),
        "normal": cohort.groups[tested] == "normal",
        "women": cohort.sex[tested] == "F",
        "men": cohort.sex[tested] == "M",
    }
    interval = calibrated(calibration, test, recipe.calibration, groups)
    sexes = cohort.sex[data.parts["calibration"].numpy()], cohort.sex[tested]
    return Evaluation(
        trained_range={symbol: _range(cohort.column(symbol)[trained]) for symbol in PREDICTED},
        interval=interval,
        ood=out_of_distribution(scores, recipe.calibration),
        performance=performances(test, groups, cohort.phenotypes[trained], min(SMALLEST_GROUP, len(tested))),
        discrimination=discriminations(test, groups),
        conditions=condition_models(calibration, test, sexes, np.array(interval.correlation)),
        retrieval=retrievals(retrieved, [(pair.first, pair.second) for pair in pairs(recipe.contrast)]),
    )


def _range(measured: NDArray[np.float64]) -> tuple[float, float]:
    return float(np.nanmin(measured)), float(np.nanmax(measured))


def _predictions(cohort: Cohort, data: Dataset, network: Predictor, part: Part) -> Predictions:
    who = data.parts[part]
    _, mean, log_sd = network.predict(data.ecg[who], data.covariates[who])
    return Predictions(
        mean=(mean * data.log_sd + data.log_mean).numpy().astype(np.float64),
        sd=(log_sd.exp() * data.log_sd).numpy().astype(np.float64),
        heart_rate=cohort.heart_rate[who.numpy()],
        truth=cohort.phenotypes[who.numpy()],
    )


def _provenance(
    cohort: Cohort,
    parts: Mapping[Part, list[str]],
    split_digest: str,
    recipe: Recipe,
    histories: Mapping[str, History],
) -> dict[str, JsonValue]:
    return {
        "code_version": code_version(),
        "torch_version": torch.__version__,
        "threads": torch.get_num_threads(),
        "source": "simulated (training.simulate)",
        "participants": len(cohort),
        "cohort_digest": cohort.digest,
        "split_digest": split_digest,
        "seed": recipe.seed,
        "parts": {part: len(parts[part]) for part in PARTS},
        "stages": {name: asdict(history) for name, history in histories.items()},
    }


def code_version() -> str:
    """The installed version, and the commit where there is one."""
    version = importlib.metadata.version("ecg2cmr")
    described = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,  # no repository, or no git: the version has to do
    )
    commit = described.stdout.strip()
    return f"{version} ({commit})" if commit else version
