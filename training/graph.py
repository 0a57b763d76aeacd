"""Graph: the network as it is served, in ONNX, and the proof that both compute the same."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.bundle import Golden
from models.ecg.recording import LEADS
from models.phenotypes import PREDICTED
from models.runtime import OUTPUTS
from training.checkpoint import Checkpoint
from training.ecg_encoder import build_ecg_encoder
from training.finetune import Predictor, build_head

Floats = NDArray[np.float32]

PARITY = 1e-4
"""Largest difference between torch and ONNX Runtime, of the largest value of that output."""

BATCHES = (1, 3, 8)


class CannotServe(ValueError):
    """A network that reads no ECG is a baseline for comparison, not a model of ECGs; train with heads.ecg = true."""


class ParityError(Exception):
    """ONNX Runtime does not compute what torch computes: the graph is not exported; report it with the versions."""


class Graph(nn.Module):
    """Network, physical scale and distance from the training data in one; covariates are raw, NaN where unknown."""

    log_mean: Tensor
    log_sd: Tensor
    covariate_mean: Tensor
    covariate_sd: Tensor
    centre: Tensor
    whitening: Tensor

    def __init__(self, network: Predictor, checkpoint: Checkpoint) -> None:
        super().__init__()
        if network.encoder is None:
            raise CannotServe(CannotServe.__doc__)
        self.network, self.encoder = network, network.encoder
        for name in ("log_mean", "log_sd", "centre", "whitening"):
            self.register_buffer(name, getattr(checkpoint, name))
        self.register_buffer("covariate_mean", checkpoint.covariate_mean[network.columns])
        self.register_buffer("covariate_sd", checkpoint.covariate_sd[network.columns])

    def forward(self, ecg: Tensor, covariates: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """To embedding (n, d), mean and SD of the natural logarithms (n, k), out-of-distribution score (n,).

        Parameters
        ----------
        ecg : (n, 12, samples) mV
        covariates : (n, c) as `models.covariates` writes them; None where the network reads none
        """
        embedding = self.encoder(ecg)
        known = None if covariates is None else (covariates - self.covariate_mean) / self.covariate_sd
        mean, log_sd = self.network.read(embedding, known)
        white = (embedding - self.centre) @ self.whitening
        ood = torch.linalg.vector_norm(white, dim=-1) / white.shape[-1] ** 0.5
        return embedding, mean * self.log_sd + self.log_mean, log_sd.exp() * self.log_sd, ood

    def inputs(self, ecg: Floats, covariates: Floats | None) -> tuple[Tensor, ...]:
        """The arguments of `forward`."""
        given = (ecg,) if covariates is None else (ecg, covariates)
        return tuple(torch.from_numpy(array) for array in given)


def graph_of(checkpoint: Checkpoint) -> Graph:
    """The graph of a checkpoint, in evaluation mode.

    Raises
    ------
    CannotServe
        If its network reads no ECG.
    """
    recipe = checkpoint.recipe
    encoder = build_ecg_encoder(recipe.ecg) if recipe.heads.ecg else None
    network = Predictor(encoder, build_head(recipe, len(PREDICTED)), recipe.heads.covariates)
    network.load_state_dict(checkpoint.network)
    return Graph(network, checkpoint).eval()


def write_onnx(graph: Graph, samples: int, path: Path) -> None:
    """The graph as ONNX, any batch size, all weights inside the one file."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names each operator of torchvision, which is not here
    columns = len(graph.network.columns)
    example = torch.zeros(2, len(LEADS), samples)  # two: a batch of one would be taken for a constant
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        # The exporter warns about its own use of torch's internals.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", message="# The axis name: batch will not be used")  # both inputs share it
        torch.onnx.export(
            graph,
            (example, torch.zeros(2, columns)) if columns else (example,),
            path,
            dynamo=True,
            input_names=["ecg", "covariates"] if columns else ["ecg"],
            output_names=[f"{_OUTER}{name}" for name in OUTPUTS],
            dynamic_shapes=({0: batch}, {0: batch}) if columns else ({0: batch},),
            external_data=False,
            verbose=False,
        )
    _name_outputs(path)
    forget_sources(path)


_OUTER = "output of the graph: "


def _name_outputs(path: Path) -> None:
    """Give the outputs their names; a value inside the graph that bears one (the exporter's "mean") gets another."""
    model = onnx.load(path)
    names = {name: f"inner {name}" for name in OUTPUTS} | {f"{_OUTER}{name}": name for name in OUTPUTS}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*model.graph.output, *model.graph.value_info):
        value.name = names.get(value.name, value.name)
    onnx.save(model, path)


def forget_sources(path: Path) -> None:
    """Remove what exporters note of every node: lines of code, and where on this machine they lie."""
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


def opset_of(path: Path) -> int:
    """The version of ONNX's own operators that a graph is written in."""
    versions = {opset.domain: int(opset.version) for opset in onnx.load(path).opset_import}
    return versions[""]


def answers(path: Path, ecg: Floats, covariates: Floats | None, threads: int = 1) -> list[Floats]:
    """What ONNX Runtime says on a CPU, in the order of `OUTPUTS`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    runs = [slice(start, start + max(BATCHES)) for start in range(0, len(ecg), max(BATCHES))]
    told = {"ecg": ecg} if covariates is None else {"ecg": ecg, "covariates": covariates}
    found = [session.run(list(OUTPUTS), {name: array[rows] for name, array in told.items()}) for rows in runs]
    return [np.concatenate(column) for column in zip(*found, strict=True)]


@torch.no_grad()
def verify_parity(graph: Graph, path: Path, golden: Golden) -> float:
    """The largest relative difference between torch and ONNX Runtime, over golden and disturbed examples.

    Raises
    ------
    ParityError
        If it is more than `PARITY`.
    """
    worst = 0.0
    for ecg, covariates in ((golden.tensors, golden.covariates), *_disturbed(golden)):
        expected = graph(*graph.inputs(ecg, covariates))
        for name, theirs, ours in zip(OUTPUTS, answers(path, ecg, covariates), expected, strict=True):
            difference = relative_difference(theirs, ours.numpy())
            worst = max(worst, difference)
            if difference > PARITY:
                raise ParityError(f"{name} of {len(ecg)} ECGs differs by {difference:.2g}. {ParityError.__doc__}")
    return worst


def relative_difference(found: Floats, expected: Floats) -> float:
    """Largest difference, as a share of the largest expected value: single numbers near zero have no relative error."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _disturbed(golden: Golden) -> Iterator[tuple[Floats, Floats | None]]:
    """ECGs as real ones may look, in batches of every size: mixtures of examples, other gains, noise of 0.05 mV."""
    rng = np.random.default_rng(0)
    for size in BATCHES:
        shares = rng.dirichlet(np.ones(len(golden.tensors)), size) * rng.uniform(0.5, 2.0, (size, 1))
        mixed = np.einsum("nk,kls->nls", shares, golden.tensors)
        noisy = (mixed + 0.05 * rng.standard_normal(mixed.shape)).astype(np.float32)
        covariates = golden.covariates
        yield noisy, None if covariates is None else np.resize(covariates, (size, covariates.shape[1]))
