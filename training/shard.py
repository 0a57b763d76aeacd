"""Shard: some visits of a cohort in a folder of plain .npy columns, which is there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ecg.recording import LEADS
from training.entry import MILLIVOLT, NUMBERS, TEXT, Entry, digest
from training.grid import SHAPE
from training.manifest import CohortError, Manifest, Shard, UnreadableShard

Columns = dict[str, NDArray[Any]]  # each column has a type of its own

PLAIN = (*TEXT, *NUMBERS, "sampling_rate", "lengths", "phenotypes", "digests")
"""Columns that are small enough to be read at once; ECGs and images are mapped."""


def write_shard(folder: Path, first: int, entries: Sequence[Entry], manifest: Manifest) -> Shard:
    """Write some visits as one folder, named by the first, which is there whole or not at all.

    Raises
    ------
    CohortError
        If an ECG is beyond 16 mV, or a visit has other volumes, or a cine of another size, than the manifest says.
    """
    columns = _columns(entries, manifest)
    path = folder / shard_name(first)
    unfinished = path.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, values in columns.items():
        np.save(unfinished / f"{name}.npy", values, allow_pickle=False)
    digest = hashlib.sha256(columns["digests"].tobytes()).hexdigest()
    shard = Shard(name=path.name, entries=len(entries), digest=digest)
    (unfinished / _FILE).write_text(shard.model_dump_json())
    shutil.rmtree(path, ignore_errors=True)  # a shorter one, of a smaller cohort
    os.replace(unfinished, path)
    return shard


_FILE = "shard.json"


def shard_name(first: int) -> str:
    """The folder of the shard that begins with this visit of the cohort."""
    return f"shard-{first:06d}"


def shards_in(folder: Path) -> dict[int, Shard]:
    """The whole shards of a folder, by the number of their first visit."""
    found = sorted(path for path in folder.glob(f"shard-*/{_FILE}") if not path.parent.suffix)
    return {int(path.parent.name.removeprefix("shard-")): Shard.model_validate_json(path.read_text()) for path in found}


def _columns(entries: Sequence[Entry], manifest: Manifest) -> Columns:
    ecg = [_steps(entry) for entry in entries]
    images = [_images(entry, manifest) for entry in entries]
    rates = [entry.recording.sampling_rate for entry in entries]
    digests = [
        digest(
            [getattr(entry, field) for field in TEXT.values()],
            [*(getattr(entry, name) for name in NUMBERS), rate, *entry.phenotypes],
            [samples, *image.values()],
        )
        for entry, samples, image, rate in zip(entries, ecg, images, rates, strict=True)
    ]
    return {
        **{name: np.array([getattr(entry, field) for entry in entries], np.str_) for name, field in TEXT.items()},
        **{name: np.array([getattr(entry, name) for entry in entries], np.float64) for name in NUMBERS},
        **{name: np.stack([image[name] for image in images]) for name in images[0]},
        "sampling_rate": np.array(rates, np.float64),
        "phenotypes": np.array([entry.phenotypes for entry in entries], np.float64),
        "lengths": np.array([samples.shape[1] for samples in ecg]),
        "samples": np.concatenate([samples.ravel() for samples in ecg]),
        "digests": np.frombuffer(b"".join(digests), np.uint8).reshape(-1, hashlib.sha256().digest_size),
    }


def _steps(entry: Entry) -> NDArray[np.int16]:
    steps = np.rint(entry.recording.signal * MILLIVOLT)
    if np.abs(steps).max() > np.iinfo(np.int16).max:
        raise CohortError(f"the ECG of {entry.id} is beyond 16 mV, which half microvolts of 16 bits cannot hold")
    return steps.astype(np.int16)


def _images(entry: Entry, manifest: Manifest) -> dict[str, NDArray[np.uint8]]:
    expected = dict.fromkeys(manifest.anchors, SHAPE) | ({"cine": manifest.cine} if manifest.cine else {})
    found = {**entry.volumes} | ({} if entry.cine is None else {"cine": entry.cine})
    if {name: image.shape for name, image in found.items()} != expected:
        sizes = ", ".join(f"{name} {image.shape}" for name, image in found.items())
        raise CohortError(f"{entry.id} has {sizes or 'no image'}; every visit of this cohort has {expected}")
    return {file_of(name): np.asarray(found[name], np.uint8) for name in expected}


def file_of(image: str) -> str:
    """The column that holds a volume, or the cine."""
    return image if image == "cine" else f"volumes-{image}"


def read_shard(folder: Path, shard: Shard, manifest: Manifest) -> Columns:
    """The columns of a shard; of ECGs and images nothing is read yet.

    Raises
    ------
    UnreadableShard
        If a column is missing or not what the manifest says.
    """
    mapped = ["samples", *(file_of(name) for name in (*manifest.anchors, *(["cine"] if manifest.cine else [])))]
    columns: Columns = {}
    for name in (*PLAIN, *mapped):
        path = folder / shard.name / f"{name}.npy"
        try:
            columns[name] = np.load(path, mmap_mode="r" if name in mapped else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UnreadableShard(f"{path} is missing or damaged; restore it, or make the shard anew") from error
    sizes = {name: len(values) for name, values in columns.items() if name != "samples"}
    uneven = [name for name, size in sizes.items() if size != shard.entries]
    if len(columns["samples"]) != len(LEADS) * columns["lengths"].sum():
        uneven.append("samples")
    if uneven:
        raise UnreadableShard(f"{folder / shard.name}: {', '.join(uneven)} of another length; restore it")
    if hashlib.sha256(columns["digests"].tobytes()).hexdigest() != shard.digest:
        raise UnreadableShard(f"{folder / shard.name} is not the shard that the manifest names; restore it")
    return columns
