"""What is said of an ECG, and what is withheld with which reason; every case made by choosing the network's answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.ecg.recording import Recording
from models.phenotypes import DERIVED, PHENOTYPES, PREDICTED
from models.reading import Answer, Reader
from models.report import Inference, Rejection
from tests.models.bundles import SHIPPED

READER = Reader.of(SHIPPED)
ORDINARY = {"LVEDV": 150.0, "LVESV": 60.0, "LVM": 100.0, "LVWT": 6.0, "RVEDV": 160.0, "RVESV": 70.0, "LAV": 60.0}
ECG = Recording(signal=np.zeros((12, 5000)), sampling_rate=500.0, age=60.0, sex="F")


def answer(**volumes):
    stated = ORDINARY | volumes
    return Answer(
        embedding=np.zeros(SHIPPED.manifest.embedding.size, np.float32),
        mean=np.log([stated[symbol] for symbol in PREDICTED]).astype(np.float32),
        sd=np.full(len(PREDICTED), 0.1, np.float32),
        ood=1.0,
    )


def read(recording=ECG, heart_rate=60.0, **volumes) -> Inference:
    found = READER.read(recording, answer(**volumes), heart_rate)
    assert isinstance(found, Inference)
    return found


def withheld(inference):
    return {abstention.symbol: abstention.reason for abstention in inference.abstained}


def test_an_ordinary_heart_is_described_whole_and_without_contradiction():
    found = {estimate.symbol: estimate for estimate in read().estimates}
    assert list(found) == list(PHENOTYPES)
    assert found["LVEF"].value == pytest.approx(60.0, rel=1e-5)
    assert found["LVSV"].value == found["LVEDV"].value - found["LVESV"].value
    assert found["CO"].value == pytest.approx(90 * 60 / 1000, rel=1e-5)
    for symbol, estimate in found.items():
        assert estimate.unit == PHENOTYPES[symbol].unit
        assert estimate.derived == (symbol in DERIVED)
        assert estimate.interval.low < estimate.value < estimate.interval.high


def test_every_phenotype_is_either_told_or_withheld():
    for recording in (ECG, replace(ECG, paced=True)):
        for heart_rate in (None, 60.0):
            found = read(recording, heart_rate, LVEDV=9999.0)
            told = {estimate.symbol for estimate in found.estimates}
            assert told | withheld(found).keys() == set(PHENOTYPES)
            assert not told & withheld(found).keys()


def test_of_a_paced_heart_nothing_is_told():
    found = read(replace(ECG, paced=True))
    assert found.estimates == []
    assert all("paced" in reason for reason in withheld(found).values())


def test_of_a_child_nothing_is_told_and_the_limit_itself_is_an_adult():
    assert read(replace(ECG, age=17.9)).estimates == []
    assert len(read(replace(ECG, age=18.0)).estimates) == len(PHENOTYPES)


def test_an_unstated_age_withholds_nothing_but_the_reference_range():
    found = read(replace(ECG, age=None))
    assert len(found.estimates) == len(PHENOTYPES)
    (lvef,) = (estimate for estimate in found.estimates if estimate.symbol == "LVEF")
    assert (lvef.reference, lvef.reference_note) == (None, "age not stated")


def test_a_fitting_reference_range_is_given():
    (lvef,) = (estimate for estimate in read().estimates if estimate.symbol == "LVEF")
    assert lvef.reference is not None
    assert (lvef.reference.low, lvef.reference.high) == pytest.approx((61 - 1.96 * 5, 61 + 1.96 * 5))


def test_outside_the_training_data_a_phenotype_and_what_follows_from_it_are_withheld():
    (low, high) = next(o.trained_range for o in SHIPPED.manifest.outputs if o.symbol == "LVEDV")
    reasons = withheld(read(LVEDV=0.99 * low, LVESV=0.4 * low))
    assert "training data" in reasons["LVEDV"]
    assert all("follows" in reasons[symbol] for symbol in ("LVSV", "LVEF", "CO"))
    assert not reasons.keys() & {"RVEDV", "RVSV", "RVEF", "LVM", "LAV"}
    assert "LVEDV" not in withheld(read(LVEDV=0.95 * high, LVESV=0.5 * high))
    assert "LVEDV" in withheld(read(LVEDV=1.01 * high, LVESV=0.5 * high))


def test_volumes_that_contradict_each_other_are_withheld_for_their_ventricle_only():
    reasons = withheld(read(RVEDV=100.0, RVESV=100.0))
    assert set(reasons) == {"RVEDV", "RVESV", "RVSV", "RVEF"}
    assert "end-systolic" in reasons["RVEDV"]


def test_an_implausible_derived_value_is_withheld_alone():
    reasons = withheld(read(LVEDV=100.0, LVESV=97.0))
    assert set(reasons) == {"LVSV", "LVEF", "CO"}  # 3 mL, 3 %, 0.2 L/min
    assert all("plausible" in reason for reason in reasons.values())


def test_without_a_heart_rate_only_cardiac_output_is_withheld():
    assert withheld(read(heart_rate=None)) == {"CO": "the heart rate could not be measured"}


@pytest.mark.parametrize("field", ["embedding", "mean", "sd"])
def test_an_answer_that_is_not_finite_is_a_rejection(field):
    broken = answer()
    getattr(broken, field)[0] = np.nan
    found = READER.read(ECG, broken, 60.0)
    assert isinstance(found, Rejection)
    assert found.code == "no-finite-answer"


def test_ecgs_from_the_threshold_on_are_flagged():
    threshold = SHIPPED.manifest.ood.threshold
    assert READER.read(ECG, replace(answer(), ood=threshold), 60.0).ood.flag
    assert not READER.read(ECG, replace(answer(), ood=0.99 * threshold), 60.0).ood.flag


def test_the_shortest_recording_is_read_and_a_shorter_one_refused():
    enough = round(500 * SHIPPED.manifest.input.min_duration)
    assert READER.refusal(replace(ECG, signal=np.zeros((12, enough)))) is None
    refused = READER.refusal(replace(ECG, signal=np.zeros((12, enough - 1))))
    assert refused is not None
    assert refused.code == "too-short"


def test_the_notices_of_the_bundle_are_always_there():
    assert read().notices == SHIPPED.manifest.notices
