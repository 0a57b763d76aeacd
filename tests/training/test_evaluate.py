"""Every figure against an independent one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from models.phenotypes import PREDICTED
from tests.training.people import participants
from training.evaluate import Predictions, discriminations, performance, retrieval


@pytest.fixture
def rng():
    return np.random.default_rng(0)


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
