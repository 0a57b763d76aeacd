from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ecg import Recording
from models.ecg.fiducials import ABSENT, Fiducials, Wave, delineate, delineate_leads
from tests.models.ecg_files import SHARED, ludb
from tests.models.made_beats import Beat, made, onsets
from training.realism.marks import Marked, consensus, ludb_marks, scores

WAVES = ("p", "qrs", "t")


def as_marked(found: Fiducials) -> Marked:
    def points(wave: Wave) -> list[np.ndarray]:
        stacked = np.stack([wave.onset, wave.peak, wave.offset], axis=-1)
        return list(stacked if stacked.ndim == 3 else stacked[None])

    return {"P": points(found.p), "QRS": points(found.qrs), "T": points(found.t)}


@pytest.mark.skipif(not (SHARED / "ludb").is_dir(), reason="LUDB is not beside the repository")
def test_marks_of_each_lead_are_near_those_of_cardiologists() -> None:
    found = [as_marked(delineate_leads(recording)) for recording in ludb()]
    pairs = list(zip(ludb_marks(SHARED / "ludb"), found, strict=True))
    for part in (pairs, pairs[1::2]):  # all records; those on which no constant was set
        score = scores(part)
        assert score["QRS", "peak"].sensitivity > 0.995
        assert score["QRS", "peak"].predictivity > 0.995
        assert score["QRS", "onset"].sensitivity > 0.999
        assert score["QRS", "onset"].mean_absolute_error < 7.5
        assert score["QRS", "offset"].mean_absolute_error < 8.5
        assert score["P", "peak"].sensitivity > 0.99
        assert score["P", "peak"].predictivity > 0.94
        assert score["P", "onset"].mean_absolute_error < 10.5
        assert score["P", "offset"].mean_absolute_error < 11
        assert score["T", "peak"].sensitivity > 0.995
        assert score["T", "peak"].predictivity > 0.995
        assert score["T", "peak"].mean_absolute_error < 11
        assert score["T", "offset"].mean_absolute_error < 16


@pytest.mark.skipif(not (SHARED / "ludb").is_dir(), reason="LUDB is not beside the repository")
def test_marks_of_all_leads_are_near_the_median_of_the_leads() -> None:
    found = [as_marked(delineate(recording)) for recording in ludb()]
    marked = [consensus(record) for record in ludb_marks(SHARED / "ludb")]
    score = scores(zip(marked, found, strict=True))
    assert score["QRS", "peak"].sensitivity == 1
    limits = {("P", "onset"): 5, ("P", "offset"): 7, ("QRS", "onset"): 5, ("QRS", "offset"): 7, ("T", "offset"): 11}
    for key, limit in limits.items():
        assert score[key].mean_absolute_error < limit


def milliseconds(marks: np.ndarray, rate: float) -> np.ndarray:
    return 1000 * marks / rate


@pytest.mark.parametrize("rate", [250.0, 500.0, 1000.0, 2000.0])
@pytest.mark.parametrize("duration", [80.0, 110.0, 150.0])
def test_waves_begin_and_end_where_they_were_put(rate: float, duration: float) -> None:
    beat, starts = Beat(qrs=(0.0, duration), t=(duration + 130, 180.0)), onsets()
    found = delineate(made(beat, starts, rate))
    for wave, (begin, length), tolerance in ((found.qrs, beat.qrs, 8), (found.p, beat.p, 12), (found.t, beat.t, 25)):
        near = tolerance + 500 / rate  # and half a sample
        np.testing.assert_allclose(milliseconds(wave.onset, rate), starts + begin, atol=near)
        np.testing.assert_allclose(milliseconds(wave.offset, rate), starts + begin + length, atol=near)
    np.testing.assert_allclose(milliseconds(found.p.peak, rate), starts + beat.p[0] + beat.p[1] / 2, atol=6)
    np.testing.assert_allclose(milliseconds(found.t.peak, rate), starts + beat.t[0] + beat.t[1] / 2, atol=6)


def test_every_lead_has_its_marks_in_order() -> None:
    found = delineate_leads(made(Beat(), onsets()))
    assert found.qrs.onset.shape == (12, len(onsets()))
    order = [getattr(getattr(found, wave), point) for wave in WAVES for point in ("onset", "peak", "offset")]
    assert all((before <= after).all() for before, after in pairwise(order))


@pytest.mark.parametrize(("begin", "duration"), [(200.0, 300.0), (250.0, 330.0), (350.0, 200.0), (150.0, 120.0)])
def test_t_waves_of_short_and_of_long_qt_end_where_they_do(begin: float, duration: float) -> None:
    starts = onsets(1000.0)
    found = delineate(made(Beat(t=(begin, duration)), starts))
    np.testing.assert_allclose(milliseconds(found.t.offset, 500), starts + begin + duration, atol=30)


