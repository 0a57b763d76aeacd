"""Trials: one line of JSON for each training of an ablation, written when it ends; what is there is not repeated."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from models.bundle import Performance
from training.config import Recipe, stated

GROUPS = ("all", "normal")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one training reached on the test part.

    Attributes
    ----------
    key : digest of cohort and recipe: the same key, the same training
    r2, mae : group -> phenotype -> value
    """

    key: str
    arm: str
    labels: float
    seed: int
    seconds: float
    r2: dict[str, dict[str, float]]
    mae: dict[str, dict[str, float]]

    def score(self, group: str, symbols: Sequence[str]) -> float:
        """Mean R² over some phenotypes; NaN where one was not measured."""
        known = self.r2.get(group, {})
        return sum(known.get(symbol, math.nan) for symbol in symbols) / len(symbols)


def key_of(cohort_digest: str, recipe: Recipe) -> str:
    """SHA-256 of the cohort and every number of the recipe but its name and version."""
    numbers = {key: value for key, value in stated(recipe).items() if key not in ("name", "version")}
    return hashlib.sha256(f"{cohort_digest}\n{json.dumps(numbers, sort_keys=True)}".encode()).hexdigest()


def figures(rows: Iterable[Performance], what: str) -> dict[str, dict[str, float]]:
    """One figure of every phenotype in the groups that are kept."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.group in GROUPS:
            found.setdefault(row.group, {})[row.symbol] = float(getattr(row, what))
    return found


def read_trials(path: Path) -> list[Trial]:
    """Those of a file; none where there is no file."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return [Trial(**json.loads(line)) for line in lines]


def write_trials(path: Path, trials: Iterable[Trial]) -> None:
    """All of them, the file whole or as it was before."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text("".join(json.dumps(asdict(trial)) + "\n" for trial in trials))
    os.replace(unfinished, path)
