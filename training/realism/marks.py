"""Marks: the manual delineation of LUDB, 58,000 waves by cardiologists, and how far a delineation is from it.

A mark counts as found within 150 ms, as ANSI/AAMI EC57 counts beats and Martinez et al. (IEEE Trans Biomed Eng
2004;51:570) fiducials. The first and last beats of a record bear no marks: what is found there is neither right nor
wrong. Marks of onset or offset that belong to another beat (86 of them, in three records) are left out.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int64]

WAVES = ("P", "QRS", "T")
POINTS = ("onset", "peak", "offset")
LUDB_LEADS = ("i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6")
RATE = 500

TOLERANCE = 0.150
"""Seconds."""

_UNKNOWN = -1
_LONGEST_HALF = 0.30  # s from the peak of a wave to its ends; what is farther belongs to another beat

Marked = Mapping[str, list[Samples]]
"""Wave -> for each lead, (waves, 3) samples of onset, peak, offset; -1 where there is none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Score:
    """How one kind of mark was found.

    Attributes
    ----------
    errors : ndarray, (found,)
        Found less marked, milliseconds.
    missed, false : int
        Marks without a finding, and findings without a mark.
    """

    errors: NDArray[np.float64]
    missed: int
    false: int

    @property
    def sensitivity(self) -> float:
        """Share of the marks that were found."""
        return len(self.errors) / max(len(self.errors) + self.missed, 1)

    @property
    def predictivity(self) -> float:
        """Share of the findings that were marked."""
        return len(self.errors) / max(len(self.errors) + self.false, 1)

    @property
    def mean_absolute_error(self) -> float:
        """Milliseconds."""
        return float(np.abs(self.errors).mean()) if len(self.errors) else float("nan")


def ludb_marks(folder: Path) -> list[Marked]:
    """The marks of each record in the order of its table."""
    waves: dict[tuple[str, str, str], list[tuple[int, int, int]]] = defaultdict(list)
    with gzip.open(folder / "waves.csv.gz", "rt") as table:
        for row in csv.DictReader(table):
            waves[row["record"], row["wave"], row["lead"]].append(_points(row))
    with (folder / "records.csv").open() as table:
        names = [row["record"] for row in csv.DictReader(table)]
    return [
        {wave: [np.array(waves[name, wave, lead], np.int64).reshape(-1, 3) for lead in LUDB_LEADS] for wave in WAVES}
        for name in names
    ]


def _points(row: Mapping[str, str]) -> tuple[int, int, int]:
    onset, peak, offset = (int(row[point] or _UNKNOWN) for point in POINTS)
    longest = _LONGEST_HALF * RATE
    return (
        onset if 0 <= peak - onset <= longest else _UNKNOWN,
        peak,
        offset if 0 <= offset - peak <= longest else _UNKNOWN,
    )


def consensus(marked: Marked) -> Marked:
    """One mark for all leads, the median of those that share a wave, if at least half of the leads do."""
    together = {}
    for wave in WAVES:
        marks = np.concatenate(marked[wave]).astype(np.float64)
        marks[marks < 0] = np.nan
        middle = np.nanmedian(marks[:, [0, 2, 1]], axis=1) if len(marks) else np.zeros(0)
        order = middle.argsort()
        groups = np.split(marks[order], np.flatnonzero(np.diff(middle[order]) > TOLERANCE * RATE / 2) + 1)
        shared = [np.nanmedian(group, axis=0) for group in groups if len(group) >= len(LUDB_LEADS) / 2]
        together[wave] = [np.array(shared, np.int64).reshape(-1, len(POINTS))]
    return together


def scores(pairs: Iterable[tuple[Marked, Marked]]) -> dict[tuple[str, str], Score]:
    """Compare (marked, found) of many records, lead by lead, for each wave and point."""
    errors: dict[tuple[str, str], list[NDArray[np.int64]]] = defaultdict(list)
    missed: dict[tuple[str, str], int] = defaultdict(int)
    false: dict[tuple[str, str], int] = defaultdict(int)
    for marked, found in pairs:
        for lead in range(len(marked["QRS"])):
            stretch = _annotated([marked[wave][lead] for wave in WAVES])
            for wave in WAVES:
                for column, point in enumerate(POINTS):
                    near, lost, extra = _matched(marked[wave][lead], found[wave][lead], column, stretch)
                    errors[wave, point].append(near)
                    missed[wave, point] += lost
                    false[wave, point] += extra
    return {
        key: Score(errors=np.concatenate(near) * 1000 / RATE, missed=missed[key], false=false[key])
        for key, near in errors.items()
    }


def _annotated(waves: list[Samples]) -> tuple[int, int]:
    """First and last sample that a cardiologist looked at."""
    whole = np.concatenate(waves).ravel()
    known = whole[whole >= 0]
    return (int(known.min()), int(known.max())) if len(known) else (0, -1)


def _matched(marked: Samples, found: Samples, column: int, stretch: tuple[int, int]) -> tuple[Samples, int, int]:
    """Errors in samples, marks that nothing is near to, findings within the stretch that are near to no mark."""
    there = found[found[:, column] >= 0]
    marks, points = marked[marked[:, column] >= 0][:, column], there[:, column]
    if not len(marks) or not len(points):
        inside = (points >= stretch[0]) & (points <= stretch[1])
        return np.zeros(0, np.int64), len(marks), int(inside.sum())
    distance = points[None] - marks[:, None]
    nearest = np.abs(distance).argmin(axis=1)
    error = distance[np.arange(len(marks)), nearest]
    near = np.abs(error) <= TOLERANCE * RATE
    free = np.ones(len(points), bool)
    free[nearest[near]] = False
    incomplete = np.abs(there[:, [1]] - marked[(marked < 0).any(axis=1)][:, 1]) <= TOLERANCE * RATE
    inside = (there[:, 1] >= stretch[0]) & (there[:, 1] <= stretch[1]) & ~incomplete.any(axis=1)
    return error[near], int((~near).sum()), int((free & inside).sum())
