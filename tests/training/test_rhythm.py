"""The simulated rhythms, against the textbook."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.simulate.disease import Disease
from training.simulate.person import Person
from training.simulate.population import Subject, Volumes
from training.simulate.rhythm import DURATION, Rhythm, sample_rhythm

SUBJECT = Subject(
    person=Person(sex="F", age=60.0, height=163.0, weight=62.0),
    disease=Disease(pathology="normal", severity=0.0),
    volumes=Volumes(lv_edv=125, lv_esv=48, lv_mass=70, rv_edv=130, rv_esv=55, la=60, ra=70),
    heart_rate=66.0,
)


def rhythms(count: int = 40, **changes: object) -> list[Rhythm]:
    subject = replace(SUBJECT, **changes)  # type: ignore[arg-type]  # the fields of a subject
    return [sample_rhythm(subject, np.random.default_rng(seed)) for seed in range(count)]


def intervals(rhythm: Rhythm) -> np.ndarray:
    return np.array([event.rr for event in rhythm.events])


@pytest.mark.parametrize("name", ["sinus", "AF", "paced"])
@pytest.mark.parametrize("rate", [50.0, 66.0, 95.0])
def test_every_rhythm_keeps_the_rate_of_the_subject(name: str, rate: float) -> None:
    mean = np.mean([intervals(rhythm).mean() for rhythm in rhythms(rhythm=name, heart_rate=rate)])
    assert 60_000 / mean == pytest.approx(rate, rel=0.04)


@pytest.mark.parametrize("name", ["sinus", "AF", "paced"])
@pytest.mark.parametrize("ectopic", [False, True])
def test_each_interval_leads_from_one_beat_to_the_next(name: str, ectopic: bool) -> None:
    for rhythm in rhythms(rhythm=name, ventricular_ectopy=ectopic, atrial_ectopy=ectopic and name == "sinus"):
        times = np.array([event.time for event in rhythm.events])
        np.testing.assert_allclose(np.diff(times), intervals(rhythm)[1:], atol=1e-6)
        assert intervals(rhythm).min() > 250
        assert times[0] - rhythm.events[0].rr <= -800  # the one before ended before the recording
        assert times[-1] > 1000 * DURATION - 2.2 * rhythm.usual


def test_sinus_rhythm_has_a_p_wave_before_every_beat_within_200_ms() -> None:
    for rhythm in rhythms():
        assert rhythm.kinds == {"conducted"}
        assert rhythm.fibrillation is None
        assert all(event.pr is not None and 110 < event.pr < 200 for event in rhythm.events)


def test_first_degree_block_conducts_each_beat_after_more_than_200_ms() -> None:
    for rhythm in rhythms(first_degree=True):
        assert all(event.pr is not None and 200 < event.pr <= 320 for event in rhythm.events)


def test_fibrillation_is_irregular_without_p_waves() -> None:
    """The coefficient of variation of RR is 0.15 to 0.3, against a few per cent in sinus rhythm."""
    fibrillating = rhythms(rhythm="AF")
    assert all(event.pr is None for rhythm in fibrillating for event in rhythm.events)
    variation = [intervals(rhythm).std() / intervals(rhythm).mean() for rhythm in fibrillating]
    assert 0.15 < np.median(variation) < 0.30
    assert np.median([intervals(r).std() / intervals(r).mean() for r in rhythms()]) < 0.06
    for rhythm in fibrillating:
        assert rhythm.fibrillation is not None
        assert 3.5 < rhythm.fibrillation.rate < 9.5
        assert 0.03 < rhythm.fibrillation.size < 0.21


def test_the_pause_after_a_ventricular_beat_is_compensatory() -> None:
    """From the beat before to the beat after are two sinus intervals, since the sinus node was not disturbed."""
    for rhythm in rhythms(ventricular_ectopy=True):
        inside = rhythm.events
        ectopic = [i for i, event in enumerate(inside) if event.kind == "ventricular"]
        assert ectopic
        for i in ectopic:
            assert inside[i].rr < 0.85 * rhythm.usual
            assert inside[i + 1].time - inside[i - 1].time == pytest.approx(2 * rhythm.usual, rel=0.15)
            hidden = inside[i].pr
            assert hidden is not None
            assert hidden < 0.6 * rhythm.usual  # of a P wave that comes when it would have come


def test_an_atrial_beat_is_early_of_another_shape_and_resets_the_sinus_node() -> None:
    for rhythm in rhythms(atrial_ectopy=True):
        early = [i for i, event in enumerate(rhythm.events) if event.p_gain != (1.0,) * 8]
        assert early
        for i in early:
            event, after = rhythm.events[i], rhythm.events[i + 1]
            assert event.kind == "conducted"
            assert event.rr < 0.95 * rhythm.usual
            assert event.rr + after.rr < 2.1 * rhythm.usual
            assert after.rr > event.rr


def test_a_pacemaker_is_regular_and_restarts_after_a_ventricular_beat() -> None:
    for rhythm in rhythms(rhythm="paced", heart_rate=60.0):
        assert rhythm.kinds == {"paced"}
        assert np.ptp(intervals(rhythm)) < 1e-6
    for rhythm in rhythms(rhythm="paced", heart_rate=60.0, ventricular_ectopy=True):
        after = [e.rr for before, e in zip(rhythm.events, rhythm.events[1:], strict=False) if before.kind != "paced"]
        assert after == pytest.approx([1000.0] * len(after))


def test_some_pacemakers_pace_a_fibrillating_heart() -> None:
    paced = rhythms(100, rhythm="paced")
    assert 0.2 < np.mean([rhythm.fibrillation is not None for rhythm in paced]) < 0.6
    for rhythm in paced:
        assert all((event.pr is None) == (rhythm.fibrillation is not None) for event in rhythm.events)


def test_the_same_stream_gives_the_same_rhythm() -> None:
    assert rhythms(3, ventricular_ectopy=True) == rhythms(3, ventricular_ectopy=True)
