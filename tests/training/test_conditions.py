"""A probability means what it says, on people who did not calibrate it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from models.conditions import CONDITIONS, HEAVY
from models.phenotypes import PHENOTYPES
from tests.training.people import participants
from training.conditions import condition_models, platt, recalibration, scored

SEX = np.where(np.arange(3000) % 2 == 0, "F", "M")
INDEPENDENT = np.eye(7)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_platt_finds_the_logistic_curve_that_made_the_outcomes(rng):
    score = rng.normal(size=20_000)
    slope, intercept = platt(score, rng.random(20_000) < expit(1.7 * score - 0.6))
    assert (slope, intercept) == (pytest.approx(1.7, abs=0.1), pytest.approx(-0.6, abs=0.07))


def test_platt_stays_finite_where_the_kinds_are_apart():
    score = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    slope, intercept = platt(score, score > 0)
    assert 0 < slope < 5
    assert intercept == pytest.approx(0.0, abs=1e-3)


def test_recalibration_of_honest_probabilities_is_one_and_zero_and_of_boastful_ones_is_not(rng):
    logit = rng.normal(size=20_000)
    happened = rng.random(20_000) < expit(logit)
    assert recalibration(expit(logit), happened) == (pytest.approx(1.0, abs=0.07), pytest.approx(0.0, abs=0.05))
    slope, _ = recalibration(expit(3 * logit), happened)
    assert slope == pytest.approx(1 / 3, abs=0.03)


def test_an_honest_network_needs_the_probit_as_it_is(rng):
    people = participants(rng, 3000)
    found = scored(CONDITIONS["lvef-50"], people, SEX, INDEPENDENT)
    expected = norm.cdf(found.score)
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
        inside = (expected >= low) & (expected <= high)
        error = 4 * np.sqrt(0.25 / inside.sum())
        assert found.happened[inside].mean() == pytest.approx(expected[inside].mean(), abs=error)


@pytest.mark.parametrize("claimed", [0.08, 0.15, 0.3])
def test_calibrated_probabilities_hold_on_people_who_did_not_calibrate_them(rng, claimed):
    calibration, test = participants(rng, 3000, claimed=claimed), participants(rng, 3000, claimed=claimed)
    models = condition_models(calibration, test, (SEX, SEX), INDEPENDENT)
    assert {"lvef-50", "lvh"} <= {model.code for model in models}
    for model in models:
        assert model.prevalence == model.positives / model.n
        if model.positives > 200:
            assert model.calibration_slope == pytest.approx(1.0, abs=0.3), model.code
            assert model.calibration_intercept == pytest.approx(0.0, abs=0.4), model.code
            assert model.brier < model.prevalence * (1 - model.prevalence)


def test_the_figures_are_those_of_the_test_split(rng):
    calibration, test = participants(rng, 1000), participants(rng, 1000)
    sexes = SEX[:1000], SEX[:1000]
    model = next(m for m in condition_models(calibration, test, sexes, INDEPENDENT) if m.code == "lvh")
    heavy = test.measured("LVM") >= np.where(sexes[1] == "F", HEAVY["F"], HEAVY["M"])
    assert (model.n, model.positives) == (1000, int(heavy.sum()))
    low_by = (test.mean[:, 2] - np.log(np.where(sexes[1] == "F", HEAVY["F"], HEAVY["M"]))) / test.sd[:, 2]
    assert model.auroc == pytest.approx(roc_auc_score(heavy, low_by))


def test_who_has_no_measurement_or_no_sex_where_it_matters_is_left_out(rng):
    people = participants(rng, 50)
    truth = people.truth.copy()
    truth[:10, list(PHENOTYPES).index("LVM")] = np.nan
    sex = np.where(np.arange(50) < 20, "", "F")
    assert list(scored(CONDITIONS["lvh"], replace(people, truth=truth), sex, INDEPENDENT).rows) == list(range(20, 50))
    assert len(scored(CONDITIONS["lvef-40"], replace(people, truth=truth), sex, INDEPENDENT).rows) == 50


def test_a_condition_that_is_too_rare_is_not_offered(rng):
    people = participants(rng, 60)
    healthy = replace(people, truth=people.truth.copy())
    healthy.truth[:, list(PHENOTYPES).index("LVESV")] = 0.3 * healthy.measured("LVEDV")
    codes = {model.code for model in condition_models(people, healthy, (SEX[:60], SEX[:60]), INDEPENDENT)}
    assert not codes & {"lvef-40", "lvef-50"}
