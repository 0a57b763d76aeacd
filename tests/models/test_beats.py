from __future__ import annotations

import numpy as np
import pytest

from models.ecg import Recording
from models.ecg.beats import heart_rate, r_peaks
from tests.models.ecg_files import SHARED, ludb, ludb_qrs, made_up_signal

WINDOW = 0.075 * 500
"""Samples; a beat counts as found within 75 ms, half of the window of ANSI/AAMI EC57."""


@pytest.mark.skipif(not (SHARED / "ludb").is_dir(), reason="LUDB is not beside the repository")
def test_beats_of_ludb_are_where_cardiologists_marked_them() -> None:
    found = missed = false = 0
    for recording, marks in zip(ludb(), ludb_qrs(), strict=True):
        beats = r_peaks(recording)
        distance = np.abs(beats[:, None] - np.array(marks))
        marked = (beats >= marks[0] - WINDOW) & (beats <= marks[-1] + WINDOW)  # the ends of a record bear no marks
        found += int((distance.min(axis=0) <= WINDOW).sum())
        missed += int((distance.min(axis=0) > WINDOW).sum())
        false += int((distance[marked].min(axis=1) > WINDOW).sum())
    assert found + missed > 900
    assert found / (found + missed) > 0.998
    assert found / (found + false) > 0.998


@pytest.mark.parametrize("rate", [100.0, 240.0, 500.0, 1000.0])
@pytest.mark.parametrize("beats_per_minute", [40, 75, 120, 180])
def test_a_regular_rhythm_has_its_own_rate(rate: float, beats_per_minute: int) -> None:
    time = np.arange(round(10 * rate)) / rate
    distance = (time - 0.2 + 30 / beats_per_minute) % (60 / beats_per_minute) - 30 / beats_per_minute
    beats = np.tile(np.exp(-0.5 * (distance / 0.015) ** 2), (12, 1))
    assert heart_rate(Recording(signal=beats, sampling_rate=rate)) == pytest.approx(beats_per_minute, rel=0.02)


def test_beats_stand_where_they_were_put() -> None:
    recording = Recording(signal=made_up_signal(), sampling_rate=500)
    truth = np.arange(0.1, 10.0, 0.8) * 500
    np.testing.assert_allclose(r_peaks(recording), truth, atol=6)


def test_tall_t_waves_are_no_beats() -> None:
    time = np.arange(5000) / 500
    phase = time % 1.0
    signal = np.exp(-0.5 * ((phase - 0.4) / 0.012) ** 2) + 1.2 * np.exp(-0.5 * ((phase - 0.68) / 0.04) ** 2)
    assert heart_rate(Recording(signal=np.tile(signal, (12, 1)), sampling_rate=500)) == pytest.approx(60, rel=0.01)


@pytest.mark.parametrize("samples", [1, 2, 30, 400])
def test_too_little_signal_has_no_rate(samples: int) -> None:
    assert heart_rate(Recording(signal=np.zeros((12, samples)), sampling_rate=500)) is None


def test_a_rate_that_cannot_hold_the_complexes_shows_no_beats() -> None:
    assert len(r_peaks(Recording(signal=made_up_signal(rate=40.0), sampling_rate=40))) == 0
