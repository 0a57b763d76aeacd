from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, resample_poly, sosfiltfilt

from models.ecg import Preprocessing, Recording

PREPROCESSING = Preprocessing(sampling_rate=500, duration=10, high_pass=0.5, low_pass=40, order=3)
RATES = [240.0, 250.0, 360.0, 400.0, 499.9, 1000.0]


def waves(rate: float, seconds: float = 10.0) -> np.ndarray:
    """Forty sines of 1 to 30 Hz in each lead, fading in and out over the first and last second."""
    rng = np.random.default_rng(3)
    frequency, phase = rng.uniform(1, 30, 40), rng.uniform(0, 2 * np.pi, 40)
    amplitude = 0.1 * rng.standard_normal((12, 40))
    time = np.arange(round(seconds * rate)) / rate
    fade = np.clip(np.minimum(time, seconds - time), 0, 1)
    return amplitude @ np.sin(2 * np.pi * frequency[:, None] * time + phase[:, None]) * np.sin(np.pi / 2 * fade) ** 2


def tone(hertz: float, rate: float = 500.0, seconds: float = 10.0) -> np.ndarray:
    return np.tile(np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate), (12, 1))


@pytest.mark.parametrize("rate", RATES)
def test_the_tensor_hardly_knows_the_rate_of_its_source(rate: float) -> None:
    reference = PREPROCESSING(Recording(signal=waves(500.0), sampling_rate=500))
    tensor = PREPROCESSING(Recording(signal=waves(rate), sampling_rate=rate))
    # 5 uV, one step of a cart, in a signal of 0.4 mV RMS
    np.testing.assert_allclose(tensor, reference, atol=0.005)


def test_at_its_own_rate_it_is_the_zero_phase_band_pass_and_nothing_else() -> None:
    signal = waves(500.0)
    sections = butter(3, (0.5, 40), "bandpass", fs=500, output="sos")
    expected = sosfiltfilt(sections, signal, axis=1, padlen=500)
    tensor = PREPROCESSING(Recording(signal=signal, sampling_rate=500))
    np.testing.assert_allclose(tensor, expected, atol=1e-6)
    assert tensor.dtype == np.float32


@pytest.mark.parametrize(("rate", "up", "down"), [(1000.0, 1, 2), (360.0, 25, 18), (499.9, 5000, 4999)])
def test_the_low_pass_kept_for_a_rate_is_the_one_scipy_would_design(rate: float, up: int, down: int) -> None:
    signal = waves(rate)
    sections = butter(3, (0.5, 40), "bandpass", fs=500, output="sos")
    resampled = resample_poly(signal, up, down, axis=1, padtype="line")
    expected = sosfiltfilt(sections, resampled, axis=1, padlen=500)[:, :5000]
    tensor = PREPROCESSING(Recording(signal=signal, sampling_rate=rate))
    np.testing.assert_array_equal(tensor[:, : expected.shape[1]], expected.astype(np.float32))


def test_a_rate_a_hair_off_is_taken_as_ours() -> None:
    signal = waves(500.0)
    one, other = (PREPROCESSING(Recording(signal=signal, sampling_rate=rate)) for rate in (500.0, 500.0001))
    np.testing.assert_array_equal(one, other)


def test_a_tone_in_the_band_keeps_amplitude_and_phase() -> None:
    tensor = PREPROCESSING(Recording(signal=tone(10.0), sampling_rate=500))
    np.testing.assert_allclose(tensor[:, 1000:4000], tone(10.0)[:, 1000:4000], atol=0.01)


def test_offset_and_slow_wander_are_taken_away() -> None:
    wander = 3.0 + 2.0 * tone(0.05)
    tensor = PREPROCESSING(Recording(signal=wander, sampling_rate=500))
    assert np.abs(tensor[:, 1000:4000]).max() < 0.02


def test_mains_are_attenuated_as_a_butterworth_run_twice_says() -> None:
    # |H|^2 = 1 / (1 + (f/fc)^2n) for one pass of the low-pass side, squared again by the second pass: 50 Hz at n = 3.
    tensor = PREPROCESSING(Recording(signal=tone(50.0), sampling_rate=500))
    warped = np.tan(np.pi * 50 / 500) / np.tan(np.pi * 40 / 500)
    assert np.abs(tensor[:, 1000:4000]).max() == pytest.approx(1 / (1 + warped**6), rel=0.02)


def test_a_shorter_recording_is_followed_by_zeros() -> None:
    tensor = PREPROCESSING(Recording(signal=waves(500.0, 7.0), sampling_rate=500))
    assert tensor.shape == (12, 5000)
    assert tensor[:, :3500].any(axis=1).all()
    assert not tensor[:, 3500:].any()


def test_of_a_long_recording_the_beginning_is_taken() -> None:
    whole = waves(500.0, 60.0)
    sections = butter(3, (0.5, 40), "bandpass", fs=500, output="sos")
    expected = sosfiltfilt(sections, whole, axis=1, padlen=500)[:, :5000]
    tensor = PREPROCESSING(Recording(signal=whole, sampling_rate=500))
    np.testing.assert_allclose(tensor, expected, atol=1e-3)  # 1 uV


def test_what_comes_long_after_the_window_is_not_even_looked_at() -> None:
    signal = waves(500.0, 60.0)
    changed = signal.copy()
    changed[:, 15 * 500 :] = 7.0
    one, other = (PREPROCESSING(Recording(signal=s, sampling_rate=500)) for s in (signal, changed))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("samples", [1, 2, 7, 100])
def test_a_handful_of_samples_is_no_accident(samples: int) -> None:
    tensor = PREPROCESSING(Recording(signal=np.ones((12, samples)), sampling_rate=500))
    assert tensor.shape == (12, 5000)
    assert np.isfinite(tensor).all()


@pytest.mark.parametrize(
    "wrong",
    [{"low_pass": 250.0}, {"high_pass": 40.0}, {"high_pass": 0.0}, {"duration": 0.0}, {"order": 0}],
)
def test_impossible_numbers_are_refused(wrong: dict[str, float]) -> None:
    numbers: dict[str, float] = {"sampling_rate": 500, "duration": 10, "high_pass": 0.5, "low_pass": 40, "order": 3}
    with pytest.raises(ValueError, match="must"):
        Preprocessing(**(numbers | wrong))
