"""Model: a verified bundle on ONNX Runtime; recordings in, embeddings and estimates out, on the provider asked for."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from models.bundle import MODEL, Bundle, BundleError, Golden, Variant
from models.covariates import covariates_of
from models.ecg.beats import heart_rate
from models.ecg.recording import LEADS, Recording
from models.reading import Answer, Reader
from models.report import Inference, Rejection

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Provider = Literal["cpu", "cuda"]
Precision = Literal["fp32", "fp16", "int8"]

OUTPUTS = ("embedding", "mean", "sd", "ood")

TENSOR_TOLERANCE = 1e-5
"""Millivolts by which preprocessing may differ from what training saw: the canonical step of a recording."""

OUTPUT_TOLERANCE: dict[Provider, float] = {"cpu": 1e-3, "cuda": 1e-2}
"""Relative and absolute difference of outputs allowed between machines, which sum in another order; a mean is a
logarithm, so that 1e-3 is 0.1 % of a volume."""

LARGEST_RUN = 32
"""ECGs in one call of the session: memory stays bounded, and more is not faster on a CPU."""


class ProviderError(BundleError):
    """The machine cannot run a bundle as asked; the message says how to mend it."""


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
    session: InferenceSession
    reader: Reader
    precision: Precision = "fp32"

    @classmethod
    def load(cls, bundle: Bundle, *, provider: Provider, threads: int, precision: Precision = "fp32") -> Model:
        """Start a session and replay the golden examples, which also warms it up.

        Load after a fork, never before one: sessions own threads.

        Parameters
        ----------
        threads : of the session, for one ECG; ignored on a GPU.
        precision : which of the bundle's graphs.

        Raises
        ------
        ProviderError
            If ONNX Runtime is not installed properly or the provider is not to be had.
        UnknownVariant
            If the bundle holds no graph of this precision.
        BundleError
            If the graph is not the one that the manifest describes, or answers otherwise than in training.
        """
        variant = None if precision == "fp32" else variant_of(bundle, precision)
        session = _session(bundle, MODEL if variant is None else variant.file, provider, threads)
        reader = Reader.of(bundle)
        model = cls(bundle=bundle, provider=provider, session=session, reader=reader, precision=precision)
        _check_signature(bundle, session)
        model._replay(bundle.golden, tolerances(provider, variant))
        return model

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
        answers = [self.session.run(list(OUTPUTS), {k: v[rows] for k, v in inputs.items()}) for rows in runs]
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
        raise BundleError(
            f"{bundle.path}: {what} of the golden examples differs by up to {worst:.3g} from what training recorded; "
            "this installation would not give the answers that were validated, so the model is not served"
        )


def _session(bundle: Bundle, file: str, provider: Provider, threads: int) -> InferenceSession:
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; warnings repeat what is checked below
    wanted = _PROVIDERS[provider][0]
    if wanted not in onnxruntime.get_available_providers():
        raise ProviderError(f"this installation of ONNX Runtime has no {wanted}. {_CUDA}")
    if provider == "cuda":
        onnxruntime.preload_dlls()
    errors = onnxruntime.capi.onnxruntime_pybind11_state  # they have no common base
    try:
        # From bytes: a graph that keeps weights in other files has no folder to find them in, and is refused.
        session = onnxruntime.InferenceSession(bundle.read(file), options, providers=[_PROVIDERS[provider]])
    except (
        errors.Fail,
        errors.InvalidArgument,
        errors.InvalidGraph,
        errors.InvalidProtobuf,
        errors.NotImplemented,
        errors.RuntimeException,
    ) as error:
        raise BundleError(f"{bundle.path / file} cannot be run: {error}") from error
    if session.get_providers()[0] != wanted:
        fallback = session.get_providers()[0]
        raise ProviderError(f"{wanted} was asked for, but ONNX Runtime fell back to {fallback}. {_CUDA}")
    return session


_PROVIDERS: dict[Provider, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    # TF32 keeps 10 bits of each number: faster on matrices far larger than ours, and not what was validated.
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}),
}

_CUDA = "Check that an NVIDIA driver is visible (nvidia-smi), and install: pip install 'ecg2cmr[gpu]'"


def _onnxruntime() -> ModuleType:
    """ONNX Runtime, once it is known to be installed whole and only once."""
    found = [name for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name)]
    fault = installation_fault(found)
    if fault is None:
        import onnxruntime  # noqa: PLC0415  # only after the check: a broken installation imports as an empty package

        if hasattr(onnxruntime, "InferenceSession"):
            return onnxruntime  # type: ignore[no-any-return]  # onnxruntime carries no types
        fault = f"onnxruntime is an empty package. {_REPAIR}"
    raise ProviderError(fault)


_REPAIR = (
    "Repair: pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'ecg2cmr[cpu]', "
    "or 'ecg2cmr[gpu]' for an NVIDIA GPU"
)


def installation_fault(found: Collection[str]) -> str | None:
    """What is wrong with the installed distributions of ONNX Runtime: they overwrite each other's files."""
    if not found:
        return f"ONNX Runtime is not installed. {_REPAIR}"
    if len(found) > 1:
        return f"{' and '.join(found)} are both installed, and the later has overwritten the earlier. {_REPAIR}"
    return None


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _check_signature(bundle: Bundle, session: InferenceSession) -> None:
    manifest, k = bundle.manifest, len(bundle.manifest.outputs)
    covariates = len(manifest.input.covariates)
    expected = {
        "ecg": [len(LEADS), bundle.preprocessing.samples],
        **({"covariates": [covariates]} if covariates else {}),
        "embedding": [manifest.embedding.size],
        "mean": [k],
        "sd": [k],
        "ood": [],
    }
    nodes = (*session.get_inputs(), *session.get_outputs())
    found = {node.name: list(node.shape[1:]) for node in nodes}
    if found != expected:
        raise BundleError(f"{bundle.path / MODEL}: the manifest describes {expected}, the graph has {found}")
    if any(isinstance(node.shape[0], int) for node in nodes):
        raise BundleError(f"{bundle.path / MODEL} was exported for one batch size only")
