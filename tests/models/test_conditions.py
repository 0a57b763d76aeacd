"""Conditions agree with the estimates that they follow from."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from models.bundle import ConditionModel
from models.conditions import CONDITIONS, HEAVY, logistic
from models.ecg.recording import Recording
from models.phenotypes import PREDICTED
from models.reading import Answer, Reader
from tests.models.bundles import SHIPPED

MEAN = np.log([150.0, 75.0, 110.0, 6.5, 160.0, 90.0, 70.0])
SD = np.array([0.1, 0.2, 0.12, 0.1, 0.1, 0.15, 0.2])
CORRELATION = 0.6 * np.ones((7, 7)) + 0.4 * np.eye(7)
PERSON = Recording(signal=np.zeros((12, 5000)), sampling_rate=500.0, age=60.0, sex="F")


def calibrated_for(*codes, slope=1.6, intercept=0.0):
    """The shipped model, as if these conditions had been calibrated for it."""
    figures = {"n": 100, "positives": 20, "prevalence": 0.2, "auroc": 0.9, "brier": 0.1}
    models = [
        ConditionModel(
            code=code, slope=slope, intercept=intercept, calibration_slope=1.0, calibration_intercept=0.0, **figures
        )
        for code in codes
    ]
    return replace(SHIPPED, manifest=SHIPPED.manifest.model_copy(update={"conditions": models}))


def read(bundle, recording=PERSON, ood=0.5, **volumes):
    stated = dict(zip(PREDICTED, np.exp(MEAN), strict=True)) | volumes
    answer = Answer(
        embedding=np.zeros(SHIPPED.manifest.embedding.size, np.float32),
        mean=np.log([stated[symbol] for symbol in PREDICTED]).astype(np.float32),
        sd=SD.astype(np.float32),
        ood=ood,
    )
    return Reader.of(bundle).read(recording, answer, 60.0)


def conditions(*args, **kwargs):
    return {condition.code: condition for condition in read(*args, **kwargs).conditions}


@pytest.mark.parametrize("code", CONDITIONS)
def test_the_closed_form_is_the_share_of_sampled_hearts_in_which_it_holds(code):
    condition = CONDITIONS[code]
    spread = CORRELATION * np.outer(SD, SD)
    drawn = np.exp(np.random.default_rng(0).multivariate_normal(MEAN, spread, 40_000))
    holds = [condition.holds(dict(zip(PREDICTED, one, strict=True)), "F") for one in drawn[:20_000].tolist()]
    score = condition.score(PREDICTED, MEAN, SD, CORRELATION, "F")
    assert norm.cdf(score) == pytest.approx(np.mean(holds), abs=4 * 0.5 / math.sqrt(20_000))


@pytest.mark.parametrize(("code", "limit"), [("lvef-40", 40), ("lvef-50", 50)])
def test_the_limit_itself_counts_and_a_hair_above_does_not(code, limit):
    for ejection, expected in ((limit - 0.01, True), (limit + 0.01, False)):
        measured = {"LVEDV": 100.0, "LVESV": 100.0 - ejection}
        assert CONDITIONS[code].holds(measured, None) is expected


def test_hypertrophy_has_a_limit_for_each_sex_and_none_without():
    for sex, grams in HEAVY.items():
        assert CONDITIONS["lvh"].holds({"LVM": grams + 0.1}, sex)
        assert not CONDITIONS["lvh"].holds({"LVM": grams - 0.1}, sex)
    assert CONDITIONS["lvh"].holds({"LVM": 500.0}, None) is None
    assert CONDITIONS["lvh"].score(PREDICTED, MEAN, SD, CORRELATION, None) is None
    assert CONDITIONS["lvef-40"].holds({"LVEDV": math.nan, "LVESV": 50.0}, "F") is None


@given(st.floats(-800, 800))
def test_the_logistic_function_never_overflows_and_is_symmetric(value):
    assert 0.0 <= logistic(value) <= 1.0
    assert logistic(value) + logistic(-value) == pytest.approx(1.0)


def test_the_logistic_function_is_the_textbook_s():
    assert logistic(1.3) == pytest.approx(1 / (1 + math.exp(-1.3)))


def test_a_bundle_that_calibrated_nothing_tells_no_condition():
    assert read(calibrated_for()).conditions == []


def test_a_probability_is_the_calibrated_score_and_agrees_with_the_estimate():
    told = conditions(calibrated_for("lvef-50", "lvh", slope=2.0, intercept=-0.3))
    correlation = np.array(SHIPPED.manifest.interval.correlation)
    sd = SD.astype(np.float32).astype(float)
    score = CONDITIONS["lvh"].score(PREDICTED, MEAN, sd, correlation, "F")
    assert told["lvh"].probability == pytest.approx(1 / (1 + math.exp(-(2.0 * score - 0.3))), rel=1e-4)
    assert conditions(calibrated_for("lvef-50"), LVESV=110.0)["lvef-50"].probability > 0.9
    assert conditions(calibrated_for("lvef-50"), LVESV=45.0)["lvef-50"].probability < 0.1


@given(st.floats(40.0, 120.0), st.floats(0.5, 3.0), st.floats(-2.0, 2.0))
def test_a_narrower_condition_is_never_more_probable_than_the_wider_one(volume, slope, intercept):
    bundle = calibrated_for("lvef-40", "lvef-50")
    models = bundle.manifest.conditions
    odd = [models[0].model_copy(update={"slope": slope, "intercept": intercept}), models[1]]
    told = conditions(replace(bundle, manifest=bundle.manifest.model_copy(update={"conditions": odd})), LVESV=volume)
    assert told["lvef-40"].probability <= told["lvef-50"].probability


def test_with_its_estimate_a_condition_is_withheld():
    bundle = calibrated_for(*CONDITIONS)
    paced = conditions(bundle, replace(PERSON, paced=True))
    assert all(c.probability is None and "withheld" in c.withheld for c in paced.values())
    contradictory = conditions(bundle, RVEDV=100.0, RVESV=100.0)
    assert contradictory["rv-dysfunction"].withheld == "RVEF is withheld"
    assert contradictory["lvef-40"].probability is not None


def test_of_an_unfamiliar_ecg_no_probability_is_told_and_of_an_unknown_sex_none_that_depends_on_it():
    bundle = calibrated_for(*CONDITIONS)
    strange = conditions(bundle, ood=2 * SHIPPED.manifest.ood.threshold)
    assert all(c.probability is None and "unlike" in c.withheld for c in strange.values())
    unstated = conditions(bundle, replace(PERSON, sex=None))
    assert "sex" in unstated["lvh"].withheld
    assert all(c.probability is not None for code, c in unstated.items() if code != "lvh")


def test_every_condition_is_told_in_the_order_of_the_catalogue_with_its_definition():
    told = read(calibrated_for(*reversed(CONDITIONS))).conditions
    assert [c.code for c in told] == list(CONDITIONS)
    assert all(c.definition == CONDITIONS[c.code].definition for c in told)
