from __future__ import annotations

import numpy as np
import pytest

from models.ecg import Recording, decode
from models.ecg.measure import corrections, measure
from models.ecg.measurements import UNMEASURED
from tests.models.ecg_files import FILES, SHARED, ludb
from tests.models.made_beats import Beat, made, onsets
from training.realism.marks import consensus, ludb_marks


@pytest.mark.parametrize("rate", [250.0, 400.0, 500.0, 1000.0])
@pytest.mark.parametrize("rr", [600.0, 800.0, 1100.0])
def test_a_constructed_heart_has_the_intervals_it_was_given(rate: float, rr: float) -> None:
    measured = measure(made(Beat(), onsets(rr), rate))
    assert measured.rr_interval == pytest.approx(rr, abs=5)
    assert measured.heart_rate == pytest.approx(60_000 / rr, rel=0.01)
    assert measured.p_duration == pytest.approx(100, abs=15)
    assert measured.pr_interval == pytest.approx(160, abs=10)
    assert measured.qrs_duration == pytest.approx(90, abs=15)  # the smoothing widens it a little
    assert measured.qt_interval == pytest.approx(400, abs=25)


@pytest.mark.parametrize("axis", [-170.0, -60.0, 0.0, 45.0, 100.0, 179.0])
def test_axes_are_those_of_the_vectors(axis: float) -> None:
    measured = measure(made(Beat(p_axis=axis, qrs_axis=axis, t_axis=axis), onsets()))
    for found in (measured.p_axis, measured.qrs_axis, measured.t_axis):
        assert found is not None
        assert abs((found - axis + 180) % 360 - 180) < 3


def test_a_vector_that_points_away_from_the_frontal_plane_has_no_axis() -> None:
    signal = made(Beat(), onsets(), noise=0.0).signal.copy()
    signal[:6] *= 0.005
    assert measure(Recording(signal=signal, sampling_rate=500)).qrs_axis is None


def test_qt_is_corrected_as_each_author_wrote() -> None:
    # QT 360 ms at 100 beats a minute: 360/√0.6; 360/∛0.6; 360 + 154 · 0.4; 360 + 1.75 · 40
    corrected = corrections(360, 600)
    assert corrected["qtc_bazett"] == pytest.approx(464.76, abs=0.01)
    assert corrected["qtc_fridericia"] == pytest.approx(426.83, abs=0.01)
    assert corrected["qtc_framingham"] == pytest.approx(421.6, abs=0.01)
    assert corrected["qtc_hodges"] == pytest.approx(430.0, abs=0.01)


def test_at_sixty_beats_a_minute_nothing_is_corrected() -> None:
    assert set(corrections(400, 1000).values()) == {400.0}


def test_corrections_follow_from_the_intervals_reported_beside_them() -> None:
    measured = measure(made(Beat(), onsets(700.0)))
    assert measured.qt_interval is not None
    assert measured.rr_interval is not None
    for name, value in corrections(measured.qt_interval, measured.rr_interval).items():
        assert getattr(measured, name) == value
    assert measured.qtc is None


def test_without_p_waves_nothing_atrial_is_measured() -> None:
    measured = measure(made(Beat(p_height=0.0), onsets()))
    assert (measured.p_duration, measured.pr_interval, measured.p_axis) == (None, None, None)
    assert measured.qrs_duration is not None


def test_of_a_paced_heart_only_what_the_ventricles_show_is_measured() -> None:
    recording = made(Beat(), onsets())
    measured = measure(Recording(signal=recording.signal, sampling_rate=500, paced=True))
    assert set(measured.known()) == {
        "heart_rate",
        "rr_interval",
        "qrs_duration",
        "qt_interval",
        "qrs_axis",
        "t_axis",
    }


def test_nothing_is_measured_in_noise() -> None:
    noise = np.random.default_rng(1).standard_normal((12, 5000))
    assert measure(Recording(signal=noise, sampling_rate=500)) == UNMEASURED


@pytest.mark.parametrize("signal", [np.zeros((12, 5000)), np.ones((12, 1))])
def test_nothing_is_measured_where_nothing_moves(signal: np.ndarray) -> None:
    assert measure(Recording(signal=signal, sampling_rate=500)) == UNMEASURED


def test_two_beats_have_no_intervals() -> None:
    measured = measure(made(Beat(), np.array([500.0, 1300.0]), seconds=2.2))
    assert measured.qt_interval is None
    assert measured.heart_rate is None


def test_one_odd_beat_changes_nothing() -> None:
    starts = onsets()
    beats = made(Beat(), np.delete(starts, 5))
    odd = made(Beat(p_height=0.0, qrs=(0.0, 170.0), qrs_axis=-120.0, t=(260.0, 180.0)), starts[[5]] - 120, noise=0)
    regular, with_odd = (
        measure(Recording(signal=s, sampling_rate=500))
        for s in (made(Beat(), starts).signal, beats.signal + odd.signal)
    )
    for name, value in regular.known().items():
        assert getattr(with_odd, name) == pytest.approx(value, abs=8), name


@pytest.mark.skipif(not (SHARED / "ludb").is_dir(), reason="LUDB is not beside the repository")
def test_intervals_of_ludb_are_those_of_its_marks() -> None:
    off: dict[str, list[float]] = {"p_duration": [], "pr_interval": [], "qrs_duration": [], "qt_interval": []}
    for recording, marked in zip(ludb(), map(consensus, ludb_marks(SHARED / "ludb")), strict=True):
        measured = measure(recording)
        (p,), (qrs,), (t,) = marked["P"], marked["QRS"], marked["T"]
        known = {
            "p_duration": [end - begin for begin, _, end in p],
            "pr_interval": [q - begin for begin, _, _ in p for q in qrs[:, 0] if 0 < q - begin < 200],
            "qrs_duration": [end - begin for begin, _, end in qrs],
            "qt_interval": [end - q for _, _, end in t for q in qrs[:, 0] if 100 < end - q < 320],
        }
        for name, intervals in known.items():
            value = getattr(measured, name)
            if len(intervals) > 2 and value is not None:
                off[name].append(abs(value - 2 * float(np.median(intervals))))
    assert all(len(values) > 80 for values in off.values())
    for values, limit in zip(off.values(), (9, 6, 10, 13), strict=True):
        assert np.mean(values) < limit


@pytest.mark.skipif(not FILES.is_dir(), reason="the files are not beside the repository")
def test_a_cart_measured_nearly_the_same() -> None:
    recording = decode((FILES / "dicom" / "waveform_ecg.dcm").read_bytes())
    measured = measure(recording)
    cart = {"rr_interval": (982, 5), "pr_interval": (161, 12), "qrs_duration": (75, 12), "qt_interval": (368, 10)}
    cart |= {"p_axis": (74, 8), "qrs_axis": (52, 8), "t_axis": (57, 8)}
    for name, (value, tolerance) in cart.items():
        assert getattr(measured, name) == pytest.approx(value, abs=tolerance), name


def test_of_a_long_recording_the_first_minute_is_measured() -> None:
    minute = made(Beat(), onsets(seconds=60.0), seconds=60.0).signal
    longer = np.pad(minute, ((0, 0), (0, 90_000)))
    assert measure(Recording(signal=longer, sampling_rate=500)) == measure(Recording(signal=minute, sampling_rate=500))
