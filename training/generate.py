"""Generate: a simulated cohort on disk, in parallel, resumable, the same whatever the number of processes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from rich.progress import Progress
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it carries none

import training.simulate
from models.phenotypes import PHENOTYPES
from training.cmr import canonical
from training.cohort import CohortError, Entry, write_shard
from training.simulate import Participant, simulate

SHARD = 100
"""Participants in a file: what an interrupted run loses at most."""

SEEDS_APART = 1_000_000
"""Cohorts of different seeds share nobody as long as they are smaller than this."""

DESCRIPTION = "cohort.json"


class StaleCohort(CohortError):
    """The directory holds participants of another seed or another simulator; nothing is mixed."""


def generate(folder: Path, *, participants: int, seed: int, processes: int, progress: Progress) -> list[Path]:
    """Simulate the participants that are not in the folder yet.

    Returns
    -------
    The shards that hold the cohort, in order.

    Raises
    ------
    StaleCohort
        If the folder was filled with another seed or by another version of the simulator.
    """
    _describe(folder, seed)
    seeds = [seed * SEEDS_APART + i for i in range(participants)]
    shards = {folder / f"shard-{start:06d}-{len(part):03d}.npz": part for start, part in _parts(seeds)}
    missing = {path: part for path, part in shards.items() if not path.exists()}
    task = progress.add_task("simulate", total=participants, note="")
    progress.advance(task, participants - sum(len(part) for part in missing.values()))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_one_thread) as pool:
        entries = pool.map(entry, [s for part in missing.values() for s in part], chunksize=5)
        for path, part in missing.items():
            finished = []
            for one in islice(entries, len(part)):
                finished.append(one)
                progress.advance(task)
            write_shard(path, finished)
    return list(shards)


def shards_in(folder: Path) -> list[Path]:
    """The shards of a cohort, in order."""
    return sorted(folder.glob("shard-*.npz"))


def entry(seed: int) -> Entry:
    """One simulated participant, as a cohort keeps it."""
    return from_simulation(simulate(seed))


def from_simulation(participant: Participant) -> Entry:
    """A simulated participant on the canonical CMR grid."""
    return Entry(
        id=f"sim-{participant.seed}",
        group=participant.pathology,
        sex=participant.sex,
        age=participant.age,
        heart_rate=participant.heart_rate,
        recording=participant.recording,
        ed=canonical(participant.ed, participant.spacing),
        es=canonical(participant.es, participant.spacing),
        phenotypes=np.array([participant.phenotypes[symbol] for symbol in PHENOTYPES]),
    )


def simulator_digest() -> str:
    """SHA-256 of the simulator's source: participants of two simulators are never one cohort."""
    files = sorted(Path(training.simulate.__path__[0]).glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _parts(seeds: list[int]) -> list[tuple[int, list[int]]]:
    return [(start, seeds[start : start + SHARD]) for start in range(0, len(seeds), SHARD)]


def _describe(folder: Path, seed: int) -> None:
    description = {"source": "training.simulate", "simulator": simulator_digest(), "seed": seed}
    path = folder / DESCRIPTION
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists() and json.loads(path.read_text()) != description:
        raise StaleCohort(f"{folder} holds participants of another seed or simulator; empty it or name another folder")
    path.write_text(json.dumps(description, indent=1))


def _one_thread() -> None:
    """One BLAS thread for each process: with more, the processes wait for one another."""
    threadpool_limits(1)
