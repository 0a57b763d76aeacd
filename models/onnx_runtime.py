"""ONNX Runtime: a session on a CPU, or on a GPU with CUDA or TensorRT; never a silent fallback to another provider.

A graph is optimised when it is loaded and not stored optimised: ONNX Runtime lays an optimised graph out for the
processor at hand (its documentation tells to optimise on the kind of machine that will run it), and what storing it
would save is a few milliseconds of a start (`benchmarks/inference.py` prints how many).
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from models.bundle import BundleError, Precision, Provider
from models.engine import LARGEST_RUN, OUTPUTS, Floats, Graph, ProviderError, Shape

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ON_A_GPU: frozenset[Provider] = frozenset({"cuda", "tensorrt"})


@dataclass(frozen=True, eq=False)
class OnnxRuntime:
    """A session of ONNX Runtime on this machine's processor."""

    session: InferenceSession

    @staticmethod
    def start(graph: Graph, provider: Provider, threads: int, cache: Path | None) -> OnnxRuntime:
        """A session on the provider asked for."""
        session = _session(graph, provider, threads, cache)
        return OnDevice(session) if provider in ON_A_GPU else OnnxRuntime(session)

    @property
    def name(self) -> str:
        """Library and version."""
        return f"onnxruntime {_onnxruntime().__version__}"

    @property
    def shapes(self) -> dict[str, Shape]:
        """As the graph declares them; a size with a name is any size."""
        nodes = (*self.session.get_inputs(), *self.session.get_outputs())
        return {node.name: tuple(size if isinstance(size, int) else None for size in node.shape) for node in nodes}

    def run(self, inputs: Mapping[str, Floats]) -> list[Floats]:
        """The outputs, in the order of `OUTPUTS`."""
        answers: list[Floats] = self.session.run(list(OUTPUTS), dict(inputs))
        return answers


@dataclass(frozen=True, eq=False)
class OnDevice(OnnxRuntime):
    """The same with its inputs and outputs bound: one copy of a batch to the device, one of the answers back."""

    device: str = "cuda"

    def run(self, inputs: Mapping[str, Floats]) -> list[Floats]:
        """The outputs, in the order of `OUTPUTS`; a binding of its own for each call, since threads may share us."""
        binding, place = self.session.io_binding(), _onnxruntime().OrtValue.ortvalue_from_numpy
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, place(np.ascontiguousarray(array), self.device, 0))
        for name in OUTPUTS:
            binding.bind_output(name, "cpu")
        self.session.run_with_iobinding(binding)
        answers: list[Floats] = binding.copy_outputs_to_cpu()
        return answers


def _session(graph: Graph, provider: Provider, threads: int, cache: Path | None) -> InferenceSession:
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; warnings repeat what is checked below
    wanted = _PROVIDERS[provider]
    if wanted not in onnxruntime.get_available_providers():
        raise ProviderError(f"this installation of ONNX Runtime has no {wanted}. {_GPU}")
    if provider in ON_A_GPU:
        onnxruntime.preload_dlls()
    errors = onnxruntime.capi.onnxruntime_pybind11_state  # they have no common base
    try:
        session = onnxruntime.InferenceSession(graph.data, options, providers=providers(graph, provider, cache))
    except (
        errors.Fail,
        errors.InvalidArgument,
        errors.InvalidGraph,
        errors.InvalidProtobuf,
        errors.NotImplemented,
        errors.RuntimeException,
    ) as error:
        raise BundleError(f"{graph.file} cannot be run: {error}") from error
    if session.get_providers()[0] != wanted:
        fallback = session.get_providers()[0]
        raise ProviderError(f"{wanted} was asked for, but ONNX Runtime fell back to {fallback}. {_GPU}")
    return session


_PROVIDERS: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

# TF32 keeps 10 bits of each number: faster on matrices far larger than ours, and not what was validated.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


_TENSORRT_TYPES: dict[Precision, dict[str, str]] = {
    # Only what the graph itself states: TensorRT never computes in fewer bits than were measured.
    "fp32": {},
    "fp16": {"trt_fp16_enable": "1"},
    "int8": {"trt_int8_enable": "1"},
}


def providers(graph: Graph, provider: Provider, cache: Path | None) -> list[tuple[str, dict[str, str]]]:
    """What ONNX Runtime is to use, with its options; CUDA runs those nodes that TensorRT does not."""
    if provider not in ON_A_GPU:
        return [(_PROVIDERS[provider], {})]
    cuda = (_PROVIDERS["cuda"], _CUDA_OPTIONS)
    if provider == "cuda":
        return [cuda]
    options = _TENSORRT_TYPES[graph.precision] | _profiles(graph.rows) | _kept(cache)
    return [(_PROVIDERS["tensorrt"], options), cuda]


def _profiles(rows: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """One compilation for every batch size, fastest for a quarter of the largest; else each new size compiles again."""
    sizes = {"min": 1, "opt": LARGEST_RUN // 4, "max": LARGEST_RUN}
    return {
        f"trt_profile_{kind}_shapes": ",".join(
            f"{name}:{'x'.join(map(str, (size, *row)))}" for name, row in rows.items()
        )
        for kind, size in sizes.items()
    }


def _kept(cache: Path | None) -> dict[str, str]:
    if cache is None:
        return {}
    kinds = ("engine", "timing")
    return {f"trt_{kind}_cache_enable": "1" for kind in kinds} | {
        f"trt_{kind}_cache_path": str(cache) for kind in kinds
    }


_GPU = "Check that an NVIDIA driver is visible (nvidia-smi), and install: pip install 'ecg2cmr[gpu]'"


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
