from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.ecg import LEADS, Recording
from models.ecg.errors import DecodeError, MissingLeads, MissingSamples
from models.ecg.recording import CANONICAL_STEP, twelve_leads
from tests.models.ecg_files import made_up_signal


@given(arrays(np.float64, (12, 3), elements=st.floats(-20.0, 20.0)), st.floats(20.0, 32_000.0))
def test_a_recording_survives_the_wire_to_half_a_step(signal: np.ndarray, rate: float) -> None:
    sent = Recording(signal=signal, sampling_rate=rate, age=61.5, sex="F", paced=True, patient_id="secret")
    received = Recording.from_bytes(sent.to_bytes())
    np.testing.assert_allclose(received.signal, signal, atol=CANONICAL_STEP / 2 * 1.0001)
    assert (received.sampling_rate, received.age, received.sex, received.paced) == (rate, 61.5, "F", True)


def test_height_and_weight_cross_the_wire_only_where_they_are_known() -> None:
    plain = Recording(signal=made_up_signal(), sampling_rate=500, age=60, sex="M")
    assert b"height" not in plain.to_bytes()
    received = Recording.from_bytes(replace(plain, height=181.5, weight=90.0).to_bytes())
    assert (received.height, received.weight, received.age) == (181.5, 90.0, 60)
    assert Recording.from_bytes(plain.to_bytes()).height is None


@pytest.mark.parametrize(("name", "value"), [("height", 0.0), ("height", 1800.0), ("weight", -1.0), ("weight", 7000.0)])
def test_an_impossible_height_or_weight_is_no_recording(name: str, value: float) -> None:
    with pytest.raises(DecodeError, match=name):
        Recording(signal=np.zeros((12, 4)), sampling_rate=500, **{name: value})


def test_identifiers_do_not_cross_the_wire() -> None:
    recording = Recording(signal=made_up_signal(), sampling_rate=500, patient_id="K-4711", device="Cart 9")
    assert b"K-4711" not in recording.to_bytes()
    assert b"Cart 9" not in recording.to_bytes()


def test_the_digest_is_that_of_rate_and_ten_nanovolt_steps() -> None:
    recording = Recording(signal=np.full((12, 2), 0.5), sampling_rate=500)
    written_out = b"500.000000 Hz\n" + (50_000).to_bytes(4, "little") * 24
    assert recording.digest == hashlib.sha256(written_out).hexdigest()


def test_the_digest_tells_samples_and_rates_apart_and_nothing_else() -> None:
    signal = made_up_signal()
    other = signal.copy()
    other[3, 7] += 1e-4
    one = Recording(signal=signal, sampling_rate=500)
    assert one.digest == Recording(signal=signal + 1e-9, sampling_rate=500, age=3, source_format="CSV").digest
    assert one.digest != Recording(signal=other, sampling_rate=500).digest
    assert one.digest != Recording(signal=signal, sampling_rate=501).digest


def test_the_signal_cannot_be_changed_afterwards() -> None:
    signal = np.zeros((12, 4))
    recording = Recording(signal=signal, sampling_rate=500)
    signal[:] = 1
    assert not recording.signal.any()
    with pytest.raises(ValueError, match="read-only"):
        recording.signal[0, 0] = 1


@pytest.mark.parametrize("shape", [(11, 5), (12, 0), (12,), (1, 12, 5)])
def test_another_shape_is_no_recording(shape: tuple[int, ...]) -> None:
    with pytest.raises(DecodeError, match="12 leads"):
        Recording(signal=np.zeros(shape), sampling_rate=500)


@pytest.mark.parametrize("rate", [0.0, -500.0, float("nan"), float("inf"), 40_000.0])
def test_an_impossible_rate_is_no_recording(rate: float) -> None:
    with pytest.raises(DecodeError, match="sampling rate"):
        Recording(signal=np.zeros((12, 4)), sampling_rate=rate)


@pytest.mark.parametrize("hole", [float("nan"), float("inf")])
def test_gaps_are_refused_and_located(hole: float) -> None:
    signal = np.zeros((12, 4))
    signal[LEADS.index("V4"), 2] = hole
    with pytest.raises(MissingSamples, match="1 samples are not numbers, in V4"):
        Recording(signal=signal, sampling_rate=500)


def test_a_limb_lead_with_gaps_is_computed_again_and_said_so() -> None:
    signal = dict(zip(LEADS, made_up_signal(), strict=True))
    holed = signal | {"aVL": np.where(np.arange(5000) < 40, np.nan, signal["aVL"])}
    rows, derived, (remark,) = twelve_leads(holed)
    np.testing.assert_allclose(rows[LEADS.index("aVL")], signal["aVL"], atol=1e-12)
    assert derived == ("aVL",)
    assert remark.code == "gaps-derived"


def test_leads_of_different_length_are_refused() -> None:
    leads = {lead: np.zeros(10) for lead in LEADS} | {"V6": np.zeros(9)}
    with pytest.raises(DecodeError, match="differ in length"):
        twelve_leads(leads)


def test_too_few_leads_are_refused_by_name() -> None:
    with pytest.raises(MissingLeads, match="no V1, V2, V3, V4, V5, V6; found I, II"):
        twelve_leads({"I": np.zeros(3), "II": np.zeros(3)})
