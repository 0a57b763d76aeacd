"""Speed: of a variant beside the full graph, called in turn, on every provider that this installation has on a CPU."""

from __future__ import annotations

import platform
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.bundle import Provider, Speed
from models.engine import Graph, ProviderError
from models.runtime import start

Floats = NDArray[np.float32]
Name = TypeVar("Name", bound=Hashable)

ON_A_CPU: tuple[Provider, ...] = ("cpu", "openvino")
ROUNDS = 100
"""Enough for ratios that another run repeats to a few percent, and seconds of an export."""


def speeds(full: Graph, variant: Graph, inputs: Mapping[str, Floats]) -> list[Speed]:
    """One row for each provider: lower quartiles, since what else runs on a machine only ever adds.

    One ECG and one thread at a time: how workers under load run theirs (batches are no faster on a CPU).
    """
    one = {name: array[:1] for name, array in inputs.items()}
    rows = []
    for provider in ON_A_CPU:
        try:
            engines = {graph.precision: start(graph, provider, threads=1) for graph in (full, variant)}
        except ProviderError:  # it is an option, and where it is not installed nothing is said about it
            continue
        calls = {precision: partial(engine.run, one) for precision, engine in engines.items()}
        seconds = {name: float(np.quantile(times, 0.25)) for name, times in in_turn(calls, ROUNDS).items()}
        rows.append(
            Speed(
                provider=provider,
                ratio=seconds[full.precision] / seconds[variant.precision],
                milliseconds=1000 * seconds[variant.precision],
                batch=1,
                threads=1,
                rounds=ROUNDS,
                engine=engines[variant.precision].name,
                processor=processor(),
            )
        )
    return rows


def in_turn(calls: Mapping[Name, Callable[[], object]], rounds: int) -> dict[Name, list[float]]:
    """Seconds of each call, all of them once in each round, in an order of its own.

    Before each call that is timed the same is called once more: its threads are awake then, and those of the one before
    no longer spin.
    """
    names, seconds = list(calls), defaultdict[Name, list[float]](list)
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for i in rng.permutation(len(names)):
            call = calls[names[i]]
            call()
            started = time.perf_counter()
            call()
            seconds[names[i]].append(time.perf_counter() - started)
    return {name: seconds[name] for name in names}


def processor() -> str:
    """What this machine's processor calls itself, with the instructions on which the speed of 8 bits depends."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return platform.processor() or platform.machine()
    lines = path.read_text().splitlines()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", "").split()
    has = [flag for flag in ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8") if flag in flags]
    return ", ".join([facts.get("model name", platform.machine()), *has])
