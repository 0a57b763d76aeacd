from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from models.ecg import LEADS, EcgError, Quality, Recording, archive, assess, decode, refusal
from models.ecg.errors import FlatLeads, ImplausibleAmplitude, SaturatedLeads, TooNoisy, TooShort
from models.ecg.recording import Remark
from tests.models.ecg_files import FILES, SHARED, expected, ludb, made_up_signal

RNG = np.random.default_rng(11)


def recorded(signal: np.ndarray, rate: float = 500.0) -> Recording:
    return Recording(signal=signal, sampling_rate=rate)


def codes(quality: Quality) -> set[str]:
    return {finding.code for finding in quality.findings}


def refused(signal: np.ndarray, rate: float = 500.0) -> EcgError | None:
    return refusal(assess(recorded(signal, rate)))


def real_recordings() -> dict[str, list[Recording]]:
    """Ordinary clinical ECGs of four sources."""
    challenge = [
        decode(archive.pack({file.name: file.read_bytes() for file in (header, header.with_suffix(".mat"))}))
        for header in sorted((SHARED / "cinc2021_sample").glob("*.hea"))
    ]
    code15 = [
        recorded(scipy.io.loadmat(file)["feats"].astype(float), 400.0)
        for file in sorted((SHARED / "code15_sample").glob("*.mat"))
    ]
    cart = [decode((FILES / "dicom" / "waveform_ecg.dcm").read_bytes())]
    return {"LUDB": ludb(), "CinC 2021": challenge, "CODE-15%": code15, "cart": cart}


def test_no_real_recording_is_refused(shared_data: Path) -> None:
    recordings = real_recordings()
    assert {name: len(group) for name, group in recordings.items()} == {
        "LUDB": 100,
        "CinC 2021": 25,
        "CODE-15%": 5,
        "cart": 1,
    }
    for name, group in recordings.items():
        assert [refusal(assess(recording)) for recording in group if not assess(recording).usable] == [], name


def test_hardly_any_real_recording_is_suspected_of_exchanged_arms(shared_data: Path) -> None:
    recordings = [recording for group in real_recordings().values() for recording in group]
    suspected = ["arm-reversal" in codes(assess(recording)) for recording in recordings]
    exchanged = ["arm-reversal" in codes(assess(exchange_arms(recording))) for recording in recordings]
    assert sum(suspected) <= 2
    assert sum(exchanged) > 0.6 * len(recordings)


def test_the_identities_hold_in_recordings_that_were_not_scaled_by_lead(shared_data: Path) -> None:
    for name in ("CinC 2021", "CODE-15%", "cart"):
        for recording in real_recordings()[name]:
            assert "limb-identity" not in codes(assess(recording))


def exchange_arms(recording: Recording) -> Recording:
    """The same heart with the electrodes of both arms exchanged: I inverted, II with III and aVR with aVL swapped."""
    i, ii, iii, avr, avl, *others = recording.signal
    return dataclasses.replace(recording, signal=np.stack([-i, iii, ii, avl, avr, *others]))


def test_a_clean_recording_has_no_findings() -> None:
    quality = assess(recorded(made_up_signal()))
    assert quality == Quality(usable=True, findings=())
    assert refusal(quality) is None


@pytest.mark.parametrize("lead", range(12))
def test_a_flat_lead_is_refused_and_named(lead: int) -> None:
    signal = made_up_signal()
    signal[lead] = 0.7
    error = refused(signal)
    assert isinstance(error, FlatLeads)
    assert error.detail == f"no signal in {LEADS[lead]}"


def test_all_leads_flat_are_refused() -> None:
    assert isinstance(refused(np.zeros((12, 5000))), FlatLeads)


def test_a_lead_that_falls_off_is_refused_and_a_short_rest_is_told() -> None:
    signal = made_up_signal()
    signal[7, 3000:4200] = signal[7, 3000]
    assert isinstance(refused(signal), FlatLeads)
    signal = made_up_signal()
    signal[7, 3000:3600] = signal[7, 3000]
    (finding,) = assess(recorded(signal)).findings
    assert (finding.code, finding.severity, finding.leads) == ("flat-stretch", "warning", ("V2",))
    assert finding.value == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize("factor", [1e3, 1e-3, 1e6])
def test_a_wrong_unit_is_refused(factor: float) -> None:
    assert isinstance(refused(made_up_signal() * factor), ImplausibleAmplitude | FlatLeads)


def test_microvolts_taken_for_millivolts_are_told_from_their_size() -> None:
    error = refused(made_up_signal() * 1e3)
    assert isinstance(error, ImplausibleAmplitude)
    assert "mV" in error.detail


def test_a_lead_of_wrong_gain_is_told() -> None:
    signal = made_up_signal()
    signal[LEADS.index("V5")] *= 12
    findings = {finding.code: finding for finding in assess(recorded(signal)).findings}
    assert findings["large-amplitude"].leads == ("V5",)


def test_saturation_is_refused_and_cut_peaks_are_told() -> None:
    drifting = made_up_signal()
    drifting[6] = np.clip(drifting[6] + 4 * np.sin(2 * np.pi * np.arange(5000) / 4000), -3, 3)
    assert isinstance(refused(drifting), SaturatedLeads)
    cut = made_up_signal()
    cut[10] = np.minimum(cut[10], 0.6 * cut[10].max())
    quality = assess(recorded(cut))
    assert quality.usable
    assert "clipped-leads" in codes(quality)


