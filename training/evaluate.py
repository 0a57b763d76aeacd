"""Evaluate: errors beside those of predicting the mean, retrieval, AUROC."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from models.bundle import Discrimination, Performance, Retrieval
from models.intervals import Propagation, values
from models.phenotypes import PHENOTYPES, PREDICTED
from training.bootstrap import Resampling, span

Floats = NDArray[np.float64]

LOW_EF = (40.0, 45.0, 50.0)
"""LVEF in %: reduced, EchoNext's, and mildly reduced or reduced (Bozkurt et al., Eur J Heart Fail 2021;23:352)."""

NO_CEILINGS: Mapping[tuple[str, str], float] = MappingProxyType({})

RANKS = (1, 5, 10)


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """What the network says of some participants, beside what was measured.

    Attributes
    ----------
    mean, sd : (n, phenotypes) of the natural logarithms
    heart_rate : (n,) beats per minute, as the cohort states it; NaN where it does not
    truth : (n, 12) measured phenotypes, in the order of the catalogue
    """

    mean: Floats
    sd: Floats
    heart_rate: Floats
    truth: Floats

    def measured(self, symbol: str) -> Floats:
        """One measured phenotype, (n,)."""
        return self.truth[:, list(PHENOTYPES).index(symbol)]

    def points(self) -> dict[str, Floats]:
        """The values that would be shown, symbol -> (n,); cardiac output is NaN without a heart rate."""
        shown = [values(PREDICTED, mean, rate) for mean, _, rate in self]
        return {symbol: np.array([float(one.get(symbol, np.nan)) for one in shown]) for symbol in PHENOTYPES}

    def intervals(self, propagation: Propagation) -> dict[str, Floats]:
        """The intervals that would be shown, symbol -> (n, 2)."""
        shown = [propagation.intervals(*one) for one in self]
        return {symbol: np.array([one.get(symbol, (np.nan, np.nan)) for one in shown]) for symbol in PHENOTYPES}

    def __iter__(self) -> Iterator[tuple[Floats, Floats, float | None]]:
        for mean, sd, rate in zip(self.mean, self.sd, self.heart_rate, strict=True):
            yield mean, sd, None if math.isnan(rate) else float(rate)


def performance(group: str, symbol: str, truth: Floats, predicted: Floats, train_mean: float) -> Performance:
    """One phenotype in one group, beside what always saying the train part's mean would score.

    Bias and limits of agreement: mean difference ± 1.96 SD (Bland and Altman, Lancet 1986;1:307).
    """
    known = np.isfinite(truth) & np.isfinite(predicted)
    truth, predicted = truth[known], predicted[known]
    difference = predicted - truth
    bias, spread = float(difference.mean()), 1.96 * float(difference.std(ddof=1))
    return Performance(
        group=group,
        symbol=symbol,
        unit=PHENOTYPES[symbol].unit,
        n=len(truth),
        r2=1.0 - float((difference**2).sum() / ((truth - truth.mean()) ** 2).sum()),
        r=float(np.corrcoef(truth, predicted)[0, 1]),
        mae=float(np.abs(difference).mean()),
        mean_predictor_mae=float(np.abs(truth - train_mean).mean()),
        target_sd=float(truth.std(ddof=1)),
        bias=bias,
        limits_of_agreement=(bias - spread, bias + spread),
    )


def performances(
    test: Predictions,
    groups: Mapping[str, NDArray[np.bool_]],
    train_truth: Floats,
    smallest: int,
    resampling: Resampling | None = None,
    ceilings: Mapping[tuple[str, str], float] = NO_CEILINGS,
) -> list[Performance]:
    """Every phenotype in every group of at least `smallest` participants with that measurement.

    Parameters
    ----------
    resampling : of the participants, for the interval of R²; None for none
    ceilings : (group, symbol) -> the best R² that any model could reach
    """
    points, found = test.points(), []
    train_means = dict(zip(PHENOTYPES, np.nanmean(train_truth, axis=0), strict=True))
    for group, rows in groups.items():
        for symbol in PHENOTYPES:
            truth, predicted = test.measured(symbol), points[symbol]
            known = rows & np.isfinite(truth) & np.isfinite(predicted)
            if known.sum() < smallest:
                continue
            one = performance(group, symbol, truth[known], predicted[known], float(train_means[symbol]))
            interval = (
                None if resampling is None else _r2_interval(resampling.among(known), truth[known], predicted[known])
            )
            update = {"r2_interval": interval, "ceiling": ceilings.get((group, symbol))}
            found.append(one.model_copy(update=update))
    return found


def _r2_interval(resampling: Resampling, truth: Floats, predicted: Floats) -> tuple[float, float] | None:
    low, high = span(resampling.agreement(truth, predicted)["r2"])
    return (low, high) if math.isfinite(low) else None


def discriminations(test: Predictions, groups: Mapping[str, NDArray[np.bool_]]) -> list[Discrimination]:
    """How well the estimated LVEF ranks reduced function, wherever a group holds both kinds."""
    truth, estimated = test.measured("LVEF"), test.points()["LVEF"]
    found = []
    for group, rows in groups.items():
        known = rows & np.isfinite(truth) & np.isfinite(estimated)
        for limit in LOW_EF:
            low = truth[known] <= limit
            if 0 < low.sum() < len(low):
                auroc = float(roc_auc_score(low, -estimated[known]))
                condition = f"LVEF <= {limit:g} %"
                found.append(
                    Discrimination(group=group, condition=condition, n=len(low), positives=int(low.sum()), auroc=auroc)
                )
    return found


def retrievals(projections: Mapping[str, NDArray[np.float32]], pairs: Sequence[tuple[str, str]]) -> list[Retrieval]:
    """How often each side of each pair finds its partner, both ways, chance beside it.

    Parameters
    ----------
    projections : modality -> (n, d) unit vectors, row i of each from one heart
    """
    return [
        retrieval(query, gallery, projections[query] @ projections[gallery].T)
        for first, second in pairs
        for query, gallery in ((first, second), (second, first))
    ]


def retrieval(query: str, gallery: str, similarity: NDArray[np.float32]) -> Retrieval:
    """From similarities (queries, gallery), whose diagonal holds the partners; a tie counts against the model."""
    own = np.diag(similarity)[:, None]
    ahead = (similarity >= own).sum(axis=1) - 1
    n = len(similarity)
    return Retrieval(
        query=query,
        gallery=gallery,
        n=n,
        recall={str(k): float((ahead < k).mean()) for k in RANKS},
        chance={str(k): min(k / n, 1.0) for k in RANKS},
    )


if __name__ == "__main__":
    import typer

    from training.evaluation_commands import evaluate

    typer.run(evaluate)
