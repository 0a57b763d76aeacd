"""The shipped bundle, and copies of it that say something else and are sealed again."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from models.bundle import GOLDEN, MANIFEST, Bundle, Golden, find

SHIPPED = find(Path(__file__).resolve().parents[2] / "models" / "artifacts")[-1]


def copy(folder: Path) -> Path:
    """A copy of the shipped bundle that may be broken."""
    return Path(shutil.copytree(SHIPPED.path, folder / "bundle"))


def reseal(path: Path, **changes: object) -> Bundle:
    """Write other values into the manifest, and the digests of the files as they now are."""
    stated = json.loads((path / MANIFEST).read_text())
    files = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in stated["files"]}
    (path / MANIFEST).write_text(json.dumps(stated | {"files": files} | changes))
    return Bundle.open(path)


def without_variants(path: Path) -> Bundle:
    """The same bundle with the graph in float32 alone, as bundles were before there were others."""
    stated = json.loads((path / MANIFEST).read_text())
    for variant in stated.pop("variants"):
        (path / variant["file"]).unlink()
        del stated["files"][variant["file"]]
    (path / MANIFEST).write_text(json.dumps(stated))
    return Bundle.open(path)


def with_variants(path: Path, *, tolerance: dict[str, float], ratio: float) -> Bundle:
    """The same bundle whose variants are harmless and this fast on a CPU, as far as its manifest says."""
    stated = json.loads((path / MANIFEST).read_text())
    speed = {"provider": "cpu", "ratio": ratio, "milliseconds": 1, "batch": 1, "threads": 1, "rounds": 9}
    for variant in stated["variants"]:
        variant |= {"tolerance": tolerance, "speed": [speed | {"engine": "", "processor": ""}]}
        for error in variant["errors"]:
            error["interval_share"] = 0.01
    (path / MANIFEST).write_text(json.dumps(stated))
    return Bundle.open(path)


def with_golden(path: Path, golden: Golden) -> Bundle:
    """The same bundle with other golden examples, honestly sealed."""
    golden.save(path / GOLDEN)
    return reseal(path)
