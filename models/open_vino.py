"""OpenVINO: a graph compiled for this machine's processor by Intel's library, which is an option (`ecg2cmr[openvino]`).

Its own library and not ONNX Runtime's provider of that name: the wheel of that one overwrites the files of onnxruntime,
as onnxruntime-gpu does, and lags behind both.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from models.bundle import BundleError
from models.engine import OUTPUTS, Floats, Graph, ProviderError, Shape


@dataclass(frozen=True, eq=False)
class OpenVino:
    """A graph that OpenVINO compiled for this machine's processor.

    Attributes
    ----------
    compiled : an `openvino.CompiledModel`, which has stubs only where it is installed
    rows : as the graph's
    """

    compiled: Any
    rows: Mapping[str, tuple[int, ...]]
    version: str
    own: threading.local = field(default_factory=threading.local)

    @classmethod
    def start(cls, graph: Graph, threads: int) -> OpenVino:
        """Compile a graph: as many streams of `threads` threads as the machine has cores for, so that calls overlap."""
        openvino = _openvino()
        cores = os.cpu_count() or 1
        streams = max(1, cores // threads)
        settings = {
            "INFERENCE_NUM_THREADS": streams * threads,
            "NUM_STREAMS": streams,
            # Otherwise processors with AMX or AVX512-BF16 compute in bfloat16: not what was validated.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        core = openvino.Core()
        try:
            compiled = core.compile_model(core.read_model(graph.data), "CPU", settings)
        except RuntimeError as error:  # of everything, from a file that is no graph to an operator that it lacks
            raise BundleError(f"{graph.file} cannot be run: {error}") from error
        return cls(compiled, graph.rows, openvino.__version__)

    @property
    def name(self) -> str:
        """Library and version."""
        return f"openvino {self.version.partition('-')[0]}"

    @property
    def shapes(self) -> dict[str, Shape]:
        """As the graph declares them; a port may bear the names of nodes beside it."""
        known = {*self.rows, *OUTPUTS}
        ports = (*self.compiled.inputs, *self.compiled.outputs)
        named = {next(iter(known & port.get_names()), port.get_any_name()): port for port in ports}
        return {
            name: tuple(None if size.is_dynamic else size.get_length() for size in port.get_partial_shape())
            for name, port in named.items()
        }

    def run(self, inputs: Mapping[str, Floats]) -> list[Floats]:
        """The outputs, in the order of `OUTPUTS`; a request of its own for each thread, copied before it is reused."""
        if not hasattr(self.own, "request"):
            self.own.request = self.compiled.create_infer_request()
        found = self.own.request.infer(dict(inputs), share_inputs=True)
        return [np.array(found[name]) for name in OUTPUTS]


def _openvino() -> ModuleType:
    try:
        import openvino  # noqa: PLC0415  # an option: a worker without it runs ONNX Runtime
    except (ImportError, OSError) as error:  # OSError: its libraries do not fit this machine
        raise ProviderError(
            f"OpenVINO cannot be loaded ({error}). Repair: pip install 'ecg2cmr[openvino]', or set ECG2CMR_PROVIDER=cpu"
        ) from error
    return openvino  # type: ignore[no-any-return]  # its stubs are there only where it is installed
