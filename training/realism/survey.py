"""Survey: of a cohort on disk, who everybody is, and what an electrocardiograph measures on some; shard by shard."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from models.phenotypes import PHENOTYPES, derive
from training.cohort import load
from training.generate import seed_of, setting_of
from training.manifest import Shard
from training.processes import pool
from training.realism.features import features
from training.realism.median_beat import NoMedianBeat
from training.simulate import heart_of, true_phenotypes
from training.simulate.heart import stream
from training.simulate.population import sample_subject
from training.simulate.setting import Setting

Array = NDArray[np.float64]
Row = dict[str, float]

NORMALS, OTHERS = 3000, 3000
"""ECGs that are measured at most: enough for a share of 5 % to be known to 0.8 % (2 SD, binomial)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Survey:
    """Columns over all participants, and features of those that were measured.

    Attributes
    ----------
    phenotypes : (n, 12) in the order of the catalogue
    measured : (m,) indices of the participants whose ECG was measured
    features : m rows of `features`
    analytic : (m, 12) phenotypes of the parametric heart
    unreadable : ECGs in which no beat repeats
    redrawn : impossible hearts that were drawn and thrown away while the cohort was made
    """

    groups: NDArray[np.str_]
    sex: NDArray[np.str_]
    age: Array
    rhythms: NDArray[np.str_]
    phenotypes: Array
    measured: NDArray[np.intp]
    features: list[Row]
    analytic: Array
    unreadable: int
    redrawn: int

    def phenotype(self, symbol: str) -> Array:
        """One phenotype of everybody, (n,)."""
        return self.phenotypes[:, list(PHENOTYPES).index(symbol)]

    def feature(self, name: str) -> Array:
        """One feature of those that were measured, (m,)."""
        return np.array([row[name] for row in self.features])

    def truth(self, symbol: str) -> Array:
        """One analytic phenotype of those that were measured, (m,)."""
        return self.analytic[:, list(PHENOTYPES).index(symbol)]

    @property
    def normal(self) -> NDArray[np.bool_]:
        """Which of those that were measured are normal and in sinus rhythm, (m,)."""
        who = self.measured
        return np.asarray((self.groups[who] == "normal") & (self.rhythms[who] == "sinus"))


def survey(folder: Path, processes: int, progress: Progress) -> Survey:
    """Read everybody, and measure the first normals and the first others in parallel; memory holds no image.

    Raises
    ------
    CohortError
        If the folder holds no simulated cohort.
    """
    setting, cohort = setting_of(folder), load(folder)
    chosen = _chosen(cohort.groups)
    starts = np.cumsum([0, *(shard.entries for shard in cohort.shards)])
    parts = [chosen[(chosen >= a) & (chosen < b)] - a for a, b in pairwise(starts)]
    task = progress.add_task("measure ECGs", total=len(chosen), note="")
    rows: list[tuple[int, Row, Array]] = []
    jobs = [(folder, shard, part, setting) for shard, part in zip(cohort.shards, parts, strict=True)]
    with pool(processes) as workers:
        for start, part, found in zip(starts, parts, workers.map(_measured, *zip(*jobs, strict=True)), strict=False):
            rows += [(int(start) + index, row, truth) for index, row, truth in found]
            progress.advance(task, len(part))
    return Survey(
        groups=cohort.groups,
        sex=cohort.sex,
        age=cohort.age,
        rhythms=cohort.rhythms,
        phenotypes=cohort.phenotypes,
        measured=np.array([index for index, _, _ in rows], np.intp),
        features=[row for _, row, _ in rows],
        analytic=np.array([truth for _, _, truth in rows]).reshape(-1, len(PHENOTYPES)),
        unreadable=len(chosen) - len(rows),
        redrawn=sum(_redrawn(participant, setting) for participant in cohort.ids),
    )


def _chosen(groups: NDArray[np.str_]) -> NDArray[np.intp]:
    normal = np.flatnonzero(groups == "normal")[:NORMALS]
    return np.sort(np.concatenate([normal, np.flatnonzero(groups != "normal")[:OTHERS]]))


def _measured(folder: Path, shard: Shard, indices: NDArray[np.intp], setting: Setting) -> list[tuple[int, Row, Array]]:
    cohort, found = load(folder, shards=[shard]), []
    for index in indices:
        try:
            row = features(cohort.recording(int(index)))
        except NoMedianBeat:
            continue  # counted by the caller: it gets fewer rows than it asked for
        truth = analytic(str(cohort.ids[index]), float(cohort.heart_rate[index]), setting)
        found.append((int(index), row, truth))
    return found


def analytic(participant: str, heart_rate: float, setting: Setting) -> Array:
    """(12,) phenotypes of the parametric heart."""
    heart = heart_of(seed_of(participant), setting)
    known = {name: np.array(value) for name, value in true_phenotypes(heart).items()}
    every = known | derive(known, heart_rate)
    return np.array([float(every[symbol]) for symbol in PHENOTYPES])


def _redrawn(participant: str, setting: Setting) -> int:
    return sample_subject(stream(seed_of(participant), "population"), setting).redrawn
