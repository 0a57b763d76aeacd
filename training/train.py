"""Train: a cohort becomes a checkpoint; the stages of the method in their order, evaluation included."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from rich.progress import Progress
from torch import Tensor

from models.phenotypes import PREDICTED
from training.check import write_report
from training.checkpoint import Checkpoint, Evaluation
from training.cohort import Cohort
from training.config import Recipe
from training.dataset import Dataset, prepare
from training.encoders import EcgEncoder
from training.evaluate import (
    Predictions,
    calibrated,
    discriminations,
    out_of_distribution,
    performances,
    retrievals,
    whitening,
)
from training.finetune import Predictor, finetune
from training.fit import History
from training.golden import choose
from training.pretrain import SHOWN_BY, DualPhase, anchor_features, pairs, pretrain, projected, train_teacher
from training.split import PARTS, Part, write_split

SMALLEST_GROUP = 30
"""Participants below which a group's figures would be noise."""


def train(cohort: Cohort, folder: Path, recipe: Recipe, progress: Progress) -> Checkpoint:
    """The whole chain: golden examples, CMR encoders, contrastive pretraining, heads, evaluation.

    Two runs on one machine with one number of threads give the same weights, bit by bit.

    Parameters
    ----------
    folder : where the split file and the checkpoint are written
    """
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)
    folder.mkdir(parents=True, exist_ok=True)
    data = prepare(cohort, recipe, progress)
    cohort, parts = data.cohort, data.split
    split_digest = write_split(folder / "split.json", parts)
    write_report(folder, data.faults)
    examples = choose(cohort, data.parts["validation"].numpy(), recipe.preprocessing, recipe.min_duration)

    teachers = {phase: train_teacher(phase, data, recipe, progress) for phase in SHOWN_BY}
    anchors = anchor_features({phase: teacher for phase, (teacher, _) in teachers.items()}, data)
    encoder = EcgEncoder(recipe.ecg)
    aligned, pretraining = pretrain(encoder, data, anchors, recipe, progress)
    retrieved = _projections(aligned, data, anchors)  # before the encoder moves on
    network, finetuning = finetune(encoder, data, recipe, progress)

    histories = {f"CMR encoder {phase}": history for phase, (_, history) in teachers.items()}
    histories |= {"contrastive": pretraining, "heads": finetuning}
    centre, white = whitening(_embeddings(network, data, "train"))
    checkpoint = Checkpoint(
        recipe=recipe,
        provenance=_provenance(cohort, parts, split_digest, recipe, histories),
        network=network.state_dict(),
        log_mean=data.log_mean,
        log_sd=data.log_sd,
        centre=torch.from_numpy(centre.astype(np.float32)),
        whitening=torch.from_numpy(white.astype(np.float32)),
        examples=examples,
        evaluation=_evaluate(cohort, data, network, (centre, white), retrieved, recipe),
    )
    checkpoint.save(folder / "checkpoint.pt")
    return checkpoint


@torch.no_grad()
def _projections(aligned: DualPhase, data: Dataset, anchors: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    vectors = projected(aligned, data, anchors, data.parts["test"])
    return {name: vector.numpy() for name, vector in vectors.items()}


def _embeddings(network: Predictor, data: Dataset, part: Part) -> NDArray[np.float64]:
    embedding, _, _ = network.predict(data.ecg[data.parts[part]])
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
    return Evaluation(
        trained_range={symbol: _range(cohort.column(symbol)[trained]) for symbol in PREDICTED},
        interval=calibrated(calibration, test, recipe.calibration),
        ood=out_of_distribution(scores, recipe.calibration),
        performance=performances(test, groups, cohort.phenotypes[trained], min(SMALLEST_GROUP, len(tested))),
        discrimination=discriminations(test, groups),
        retrieval=retrievals(retrieved, [(pair.first, pair.second) for pair in pairs(recipe.contrast)]),
    )


def _range(measured: NDArray[np.float64]) -> tuple[float, float]:
    return float(np.nanmin(measured)), float(np.nanmax(measured))


def _predictions(cohort: Cohort, data: Dataset, network: Predictor, part: Part) -> Predictions:
    who = data.parts[part]
    _, mean, log_sd = network.predict(data.ecg[who])
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
