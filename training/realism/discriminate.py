"""Discriminate: can a small classifier tell simulated normals from real ones, and by what?

It sees intervals and the shares of the waves in their complex alone (`features.scale_free`): noise would tell the
electrocardiograph, heart rate the selection of people, and millivolts the scaling of the real files. An area under the
curve of 0.5 would mean that it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from training.realism.features import scale_free

Array = NDArray[np.float64]

_FOLDS = 6
_DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Giveaway:
    """A feature by which simulated ECGs are known.

    Attributes
    ----------
    importance : float
        What the area under the curve loses when the feature is shuffled in held-out ECGs.
    real, simulated : (float, float, float)
        Quartiles and median: 25 %, 50 %, 75 %.
    """

    feature: str
    importance: float
    real: tuple[float, float, float]
    simulated: tuple[float, float, float]

    def __str__(self) -> str:
        (a, b, c), (d, e, f) = self.real, self.simulated
        return f"{self.feature}: real {b:.3g} ({a:.3g} to {c:.3g}), simulated {e:.3g} ({d:.3g} to {f:.3g})"


@dataclass(frozen=True, kw_only=True)
class Discrimination:
    """How well simulated ECGs are told from real ones.

    Attributes
    ----------
    auroc : float
        Cross-validated, each ECG judged by classifiers that never saw it.
    interval : (float, float)
        95 %, by resampling the ECGs of both kinds.
    giveaways : the most important features first
    """

    real: int
    simulated: int
    auroc: float
    interval: tuple[float, float]
    giveaways: tuple[Giveaway, ...]


def discriminate(
    real: Sequence[Mapping[str, float]], simulated: Sequence[Mapping[str, float]], repeats: int = 3, seed: int = 0
) -> Discrimination:
    """Train on some, judge the others; one row of features is one person, so that nobody is on both sides.

    Parameters
    ----------
    repeats : cross-validations, each with other folds, over which scores are averaged.
    """
    rows = [scale_free(row) for row in (*real, *simulated)]
    names = list(rows[0])
    table = np.array([list(row.values()) for row in rows])
    is_real = np.arange(len(table)) < len(real)
    score, importance = np.zeros(len(table)), np.zeros(len(names))
    for repeat in range(repeats):
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed + repeat).split(table, is_real)
        for train, held in folds:
            trees = _classifier(seed + repeat).fit(table[train], is_real[train])
            score[held] += trees.predict_proba(table[held])[:, 1]
            importance += _importance(trees, table[held], is_real[held], seed) / (_FOLDS * repeats)
    return Discrimination(
        real=len(real),
        simulated=len(simulated),
        auroc=float(roc_auc_score(is_real, score)),
        interval=_interval(is_real, score, np.random.default_rng(seed)),
        giveaways=_giveaways(names, table, is_real, importance),
    )


def _classifier(seed: int) -> HistGradientBoostingClassifier:
    """Few and shallow trees: the real ECGs are few."""
    return HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=4, min_samples_leaf=5, max_features=0.3, class_weight="balanced", random_state=seed
    )


def _importance(
    trees: HistGradientBoostingClassifier, held: Array, is_real: NDArray[np.bool_], seed: int, copies: int = 5
) -> Array:
    """What the area under the curve loses when one feature is shuffled among held-out ECGs (Breiman 2001).

    All shuffled copies of all features are judged in one call: a call costs more than a thousand ECGs.
    """
    rng = np.random.default_rng(seed)
    people, features = held.shape
    shuffled = np.repeat(held[None], features * copies, axis=0).reshape(features, copies, people, features)
    for feature in range(features):
        shuffled[feature, :, :, feature] = rng.permuted(shuffled[feature, :, :, feature], axis=1)
    score = trees.predict_proba(shuffled.reshape(-1, features))[:, 1].reshape(features, copies, people)
    whole = roc_auc_score(is_real, trees.predict_proba(held)[:, 1])
    lost = [[whole - roc_auc_score(is_real, one) for one in copies_of] for copies_of in score]
    return np.asarray(np.mean(lost, axis=1))


def _interval(is_real: NDArray[np.bool_], score: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Percentile bootstrap within each kind (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13)."""
    real, simulated = score[is_real], score[~is_real]
    draws = []
    for _ in range(_DRAWS):
        ours = np.sort(rng.choice(simulated, len(simulated)))
        theirs = rng.choice(real, len(real))
        below, upto = np.searchsorted(ours, theirs, "left"), np.searchsorted(ours, theirs, "right")
        draws.append((below + upto).mean() / (2 * len(ours)))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _giveaways(names: list[str], table: Array, is_real: NDArray[np.bool_], importance: Array) -> tuple[Giveaway, ...]:
    def quartiles(column: Array) -> tuple[float, float, float]:
        low, middle, high = np.nanquantile(column, [0.25, 0.5, 0.75])
        return float(low), float(middle), float(high)

    return tuple(
        Giveaway(
            feature=names[column],
            importance=float(importance[column]),
            real=quartiles(table[is_real, column]),
            simulated=quartiles(table[~is_real, column]),
        )
        for column in np.argsort(-importance)
    )
