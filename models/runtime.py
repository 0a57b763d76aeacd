"""Model: a verified bundle on ONNX Runtime; recordings in, embeddings and estimates out, on the provider asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.bundle import MODEL, Bundle, BundleError, Golden, Precision, Provider, Variant
from models.covariates import covariates_of
from models.ecg.beats import heart_rate
from models.ecg.recording import LEADS, Recording
from models.engine import LARGEST_RUN, OUTPUTS, Engine, Graph, ProviderError
from models.onnx_runtime import OnnxRuntime, installation_fault
from models.open_vino import OpenVino
from models.precision import objections, preferred
from models.reading import Answer, Reader
from models.report import Inference, Rejection

__all__ = (
    "OUTPUTS",
    "Model",
    "Outputs",
    "Precision",
    "Provider",
    "ProviderError",
    "UnknownVariant",
    "installation_fault",
    "start",
)

log = logging.getLogger("ecg2cmr.model")

TENSOR_TOLERANCE = 1e-5
"""Millivolts by which preprocessing may differ from what training saw: the canonical step of a recording."""

OUTPUT_TOLERANCE: dict[Provider, float] = {"cpu": 1e-3, "openvino": 1e-3, "cuda": 1e-2, "tensorrt": 1e-2}
"""Relative and absolute difference of outputs allowed between machines, which sum in another order; a mean is a
logarithm, so that 1e-3 is 0.1 % of a volume. `benchmarks/inference.py` prints what is measured: 1e-6 on processors with
AVX-512, by either library; no GPU was at hand, whose tolerance allows for convolutions by other algorithms."""


class NotReproduced(BundleError):
    """The graph answers otherwise here than it did when it was exported."""


class UnknownVariant(BundleError):
    """A precision that the bundle was not exported in; the message names those that it has."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Outputs:
    """What the network answered for a batch.

    Attributes
    ----------
    embedding : (n, d)
    mean, sd : (n, phenotypes) of the natural logarithms
    ood : (n,)
    """

    embedding: NDArray[np.float32]
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    ood: NDArray[np.float32]

    def __iter__(self) -> Iterator[Answer]:
        """Row by row: one ECG's bad numbers are its own."""
        for embedding, mean, sd, ood in zip(self.embedding, self.mean, self.sd, self.ood, strict=True):
            yield Answer(embedding=embedding, mean=mean, sd=sd, ood=float(ood))


@dataclass(frozen=True, eq=False, kw_only=True)
class Model:
    """A bundle that runs here and has shown that it is the model it claims to be."""

    bundle: Bundle
    provider: Provider
    engine: Engine
    reader: Reader
    precision: Precision = "fp32"

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        *,
        provider: Provider,
        threads: int,
        precision: Precision | Literal["auto"] = "fp32",
        cache: Path | None = None,
    ) -> Model:
        """Start an engine and replay the golden examples, which also warms it up.

        Load after a fork, never before one: engines own threads.

        Parameters
        ----------
        threads : of the engine, for one ECG; ignored on a GPU.
        precision : which of the bundle's graphs; "auto": as `models.precision` prefers, and the next one where a graph
            in fewer bits does not answer here as it did when it was exported.
        cache : folder in which TensorRT keeps what it compiled.

        Raises
        ------
        ProviderError
            If the provider is not to be had, or its library not installed properly.
        UnknownVariant
            If the bundle holds no graph of this precision.
        BundleError
            If the graph is not the one that the manifest describes, or answers otherwise than in training.
        """
        if precision != "auto":
            return cls._started(bundle, provider, threads, precision, cache)
        for choice in preferred(bundle.manifest, provider)[:-1]:
            try:
                return cls._started(bundle, provider, threads, choice, cache)
            except NotReproduced as error:
                log.warning("%s is left out on this machine: %s", choice, error)
        return cls._started(bundle, provider, threads, "fp32", cache)

    @classmethod
    def _started(
        cls, bundle: Bundle, provider: Provider, threads: int, precision: Precision, cache: Path | None
    ) -> Model:
        variant = None if precision == "fp32" else variant_of(bundle, precision)
        engine = start(graph_of(bundle, variant), provider, threads, cache)
        _check_signature(bundle, engine.shapes)
        reader = Reader.of(bundle, precision)
        model = cls(bundle=bundle, provider=provider, engine=engine, reader=reader, precision=precision)
        model._replay(bundle.golden, tolerances(provider, variant))
        return model

    def __str__(self) -> str:
        """Which graph of which model runs on what, and why no other: for the operator's log."""
        manifest = self.bundle.manifest
        left = {k: v for k, v in objections(manifest, self.provider).items() if k != self.precision}
        others = "".join(f"; not {precision}: {reason}" for precision, reason in left.items())
        name = f"{manifest.name} {manifest.version} ({self.bundle.digest[:12]})"
        return f"{name} in {self.precision} on {self.provider} ({self.engine.name}){others}"

    def run(self, batch: NDArray[np.float32], covariates: NDArray[np.float32] | None = None) -> Outputs:
        """The network's outputs for preprocessed ECGs.

        Parameters
        ----------
        batch : (n, 12, samples) float32 millivolts
        covariates : (n, covariates) float32 as `covariates_of` writes them; None when nothing is known of anybody

        Raises
        ------
        ValueError
            If the shape or type is another.
        """
        shape = (len(LEADS), self.bundle.preprocessing.samples)
        if batch.dtype != np.float32 or batch.shape[1:] != shape or not len(batch):
            raise ValueError(f"expected float32 (n, {shape[0]}, {shape[1]}), got {batch.dtype} {batch.shape}")
        inputs = {"ecg": batch} | self._covariates(len(batch), covariates)
        runs = [slice(start, start + LARGEST_RUN) for start in range(0, len(batch), LARGEST_RUN)]
        answers = [self.engine.run({k: v[rows] for k, v in inputs.items()}) for rows in runs]
        embedding, mean, sd, ood = (np.concatenate(columns) for columns in zip(*answers, strict=True))
        return Outputs(embedding=embedding, mean=mean, sd=sd, ood=ood)

    def _covariates(self, n: int, given: NDArray[np.float32] | None) -> dict[str, NDArray[np.float32]]:
        size = len(self.bundle.manifest.input.covariates)
        if given is not None and (given.dtype != np.float32 or given.shape != (n, size)):
            raise ValueError(f"expected float32 covariates ({n}, {size}), got {given.dtype} {given.shape}")
        if not size:
            return {}
        return {"covariates": np.full((n, size), np.nan, np.float32) if given is None else given}

    def read(self, recordings: Sequence[Recording]) -> list[Inference | Rejection]:
        """The answer for each recording, in order; one that cannot be read never stops the others."""
        answers: list[Inference | Rejection | None] = [self.reader.refusal(recording) for recording in recordings]
        readable = [i for i, refusal in enumerate(answers) if refusal is None]
        if readable:
            tensors = np.stack([self.bundle.preprocessing(recordings[i]) for i in readable])
            names = [covariate.name for covariate in self.bundle.manifest.input.covariates]
            known = np.stack([covariates_of(recordings[i], names) for i in readable])
            for i, answer in zip(readable, self.run(tensors, known), strict=True):
                answers[i] = self.reader.read(recordings[i], answer, heart_rate(recordings[i]))
        return [answer for answer in answers if answer is not None]

    def _replay(self, golden: Golden, tolerance: Mapping[str, float]) -> None:
        tensors = np.stack([self.bundle.preprocessing(recording) for recording in golden.recordings])
        _compare(self.bundle, "preprocessing", tensors, golden.tensors, TENSOR_TOLERANCE, 0.0)
        outputs = self.run(golden.tensors, golden.covariates)
        for name in OUTPUTS:
            allowed = tolerance[name]
            _compare(self.bundle, name, getattr(outputs, name), getattr(golden, name), allowed, allowed)


