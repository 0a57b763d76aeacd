"""Measure: a trained network on the people it never saw, as it goes into checkpoint and manifest."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from models.phenotypes import PREDICTED
from training.bootstrap import Resampling
from training.calibrate import calibrated, out_of_distribution, whitening
from training.checkpoint import Evaluation
from training.conditions import condition_models
from training.config import Recipe
from training.dataset import Dataset
from training.evaluate import Predictions, discriminations, performances, retrievals
from training.finetune import Predictor
from training.pretrain import pairs
from training.split import Part
from training.subgroups import SMALLEST, subgroups

Floats = NDArray[np.float64]
Projections = Mapping[str, NDArray[np.float32]]
Ceilings = Mapping[tuple[str, str], float]

NO_CEILINGS: Ceilings = MappingProxyType({})


def measure(
    network: Predictor, data: Dataset, projections: Projections, recipe: Recipe, ceilings: Ceilings = NO_CEILINGS
) -> tuple[Evaluation, Floats, Floats]:
    """Calibrate on the calibration part, measure on the test part.

    Parameters
    ----------
    projections : modality -> unit vectors of the test part from the contrastive stage; empty where there was none
    ceilings : (group, symbol) -> the best R² that any model could reach on this cohort, where it is known

    Returns
    -------
    The evaluation, and centre and whitening of the training embeddings.
    """
    cohort, test_rows, train_rows = data.cohort, data.parts["test"].numpy(), data.labelled.numpy()
    calibration, test = (predictions(network, data, part) for part in ("calibration", "test"))
    groups = subgroups(cohort, test_rows)
    centre, white = _spread(embeddings(network, data, "train"))
    smallest = min(SMALLEST, len(test_rows))
    interval = calibrated(calibration, test, recipe.calibration, groups, smallest)
    sexes = cohort.sex[data.parts["calibration"].numpy()], cohort.sex[test_rows]
    resampling = Resampling.of(cohort.participants[test_rows])
    evaluation = Evaluation(
        trained_range={symbol: _range(cohort.column(symbol)[train_rows]) for symbol in PREDICTED},
        interval=interval,
        ood=out_of_distribution(distances(embeddings(network, data, "calibration"), centre, white), recipe.calibration),
        performance=performances(test, groups, cohort.phenotypes[train_rows], smallest, resampling, ceilings),
        discrimination=discriminations(test, groups),
        conditions=condition_models(calibration, test, sexes, np.array(interval.correlation)),
        retrieval=retrievals(projections, _aligned_pairs(projections, recipe)),
    )
    return evaluation, centre, white


def predictions(network: Predictor, data: Dataset, part: Part) -> Predictions:
    """What the network says of one part, beside what was measured."""
    rows = data.parts[part]
    _, mean, log_sd = network.predict(data.ecg[rows], data.covariates[rows])
    return Predictions(
        mean=(mean * data.log_sd + data.log_mean).numpy().astype(np.float64),
        sd=(log_sd.exp() * data.log_sd).numpy().astype(np.float64),
        heart_rate=data.cohort.heart_rate[rows.numpy()],
        truth=data.cohort.phenotypes[rows.numpy()],
    )


def embeddings(network: Predictor, data: Dataset, part: Part) -> Floats:
    """Embeddings of one part, (n, d)."""
    rows = data.parts[part]
    embedding, _, _ = network.predict(data.ecg[rows], data.covariates[rows])
    return embedding.numpy().astype(np.float64)


def _spread(embedding: Floats) -> tuple[Floats, Floats]:
    """Centre and whitening; empty for the baseline that reads no ECG."""
    return whitening(embedding) if embedding.shape[1] else (np.zeros(0), np.zeros((0, 0)))


def distances(embedding: Floats, centre: Floats, white: Floats) -> Floats:
    """Root mean square of whitened embeddings, (n,): the out-of-distribution score; 0 where there is no embedding."""
    if not embedding.shape[1]:
        return np.zeros(len(embedding))
    scores: Floats = np.sqrt((((embedding - centre) @ white) ** 2).mean(axis=1))
    return scores


def _aligned_pairs(projections: Projections, recipe: Recipe) -> list[tuple[str, str]]:
    return [(pair.first, pair.second) for pair in pairs(recipe.contrast)] if projections else []


def _range(measured: Floats) -> tuple[float, float]:
    return float(np.nanmin(measured)), float(np.nanmax(measured))