def test_a_millivolt_is_as_good_as_a_volt() -> None:
    recording = made(Beat(), onsets())
    louder = Recording(signal=16 * recording.signal, sampling_rate=500)
    for wave in WAVES:
        one, other = (getattr(delineate(r), wave) for r in (recording, louder))
        for point in ("onset", "peak", "offset"):
            np.testing.assert_array_equal(getattr(one, point), getattr(other, point))


def test_offset_and_slow_wander_move_hardly_anything() -> None:
    recording = made(Beat(), onsets())
    wander = 0.5 * np.sin(2 * np.pi * 0.2 * np.arange(5000) / 500) + 3
    there, steady = delineate(Recording(signal=recording.signal + wander, sampling_rate=500)), delineate(recording)
    for wave, tolerance in (("qrs", 2), ("p", 4), ("t", 5)):
        for point in ("onset", "offset"):
            moved = getattr(getattr(there, wave), point) - getattr(getattr(steady, wave), point)
            assert np.abs(moved).max() <= tolerance


def test_a_heart_without_p_waves_has_none() -> None:
    found = delineate(made(Beat(p_height=0.0), onsets()))
    assert (found.p.peak == ABSENT).all()
    assert (found.p.onset == ABSENT).all()
    assert (found.t.peak != ABSENT).all()


@pytest.mark.parametrize("seed", range(10))
def test_fibrillating_atria_have_no_p_waves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = 500 + np.cumsum(rng.uniform(450, 1050, 11))
    recording = made(Beat(p_height=0.0), starts[starts < 9500])
    time = np.arange(5000) / 500
    phase = 2 * np.pi * np.cumsum(6 + rng.standard_normal(5000).cumsum() * 0.01) / 500
    lead = rng.uniform(0, 2 * np.pi, (12, 1))
    flicker = rng.uniform(0.02, 0.08, (12, 1)) * np.sin(phase + time + lead)
    found = delineate(Recording(signal=recording.signal + flicker, sampling_rate=500))
    assert (found.p.peak == ABSENT).all()


def test_one_beat_out_of_turn_has_no_p_wave_of_its_own() -> None:
    starts = onsets()
    beats = made(Beat(), np.delete(starts, 5)).signal
    odd = made(Beat(p_height=0.0, qrs=(0.0, 160.0), qrs_axis=-120.0, t=(260.0, 180.0), t_axis=60.0), starts[[5]] - 150)
    found = delineate(Recording(signal=beats + odd.signal, sampling_rate=500))
    assert (found.p.peak == ABSENT).tolist() == [beat == 5 for beat in range(len(starts))]


def test_a_complex_cut_off_by_the_beginning_has_no_onset() -> None:
    starts = np.append(-60.0, onsets())
    found = delineate(made(Beat(qrs=(0.0, 120.0)), starts))
    assert found.qrs.onset[0] == ABSENT or len(found.qrs.onset) == len(starts) - 1


@pytest.mark.parametrize("samples", [1, 2, 30, 400])
def test_nothing_is_found_in_nothing(samples: int) -> None:
    found = delineate(Recording(signal=np.zeros((12, samples)), sampling_rate=500))
    assert found.qrs.onset.shape == (0,)
    assert delineate_leads(Recording(signal=np.zeros((12, samples)), sampling_rate=500)).t.peak.shape == (12, 0)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(1, 3000),
    rate=st.sampled_from([20.0, 50.0, 100.0, 240.0, 499.9, 500.0, 1000.0, 8000.0, 32000.0]),
    scale=st.sampled_from([1e-300, 1e-9, 1e-3, 1.0, 2e4]),
    kind=st.sampled_from(["noise", "steps", "spikes", "walk", "one lead"]),
)
def test_no_signal_is_an_accident(seed: int, samples: int, rate: float, scale: float, kind: str) -> None:
    rng = np.random.default_rng(seed)
    signal = rng.uniform(-1, 1, (12, samples))
    if kind == "steps":
        signal = np.sign(np.repeat(signal, 50, axis=1)[:, :samples])
    elif kind == "spikes":
        signal = np.where(rng.random((12, samples)) < 0.01, signal, 0)
    elif kind == "walk":
        signal = np.clip(signal.cumsum(axis=1) / 50, -1, 1)
    elif kind == "one lead":
        signal[1:] = 0
    found = delineate_leads(Recording(signal=scale * signal, sampling_rate=rate))
    for wave in WAVES:
        for point in ("onset", "peak", "offset"):
            marks = getattr(getattr(found, wave), point)
            assert ((marks == ABSENT) | ((marks >= 0) & (marks < samples))).all()
