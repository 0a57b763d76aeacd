"""Intervals against closed forms; shown values that cannot contradict each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from models.intervals import Propagation, correlated_normals, values
from models.phenotypes import PHENOTYPES, PREDICTED

MEAN = np.log([150.0, 60.0, 100.0, 6.0, 160.0, 70.0, 60.0])
SD = np.array([0.15, 0.2, 0.1, 0.1, 0.2, 0.25, 0.3])


def propagation(correlation=None, stretch=1.0, draws=4096, level=0.9):
    correlation = np.eye(7) if correlation is None else correlation
    return Propagation(
        symbols=PREDICTED,
        level=level,
        normals=correlated_normals(correlation, draws, seed=1),
        stretch=dict.fromkeys(PHENOTYPES, stretch),
    )


def between(correlation):
    """Errors of end-diastolic and end-systolic volume of each ventricle correlated, the others independent."""
    matrix = np.eye(7)
    for i, j in ((0, 1), (4, 5)):
        matrix[i, j] = matrix[j, i] = correlation
    return matrix


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_interval_of_a_predicted_phenotype_is_the_log_normal_one(level):
    found = propagation(level=level).intervals(MEAN, SD, heart_rate=60.0)
    z = norm.ppf((1 + level) / 2)
    for i, symbol in enumerate(PREDICTED):
        expected = np.exp(MEAN[i] + SD[i] * np.array([-z, z]))
        # A sampled 5 % quantile of 4096 draws lies within 0.12 SD of the true one (4 standard errors).
        assert np.log(found[symbol]) == pytest.approx(np.log(expected), abs=0.12 * SD[i])


def test_the_interval_of_lvef_is_that_of_the_ratio():
    """EF = 1 − exp(a), a normal with variance s1² + s2² − 2 r s1 s2."""
    for r in (-0.5, 0.0, 0.9):
        low, high = propagation(between(r)).intervals(MEAN, SD, heart_rate=None)["LVEF"]
        spread = np.sqrt(SD[0] ** 2 + SD[1] ** 2 - 2 * r * SD[0] * SD[1])
        log_ratio = MEAN[1] - MEAN[0] + 1.645 * spread * np.array([1, -1])
        assert np.log1p(-np.array([low, high]) / 100) == pytest.approx(log_ratio, abs=0.12 * spread)


def test_errors_that_both_volumes_share_leave_the_ejection_fraction_certain():
    shared = between(1 - 1e-9)
    low, high = propagation(shared).intervals(MEAN, np.full(7, 0.2), heart_rate=None)["LVEF"]
    assert (low, high) == pytest.approx((60.0, 60.0), abs=0.01)


def test_truths_drawn_as_stated_are_covered_as_stated():
    rng = np.random.default_rng(7)
    people, spread = 1500, between(0.6)
    one = propagation(spread, draws=1024)
    errors = rng.standard_normal((people, 7)) @ np.linalg.cholesky(spread).T
    bounds = one.intervals(MEAN, SD, heart_rate=70.0)
    truth = values(PREDICTED, MEAN + SD * errors, heart_rate=70.0)
    for symbol, (low, high) in bounds.items():
        covered = np.mean((truth[symbol] >= low) & (truth[symbol] <= high))
        # Binomial SD 0.8 %, sampled quantiles add about 1 %; 4 SD together.
        assert covered == pytest.approx(0.9, abs=0.05), symbol


logs = st.lists(st.floats(-0.7, 0.7), min_size=7, max_size=7).map(np.array)


@given(shift=logs, heart_rate=st.floats(30, 200))
def test_derived_values_follow_exactly_from_the_values_shown(shift, heart_rate):
    points = propagation(draws=2).points(MEAN + shift, heart_rate)
    for side in ("LV", "RV"):
        assert points[f"{side}SV"] == points[f"{side}EDV"] - points[f"{side}ESV"]
        assert points[f"{side}EF"] == 100.0 * (points[f"{side}EDV"] - points[f"{side}ESV"]) / points[f"{side}EDV"]
    assert points["CO"] == points["LVSV"] * heart_rate / 1000.0


@given(shift=logs, spread=st.floats(0.01, 0.6), stretch=st.floats(0.2, 3.0))
def test_an_interval_holds_its_point_and_no_negative_value(shift, spread, stretch):
    one = propagation(stretch=stretch, draws=256)
    points = one.points(MEAN + shift, 70.0)
    for symbol, (low, high) in one.intervals(MEAN + shift, np.full(7, spread), 70.0).items():
        assert low <= max(points[symbol], 0.0)
        assert high >= points[symbol]
        assert low >= 0.0


def test_stretching_moves_each_arm_about_the_point():
    point = propagation().points(MEAN, 70.0)["LVM"]
    low, high = propagation().intervals(MEAN, SD, 70.0)["LVM"]
    wide = propagation(stretch=1.5).intervals(MEAN, SD, 70.0)["LVM"]
    assert wide == pytest.approx((point - 1.5 * (point - low), point + 1.5 * (high - point)))


def test_without_a_heart_rate_there_is_no_cardiac_output():
    assert "CO" not in propagation().intervals(MEAN, SD, heart_rate=None)
    assert set(propagation().intervals(MEAN, SD, heart_rate=60.0)) == set(PHENOTYPES)


def test_draws_are_the_same_each_time_centred_and_correlated_as_asked():
    wanted = between(0.8)
    draws = correlated_normals(wanted, 20_000, seed=3)
    np.testing.assert_array_equal(draws, correlated_normals(wanted, 20_000, seed=3))
    np.testing.assert_allclose(draws.mean(0), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.corrcoef(draws, rowvar=False), wanted, atol=0.05)
