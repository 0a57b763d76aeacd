"""Generate: a simulated cohort on disk, in parallel, resumable, the same whatever the number of processes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from rich.progress import Progress
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it carries none

import training.grid
import training.simulate
from models.phenotypes import PHENOTYPES
from training.cohort import CohortError, Entry, participants_in, write_shard
from training.grid import canonical
from training.simulate import Participant, simulate
from training.simulate.setting import ENRICHED, SETTINGS, Setting

SHARD = 100
"""Participants in a file: what an interrupted run loses at most."""

SEEDS_APART = 1_000_000
"""Cohorts of different seeds share nobody as long as they are smaller than this."""

DESCRIPTION = "cohort.json"

DEFAULT_SETTING = ENRICHED.name

_CHUNK, _AHEAD = 2, 8
"""Participants that a process is given at once, and how many such chunks for each process are under way."""


class UnknownSetting(CohortError):
    """Nobody knows where participants of this name come from."""


class StaleCohort(CohortError):
    """The directory holds participants of another seed or another simulator; nothing is mixed."""


def generate(
    folder: Path,
    *,
    participants: int,
    seed: int,
    processes: int,
    progress: Progress,
    setting: str = DEFAULT_SETTING,
    shard: int = SHARD,
) -> list[Path]:
    """Simulate the participants that are not in the folder yet.

    A shard is a file that is there whole or not at all, named by its first participant; one that holds fewer than it
    should, because the cohort was smaller, is made anew. So whenever a run ends, nobody is there twice and the next
    run fills what is missing.

    Parameters
    ----------
    setting : where the participants come from; see `training.simulate`.
    shard : participants in a file.

    Returns
    -------
    The shards that hold the cohort, in order.

    Raises
    ------
    UnknownSetting
        If the simulator has no setting of this name.
    StaleCohort
        If the folder was filled with another seed or setting, or by another version of the simulator.
    """
    setting_named(setting)  # refused before anything is written
    _describe(folder, seed, setting, shard)
    shards = _shards(folder, seed, participants, shard)
    missing = {path: part for path, part in shards.items() if not path.exists() or participants_in(path) < len(part)}
    task = progress.add_task("simulate", total=participants, note="")
    progress.advance(task, participants - sum(len(part) for part in missing.values()))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=start_process) as pool:
        entries = _in_order(pool, processes, [s for part in missing.values() for s in part], setting)
        for path, part in missing.items():
            finished = []
            for one in islice(entries, len(part)):
                finished.append(one)
                progress.advance(task)
            write_shard(path, finished)
    return list(shards)


def _in_order(pool: ProcessPoolExecutor, processes: int, seeds: Sequence[int], setting: str) -> Iterator[Entry]:
    """The participants in the order of their seeds; few are under way at once, so that memory stays flat."""
    waiting: deque[Future[list[Entry]]] = deque()
    for start in range(0, len(seeds), _CHUNK):
        waiting.append(pool.submit(_entries, seeds[start : start + _CHUNK], setting))
        if len(waiting) > _AHEAD * processes:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _entries(seeds: Sequence[int], setting: str) -> list[Entry]:
    return [entry(seed, setting) for seed in seeds]


def shards_in(folder: Path) -> list[Path]:
    """The shards of a cohort, in order."""
    return sorted(folder.glob("shard-*.npz"))


def setting_named(name: str) -> Setting:
    """A setting by its name.

    Raises
    ------
    UnknownSetting
        If there is none of this name.
    """
    if name not in SETTINGS:
        raise UnknownSetting(f"there is no setting {name}; known: {', '.join(SETTINGS)}")
    return SETTINGS[name]


def setting_of(folder: Path) -> Setting:
    """Where the participants of a simulated cohort come from, so that each can be simulated again by its id.

    Raises
    ------
    CohortError
        If the cohort was not simulated.
    StaleCohort
        If another version of the simulator made it: the same ids would be other people.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise CohortError(f"{folder} holds no simulated cohort: {DESCRIPTION} is missing")
    description = json.loads(path.read_text())
    if description.get("simulator") != simulator_digest():
        raise StaleCohort(f"{folder} was made by another version of the simulator; simulate it again")
    return setting_named(description["setting"])


def entry(seed: int, setting: str = DEFAULT_SETTING) -> Entry:
    """One simulated participant, as a cohort keeps it."""
    return from_simulation(simulate(seed, setting=SETTINGS[setting]))


def seed_of(participant: str) -> int:
    """The seed that an id of a simulated cohort stands for."""
    return int(participant.removeprefix("sim-"))


def from_simulation(participant: Participant) -> Entry:
    """A simulated participant on the canonical CMR grid."""
    return Entry(
        id=f"sim-{participant.seed}",
        group=participant.pathology,
        severity=participant.severity,
        sex=participant.sex,
        age=participant.age,
        height=participant.height,
        weight=participant.weight,
        heart_rate=participant.heart_rate,
        rhythm=participant.rhythm,
        recording=participant.recording,
        ed=canonical(participant.ed, participant.spacing),
        es=canonical(participant.es, participant.spacing),
        phenotypes=np.array([participant.phenotypes[symbol] for symbol in PHENOTYPES]),
    )


def simulator_digest() -> str:
    """SHA-256 of the source that decides what a participant is: those of two simulators are never one cohort."""
    simulator = Path(training.simulate.__path__[0]).glob("*.py")
    files = [*sorted(file for file in simulator if file.name not in _BESIDE), Path(training.grid.__file__)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


_BESIDE = ("dossier.py", "kspace.py", "scan_dicom.py", "scan_nifti.py")
"""What is written of one participant besides a cohort."""


def _shards(folder: Path, seed: int, participants: int, shard: int) -> dict[Path, list[int]]:
    """The files of a cohort and the seeds of each."""
    seeds = [seed * SEEDS_APART + i for i in range(participants)]
    starts = range(0, participants, shard)
    return {folder / f"shard-{start:06d}.npz": seeds[start : start + shard] for start in starts}


def _describe(folder: Path, seed: int, setting: str, shard: int) -> None:
    description = {
        "source": "training.simulate",
        "simulator": simulator_digest(),
        "setting": setting,
        "seed": seed,
        "shard": shard,
    }
    path = folder / DESCRIPTION
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists() and json.loads(path.read_text()) != description:
        raise StaleCohort(
            f"{folder} holds participants of another seed or simulator, or of another setting; "
            "empty it or name another folder"
        )
    if not path.exists():
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(description, indent=1))
        os.replace(unfinished, path)


def start_process() -> None:
    """One BLAS thread for each process, or they wait for one another; and none outlives a parent that was killed."""
    threadpool_limits(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()


def _leave_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
