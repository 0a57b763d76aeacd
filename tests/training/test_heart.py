"""A heart comes back: what is drawn again changes, and nothing else does; a block of one fascicle turns the axis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.simulate import Again, heart_of, record_ecg, simulate
from training.simulate.setting import SETTINGS
from training.simulate.torso import sample_slips, torso_lead_field

SEED = 3


def test_only_the_stage_that_is_drawn_again_changes() -> None:
    first, scanned = simulate(SEED), simulate(SEED, Again(imaging=1))
    assert scanned.recording.digest == first.recording.digest
    assert scanned.ed.tobytes() != first.ed.tobytes()
    assert scanned.analytic == first.analytic
    for again in (Again(electrodes=1), Again(rhythm=1), Again(noise=1)):
        other = simulate(SEED, again)
        assert other.recording.digest != first.recording.digest
        assert other.ed.tobytes() == first.ed.tobytes()
        assert other.phenotypes == first.phenotypes


def test_another_day_is_the_same_heart_with_another_ecg_and_another_scan() -> None:
    first, later, again = simulate(SEED), simulate(SEED, Again.another_day(2)), simulate(SEED, Again.another_day(2))
    assert later.recording.digest == again.recording.digest != first.recording.digest
    assert (later.sex, later.age, later.pathology) == (first.sex, first.age, first.pathology)
    assert later.analytic == first.analytic


def test_the_same_seed_in_another_setting_is_another_person() -> None:
    people = {name: heart_of(SEED, setting).subject.person for name, setting in SETTINGS.items()}
    assert len(set(people.values())) == len(SETTINGS)


@pytest.mark.parametrize("rate", [250, 500, 1000])
def test_the_same_ecg_is_recorded_at_every_rate(rate: int) -> None:
    """Below 40 Hz the leads agree with those at 500 Hz: what differs is the noise that each cart draws."""
    heart = heart_of(SEED)
    recording, usual = record_ecg(heart, sampling_rate=rate), record_ecg(heart)
    assert (recording.sampling_rate, recording.signal.shape[1]) == (rate, 10 * rate)
    ours, theirs = recording.lead("II")[:: rate // 250], usual.lead("II")[::2]
    assert np.corrcoef(ours, theirs)[0, 1] > 0.85


def test_a_left_anterior_block_turns_the_axis_to_the_left_and_hardly_widens_the_complex() -> None:
    """QRS below 120 ms, axis beyond -45° (AHA/ACC/HRS part III, Surawicz 2009); ours turns by 5 to 16°, too little."""
    for heart in [one for one in map(heart_of, range(30)) if one.subject.disease.pathology == "normal"][:6]:
        field = torso_lead_field(heart.torso, sample_slips(np.random.default_rng(1)), heart.lie.conductivity)
        generator = heart.seen_by(field)
        blocked = replace(generator, disease=replace(generator.disease, left_anterior_fascicle=False))
        axes, lengths = [], []
        for one in (generator, blocked):
            qrs = one.conducted().qrs
            limb_i, foot = qrs[0].sum(), (qrs[1] - qrs[0] / 2).sum()
            axes.append(np.degrees(np.arctan2(2 / np.sqrt(3) * foot, limb_i)))
            moving = np.abs(np.diff(qrs, axis=1)).sum(0)
            lengths.append(np.ptp(np.flatnonzero(moving > 0.04 * moving.max())))
        assert (axes[0] - axes[1] + 180) % 360 - 180 > 3
        assert lengths[1] < lengths[0] + 30
