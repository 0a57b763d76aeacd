"""Cohort: participants with an ECG and a CMR on disk, split by participant; the format that every source writes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.ecg.recording import Recording, Sex
from models.phenotypes import PHENOTYPES
from training.config import Split

Part = Literal["train", "validation", "calibration", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "calibration", "test")

MILLIVOLT = 2000
"""Steps of the stored samples in one millivolt: half a microvolt, finer than any converter; int16 reaches to 16 mV."""


class CohortError(ValueError):
    """Participants that make no cohort to train on; the message says why."""


_ECG_COLUMNS = ("sampling_rate", "lengths", "samples")
_PERSON = ("groups", "severity", "sex", "age", "height", "weight", "heart_rate", "rhythms")
_COLUMNS = ("ids", *_PERSON, "ed", "es", "phenotypes")


@dataclass(frozen=True, eq=False, kw_only=True)
class Entry:
    """One participant of a cohort.

    Attributes
    ----------
    id : str
        Unique in the cohort; the split is by it.
    group : str
        What evaluation is broken down by, e.g. the pathology ("normal", …).
    severity : float
        Of the pathology, 0 to 1; NaN where nobody graded it.
    age, height, weight : float
        Years, cm, kg; NaN where not measured.
    rhythm : str
        During the ECG: "sinus", …; empty where nobody said.
    recording : Recording
        The ECG; stored in steps of half a microvolt.
    ed, es : uint8 volumes as `training.cmr.canonical` makes them
    phenotypes : (12,) in the order of the catalogue; NaN where not measured
    """

    id: str
    group: str
    severity: float
    sex: Sex
    age: float
    height: float
    weight: float
    heart_rate: float
    rhythm: str
    recording: Recording
    ed: NDArray[np.uint8]
    es: NDArray[np.uint8]
    phenotypes: NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Cohort:
    """All participants of a cohort in memory, one row each; ECGs as they were recorded, in int16 steps."""

    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    severity: NDArray[np.float64]
    sex: NDArray[np.str_]
    age: NDArray[np.float64]
    height: NDArray[np.float64]
    weight: NDArray[np.float64]
    heart_rate: NDArray[np.float64]
    rhythms: NDArray[np.str_]
    ecg: list[NDArray[np.int16]]
    sampling_rate: NDArray[np.float64]
    ed: NDArray[np.uint8]
    es: NDArray[np.uint8]
    phenotypes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    def recording(self, index: int) -> Recording:
        """The ECG of one participant."""
        return Recording(
            signal=self.ecg[index].astype(np.float64) / MILLIVOLT,
            sampling_rate=float(self.sampling_rate[index]),
            age=float(self.age[index]),
            sex="F" if self.sex[index] == "F" else "M",
        )

    def column(self, symbol: str) -> NDArray[np.float64]:
        """One phenotype of all participants."""
        return self.phenotypes[:, list(PHENOTYPES).index(symbol)]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that is stored, whatever the shards: the identity of the cohort."""
        running = hashlib.sha256()
        for name in (*_COLUMNS, "sampling_rate"):
            running.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        for samples in self.ecg:
            running.update(np.ascontiguousarray(samples).tobytes())
        return running.hexdigest()


def write_shard(path: Path, entries: Sequence[Entry]) -> None:
    """Write some participants as one file, which is there whole or not at all."""
    samples = [np.rint(entry.recording.signal * MILLIVOLT) for entry in entries]
    if max(np.abs(s).max() for s in samples) > np.iinfo(np.int16).max:
        raise CohortError("an ECG beyond 16 mV cannot be kept in half microvolts of 16 bits")
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez(
            file,
            ids=np.array([entry.id for entry in entries]),
            groups=np.array([entry.group for entry in entries]),
            severity=np.array([entry.severity for entry in entries]),
            sex=np.array([entry.sex for entry in entries]),
            age=np.array([entry.age for entry in entries]),
            height=np.array([entry.height for entry in entries]),
            weight=np.array([entry.weight for entry in entries]),
            heart_rate=np.array([entry.heart_rate for entry in entries]),
            rhythms=np.array([entry.rhythm for entry in entries]),
            sampling_rate=np.array([entry.recording.sampling_rate for entry in entries]),
            lengths=np.array([s.shape[1] for s in samples]),
            samples=np.concatenate(samples, axis=1).astype(np.int16),
            ed=np.stack([entry.ed for entry in entries]),
            es=np.stack([entry.es for entry in entries]),
            phenotypes=np.stack([entry.phenotypes for entry in entries]),
        )
    os.replace(unfinished, path)


def load(paths: Iterable[Path]) -> Cohort:
    """Read shards, in the order given, as one cohort.

    Raises
    ------
    CohortError
        If no shard is given, a participant occurs twice, or a shard lacks a column that this version needs.
    """
    shards = [_read(path) for path in paths]
    if not shards:
        raise CohortError("a cohort needs at least one shard")
    columns = {name: np.concatenate([shard[name] for shard in shards]) for name in (*_COLUMNS, "sampling_rate")}
    if len(np.unique(columns["ids"])) != len(columns["ids"]):
        raise CohortError("a participant occurs twice: every ECG needs its own CMR, by the participant's id")
    return Cohort(ecg=[ecg for shard in shards for ecg in _recordings(shard)], **columns)


def participants_in(path: Path) -> int:
    """How many participants a shard holds, without reading their data."""
    return len(groups_in(path))


def groups_in(path: Path) -> list[str]:
    """The group of each participant of a shard, without reading the rest of their data."""
    with np.load(path, allow_pickle=False) as stored:
        return [str(group) for group in stored["groups"]]


def _read(path: Path) -> dict[str, NDArray[np.int16]]:
    with np.load(path, allow_pickle=False) as stored:
        missing = sorted({*_COLUMNS, *_ECG_COLUMNS} - set(stored.files))
        if missing:
            raise CohortError(f"{path} is of an older layout, without {', '.join(missing)}; make the cohort anew")
        return {name: stored[name] for name in (*_COLUMNS, *_ECG_COLUMNS)}


def _recordings(shard: dict[str, NDArray[np.int16]]) -> Iterator[NDArray[np.int16]]:
    yield from np.split(shard["samples"], np.cumsum(shard["lengths"])[:-1], axis=1)


def split(ids: Sequence[str], settings: Split) -> dict[Part, list[str]]:
    """Deal participants to the four parts, each by a digest of its own id, so that a growing cohort moves nobody."""
    limits = np.cumsum([settings.validation, settings.calibration, settings.test])
    parts: dict[Part, list[str]] = {part: [] for part in PARTS}
    for participant in ids:
        digest = hashlib.sha256(f"{settings.seed}:{participant}".encode()).digest()
        share = int.from_bytes(digest[:8]) / 2**64
        parts[(*PARTS[1:], PARTS[0])[int(np.searchsorted(limits, share, side="right"))]].append(participant)
    return parts


def write_split(path: Path, parts: dict[Part, list[str]]) -> str:
    """Write the split file; its SHA-256 goes into every checkpoint and manifest."""
    text = json.dumps(parts, indent=1)
    path.write_text(text)
    return hashlib.sha256(text.encode()).hexdigest()


def rows(cohort: Cohort, participants: Sequence[str]) -> NDArray[np.intp]:
    """Where these participants stand in the cohort; by id, never by position in another file."""
    index = {participant: row for row, participant in enumerate(cohort.ids)}
    return np.array([index[participant] for participant in participants], np.intp)
