"""Ceiling: the best R² that any model could reach on a simulated cohort, because ECGs and labels of one heart vary.

Let y be a label of a heart h, x and x' two ECGs of it with new electrodes, rhythm and noise, independent given h, and
f(x) = E[y | x] the best prediction. Then R² = Var f / Var y. As Cov(f(x), y) = Var f = Cov(E[f | h], E[y | h]), the
Cauchy-Schwarz inequality gives (Var f)² ≤ Var E[f | h] · Var E[y | h], and so, with E[y | h] of a variance not above
Var y,

    R² ≤ Var E[f | h] / Var f,

which is the intraclass correlation of the predictions over the re-draws: what does not come back the next day cannot be
known of the heart. Here f are boosted trees on the features of an ECG: an estimate for models that see what features
see, no proof for others; one that averages over the beats of a recording better may pass it. The label itself has a
ceiling too: the R² of the label map against the parametric heart.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold

from models.phenotypes import PHENOTYPES
from training.cohort import Cohort, CohortError, load
from training.generate import seed_of, setting_of
from training.manifest import read_manifest
from training.processes import pool
from training.realism.features import features
from training.realism.median_beat import NoMedianBeat
from training.realism.survey import analytic
from training.simulate import Again, heart_of, record_ecg
from training.simulate.setting import Setting

Array = NDArray[np.float64]

FILE = "ceiling.json"
_FOLDS = 4
_SMALLEST_GROUP = 20


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """What bounds the R² of one phenotype in one group.

    Attributes
    ----------
    hearts, draws : how many, and how many ECGs of each
    r2 : of boosted trees on the features of one ECG, hearts held out
    r2_of_mean : of their mean over the draws
    reliability : intraclass correlation of the predictions over the draws
    label : R² of the label against the parametric heart
    """

    group: str
    symbol: str
    hearts: int
    draws: int
    r2: float
    r2_of_mean: float
    reliability: float
    label: float

    @property
    def ceiling(self) -> float:
        """The smaller of both bounds."""
        return min(self.reliability, self.label)


def reliability(predictions: Array) -> float:
    """Intraclass correlation of (hearts, draws): one-way random effects (Shrout and Fleiss, Psychol Bull 1979;86:420).

    ICC(1, 1) = (B - W) / (B + (k - 1) W) with mean squares between and within hearts; at least 0.
    """
    draws = predictions.shape[1]
    between = draws * predictions.mean(axis=1).var(ddof=1)
    within = predictions.var(axis=1, ddof=1).mean()
    return float(max((between - within) / (between + (draws - 1) * within), 0.0))


def write_ceiling(folder: Path, hearts: int, draws: int, processes: int, progress: Progress) -> list[Ceiling]:
    """Measure the ceiling on the first hearts of a simulated cohort and write it into its folder.

    Raises
    ------
    CohortError
        If the folder holds fewer than forty simulated participants whose ECGs can be measured.
    """
    cohort, setting = _people(folder, hearts), setting_of(folder)
    task = progress.add_task("draw ECGs again", total=len(cohort), note="")
    measured: list[list[list[float]] | None] = []
    with pool(processes) as workers:
        for one in workers.map(partial(_drawn, draws=draws, setting=setting), cohort.ids.tolist(), chunksize=5):
            measured.append(one)
            progress.advance(task)
    known = np.array([one is not None for one in measured])
    if known.sum() < 40:
        raise CohortError(f"{folder} holds {int(known.sum())} hearts that can be drawn again; a ceiling needs 40")
    table = np.array([one for one in measured if one is not None])
    ceilings = _ceilings(cohort, setting, np.flatnonzero(known), table)
    text = json.dumps([asdict(one) | {"ceiling": one.ceiling} for one in ceilings], indent=1)
    (folder / FILE).write_text(text)
    return ceilings


def read_ceilings(folder: Path) -> list[Ceiling]:
    """The ceilings of the cohort in this folder; empty where none were measured."""
    path = folder / FILE
    rows = json.loads(path.read_text()) if path.is_file() else []
    return [Ceiling(**{name: value for name, value in row.items() if name != "ceiling"}) for row in rows]


def read_ceiling(folder: Path) -> dict[tuple[str, str], float]:
    """(group, symbol) -> ceiling of the cohort in this folder; empty where none was measured."""
    return {(one.group, one.symbol): one.ceiling for one in read_ceilings(folder)}


def _people(folder: Path, hearts: int) -> Cohort:
    """The shards that hold the first hearts; a ceiling needs no more, and memory stays flat."""
    shards = read_manifest(folder).shards
    before = accumulate((shard.entries for shard in shards), initial=0)
    return load(folder, shards=[shard for shard, held in zip(shards, before, strict=False) if held < hearts])


def _drawn(participant: str, draws: int, setting: Setting) -> list[list[float]] | None:
    """Features of new ECGs of one heart, (draws, features); None if one of them cannot be measured."""
    heart = heart_of(seed_of(participant), setting)
    try:
        rows = [features(record_ecg(heart, Again.another_day(day))) for day in range(draws)]
    except NoMedianBeat:
        return None
    return [list(row.values()) for row in rows]


def _ceilings(cohort: Cohort, setting: Setting, who: NDArray[np.intp], table: Array) -> list[Ceiling]:
    groups = {"all": np.ones(len(who), bool), "normal": cohort.groups[who] == "normal"}
    truth = np.array([analytic(str(cohort.ids[n]), float(cohort.heart_rate[n]), setting) for n in who])
    found = []
    for column, symbol in enumerate(PHENOTYPES):
        label = cohort.phenotypes[who, column]
        predicted = _predicted(table, label)
        for group, inside in groups.items():
            if inside.sum() >= _SMALLEST_GROUP:
                found.append(_ceiling(group, symbol, label[inside], predicted[inside], truth[inside, column]))
    return found


def _ceiling(group: str, symbol: str, label: Array, predicted: Array, truth: Array) -> Ceiling:
    return Ceiling(
        group=group,
        symbol=symbol,
        hearts=len(label),
        draws=predicted.shape[1],
        r2=_r2(label[:, None], predicted),
        r2_of_mean=_r2(label, predicted.mean(axis=1)),
        reliability=reliability(predicted),
        label=_r2(label, truth),
    )


def _r2(truth: Array, predicted: Array) -> float:
    spread = np.broadcast_to((truth - truth.mean()) ** 2, predicted.shape)
    return float(1 - ((truth - predicted) ** 2).sum() / spread.sum())


def _predicted(table: Array, label: Array) -> Array:
    """(hearts, draws) predictions by trees that saw the first draw of other hearts alone."""
    predicted = np.zeros(table.shape[:2])
    for train, held in KFold(_FOLDS, shuffle=True, random_state=0).split(label):
        trees = HistGradientBoostingRegressor(
            max_iter=150, learning_rate=0.05, max_leaf_nodes=12, min_samples_leaf=10, random_state=0
        ).fit(table[train, 0], label[train])
        predicted[held] = trees.predict(table[held].reshape(-1, table.shape[2])).reshape(len(held), -1)
    return predicted
