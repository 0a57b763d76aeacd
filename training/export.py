"""Export: a checkpoint becomes a bundle directory, which appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.bundle import (
    CARD,
    GOLDEN,
    MANIFEST,
    MODEL,
    Bundle,
    CovariateInput,
    Embedding,
    Golden,
    Input,
    Manifest,
    Output,
    PreprocessingNumbers,
    Variant,
)
from models.ecg.recording import LEADS
from models.phenotypes import PHENOTYPES, PREDICTED
from models.runtime import Model, Precision
from training.card import card
from training.checkpoint import Checkpoint
from training.config import COVARIATES, Recipe, stated
from training.graph import graph_of, opset_of, verify_parity, write_onnx
from training.manifest import SIMULATED
from training.variants import Trials, make_variant


@dataclass(frozen=True, kw_only=True)
class Wording:
    """What a bundle says of itself wherever it speaks, by whose hearts it learnt from."""

    notices: tuple[str, ...]
    intended_use: str
    limits: tuple[str, ...]


NO_DEVICE = "Not a medical device: not for diagnosis or treatment."

OF_SIMULATED_HEARTS = Wording(
    notices=(
        "Trained on simulated hearts: the numbers show what the method does, not what this patient has.",
        NO_DEVICE,
    ),
    intended_use="Research and demonstration: to show, on simulated hearts, how cardiac-MRI phenotypes are read from a "
    "12-lead ECG, and to exercise the service around such a model. Adults, resting 12-lead ECG of at least 7 s.",
    limits=(
        "Every heart of the training data is simulated; nothing is known about the error on real patients.",
        "The simulated world is simpler than the clinic: sinus rhythm, atrial fibrillation and ventricular pacing, one "
        "family of torsos, nine classes of disease; no drugs, electrolyte disorders, acute ischaemia or congenital "
        "disease. ECGs of such patients are outside it.",
        "Disease is enriched in the simulated cohort, which raises R² over all participants: read the figures for "
        "normals too.",
        "Never compare these figures with those of UK Biobank or of any other cohort of people.",
        "Intervals cover their stated share of simulated participants; on real ECGs their coverage is unknown.",
    ),
)

OF_PEOPLE = Wording(
    notices=("Trained on one cohort of people: how well it does on others was not measured.", NO_DEVICE),
    intended_use="Research. Adults, resting 12-lead ECG of at least 7 s, of people like those of the training cohort.",
    limits=(
        "Figures are those of one split of one cohort; another hospital, cart or population may do worse.",
        "Intervals cover their stated share of people like those of the cohort, and of no others.",
    ),
)


class BundleExists(Exception):
    """A released version never changes; choose another version, or remove the directory yourself."""


def free_place(recipe: Recipe, artifacts: Path) -> Path:
    """Where the bundle will lie.

    Raises
    ------
    BundleExists
        If this version is already there.
    """
    target = artifacts / recipe.name / recipe.version
    if target.exists():
        raise BundleExists(f"{target} exists. {BundleExists.__doc__}")
    return target


def export(checkpoint: Checkpoint, artifacts: Path, variants: Sequence[Precision] = ()) -> Path:
    """Write `<artifacts>/<name>/<version>/`, once the worker's own loading has accepted it in every precision.

    Parameters
    ----------
    variants : precisions beside fp32

    Raises
    ------
    BundleExists
        If this version is already there.
    ParityError
        If ONNX Runtime does not compute what torch does.
    BundleError
        If a worker would refuse the bundle.
    """
    target = free_place(checkpoint.recipe, artifacts)
    unfinished = target.with_name(f".{target.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    made = _write_graphs(checkpoint, unfinished, variants)
    manifest = manifest_of(checkpoint, opset_of(unfinished / MODEL), made)
    (unfinished / CARD).write_text(card(manifest))
    names = (MODEL, GOLDEN, CARD, *(variant.file for variant in made))
    files = {name: hashlib.sha256((unfinished / name).read_bytes()).hexdigest() for name in names}
    stamped = manifest.model_copy(update={"files": files})
    (unfinished / MANIFEST).write_text(stamped.model_dump_json(indent=1) + "\n")
    for precision in ("fp32", *variants):
        Model.load(Bundle.open(unfinished), provider="cpu", threads=1, precision=precision)
    os.replace(unfinished, target)
    return target


def _write_graphs(checkpoint: Checkpoint, folder: Path, variants: Sequence[Precision]) -> list[Variant]:
    graph, golden = graph_of(checkpoint), golden_of(checkpoint)
    write_onnx(graph, checkpoint.recipe.preprocessing.samples, folder / MODEL)
    verify_parity(graph, folder / MODEL, golden)
    golden.save(folder / GOLDEN)
    trials = Trials.of(checkpoint, golden)
    return [make_variant(folder, precision, trials) for precision in variants]


@torch.no_grad()
def golden_of(checkpoint: Checkpoint) -> Golden:
    """The examples that were made when training started, with what the trained network answers."""
    examples, graph = checkpoint.examples, graph_of(checkpoint)
    covariates = examples.covariates[:, graph.network.columns] if graph.network.columns else None
    embedding, mean, sd, ood = (_array(value) for value in graph(*graph.inputs(examples.tensors, covariates)))
    return Golden(
        recordings=examples.recordings,
        tensors=examples.tensors,
        embedding=embedding,
        mean=mean,
        sd=sd,
        ood=ood,
        covariates=covariates,
    )


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.numpy().astype(np.float32)
    return array


def manifest_of(checkpoint: Checkpoint, opset: int, variants: list[Variant]) -> Manifest:
    """Everything about the model that is not its weights; the digests of the files are still to come."""
    recipe, measured = checkpoint.recipe, checkpoint.evaluation
    simulated = checkpoint.provenance["source"] == SIMULATED
    wording = OF_SIMULATED_HEARTS if simulated else OF_PEOPLE
    return Manifest(
        schema_version=1,
        name=recipe.name,
        version=recipe.version,
        created=datetime.now(UTC).date().isoformat(),
        licence="Apache-2.0" if simulated else "not stated",
        simulated=simulated,
        intended_use=wording.intended_use,
        limits=list(wording.limits),
        notices=list(wording.notices),
        min_age=recipe.min_age,
        input=Input(
            leads=LEADS,
            unit="mV",
            min_duration=recipe.min_duration,
            preprocessing=PreprocessingNumbers(**asdict(recipe.preprocessing)),
            covariates=[
                CovariateInput(
                    name=name,
                    mean=float(checkpoint.covariate_mean[COVARIATES.index(name)]),
                    sd=float(checkpoint.covariate_sd[COVARIATES.index(name)]),
                )
                for name in recipe.heads.covariates
            ],
        ),
        outputs=[
            Output(
                symbol=symbol,
                unit=PHENOTYPES[symbol].unit,
                log_mean=float(checkpoint.log_mean[i]),
                log_sd=float(checkpoint.log_sd[i]),
                trained_range=measured.trained_range[symbol],
            )
            for i, symbol in enumerate(PREDICTED)
        ],
        interval=measured.interval,
        embedding=Embedding(size=recipe.ecg.embedding),
        ood=measured.ood,
        training={**checkpoint.provenance, "recipe": stated(recipe)},
        performance=measured.performance,
        discrimination=measured.discrimination,
        retrieval=measured.retrieval,
        conditions=measured.conditions,
        opset=opset,
        variants=variants,
        files={},
    )
