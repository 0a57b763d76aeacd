"""Run: where and how a training runs: device, numbers, progress, state to resume from, curves; never what it learns."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from rich.progress import Progress
from torch import Tensor

from training.tracking import SILENT, Tracker

Precision = Literal["fp32", "bf16"]

CPU = torch.device("cpu")


@dataclass(kw_only=True)
class Clock:
    """Seconds that went into fetching data, of all that passed: a device that waits for data is not at work."""

    fetching: float = 0.0

    @contextmanager
    def fetch(self) -> Iterator[None]:
        """Time what happens inside."""
        started = time.perf_counter()
        yield
        self.fetching += time.perf_counter() - started


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """How a training runs.

    Attributes
    ----------
    folder : where a stage keeps its state after each epoch; None keeps nothing
    precision : "bf16" multiplies matrices in bfloat16 (losses stay in float32)
    compiled : whether the network of the contrastive stage, the longest, passes `torch.compile` first
    """

    progress: Progress
    device: torch.device = CPU
    precision: Precision = "fp32"
    compiled: bool = False
    folder: Path | None = None
    tracker: Tracker = SILENT
    clock: Clock = field(default_factory=Clock)

    def at(self, folder: Path) -> Run:
        """The same with another folder for state."""
        return replace(self, folder=folder)

    def fetch(self, values: Tensor, rows: Tensor) -> Tensor:
        """Some rows, on the device; the time is counted."""
        with self.clock.fetch():
            return values[rows.to(values.device)].to(self.device, non_blocking=True)

    def autocast(self) -> AbstractContextManager[object]:
        """Where networks run: matrices in the precision of the run."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def device_named(name: str) -> torch.device:
    """A device by its name; "auto" is a GPU where there is one.

    Raises
    ------
    NoDevice
        If this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    known = re.fullmatch(r"cpu|cuda(?::(\d|[1-9]\d+))?", name)
    if known is None:
        raise NoDevice(f"{name!r} is no device to train on; say auto, cpu, cuda, or cuda:1 for the second GPU")
    if name != "cpu" and int(known[1] or 0) >= (seen := torch.cuda.device_count()):
        raise NoDevice(f"there is no {name}: torch sees {seen} GPUs; check nvidia-smi, or take --device cpu")
    return torch.device(name)


class NoDevice(ValueError):
    """The machine lacks the device that was asked for."""