@pytest.mark.parametrize(("seconds", "code"), [(2.0, "too-short"), (6.9, "too-short"), (7.0, "short"), (9.8, "short")])
def test_the_length_is_judged(seconds: float, code: str) -> None:
    quality = assess(recorded(made_up_signal(seconds)))
    assert code in codes(quality)
    assert isinstance(refusal(quality), TooShort) == (code == "too-short")


@pytest.mark.parametrize("samples", [1, 2, 3, 20, 300])
def test_a_handful_of_samples_is_refused_and_no_accident(samples: int) -> None:
    assert isinstance(refused(RNG.standard_normal((12, samples))), TooShort)


def test_a_signal_without_beats_is_refused() -> None:
    independent = 0.2 * RNG.standard_normal((12, 5000))
    one_source = np.outer(RNG.uniform(0.5, 1, 12), 0.2 * RNG.standard_normal(5000))
    tone = np.tile(0.5 * np.sin(2 * np.pi * 8 * np.arange(5000) / 500), (12, 1))
    for noise in (independent, one_source, tone, np.cumsum(independent, axis=1) / 10):
        assert isinstance(refused(noise), TooNoisy)


def test_a_rate_that_cannot_hold_the_complexes_is_refused() -> None:
    assert isinstance(refused(made_up_signal(rate=40.0), 40.0), TooNoisy)


def test_a_low_rate_is_told() -> None:
    assert codes(assess(recorded(made_up_signal(rate=240.0), 240.0))) == {"low-sampling-rate"}


def swap(signal: np.ndarray, one: str, other: str) -> np.ndarray:
    swapped = signal.copy()
    a, b = LEADS.index(one), LEADS.index(other)
    swapped[[a, b]] = signal[[b, a]]
    return swapped


@pytest.mark.parametrize("pair", [("aVL", "aVF"), ("III", "aVR"), ("II", "III"), ("I", "V1")])
def test_swapped_columns_break_the_identities(pair: tuple[str, str]) -> None:
    quality = assess(recorded(swap(made_up_signal(), *pair)))
    assert quality.usable
    assert "limb-identity" in codes(quality)


def test_a_constant_offset_does_not_break_the_identities() -> None:
    signal = made_up_signal()
    signal[2] += 0.3
    assert "limb-identity" not in codes(assess(recorded(signal)))


def test_exchanged_arms_keep_the_identities_and_are_suspected_all_the_same() -> None:
    recording = recorded(made_up_signal())
    upright = dataclasses.replace(recording, signal=np.vstack([recording.signal[:11], [recording.signal[10]]]))
    i, ii = 1.5 * upright.signal[0], upright.signal[0]
    limbs = np.stack([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2])
    upright = dataclasses.replace(upright, signal=np.vstack([limbs, upright.signal[6:]]))
    assert codes(assess(upright)) == set()
    assert codes(assess(exchange_arms(upright))) == {"arm-reversal"}


def test_hum_wander_and_muscle_noise_are_told_apart_and_measured() -> None:
    time = np.arange(5000) / 500
    clean = made_up_signal()
    for code, noise, size in (
        ("mains-hum", 0.2 * np.sin(2 * np.pi * 50 * time), 0.2),
        ("mains-hum", 0.2 * np.sin(2 * np.pi * 60 * time), 0.2),
        ("baseline-wander", np.sin(2 * np.pi * 0.2 * time), 2.0),
    ):
        signal = clean.copy()
        signal[4] += noise
        findings = {finding.code: finding for finding in assess(recorded(signal)).findings}
        assert findings[code].leads == ("aVL",)
        assert findings[code].value == pytest.approx(size, rel=0.2)
    trembling = clean.copy()
    trembling[9] += 0.12 * RNG.standard_normal(5000)
    assert codes(assess(recorded(trembling))) == {"muscle-noise"}


def test_what_the_file_says_becomes_a_finding() -> None:
    recording = Recording(
        signal=made_up_signal(),
        sampling_rate=500,
        paced=True,
        derived=("III",),
        remarks=(Remark(code="extra-leads", message="left out: V7"), Remark(code="hemodynamic", message="from a lab")),
    )
    severities = {finding.code: finding.severity for finding in assess(recording).findings}
    expected_severities = {"paced": "warning", "hemodynamic": "warning", "derived-leads": "info", "extra-leads": "info"}
    assert severities == expected_severities


def test_errors_come_before_warnings_before_remarks() -> None:
    recording = Recording(signal=np.zeros((12, 4600)), sampling_rate=500, derived=("III",))
    severities = [finding.severity for finding in assess(recording).findings]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert {"error", "warning", "info"} == set(severities)


@pytest.mark.parametrize("row", [row for row in expected("dicom") if "Hemodynamic" in row["format"]])
def test_a_haemodynamic_recording_is_usable_with_warnings(row: dict[str, str]) -> None:
    quality = assess(decode((FILES / row["path"]).read_bytes()))
    assert quality.usable
    assert {"hemodynamic", "low-sampling-rate"} <= codes(quality)


def test_ten_seconds_are_judged_in_a_moment() -> None:
    recording = recorded(made_up_signal())
    assess(recording)
    started = time.perf_counter()
    for _ in range(5):
        assess(recording)
    assert (time.perf_counter() - started) / 5 < 0.05  # 4 ms on an idle core
