"""Manifest: what a cohort on disk says of itself: who made it, units, grid, anchors, and the digest of every shard."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from models.phenotypes import PHENOTYPES
from training.grid import SHAPE, SPACING

FILE = "cohort.json"
SIMULATED = "training.simulate"
"""Source of cohorts whose hearts were computed."""

UNITS: dict[str, str] = {
    "severity": "1",
    "age": "a",
    "height": "cm",
    "weight": "kg",
    "heart_rate": "/min",
    "sampling_rate": "Hz",
    "samples": "0.5 uV",
    "volumes": "1/255 of the range",
    **{symbol: phenotype.unit for symbol, phenotype in PHENOTYPES.items()},
}
"""UCUM units of every column that has one; whoever writes a cohort converts to them."""


class CohortError(ValueError):
    """Participants that make no cohort to train on; the message says why."""


class UnreadableShard(CohortError):
    """A shard that is missing, incomplete, or not what the manifest says."""


class Fault(BaseModel):
    """One thing that is wrong with a cohort.

    Attributes
    ----------
    id, participant : of the visit; empty where a whole shard is meant
    column : where: a phenotype, "age", "ecg", "volumes/ed", "participant", "id", "shard"
    what : in a sentence
    advice : what to do about it
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    participant: str
    column: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.participant or self.id}, {self.column}: {self.what}; {self.advice}"


class Shard(BaseModel):
    """A folder of the cohort: how many visits, and the SHA-256 over the digests of all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    entries: int
    digest: str


class Manifest(BaseModel):
    """What `cohort.json` holds; who the participants are stands in the shards.

    Attributes
    ----------
    format : 1 was an archive for each shard, which could not be mapped into memory
    source : the module that wrote it, e.g. "training.simulate"
    made : facts of the source: digest of the simulator, setting and seed, or what was imported from where
    anchors : names of the CMR volumes that every visit has
    cine : (frames, rows, columns) where every visit has one
    split : SHA-256 of `split.json` beside it, where the source states who belongs to which part
    left_out : what the source could not take, so that nobody disappears unsaid
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    source: str
    made: dict[str, JsonValue]
    units: dict[str, str] = UNITS
    shape: tuple[int, int, int] = SHAPE
    spacing: tuple[float, float, float] = SPACING
    anchors: tuple[str, ...] = ("ed", "es")
    cine: tuple[int, int, int] | None = None
    split: str | None = None
    left_out: tuple[Fault, ...] = ()
    shards: tuple[Shard, ...] = ()

    def with_shards(self, shards: Sequence[Shard]) -> Manifest:
        """The same cohort, of these shards."""
        return self.model_copy(update={"shards": tuple(shards)})


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `cohort.json`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = (folder / FILE).with_suffix(".part")
    unfinished.write_text(manifest.model_dump_json(indent=1))
    os.replace(unfinished, folder / FILE)


def read_manifest(folder: Path) -> Manifest:
    """Read `cohort.json`.

    Raises
    ------
    CohortError
        If there is none, it is of an older layout, or its units or grid are not those of this version.
    """
    path = folder / FILE
    if not path.is_file():
        raise CohortError(f"{folder} holds no cohort: {FILE} is missing")
    try:
        manifest = Manifest.model_validate_json(path.read_text())
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
        raise CohortError(f"{path} is of another layout ({fields}); make the cohort anew") from error
    strange = sorted(name for name, unit in UNITS.items() if manifest.units.get(name) != unit)
    if strange:
        raise CohortError(f"{path} states other units for {', '.join(strange)}; convert them and make the cohort anew")
    if (manifest.shape, manifest.spacing) != (SHAPE, SPACING):
        raise CohortError(f"{path} keeps volumes on another grid than {SHAPE} at {SPACING} mm; make the cohort anew")
    return manifest
