"""Generate: a simulated cohort on disk, in parallel, resumable, the same whatever the number of processes."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from rich.progress import Progress

import training.grid
import training.simulate
from models.phenotypes import PHENOTYPES
from training.cohort import SHARD, CohortError, Entry, Manifest
from training.grid import canonical
from training.manifest import FILE, SIMULATED, Shard, read_manifest, write_manifest
from training.processes import pool
from training.shard import shards_in, write_shard
from training.simulate import Participant, simulate
from training.simulate.setting import ENRICHED, SETTINGS, Setting

SEEDS_APART = 1_000_000
"""Cohorts of different seeds share nobody as long as they are smaller than this."""

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
) -> Manifest:
    """Simulate the participants that are not in the folder yet.

    A shard is there whole or not at all; one that holds fewer than it should, because the cohort was smaller, is made
    anew. So whenever a run ends, nobody is there twice and the next run fills what is missing.

    Parameters
    ----------
    setting : where the participants come from; see `training.simulate`.
    shard : participants in one shard.

    Returns
    -------
    The manifest of the cohort, which `training.cohort.load` reads.

    Raises
    ------
    UnknownSetting
        If the simulator has no setting of this name.
    StaleCohort
        If the folder was filled with another seed or setting, or by another version of the simulator.
    """
    setting_named(setting)  # refused before anything is written
    manifest = _started(folder, seed, setting, shard)
    seeds = [seed * SEEDS_APART + i for i in range(participants)]
    parts = {first: seeds[first : first + shard] for first in range(0, participants, shard)}
    there = shards_in(folder)
    missing = {first: part for first, part in parts.items() if first not in there or there[first].entries < len(part)}
    task = progress.add_task("simulate", total=participants, note="")
    progress.advance(task, participants - sum(len(part) for part in missing.values()))
    with pool(processes) as workers:
        entries = _in_order(workers, processes, [s for part in missing.values() for s in part], setting)
        for first, part in missing.items():
            finished = []
            for one in islice(entries, len(part)):
                finished.append(one)
                progress.advance(task)
            there[first] = write_shard(folder, first, finished, manifest)
            write_manifest(folder, _listing(manifest, there))
    complete = _listing(manifest, there)
    write_manifest(folder, complete)
    return complete


def _listing(manifest: Manifest, there: Mapping[int, Shard]) -> Manifest:
    """Every shard in its place, those beyond a smaller number of participants too."""
    return manifest.with_shards([there[first] for first in sorted(there)])


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
    manifest = read_manifest(folder)
    if manifest.source != SIMULATED:
        raise CohortError(f"{folder} holds no simulated cohort, but one of {manifest.source}")
    if manifest.made["simulator"] != simulator_digest():
        raise StaleCohort(f"{folder} was made by another version of the simulator; simulate it again")
    return setting_named(str(manifest.made["setting"]))


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
        participant=f"sim-{participant.seed}",
        group=participant.pathology,
        severity=participant.severity,
        sex=participant.sex,
        age=participant.age,
        height=participant.height,
        weight=participant.weight,
        heart_rate=participant.heart_rate,
        rhythm=participant.rhythm,
        recording=participant.recording,
        volumes={
            "ed": canonical(participant.ed, participant.spacing),
            "es": canonical(participant.es, participant.spacing),
        },
        phenotypes=np.array([participant.phenotypes[symbol] for symbol in PHENOTYPES]),
    )


def simulator_digest() -> str:
    """SHA-256 of the source that decides what a participant is: those of two simulators are never one cohort."""
    simulator = Path(training.simulate.__path__[0]).glob("*.py")
    files = [*sorted(file for file in simulator if file.name not in _BESIDE), Path(training.grid.__file__)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


_BESIDE = ("dossier.py", "kspace.py", "scan_dicom.py", "scan_nifti.py")
"""What is written of one participant besides a cohort."""


def _started(folder: Path, seed: int, setting: str, shard: int) -> Manifest:
    """The manifest of these participants; the one in the folder, if any, must tell of the same."""
    made = {"simulator": simulator_digest(), "setting": setting, "seed": seed, "shard": shard}
    manifest = Manifest(source=SIMULATED, made=made)
    if not (folder / FILE).exists() and not shards_in(folder):
        write_manifest(folder, manifest)
    elif not (folder / FILE).exists() or read_manifest(folder).with_shards([]) != manifest:
        raise StaleCohort(
            f"{folder} holds participants of another seed or simulator, or of another setting; "
            "empty it or name another folder"
        )
    return manifest
