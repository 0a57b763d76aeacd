"""Real ECGs are read as a user's are: what cannot be read is refused, what is said is physiological."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from models.bundle import find
from models.ecg import decode
from models.runtime import Model
from training.real_ecgs import NORMAL, OTHER, Seen, directions, labelled, look, unphysiological
from training.real_ecgs_report import write_real_ecgs
from training.realism.real import NoRealEcgs, normal_ecgs
from training.simulate import simulate
from training.spoilt_ecgs import GOOD, spoilt

SILENT = {
    "electrodes off: no signal but noise of 10 µV",
    "flat in three leads",
    "white noise of 1 mV instead of a heart",
    "mains of 1 mV over the heart, 50 Hz",
    "clipped at 0.1 mV",
    "one sample missing",
    "4 s long",
    "microvolts called millivolts",
    "millivolts called microvolts",
    "V6 missing",
    "a paced heart, stated",
    "a child of 8 years",
    "cut off in the middle",
    "a letter",
}
"""From which nobody could read a heart, or this model must not."""


@pytest.fixture(scope="module")
def model(repository):
    return Model.load(find(repository / "models" / "artifacts")[-1], provider="cpu", threads=1)


@pytest.fixture(scope="module")
def good():
    recording = simulate(5003).recording
    return replace(recording, age=60.0)


@pytest.fixture(scope="module")
def broken(model, good):
    return {what: look(model, what, frozenset(), data) for what, data in spoilt(good).items()}


def test_the_model_answers_the_ecg_that_is_then_spoilt(broken):
    assert broken[GOOD].refused is None
    assert not broken[GOOD].silent


@pytest.mark.parametrize("what", sorted(SILENT))
def test_nothing_is_estimated_from_an_ecg_without_a_readable_heart(broken, what):
    assert broken[what].silent


def test_what_is_said_of_the_other_spoilt_ecgs_is_physiological(broken):
    assert unphysiological(broken.values()) == []
    assert not all(one.silent for one in broken.values())


def test_muscle_noise_is_refused_or_remarked(broken):
    assert not broken["muscle noise of 0.5 mV over the heart"].unremarked


def test_swapped_arms_keep_the_laws_of_the_limb_leads(good):
    for what in ("arms swapped", "arm and leg swapped"):
        signal = decode(spoilt(good)[what]).signal
        np.testing.assert_allclose(signal[0] + signal[2], signal[1], atol=0.01)
        np.testing.assert_allclose(signal[3] + signal[4] + signal[5], 0, atol=0.01)
        assert not np.allclose(signal[:6], good.signal[:6], atol=0.05)


def test_every_real_ecg_is_refused_or_read_within_physical_limits(model, shared_data, silent, tmp_path):
    told = write_real_ecgs(model, shared_data, tmp_path, silent)
    text = (tmp_path / "report.md").read_text()
    assert text.index("Directions only") < text.index("| diagnosis |")
    assert all(f"- {line}" in text for line in told)
    assert (tmp_path / "estimates.png").read_bytes().startswith(b"\x89PNG")


def test_the_labels_agree_with_the_selection_of_normal_ecgs(shared_data):
    files = list(labelled(shared_data))
    groups = [groups for _, groups, _ in files]
    adults = sum(decode(data).age is not None and decode(data).age >= 18 for _, g, data in files if NORMAL in g)
    assert adults == len(normal_ecgs(shared_data))
    assert all(groups)
    assert not any({NORMAL, OTHER} & one and len(one) > 1 for one in groups)
    # "Left ventricular hypertrophy" in LUDB's table and 164873001 in the headers, counted by searching the text.
    words = (shared_data / "ludb" / "records.csv").read_text().splitlines()
    headers = [path.read_text() for path in (shared_data / "cinc2021_sample").glob("*.hea")]
    known = sum("Left ventricular hypertrophy" in line for line in words) + sum("164873001" in text for text in headers)
    assert sum("LVH" in one for one in groups) == known


def test_a_folder_without_ecgs_is_refused(tmp_path):
    with pytest.raises(NoRealEcgs, match="no ECGs"):
        list(labelled(tmp_path))


@pytest.fixture
def answered(model, good):
    (inference,) = model.read([good])
    return inference


def _seen(inference, group, mass):
    estimates = [one.model_copy(update={"value": mass}) for one in inference.estimates if one.symbol == "LVM"]
    changed = inference.model_copy(update={"estimates": estimates})
    return Seen(name="x", groups=frozenset({group}), refused=None, inference=changed)


def test_a_difference_is_named_by_its_sign_and_its_interval(answered):
    normal = [_seen(answered, NORMAL, 80 + n) for n in range(20)]
    heavy = [_seen(answered, "LVH", 120 + n) for n in range(20)]
    (found,) = (one for one in directions([*normal, *heavy]) if one.symbol == "LVM")
    assert (found.difference, found.verdict) == (40.0, "as expected")
    assert found.span[0] < 40 < found.span[1]
    assert stats.mannwhitneyu(range(120, 140), range(80, 100)).pvalue < 0.001
    light = [_seen(answered, "LVH", 50 + n) for n in range(20)]
    assert directions([*normal, *light])[0].verdict == "against expectation"
    same = [_seen(answered, "LVH", 80 + n) for n in range(20)]
    assert directions([*normal, *same])[0].verdict == "no difference seen"
    assert directions([*normal, *heavy[:4]])[0].verdict == "too few ECGs"


def test_an_estimate_that_no_heart_has_is_found(answered):
    assert unphysiological([_seen(answered, NORMAL, 700.0)]) == ["x: LVM 700 g"]
    assert unphysiological([_seen(answered, NORMAL, float("nan"))]) == ["x: LVM nan g"]
    assert unphysiological([_seen(answered, NORMAL, 100.0)]) == []
