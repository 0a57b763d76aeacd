"""Engine: what runs a graph, whatever library does it, and what it is given to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.bundle import BundleError, Precision

Floats = NDArray[np.float32]
Shape = tuple[int | None, ...]

OUTPUTS = ("embedding", "mean", "sd", "ood")

LARGEST_RUN = 32
"""ECGs in one call: memory stays bounded, and more is not faster on a CPU; TensorRT compiles for so many."""


class ProviderError(BundleError):
    """The machine cannot run a bundle as asked; the message says how to mend it."""


class Engine(Protocol):
    """A graph that can be run, from several threads at once."""

    @property
    def name(self) -> str:
        """Library and version."""

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of every input and output by its name; None where any size will do."""

    def run(self, inputs: Mapping[str, Floats]) -> list[Floats]:
        """The outputs, in the order of `OUTPUTS`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """A graph to be run.

    Attributes
    ----------
    data : ONNX as bytes: weights in other files have no folder in which to be found, and are refused
    file : what messages call it
    rows : shape of one ECG's part of each input
    """

    data: bytes
    file: str
    precision: Precision
    rows: Mapping[str, tuple[int, ...]]
