"""Every figure against an independent one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from models.phenotypes import PHENOTYPES, PREDICTED, derive
from training.config import Calibration
from training.evaluate import (
    Predictions,
    calibrated,
    coverage,
    discriminations,
    performance,
    retrieval,
    stretch_factor,
    whitening,
)

SPREAD = 0.15


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def participants(rng, n, *, claimed=SPREAD):
    """Log-normal truth about honest means; the network claims an SD that may be wrong."""
    centre = np.log([150.0, 60.0, 100.0, 6.0, 160.0, 70.0, 60.0])
    mean = centre + 0.2 * rng.standard_normal((n, 7))
    truth = np.exp(mean + SPREAD * rng.standard_normal((n, 7)))
    rate = rng.uniform(50, 90, n)
    known = dict(zip(PREDICTED, truth.T, strict=True))
    every = known | derive(known, None)
    every["CO"] = every["LVSV"] * rate / 1000
    table = np.stack([every[symbol] for symbol in PHENOTYPES], axis=1)
    return Predictions(mean=mean, sd=np.full((n, 7), claimed), heart_rate=rate, truth=table)


def test_performance_agrees_with_scikit_learn(rng):
    truth = rng.normal(100, 20, 300)
    predicted = truth + rng.normal(2, 10, 300)
    found = performance("all", "LVM", truth, predicted, train_mean=90.0)
    assert found.r2 == pytest.approx(r2_score(truth, predicted))
    assert found.mae == pytest.approx(mean_absolute_error(truth, predicted))
    assert found.mean_predictor_mae == pytest.approx(mean_absolute_error(truth, np.full(300, 90.0)))
    assert found.r == pytest.approx(np.corrcoef(truth, predicted)[0, 1])
    low, high = found.limits_of_agreement
    inside = (predicted - truth > low) & (predicted - truth < high)
    assert inside.mean() == pytest.approx(0.95, abs=0.03)
    assert found.bias == pytest.approx((low + high) / 2)


def test_participants_without_a_measurement_are_left_out(rng):
    truth, predicted = rng.normal(100, 20, 50), rng.normal(100, 20, 50)
    whole = performance("all", "LVM", truth[:40], predicted[:40], train_mean=90.0)
    truth[40:45], predicted[45:] = np.nan, np.nan
    assert performance("all", "LVM", truth, predicted, train_mean=90.0) == whole


def test_shown_points_contradict_neither_each_other_nor_the_heart_rate(rng):
    people = participants(rng, 20)
    points = people.points()
    np.testing.assert_array_equal(points["LVSV"], points["LVEDV"] - points["LVESV"])
    np.testing.assert_allclose(points["CO"], points["LVSV"] * people.heart_rate / 1000)


@pytest.mark.parametrize("claimed", [SPREAD / 2, SPREAD, 2 * SPREAD])
def test_calibration_repairs_a_network_that_is_too_sure_or_too_shy(rng, claimed):
    calibration, test = participants(rng, 800, claimed=claimed), participants(rng, 800, claimed=claimed)
    found = calibrated(calibration, test, Calibration(level=0.9, draws=512))
    for symbol, share in found.coverage.items():
        # Two binomial errors of 800 at 90 %: SD 1.5 %; 4 SD.
        assert share == pytest.approx(0.9, abs=0.06), symbol
    assert found.stretch["LVM"] == pytest.approx(SPREAD / claimed, rel=0.3)
    np.testing.assert_allclose(found.correlation, np.eye(7), atol=0.15)


def test_the_stretch_factor_is_the_conformal_quantile_of_the_scores():
    points, bounds = np.zeros(9), np.tile([-1.0, 2.0], (9, 1))
    truth = np.array([-0.1, -0.2, -0.3, -0.4, -0.5, 1.2, 1.4, 1.6, 1.8])  # scores .1 … .9
    assert stretch_factor(truth, points, bounds, level=0.5) == pytest.approx(0.5)
    assert stretch_factor(truth, points, bounds, level=0.9) == pytest.approx(0.9)
    assert stretch_factor(truth, points, bounds, level=0.99) == pytest.approx(0.9)  # the largest there is


def test_coverage_counts_what_lies_inside():
    bounds = np.array([[0.0, 1.0], [0.0, 1.0], [2.0, 3.0], [0.0, 1.0]])
    assert coverage(np.array([0.5, 1.5, 2.5, np.nan]), bounds) == pytest.approx(2 / 3)


def test_retrieval_equals_a_loop(rng):
    similarity = rng.normal(size=(30, 30)) + 1.5 * np.eye(30)
    found = retrieval("ecg", "ed", similarity)
    for k in (1, 5, 10):
        hits = sum(row in np.argsort(-similarity[row])[:k] for row in range(30))
        assert found.recall[str(k)] == pytest.approx(hits / 30)
        assert found.chance[str(k)] == pytest.approx(k / 30)


def test_a_collapsed_embedding_retrieves_nothing():
    assert retrieval("ecg", "ed", np.ones((20, 20))).recall["10"] == 0.0


def test_auroc_is_one_for_perfect_ranks_and_absent_without_both_kinds(rng):
    people = participants(rng, 200)
    perfect = Predictions(
        mean=np.log(np.stack([people.measured(s) for s in PREDICTED], axis=1)),
        sd=people.sd,
        heart_rate=people.heart_rate,
        truth=people.truth,
    )
    healthy = people.measured("LVEF") > 60
    found = discriminations(perfect, {"all": np.ones(200, bool), "healthy": healthy})
    assert [(d.group, d.condition) for d in found] == [("all", f"LVEF <= {limit} %") for limit in (40, 45, 50)]
    assert [d.auroc for d in found] == [1.0, 1.0, 1.0]


def test_whitened_embeddings_have_unit_covariance_and_mahalanobis_length(rng):
    mixing = rng.normal(size=(5, 5))
    embeddings = rng.normal(size=(20_000, 5)) @ mixing + 3.0
    centre, white = whitening(embeddings)
    np.testing.assert_allclose(np.cov((embeddings - centre) @ white, rowvar=False), np.eye(5), atol=0.05)
    one = embeddings[0] - embeddings.mean(0)
    mahalanobis = one @ np.linalg.inv(np.cov(embeddings, rowvar=False)) @ one
    assert ((one @ white) ** 2).sum() == pytest.approx(mahalanobis, rel=0.05)
