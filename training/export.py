"""Export: a checkpoint becomes a bundle directory, which appears whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import warnings
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.bundle import (
    CARD,
    GOLDEN,
    MANIFEST,
    MODEL,
    Embedding,
    Golden,
    Input,
    Manifest,
    Output,
    PreprocessingNumbers,
)
from models.ecg.recording import LEADS
from models.phenotypes import PHENOTYPES, PREDICTED
from training.card import card
from training.checkpoint import Checkpoint
from training.config import Recipe, stated
from training.ecg_encoder import build_ecg_encoder
from training.finetune import Predictor
from training.heads import PhenotypeHead

NOTICES = [
    "Trained on simulated hearts: the numbers show what the method does, not what this patient has.",
    "Not a medical device: not for diagnosis or treatment.",
]

INTENDED_USE = (
    "Research and demonstration: to show, on simulated hearts, how cardiac-MRI phenotypes are read from a 12-lead ECG, "
    "and to exercise the service around such a model. Adults, resting 12-lead ECG of at least 7 s."
)

LIMITS = [
    "Every heart of the training data is simulated; nothing is known about the error on real patients.",
    "The simulated world is simpler than the clinic: sinus rhythm, one torso family, nine disease classes; no "
    "pacing, atrial fibrillation, ectopy, drugs or electrolyte disorders. ECGs of such patients are outside it.",
    "Disease is enriched in the simulated cohort, which raises R² over all participants: read the figures for normals "
    "too.",
    "Never compare these figures with those of UK Biobank or of any other cohort of people.",
    "Intervals cover their stated share of simulated participants; on real ECGs their coverage is unknown.",
]


class BundleExists(Exception):
    """A released version never changes; choose another version, or remove the directory yourself."""


class Graph(nn.Module):
    """The network as it is served: physical scale and distance from the training data are part of the graph."""

    def __init__(self, network: Predictor, log_mean: Tensor, log_sd: Tensor, centre: Tensor, whitening: Tensor) -> None:
        super().__init__()
        self.network = network
        for name, value in (("log_mean", log_mean), ("log_sd", log_sd), ("centre", centre), ("whitening", whitening)):
            self.register_buffer(name, value)

    def forward(self, ecg: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(n, 12, samples) mV to embedding (n, d), mean and SD of the natural logarithms (n, k), OOD score (n,)."""
        embedding = self.network.encoder(ecg)
        mean, log_sd = self.network.head(embedding)
        white = (embedding - self.centre) @ self.whitening
        ood = torch.linalg.vector_norm(white, dim=-1) / white.shape[-1] ** 0.5
        return embedding, mean * self.log_sd + self.log_mean, log_sd.exp() * self.log_sd, ood


def graph_of(checkpoint: Checkpoint) -> Graph:
    """The graph of a checkpoint, in evaluation mode."""
    recipe = checkpoint.recipe
    head = PhenotypeHead(recipe.ecg.embedding, recipe.heads.hidden, len(PREDICTED), recipe.heads.dropout)
    network = Predictor(build_ecg_encoder(recipe.ecg), head)
    network.load_state_dict(checkpoint.network)
    scales = checkpoint.log_mean, checkpoint.log_sd, checkpoint.centre, checkpoint.whitening
    return Graph(network, *scales).eval()


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


def export(checkpoint: Checkpoint, artifacts: Path) -> Path:
    """Write `<artifacts>/<name>/<version>/`.

    Raises
    ------
    BundleExists
        If this version is already there.
    """
    target = free_place(checkpoint.recipe, artifacts)
    unfinished = target.with_name(f".{target.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    graph = graph_of(checkpoint)
    write_onnx(graph, checkpoint.recipe.preprocessing.samples, unfinished / MODEL)
    golden_of(graph, checkpoint).save(unfinished / GOLDEN)
    manifest = manifest_of(checkpoint)
    (unfinished / CARD).write_text(card(manifest))
    files = {name: hashlib.sha256((unfinished / name).read_bytes()).hexdigest() for name in (MODEL, GOLDEN, CARD)}
    stamped = manifest.model_copy(update={"files": files})
    (unfinished / MANIFEST).write_text(stamped.model_dump_json(indent=1) + "\n")
    os.replace(unfinished, target)
    return target


def write_onnx(graph: Graph, samples: int, path: Path) -> None:
    """The graph as ONNX, any batch size, all weights inside the one file."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names each operator of torchvision, which is not here
    example = torch.zeros(2, len(LEADS), samples)  # two: a batch of one would be taken for a constant
    with warnings.catch_warnings():
        # The exporter warns about its own use of torch's internals.
        warnings.simplefilter("ignore", FutureWarning)
        torch.onnx.export(
            graph,
            (example,),
            path,
            dynamo=True,
            input_names=["ecg"],
            output_names=["embedding", "mean", "sd", "ood"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    _forget_sources(path)


def _forget_sources(path: Path) -> None:
    """Remove what the exporter notes of every node: lines of code, and where on this machine they lie."""
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


@torch.no_grad()
def golden_of(graph: Graph, checkpoint: Checkpoint) -> Golden:
    """The examples that were made when training started, with what the trained network answers."""
    examples = checkpoint.examples
    embedding, mean, sd, ood = (_array(value) for value in graph(torch.from_numpy(examples.tensors)))
    return Golden(
        recordings=examples.recordings, tensors=examples.tensors, embedding=embedding, mean=mean, sd=sd, ood=ood
    )


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.numpy().astype(np.float32)
    return array


def manifest_of(checkpoint: Checkpoint) -> Manifest:
    """Everything about the model that is not its weights; the digests of the files are still to come."""
    recipe, measured = checkpoint.recipe, checkpoint.evaluation
    return Manifest(
        schema_version=1,
        name=recipe.name,
        version=recipe.version,
        created=datetime.now(UTC).date().isoformat(),
        licence="Apache-2.0",
        simulated=True,
        intended_use=INTENDED_USE,
        limits=LIMITS,
        notices=NOTICES,
        min_age=recipe.min_age,
        input=Input(
            leads=LEADS,
            unit="mV",
            min_duration=recipe.min_duration,
            preprocessing=PreprocessingNumbers(**asdict(recipe.preprocessing)),
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
        files={},
    )
