"""The beat: its timing, and its volumes against those of a real heart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training import real_heart
from training.simulate.contraction import Cycle, cycle_of, end_diastole, end_systole, moments
from training.simulate.population import Subject, sample_subject


@pytest.fixture(scope="module")
def subjects() -> list[Subject]:
    return [sample_subject(np.random.default_rng(seed)) for seed in range(60)]


def test_the_heart_is_full_at_the_r_wave_and_empty_when_the_aortic_valve_closes(subjects: list[Subject]) -> None:
    for subject in subjects:
        cycle = cycle_of(subject)
        ends = cycle.contraction(np.array([0.0, cycle.end_systole, cycle.filling, cycle.length - 1e-9]))
        assert ends == pytest.approx([0, 1, 1, 0], abs=1e-9)
        filled = cycle.reservoir(np.array([0.0, cycle.end_systole, cycle.length - 1e-9]))
        assert filled == pytest.approx([0, 1, 0], abs=1e-9)


def test_systole_only_empties_and_diastole_only_fills(subjects: list[Subject]) -> None:
    for subject in subjects:
        cycle = cycle_of(subject)
        steps = np.diff(cycle.contraction(np.linspace(0, cycle.end_systole, 300)))
        assert steps.min() >= 0
        assert np.diff(cycle.contraction(np.linspace(cycle.end_systole, cycle.length - 1e-9, 300))).max() <= 0
        before_kick = cycle.reservoir(np.array([cycle.kick]))[0]
        assert 0 < before_kick < 1 if subject.rhythm != "AF" else before_kick == 0  # fibrillating atria do not kick


def test_events_follow_each_other_at_every_heart_rate(subjects: list[Subject]) -> None:
    for rate in (42.0, 65.0, 105.0):
        for subject in subjects:
            cycle = cycle_of(replace(subject, heart_rate=rate))
            events = [0, cycle.opening, cycle.end_systole, cycle.filling, cycle.diastasis, cycle.kick, cycle.length]
            assert np.diff(events).min() >= 0
            assert cycle.length == pytest.approx(60000 / rate)


def test_a_faster_heart_shortens_diastole_more_than_systole(subjects: list[Subject]) -> None:
    slow, fast = (cycle_of(replace(subjects[0], heart_rate=rate)) for rate in (50.0, 90.0))
    assert fast.end_systole > 0.7 * slow.end_systole
    assert _diastole(fast) < 0.5 * _diastole(slow)


def test_atria_are_largest_at_end_systole_and_smallest_at_end_diastole(subjects: list[Subject]) -> None:
    for subject in subjects:
        beat = moments(subject, np.arange(50) / 50 * 60 / subject.heart_rate)
        for name, largest in (("la", subject.volumes.la), ("ra", subject.volumes.ra)):
            volumes = np.array([getattr(moment, name) for moment in beat])
            assert getattr(end_systole(subject), name) == pytest.approx(largest)
            assert volumes.min() == pytest.approx(getattr(end_diastole(subject), name))
            assert volumes.max() <= largest * (1 + 1e-12)


def test_volumes_run_like_those_of_a_real_heart_of_the_same_rate_and_ejection_fraction(shared_data: Path) -> None:
    """Within 10 % of the stroke volume (root mean square), once the gates agree on the R wave to one phase of 33 ms."""
    subject = real_heart.twin(shared_data)
    cycle = cycle_of(subject)
    times = np.arange(real_heart.PHASES) / real_heart.PHASES * cycle.length
    for real in real_heart.volumes(shared_data):
        share = (real.max() - real) / (real.max() - real.min())
        late = cycle.contraction(times + cycle.length / real_heart.PHASES)
        assert np.sqrt(np.mean((late - share) ** 2)) < 0.10
        assert np.sqrt(np.mean((cycle.contraction(times) - share) ** 2)) < 0.17


def _diastole(cycle: Cycle) -> float:
    return cycle.length - cycle.end_systole