def start(graph: Graph, provider: Provider, threads: int, cache: Path | None = None) -> Engine:
    """An engine for a graph.

    Parameters
    ----------
    threads : for one ECG; ignored on a GPU
    cache : folder in which TensorRT keeps what it compiled; None: it is compiled at each start

    Raises
    ------
    ProviderError
        If the provider is not to be had on this machine.
    BundleError
        If the graph cannot be run.
    """
    if provider == "openvino":
        return OpenVino.start(graph, threads)
    return OnnxRuntime.start(graph, provider, threads, cache)


def variant_of(bundle: Bundle, precision: Precision) -> Variant:
    """The variant of a bundle that has this precision.

    Raises
    ------
    UnknownVariant
        If there is none.
    """
    found = {variant.precision: variant for variant in bundle.manifest.variants}
    if precision not in found:
        has = ", ".join(("fp32", *found))
        raise UnknownVariant(f"{bundle.path} holds no {precision} graph: set ECG2CMR_PRECISION to one of {has}")
    return found[precision]


def graph_of(bundle: Bundle, variant: Variant | None) -> Graph:
    """The graph of a variant, or the full one."""
    file = MODEL if variant is None else variant.file
    rows: dict[str, tuple[int, ...]] = {"ecg": (len(LEADS), bundle.preprocessing.samples)}
    if covariates := bundle.manifest.input.covariates:
        rows["covariates"] = (len(covariates),)
    precision = "fp32" if variant is None else variant.precision
    return Graph(data=bundle.read(file), file=str(bundle.path / file), precision=precision, rows=rows)


def tolerances(provider: Provider, variant: Variant | None) -> dict[str, float]:
    """By how much each output of the golden examples may differ on this provider."""
    machine = OUTPUT_TOLERANCE[provider]
    return {name: machine if variant is None else max(machine, variant.tolerance[name]) for name in OUTPUTS}


def _compare(
    bundle: Bundle, what: str, found: NDArray[np.float32], expected: NDArray[np.float32], atol: float, rtol: float
) -> None:
    if found.shape != expected.shape:
        raise BundleError(f"{bundle.path}: {what} of the golden examples is {found.shape}, not {expected.shape}")
    if not np.allclose(found, expected, atol=atol, rtol=rtol):
        worst = float(np.abs(found - expected).max())
        raise NotReproduced(
            f"{bundle.path}: {what} of the golden examples differs by up to {worst:.3g} from what training recorded; "
            "this installation would not give the answers that were validated, so the model is not served"
        )


def _check_signature(bundle: Bundle, shapes: Mapping[str, tuple[int | None, ...]]) -> None:
    manifest, k = bundle.manifest, len(bundle.manifest.outputs)
    covariates = len(manifest.input.covariates)
    expected = {
        "ecg": (len(LEADS), bundle.preprocessing.samples),
        **({"covariates": (covariates,)} if covariates else {}),
        "embedding": (manifest.embedding.size,),
        "mean": (k,),
        "sd": (k,),
        "ood": (),
    }
    found = {name: shape[1:] for name, shape in shapes.items()}
    if found != expected:
        raise BundleError(f"{bundle.path / MODEL}: the manifest describes {expected}, the graph has {found}")
    if any(shape[0] is not None for shape in shapes.values()):
        raise BundleError(f"{bundle.path / MODEL} was exported for one batch size only")
