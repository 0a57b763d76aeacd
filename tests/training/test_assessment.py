"""Intervals, rankings, reliability and neighbours against another library, a loop or a closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score, roc_auc_score

from models.intervals import Propagation
from models.phenotypes import PHENOTYPES, PREDICTED
from tests.training.people import SPREAD, participants
from training.assessment import agreements, rankings, worst_covered
from training.bootstrap import Resampling, span
from training.evaluate import performances
from training.neighbours import neighbours
from training.reliability import reliability, risk_coverage
from training.subgroups import thirds


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture
def honest():
    """Intervals as wide as the errors are."""
    normals = np.random.default_rng(5).standard_normal((400, 7))
    return Propagation(symbols=PREDICTED, level=0.9, normals=normals, stretch=dict.fromkeys(PHENOTYPES, 1.0))


def test_weighted_figures_equal_those_of_the_repeated_people(rng):
    truth = rng.normal(100, 20, 40)
    predicted = truth + rng.normal(3, 10, 40)
    resampling = Resampling.of(np.arange(40), draws=5)
    drawn = resampling.agreement(truth, predicted)
    for n, weights in enumerate(resampling.weights.astype(int)):
        t, p = np.repeat(truth, weights), np.repeat(predicted, weights)
        assert len(t) == 40
        assert drawn["r2"][n] == pytest.approx(r2_score(t, p))
        assert drawn["r"][n] == pytest.approx(np.corrcoef(t, p)[0, 1])
        assert drawn["mae"][n] == pytest.approx(np.abs(t - p).mean())
        assert drawn["bias"][n] == pytest.approx((p - t).mean())


def test_the_weighted_auroc_agrees_with_scikit_learn_ties_included(rng):
    score = rng.integers(0, 8, 60).astype(float)
    positive = rng.random(60) < 0.3 + 0.05 * score
    resampling = Resampling.of(np.arange(60), draws=20)
    expected = [roc_auc_score(positive, score, sample_weight=weights) for weights in resampling.weights]
    np.testing.assert_allclose(resampling.auroc(positive, score), expected)


def test_the_interval_is_that_of_scipy(rng):
    truth = rng.normal(100, 20, 300)
    predicted = truth + rng.normal(0, 12, 300)
    found = span(Resampling.of(np.arange(300), draws=4000).agreement(truth, predicted)["mae"])
    known = stats.bootstrap((np.abs(truth - predicted),), np.mean, n_resamples=4000, method="percentile", rng=rng)
    assert found == pytest.approx(tuple(known.confidence_interval), abs=0.1)


def test_visits_of_one_participant_are_drawn_together():
    resampling = Resampling.of(np.array(["a", "b", "a", "c"]), draws=50)
    np.testing.assert_array_equal(resampling.weights[:, 0], resampling.weights[:, 2])
    people = resampling.weights[:, [0, 1, 3]]
    np.testing.assert_array_equal(people.sum(axis=1), 3)


def test_copies_of_participants_do_not_make_the_interval_narrower(rng):
    errors = np.abs(rng.normal(size=100))
    whole, doubled = Resampling.of(np.arange(100)), Resampling.of(np.tile(np.arange(100), 4))
    low, high = span(whole.mean(errors))
    assert span(doubled.mean(np.tile(errors, 4))) == pytest.approx((low, high))


def test_a_figure_that_no_draw_has_has_no_interval():
    assert np.isnan(span(np.full(10, np.nan))).all()


def test_thirds_hold_everybody_once_except_those_without_a_value():
    age = np.array([*range(30, 90), np.nan])
    masks = np.stack(list(thirds("age", "years", age).values()))
    np.testing.assert_array_equal(masks.sum(axis=0), [1] * 60 + [0])
    assert masks.sum(axis=1) == pytest.approx([20, 20, 20], abs=1)
    assert thirds("age", "years", np.full(4, np.nan)) == {}


def test_agreement_names_the_group_that_is_covered_worst(rng, honest):
    good, bad = participants(rng, 150), participants(rng, 150)
    test = good.__class__(
        mean=np.concatenate((good.mean, bad.mean + 1.5 * SPREAD)),
        sd=np.concatenate((good.sd, bad.sd)),
        heart_rate=np.concatenate((good.heart_rate, bad.heart_rate)),
        truth=np.concatenate((good.truth, bad.truth)),
    )
    groups = {"all": np.ones(300, bool), "good": np.arange(300) < 150, "bad": np.arange(300) >= 150}
    resampling = Resampling.of(np.arange(300), draws=200)
    rows = performances(test, groups, test.truth, 30, resampling, {("all", "LVM"): 0.8})
    found = agreements(rows, test, groups, honest, resampling)
    assert len(found) == 3 * len(PHENOTYPES)
    by = {(one.performance.group, one.performance.symbol): one for one in found}
    assert by["good", "LVM"].coverage == pytest.approx(0.9, abs=0.08)
    assert worst_covered(found).performance.group == "bad"
    assert worst_covered(found).covered == (worst_covered(found).coverage, 150)
    one = by["all", "LVM"]
    assert one.performance.ceiling == 0.8
    assert one.performance.r2_interval == pytest.approx(one.spans["r2"])
    assert one.spans["r2"][0] < one.performance.r2 < one.spans["r2"][1]
    assert one.spans["bias"][0] < one.performance.bias < one.spans["bias"][1]


def test_small_groups_are_not_reported(rng):
    test = participants(rng, 60)
    groups = {"all": np.ones(60, bool), "few": np.arange(60) < 29}
    assert {row.group for row in performances(test, groups, test.truth, 30)} == {"all"}
    assert {row.group for row in rankings(test, groups, Resampling.of(np.arange(60), draws=20))} == {"all"}


def test_rankings_hold_their_area_inside_the_interval(rng):
    test = participants(rng, 300)
    found = rankings(test, {"all": np.ones(300, bool)}, Resampling.of(np.arange(300), draws=300))
    assert [one.condition for one in found] == ["LVEF <= 40 %", "LVEF <= 45 %", "LVEF <= 50 %"]
    for one in found:
        assert one.span[0] < one.auroc < one.span[1]


def test_honest_probabilities_lie_on_the_diagonal_and_beat_the_prevalence(rng):
    probability = rng.uniform(size=1500)
    happened = rng.uniform(size=1500) < probability
    found = reliability("lvef-le-50", probability, happened, Resampling.of(np.arange(1500), draws=100))
    assert found.auroc == pytest.approx(roc_auc_score(happened, probability))
    assert found.span[0] < found.auroc < found.span[1]
    # A bin of 150 at one half: SD 4 %; 3 SD.
    np.testing.assert_allclose(found.observed, found.stated, atol=0.13)
    assert found.brier < found.brier_of_prevalence
    assert found.brier == pytest.approx(((probability - happened) ** 2).mean())


def test_shuffled_probabilities_are_worse_than_the_prevalence(rng):
    probability = rng.uniform(size=500)
    happened = rng.uniform(size=500) < probability
    shuffled = Resampling.of(np.arange(500), draws=100)
    found = reliability("lvef-le-50", rng.permutation(probability), happened, shuffled)
    assert found.span[0] < 0.5 < found.span[1]
    assert found.brier > found.brier_of_prevalence


def test_the_surer_half_is_nearer_where_the_widths_are_honest(rng, honest):
    half = participants(rng, 400)
    scale = np.where(np.arange(400) < 200, 0.3, 1.0)[:, None]
    logs = np.log(np.stack([half.measured(symbol) for symbol in PREDICTED], axis=1))
    test = half.__class__(
        mean=logs + scale * (half.mean - logs), sd=scale * half.sd, heart_rate=half.heart_rate, truth=half.truth
    )
    found = {one.symbol: one for one in risk_coverage(test, honest)}["LVM"]
    error = np.abs(test.points()["LVM"] - test.measured("LVM"))
    assert found.sure < 0.5 * found.unsure
    assert found.curve[-1] == pytest.approx(error.mean())
    assert found.sure == pytest.approx(found.curve[4])


def test_neighbours_equal_a_loop_and_skip_the_own_visits(rng):
    logs = rng.normal(size=(30, 3))
    people, embedding = rng.normal(size=(30, 3)), rng.normal(size=(30, 5))
    who = np.repeat(np.arange(15), 2)
    scaled = (logs - logs.mean(0)) / logs.std(0)
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    distances, everybody = [], []
    for n in range(30):
        others = [m for m in range(30) if who[m] != who[n]]
        alike = {m: np.sqrt(((scaled[n] - scaled[m]) ** 2).mean()) for m in others}
        everybody += alike.values()
        distances += [alike[m] for m in sorted(others, key=lambda m: -(unit[n] @ unit[m]))[:4]]
    found = neighbours(embedding, people, logs, who, nearest=4)
    assert found.embedding == pytest.approx(np.mean(distances))
    assert found.chance == pytest.approx(np.mean(everybody))
    assert found.best < min(found.embedding, found.people, found.chance)


def test_an_embedding_that_is_the_phenotypes_finds_the_best_neighbours(rng):
    angle = rng.uniform(0, 2 * np.pi, 50)
    circle = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    scaled = circle / circle.std(axis=0)
    found = neighbours(scaled, rng.normal(size=(50, 3)), circle, np.arange(50), nearest=1)
    assert found.embedding < 0.3 * found.chance


def test_where_everybody_is_near_or_nothing_is_embedded_nobody_is_a_neighbour(rng):
    logs = rng.normal(size=(30, 3))
    assert neighbours(logs, logs, logs, np.arange(30), nearest=15) is None
    assert neighbours(logs[:, :0], logs, logs, np.arange(30), nearest=3) is None
