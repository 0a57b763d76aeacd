"""The simulated recording, against the laws of the leads, spectra and what real electrocardiographs leave."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import butter, find_peaks, sosfiltfilt

from models.ecg.recording import INDEPENDENT_LEADS, LEADS, Recording
from training.simulate.cart import Cart, sample_cart
from training.simulate.electrics import LENGTH, ONSET, Beat
from training.simulate.person import Person
from training.simulate.recording import electrode_noise, f_waves, record
from training.simulate.rhythm import Event, Fibrillation, Rhythm
from training.simulate.torso import ELECTRODES, MONTAGE

PERSON = Person(sex="M", age=60.0, height=176.0, weight=78.0)
CARTS = [
    Cart(),
    Cart(sampling_rate=250, low_pass=100.0, mains=60, notch=True, resolution=0.00244),
    Cart(sampling_rate=1000, high_pass=0.15, resolution=0.001, full_scale=5.0),
    Cart(low_pass=40.0, arms_exchanged=True),
]


def bump(at: float, width: float, samples: int) -> np.ndarray:
    return np.exp(-0.5 * ((np.arange(samples) - at) / width) ** 2)


def template(qrs: float = 1.0) -> Beat:
    """A beat whose P, QRS and T are bell curves, largest in V4."""
    leads = np.array([0.5, 0.8, -0.4, 0.3, 0.9, 1.4, 1.2, 0.9])[:, None]
    return Beat(
        qrs=qrs * leads * bump(ONSET + 45, 11, LENGTH),
        t=0.3 * leads * bump(ONSET + 300, 35, LENGTH),
        activation=np.array([0.0, 85.0]),
    )


P_WAVE = 0.1 * np.array([0.5, 0.8, -0.4, 0.3, 0.9, 1.4, 1.2, 0.9])[:, None] * bump(60, 18, 260)


def steady(rate: float = 60.0, **changes: object) -> Rhythm:
    rr = 60_000 / rate
    events = tuple(Event(time=200.0 + rr * k, kind="conducted", rr=rr, pr=160.0) for k in range(-1, int(9800 / rr) + 1))
    still = Rhythm(name="sinus", events=events, usual=rr, breathing=0.25, phase=0.0, swing=0.0)
    return replace(still, **changes)  # type: ignore[arg-type]  # the fields of a rhythm


def taken(cart: Cart, rhythm: Rhythm | None = None, seed: int = 3, **beats: Beat) -> Recording:
    templates = {"conducted": template()} | beats
    return record(templates, P_WAVE, rhythm or steady(), PERSON, cart, np.random.default_rng(seed))  # type: ignore[arg-type]


@pytest.mark.parametrize("cart", CARTS)
def test_limb_leads_obey_einthoven_and_goldberger_exactly(cart: Cart) -> None:
    lead = taken(cart).lead
    np.testing.assert_array_equal(lead("III"), lead("II") - lead("I"))
    np.testing.assert_array_equal(lead("aVR"), -(lead("I") + lead("II")) / 2)
    np.testing.assert_allclose(lead("aVR") + lead("aVL") + lead("aVF"), 0, atol=1e-12)


@pytest.mark.parametrize("cart", CARTS)
def test_recordings_are_ten_seconds_at_the_rate_of_the_cart(cart: Cart) -> None:
    recording = taken(cart)
    assert recording.signal.shape == (12, 10 * cart.sampling_rate)
    assert (recording.sampling_rate, recording.age, recording.sex) == (cart.sampling_rate, 60.0, "M")
    assert (recording.source_format, recording.paced) == ("simulated", False)
    assert recording.filters.low_pass == cart.low_pass
    assert recording.filters.notch == (cart.mains if cart.notch else None)


@pytest.mark.parametrize("cart", CARTS)
def test_samples_are_whole_steps_of_the_converter(cart: Cart) -> None:
    stored = np.stack([taken(cart).lead(name) for name in INDEPENDENT_LEADS]) / cart.resolution
    np.testing.assert_allclose(stored, np.rint(stored), atol=1e-6)


def test_a_converter_saturates_at_its_full_scale() -> None:
    recording = taken(Cart(full_scale=0.6, resolution=0.005))
    assert recording.lead("V4").max() == pytest.approx(0.6)
    assert (recording.lead("V4") == recording.lead("V4").max()).sum() > 30
    assert np.abs(np.stack([recording.lead(name) for name in INDEPENDENT_LEADS])).max() <= 0.6 + 1e-12


def test_exchanged_arm_electrodes_turn_lead_i_and_swap_ii_with_iii_and_avr_with_avl() -> None:
    right, wrong = taken(Cart(resolution=1e-6)), taken(Cart(resolution=1e-6, arms_exchanged=True))
    for seen, was, sign in [("I", "I", -1), ("II", "III", 1), ("III", "II", 1), ("aVR", "aVL", 1), ("aVL", "aVR", 1)]:
        np.testing.assert_allclose(wrong.lead(seen), sign * right.lead(was), atol=3e-6)
    for name in ("aVF", "V1", "V2", "V3", "V4", "V5", "V6"):
        np.testing.assert_allclose(wrong.lead(name), right.lead(name), atol=3e-6)


def test_exchanged_arms_are_what_the_montage_gives_for_exchanged_electrodes() -> None:
    potentials = np.random.default_rng(0).standard_normal((len(ELECTRODES), 50))
    exchanged = potentials[[1, 0, *range(2, len(ELECTRODES))]]
    cables = Cart(arms_exchanged=True)
    np.testing.assert_allclose(cables.connected(MONTAGE @ potentials), MONTAGE @ exchanged, atol=1e-12)


def test_the_band_is_down_by_3_db_at_its_corners_without_delay() -> None:
    cart = Cart(sampling_rate=1000, high_pass=0.15, low_pass=100.0, resolution=1e-7)
    t = np.arange(10_000) / 1000
    for frequency, gain in ((10.0, 1.0), (100.0, np.sqrt(0.5)), (200.0, 1 / np.sqrt(65)), (0.15, np.sqrt(0.5))):
        wave = np.cos(2 * np.pi * frequency * t)
        passed = cart.digitised(np.tile(wave, (8, 1)))[0]
        middle = slice(2000, 8000) if frequency > 1 else slice(None)
        assert passed[middle] @ wave[middle] / (wave[middle] @ wave[middle]) == pytest.approx(gain, rel=0.02)


def test_a_recording_that_starts_within_a_beat_does_not_drift_from_it() -> None:
    beat = np.tile(bump(0.0, 15.0, 5000), (8, 1))
    stored = Cart(high_pass=0.05, resolution=1e-6).digitised(beat)[0]
    assert stored[0] == pytest.approx(1.0, abs=0.05)
    assert np.abs(stored[200:]).max() < 0.02


def test_a_notch_takes_the_mains_away_and_leaves_the_rest() -> None:
    t = np.arange(5000) / 500
    for mains in (50, 60):
        cart = Cart(mains=mains, notch=True, resolution=1e-6)
        hum, slow = (cart.digitised(np.tile(np.sin(2 * np.pi * f * t), (8, 1)))[0, 1000:4000].std() for f in (mains, 8))
        assert hum < 0.05 * slow


def test_every_beat_of_the_rhythm_is_there_with_its_p_wave() -> None:
    recording = taken(Cart())
    peaks, _ = find_peaks(recording.lead("V4"), height=0.7, distance=100)
    expected = [event.time + 45 for event in steady().events if event.time > 0]
    np.testing.assert_allclose(2 * peaks, expected, atol=8)
    p = [recording.lead("V4")[round((e.time - 160 + 48) / 2)] for e in steady().events if e.time > 0]
    before = [recording.lead("V4")[round((e.time - 185) / 2)] for e in steady().events if e.time > 0]
    assert np.median(np.array(p) - np.array(before)) == pytest.approx(0.14, abs=0.03)


def test_each_kind_of_beat_has_its_own_template() -> None:
    events = list(steady().events)
    events[4] = replace(events[4], kind="ventricular", pr=None)
    rhythm = steady(events=tuple(events))
    assert rhythm.kinds == {"conducted", "ventricular"}
    recording = taken(Cart(), rhythm, ventricular=template(qrs=-2.0))
    assert recording.lead("V4")[round((events[4].time + 45) / 2)] < -2.0


def test_a_p_wave_that_comes_from_elsewhere_has_another_shape() -> None:
    events = tuple(replace(event, p_gain=(-1.0,) * 8) for event in steady().events)
    usual, turned = taken(Cart()), taken(Cart(), steady(events=events))
    difference = (usual.lead("II") - turned.lead("II")).max()
    assert difference == pytest.approx(2 * 0.1 * 0.8, abs=0.02)


def test_the_t_wave_comes_later_after_a_longer_interval() -> None:
    def t_peak(rr: float) -> float:
        events = tuple(replace(event, rr=rr) for event in steady().events)
        lead = taken(Cart(), steady(events=events)).lead("V4")
        peaks = [np.argmax(lead[round(e.time / 2) + 90 : round(e.time / 2) + 220]) for e in events[2:9]]
        return 2 * float(np.mean(peaks))

    assert t_peak(1200.0) - t_peak(1000.0) == pytest.approx(0.14 * 200, abs=6)


def test_f_waves_are_largest_in_v1_and_as_fast_and_tall_as_stated() -> None:
    t = np.arange(5000) / 500
    for rate in (4.5, 6.0, 8.5):
        waves = f_waves(Fibrillation(rate=rate, size=0.1, phase=1.0), t)
        assert waves.std(axis=1).argmax() == INDEPENDENT_LEADS.index("V1")
        spectrum = np.abs(np.fft.rfft(waves[2])) ** 2
        peak = np.fft.rfftfreq(5000, 1 / 500)[spectrum.argmax()]
        assert peak == pytest.approx(rate, abs=0.6)
        heights = [np.ptp(part) for part in np.split(waves[2], 20)]  # half a second each holds two waves or more
        assert np.median(heights) == pytest.approx(0.1, rel=0.25)


def test_a_paced_recording_says_so_and_has_a_spike_before_each_qrs() -> None:
    events = tuple(replace(event, kind="paced", pr=None) for event in steady().events)
    rhythm = steady(name="paced", events=events)
    recordings = [taken(Cart(high_pass=0.05), rhythm, seed=seed, paced=template()) for seed in range(5)]
    assert all(recording.paced for recording in recordings)
    quick = [
        np.abs(np.diff(recording.lead("II")))[round((event.time - 15) / 2) - 3 : round((event.time - 15) / 2) + 3].max()
        for recording in recordings
        for event in events[2:8]
    ]
    assert np.median(quick) > 0.08  # mV in 2 ms; QRS here reaches 0.09, muscle noise 0.01
    assert not any(taken(Cart(), seed=seed).paced for seed in range(3))


def test_noise_differs_between_electrodes_and_reaches_all_leads_that_share_one() -> None:
    noise = electrode_noise(Cart(), steady(), np.random.default_rng(1))
    assert noise.shape == (9, 5000)
    among = np.corrcoef(noise[3:] - noise[3:].mean(0))[np.triu_indices(6, 1)]
    assert np.abs(among).max() < 0.95
    leads = MONTAGE @ noise
    np.testing.assert_allclose(leads[1] - leads[0], noise[2] - noise[1], atol=1e-12)


def test_noise_is_as_strong_as_in_real_recordings() -> None:
    """Medians over leads and recordings, to a factor of 1.5.

    Between T and P above 40 Hz: 0.8 µV in LUDB (which its cart had filtered to 40 Hz), 2.7 and 4.3 µV in the PTB-XL and
    Georgia samples of CinC 2021 (150 Hz). Below 0.5 Hz: 32 µV in LUDB.
    """
    silent = Beat(qrs=np.zeros((8, LENGTH)), t=np.zeros((8, LENGTH)), activation=np.zeros(1))
    fast = butter(4, 40, "high", fs=500, output="sos")
    slow = butter(2, 0.5, "low", fs=500, output="sos")
    for low_pass, target in ((40.0, 0.82), (150.0, 3.5)):
        above, below = [], []
        for seed in range(40):
            cart = replace(sample_cart(np.random.default_rng(seed)), low_pass=low_pass, notch=False)
            rng = np.random.default_rng(seed)
            recording = record({"conducted": silent}, np.zeros((8, 260)), steady(), PERSON, cart, rng)
            leads = recording.signal[[LEADS.index(name) for name in INDEPENDENT_LEADS]]
            above.append(np.median(sosfiltfilt(fast, leads, axis=1).std(1)))
            below.append(np.median(sosfiltfilt(slow, leads, axis=1).std(1)))
        assert target / 1.5 < 1e3 * np.median(above) < 1.5 * target
        assert 31.6 / 1.5 < 1e3 * np.median(below) < 1.5 * 31.6


def test_carts_differ_as_they_do_in_life() -> None:
    carts = [sample_cart(np.random.default_rng(seed)) for seed in range(2000)]
    assert {cart.sampling_rate for cart in carts} == {500}
    assert {cart.mains for cart in carts} == {50, 60}
    assert {cart.low_pass for cart in carts} == {40.0, 100.0, 150.0}
    assert 0.003 < np.mean([cart.arms_exchanged for cart in carts]) < 0.02
    assert all(sample_cart(np.random.default_rng(seed), 250).low_pass < 125 for seed in range(50))


def test_an_impossible_cart_is_refused() -> None:
    with pytest.raises(ValueError, match="not at 360"):
        Cart(sampling_rate=360)
    with pytest.raises(ValueError, match="cannot carry"):
        Cart(sampling_rate=250, low_pass=150.0)
