"""Cohort: participants with an ECG and a CMR on disk, mapped into memory; the format that every source writes.

A folder with `cohort.json` (see `training.manifest`) and folders of plain .npy files, one for each column, which hold
some visits each. A shard is there whole or not at all, and so is `cohort.json`, which is written last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.ecg.recording import LEADS, Recording
from models.phenotypes import PHENOTYPES
from training.entry import MILLIVOLT, NUMBERS, TEXT, Entry, digest
from training.manifest import CohortError, Fault, Manifest, Shard, UnreadableShard, read_manifest, write_manifest
from training.shard import PLAIN, Columns, file_of, read_shard, write_shard
from training.stacked import Stacked

__all__ = [
    "Cohort",
    "CohortError",
    "Entry",
    "Fault",
    "Manifest",
    "load",
    "load_shard",
    "rows",
    "stream",
    "write_cohort",
]

SHARD = 100
"""Visits in a folder: what an interrupted run loses at most."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Cohort:
    """All visits of a cohort, one row each; ECGs and images stay on disk until they are asked for.

    Attributes
    ----------
    shards : those that were read; all of the manifest, unless the reader was told to go on without some
    digests : (n, 32) SHA-256 of each visit
    ecg : (12, samples) of each visit, as recorded, in steps of half a microvolt
    volumes : anchor -> (n, slices, rows, columns)
    cine : (n, frames, rows, columns), or None
    """

    folder: Path
    manifest: Manifest
    shards: tuple[Shard, ...]
    ids: NDArray[np.str_]
    participants: NDArray[np.str_]
    groups: NDArray[np.str_]
    severity: NDArray[np.float64]
    sex: NDArray[np.str_]
    age: NDArray[np.float64]
    height: NDArray[np.float64]
    weight: NDArray[np.float64]
    heart_rate: NDArray[np.float64]
    rhythms: NDArray[np.str_]
    sampling_rate: NDArray[np.float64]
    phenotypes: NDArray[np.float64]
    digests: NDArray[np.uint8]
    ecg: list[NDArray[np.int16]]
    volumes: Mapping[str, Stacked]
    cine: Stacked | None

    def __len__(self) -> int:
        return len(self.ids)

    def recording(self, row: int) -> Recording:
        """The ECG of one visit; an age that is unknown or impossible is not handed on (`training.check` names it)."""
        age, sex = float(self.age[row]), self.sex[row]
        return Recording(
            signal=self.ecg[row].astype(np.float64) / MILLIVOLT,
            sampling_rate=float(self.sampling_rate[row]),
            age=age if 0 <= age <= 130 else None,
            sex="F" if sex == "F" else "M" if sex == "M" else None,
        )

    def column(self, symbol: str) -> NDArray[np.float64]:
        """One phenotype of all visits."""
        return self.phenotypes[:, list(PHENOTYPES).index(symbol)]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that is stored, whatever the shards: the identity of the cohort."""
        return hashlib.sha256(np.ascontiguousarray(self.digests).tobytes()).hexdigest()

    def digest_of(self, row: int) -> bytes:
        """SHA-256 of one visit as it lies on disk now; `digests` holds what it was when it was written."""
        images = [*self.volumes.values(), *([] if self.cine is None else [self.cine])]
        return digest(
            [str(getattr(self, name)[row]) for name in TEXT],
            [*(float(getattr(self, name)[row]) for name in (*NUMBERS, "sampling_rate")), *self.phenotypes[row]],
            [self.ecg[row], *(image[row] for image in images)],
        )


def write_cohort(folder: Path, entries: Iterable[Entry], manifest: Manifest, shard: int = SHARD) -> Manifest:
    """Write a whole cohort, some visits at a time; until it is complete there is no `cohort.json`."""
    rest, shards = iter(entries), list[Shard]()
    while part := list(islice(rest, shard)):
        shards.append(write_shard(folder, len(shards) * shard, part, manifest))
    complete = manifest.with_shards(shards)
    write_manifest(folder, complete)
    return complete


def load(
    folder: Path, *, shards: Sequence[Shard] | None = None, unreadable: Literal["refuse", "exclude"] = "refuse"
) -> Cohort:
    """Map a cohort into memory; of ECGs and images nothing is read yet.

    Parameters
    ----------
    shards : only these, in this order; None for all
    unreadable : whether a missing or damaged shard is an error, or left out (`training.check` names it)

    Raises
    ------
    CohortError
        If there is no cohort, nobody is in it, or a visit occurs twice.
    UnreadableShard
        If a shard is missing or not what the manifest says.
    """
    manifest = read_manifest(folder)
    read: dict[Shard, Columns] = {}
    for shard in manifest.shards if shards is None else shards:
        try:
            read[shard] = read_shard(folder, shard, manifest)
        except UnreadableShard:
            if unreadable == "refuse":
                raise
    if not read:
        raise CohortError(f"{folder} holds no participant")
    cohort = _joined(folder, manifest, read)
    if len(np.unique(cohort.ids)) != len(cohort):
        raise CohortError("a visit occurs twice: every ECG needs its own CMR, by the id of the visit")
    return cohort


def first_of(folder: Path, visits: int | None) -> Cohort:
    """The first shards of a cohort that hold at least so many visits; all of them for None."""
    shards = list[Shard]()
    for shard in read_manifest(folder).shards:
        if visits is not None and sum(one.entries for one in shards) >= visits:
            break
        shards.append(shard)
    return load(folder, shards=shards)


def load_shard(folder: Path, shard: Shard, manifest: Manifest) -> Cohort:
    """The visits of one shard.

    Raises
    ------
    UnreadableShard
        If it is missing or not what the manifest says.
    """
    return _joined(folder, manifest, {shard: read_shard(folder, shard, manifest)})


def stream(folder: Path) -> Iterator[Cohort]:
    """The cohort shard by shard, for what needs each visit once."""
    manifest = read_manifest(folder)
    for shard in manifest.shards:
        yield load_shard(folder, shard, manifest)


def _joined(folder: Path, manifest: Manifest, read: Mapping[Shard, Columns]) -> Cohort:
    parts = list(read.values())
    plain = {name: np.concatenate([part[name] for part in parts]) for name in PLAIN if name != "lengths"}
    return Cohort(
        folder=folder,
        manifest=manifest,
        shards=tuple(read),
        ecg=[ecg for part in parts for ecg in _recordings(part["samples"], part["lengths"])],
        volumes={anchor: Stacked([part[file_of(anchor)] for part in parts]) for anchor in manifest.anchors},
        cine=Stacked([part["cine"] for part in parts]) if manifest.cine else None,
        **plain,
    )


def _recordings(samples: NDArray[np.int16], lengths: NDArray[np.intp]) -> Iterator[NDArray[np.int16]]:
    flat, borders = samples.view(np.ndarray), len(LEADS) * np.cumsum(lengths)
    for recorded in np.split(flat, borders[:-1]):
        yield recorded.reshape(len(LEADS), -1)


def rows(cohort: Cohort, participants: Sequence[str]) -> NDArray[np.intp]:
    """Where all visits of these participants stand; by name, never by position in another file."""
    found: dict[str, list[int]] = {}
    for row, participant in enumerate(cohort.participants):
        found.setdefault(str(participant), []).append(row)
    return np.array([row for participant in participants for row in found[participant]], np.intp)
