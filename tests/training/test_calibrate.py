"""Intervals cover what they claim, and where they do not, it is said."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.people import SPREAD, participants
from training.calibrate import calibrated, coverage, out_of_distribution, stretch_factor, whitening
from training.config import Calibration


@pytest.fixture
def rng():
    return np.random.default_rng(0)


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


def test_whitened_embeddings_have_unit_covariance_and_mahalanobis_length(rng):
    mixing = rng.normal(size=(5, 5))
    embeddings = rng.normal(size=(20_000, 5)) @ mixing + 3.0
    centre, white = whitening(embeddings)
    np.testing.assert_allclose(np.cov((embeddings - centre) @ white, rowvar=False), np.eye(5), atol=0.05)
    one = embeddings[0] - embeddings.mean(0)
    mahalanobis = one @ np.linalg.inv(np.cov(embeddings, rowvar=False)) @ one
    assert ((one @ white) ** 2).sum() == pytest.approx(mahalanobis, rel=0.05)


def test_coverage_within_a_group_is_that_of_its_members_alone(rng):
    calibration, test = participants(rng, 400), participants(rng, 400)
    half = np.arange(400) < 200
    found = calibrated(calibration, test, Calibration(draws=256), {"first": half, "second": ~half, "few": half & ~half})
    assert {row.group for row in found.subgroups} == {"first", "second"}
    for symbol, share in found.coverage.items():
        rows = [row for row in found.subgroups if row.symbol == symbol]
        assert sum(row.n * row.coverage for row in rows) == pytest.approx(400 * share)


def test_the_worst_group_is_the_one_whose_hearts_surprise_most(rng):
    calibration, test = participants(rng, 400), participants(rng, 400)
    surprising = np.arange(400) < 50
    test.truth[surprising] *= 1.5
    groups = {"surprising": surprising, "ordinary": ~surprising}
    worst = min(calibrated(calibration, test, Calibration(draws=256), groups).subgroups, key=lambda row: row.coverage)
    assert worst.group == "surprising"
    assert worst.coverage < 0.5


def test_a_share_of_the_calibration_split_is_flagged(rng):
    scores = rng.gamma(5, size=1000)
    found = out_of_distribution(scores, Calibration(ood_quantile=0.95))
    assert (scores >= found.threshold).mean() == pytest.approx(0.05, abs=0.002)
    assert found.quantiles["0.5"] == pytest.approx(np.median(scores))
