"""Cache: what is computed once for a cohort and mapped into memory ever after: preprocessed ECGs, joined images."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from pydantic import TypeAdapter
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional

import models.ecg.preprocess
from models.ecg.errors import EcgError
from models.ecg.preprocess import Preprocessing
from models.ecg.recording import LEADS
from training.check import faults_of_shard, unread
from training.cohort import Cohort, Fault, load_shard
from training.config import Recipe
from training.manifest import Manifest, Shard
from training.processes import done

Found = TypeVar("Found")

_PREPROCESSING = hashlib.sha256(inspect.getsource(models.ecg.preprocess).encode()).hexdigest()
"""Of its source, so that no tensor of an older version is read."""

CHECKS = 1
"""Counts up whenever `training.check` looks for something else, so that no older verdict is read."""


def cached_ecg(cohort: Cohort, recipe: Recipe, cache: Path, processes: int, progress: Progress) -> Tensor:
    """(n, 12, samples / decimation) float32 millivolts, preprocessed as serving does; NaN where that is impossible.

    Neighbouring samples are averaged as `decimate` of the encoders does it: it has no parameters.
    """
    decimation = recipe.ecg.decimation
    path = cache / f"ecg-{_key(cohort.digest, asdict(recipe.preprocessing), decimation, _PREPROCESSING)}.npy"
    if not path.is_file():
        shape = (len(cohort), len(LEADS), recipe.preprocessing.samples // decimation)
        with _unfinished(path) as part:
            open_memmap(part, "w+", np.float32, shape).flush()
            job = partial(_preprocess, cohort.folder, cohort.manifest, part, recipe.preprocessing, decimation)
            _over_shards(job, cohort, processes, progress, "preprocess ECGs")
    return mapped(path)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A shard, and the row of the cohort that it begins with."""

    shard: Shard
    first: int


def _preprocess(
    folder: Path, manifest: Manifest, path: Path, preprocessing: Preprocessing, decimation: int, place: Place
) -> None:
    cohort, ecg = load_shard(folder, place.shard, manifest), open_memmap(path, "r+")
    for row in range(len(cohort)):
        try:
            tensor = torch.from_numpy(preprocessing(cohort.recording(row)))
            ecg[place.first + row] = functional.avg_pool1d(tensor, decimation).numpy()
        except EcgError:
            ecg[place.first + row] = np.nan  # `training.check` names it, and it is in no part
    ecg.flush()


def cached_faults(cohort: Cohort, recipe: Recipe, cache: Path, processes: int, progress: Progress) -> list[Fault]:
    """Everything that `training.check` finds, with each visit read once."""
    path = cache / f"faults-{_key(cohort.digest, recipe.min_duration, CHECKS)}.json"
    faults = TypeAdapter(list[Fault])
    if not path.is_file():
        job = partial(_faults, cohort.folder, cohort.manifest, recipe.min_duration)
        found = [one for part in _over_shards(job, cohort, processes, progress, "check the cohort") for one in part]
        with _unfinished(path) as part:
            part.write_bytes(faults.dump_json(found, indent=1))
    return [*cohort.manifest.left_out, *unread(cohort), *faults.validate_json(path.read_bytes())]


def _faults(folder: Path, manifest: Manifest, min_duration: float, place: Place) -> list[Fault]:
    return faults_of_shard(load_shard(folder, place.shard, manifest), min_duration)


def cached_images(cohort: Cohort, name: str, cache: Path) -> Tensor:
    """All volumes of one anchor, or all cines, in one file, so that every process reads the same memory."""
    images = cohort.cine if name == "cine" and cohort.cine is not None else cohort.volumes[name]
    path = cache / f"{name}-{_key(cohort.digest)}.npy"
    if not path.is_file():
        with _unfinished(path) as part:
            joined = open_memmap(part, "w+", np.uint8, images.shape)
            for first in range(0, len(images), 100):
                joined[first : first + 100] = images[first : first + 100]
            joined.flush()
    return mapped(path)


def mapped(path: Path) -> Tensor:
    """An array on disk as a tensor; what is written to it stays in memory."""
    array: NDArray[np.generic] = np.load(path, mmap_mode="c", allow_pickle=False)
    return torch.from_numpy(array)


def _over_shards(
    job: Callable[[Place], Found], cohort: Cohort, processes: int, progress: Progress, name: str
) -> list[Found]:
    firsts = accumulate((shard.entries for shard in cohort.shards), initial=0)
    places = [Place(shard=shard, first=first) for shard, first in zip(cohort.shards, firsts, strict=False)]
    task = progress.add_task(name, total=len(cohort), note="")
    found = []
    for place, one in zip(places, done(job, places, processes), strict=True):
        found.append(one)
        progress.advance(task, place.shard.entries)
    return found


@contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when it is complete; two runs may make it at once."""
    part = path.with_suffix(f".{os.getpid()}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _key(*facts: object) -> str:
    """What a file was computed from, in sixteen letters."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
