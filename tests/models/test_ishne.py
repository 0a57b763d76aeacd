"""ISHNE files of resting length are read exactly; Holters, cut files and headers that were changed are refused."""

from __future__ import annotations

import struct
from contextlib import suppress
from datetime import datetime

import numpy as np
import pytest
from ecgdatakit import FileParser
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ecg import DecodeError, EcgError, Recording, Stated
from models.ecg.errors import (
    ChecksumMismatch,
    MissingLeads,
    MissingMetadata,
    MissingSamples,
    TruncatedFile,
    UnsafeFile,
)
from models.ecg.formats import ishne as reader
from tests.models.ecg_files import FILES, Row, assert_reading, content, expected, made_up_signal, name_of
from tests.models.ishne_files import TWELVE, ishne

SIGNAL = np.rint(1e3 * made_up_signal(2.0))
WHOLE = ishne(SIGNAL)


def read(data: bytes) -> Recording:
    assert reader.matches(data)
    return reader.read(data, Stated())


@pytest.mark.parametrize("row", expected("ishne"), ids=name_of)
def test_a_file_whose_source_is_known_is_read_exactly(row: Row) -> None:
    recording = read(content(row))
    assert_reading(recording, row)
    twin = FileParser().parse(FILES / row["path"], units="uV")
    for lead in twin.leads:
        np.testing.assert_allclose(1e3 * recording.lead(lead.label), lead.samples, rtol=0, atol=1e-6)
    assert recording.age == twin.patient.age
    assert (recording.sex, recording.patient_id) == (twin.patient.sex, twin.patient.patient_id)


@pytest.mark.parametrize("step", [1, 500, 1000, 2500, 32767])
def test_steps_are_nanovolts(step: int) -> None:
    small = SIGNAL * (0.01 if step == 1 else 1.0)
    recording = read(ishne(small, step=step, rate=1000))
    np.testing.assert_allclose(1e3 * recording.signal, small, rtol=0, atol=0.5e-3 * step + 1e-9)
    assert recording.sampling_rate == 1000


def test_what_the_file_says_beside_the_samples_is_kept_without_the_name() -> None:
    recording = read(ishne(SIGNAL, recorder=b"H12+", comments=b"at rest"))
    assert (recording.age, recording.sex, recording.patient_id, recording.device) == (65, "F", "P-17", "H12+")
    assert recording.acquired_at == datetime(2016, 11, 7, 9, 5, 3)
    assert recording.source_format == "ISHNE"
    assert "Doe" not in repr(recording)
    assert read(WHOLE).device is None


@pytest.mark.parametrize(("code", "paced"), [(0, False), (1, True), (5, True), (9, None), (-9, None)])
def test_a_pacemaker_has_a_code(code: int, paced: bool | None) -> None:
    assert read(ishne(SIGNAL, pacemaker=code)).paced is paced


def test_what_cannot_be_is_nothing_and_no_reason_to_refuse() -> None:
    odd = read(ishne(SIGNAL, birth=(-9, -9, -9), day=(7, 11, 2016), start=(25, 0, 0), sex=0))
    assert (odd.age, odd.acquired_at, odd.sex) == (None, None, None)
    assert read(ishne(SIGNAL, birth=(1, 1, 1000))).age is None
    assert read(ishne(SIGNAL, day=(31, 2, 2016))).acquired_at is None


def test_leads_go_by_code_and_limb_leads_are_derived() -> None:
    order = [11, 10, 9, 8, 7, 6, 1, 0]
    recording = read(ishne(SIGNAL[order], codes=[TWELVE[index] for index in order]))
    np.testing.assert_allclose(1e3 * recording.signal, SIGNAL, rtol=0, atol=1)
    assert recording.derived == ("III", "aVR", "aVL", "aVF")


def test_leads_beyond_the_twelve_are_named_and_left_out() -> None:
    rows = [0, 1, 6, 7, 8, 9, 10, 11, 0, 0]
    codes = [*[TWELVE[index] for index in rows[:8]], 2, 0]
    assert [remark.leads for remark in read(ishne(SIGNAL[rows], codes=codes)).remarks] == [("X", "lead 0")]


def test_a_lead_that_came_off_is_a_gap() -> None:
    broken = np.array(SIGNAL)
    broken[2, 100] = -32768
    recording = read(ishne(broken))
    assert ("III" in recording.derived, recording.remarks[0].code) == (True, "gaps-derived")
    broken[6, 100] = -32768
    with pytest.raises(MissingSamples, match="V1"):
        read(ishne(broken))


def test_a_checksum_may_be_swapped_or_left_out_but_never_wrong() -> None:
    assert read(ishne(SIGNAL, swapped=True)).digest == read(WHOLE).digest
    assert read(WHOLE[:8] + b"\0\0" + WHOLE[10:]).digest == read(WHOLE).digest
    with pytest.raises(ChecksumMismatch):
        read(WHOLE[:8] + b"\x12\x34" + WHOLE[10:])


def test_a_holter_is_refused_with_its_length() -> None:
    with pytest.raises(UnsafeFile, match=r"Holter of 24\.0 h"):
        read(ishne(SIGNAL, rate=200, count=24 * 3600 * 200))


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (ishne(SIGNAL[:3], codes=(2, 3, 4)), MissingLeads, "no known lead"),
        (ishne(SIGNAL[:8], codes=TWELVE[:8]), MissingLeads, "V3"),
        (ishne(SIGNAL, codes=(5, 5, *TWELVE[2:])), DecodeError, "twice"),
        (ishne(SIGNAL, codes=()), DecodeError, "0 leads"),
        (ishne(SIGNAL, count=1001), TruncatedFile, "1000 of the 1001"),
        (ishne(SIGNAL, count=999), DecodeError, "more samples"),
        (ishne(SIGNAL, count=-1), DecodeError, "more samples"),
        (WHOLE + b"\0", DecodeError, "more samples"),
        (WHOLE[:300], TruncatedFile, "within its header"),
        (WHOLE[:522], TruncatedFile, "0 of the 1000"),
        (ishne(SIGNAL, rate=0), DecodeError, "0.0 Hz"),
        (WHOLE[:8] + b"\0\0" + struct.pack("<i", -5) + WHOLE[14:], DecodeError, "-5 bytes"),
        (WHOLE[:10] + struct.pack("<i", 2**31 - 1) + WHOLE[14:], TruncatedFile, "comments"),
    ],
    ids=range(13),
)
def test_a_file_that_contradicts_itself_is_refused_for_its_own_reason(
    data: bytes, error: type[EcgError], words: str
) -> None:
    with pytest.raises(error, match=words):
        read(data)


def test_a_step_of_nothing_is_missing() -> None:
    unchecked = bytearray(WHOLE)
    unchecked[8:10] = b"\0\0"
    unchecked[206:208] = b"\0\0"
    with pytest.raises(MissingMetadata, match="step"):
        read(bytes(unchecked))


def test_what_a_request_states_may_not_contradict_the_file() -> None:
    assert reader.read(WHOLE, Stated(sampling_rate=500, unit="nV")).sampling_rate == 500
    for stated in (Stated(sampling_rate=250), Stated(unit="mV"), Stated(leads=("I",) * 12)):
        with pytest.raises(DecodeError):
            reader.read(WHOLE, stated)


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_cut_file_is_refused(percent: int) -> None:
    for data in [WHOLE, *[content(row) for row in expected("ishne")]]:
        with pytest.raises(TruncatedFile):
            reader.read(data[: len(data) * percent // 100], Stated())


def test_no_corruption_of_the_header_passes_silently() -> None:
    rng = np.random.default_rng(5)
    data = ishne(SIGNAL, comments=b"at rest")
    for _ in range(100):
        broken = bytearray(data)
        broken[rng.integers(8, 522 + 7)] ^= int(rng.integers(1, 256))
        with pytest.raises(EcgError):
            reader.read(bytes(broken), Stated())


@settings(max_examples=200, deadline=None)
@given(st.integers(10, 600), st.binary(min_size=1, max_size=8))
def test_any_header_is_a_recording_or_a_refusal(at: int, new: bytes) -> None:
    unchecked = WHOLE[:8] + b"\0\0" + WHOLE[10:at] + new + WHOLE[at + len(new) :]
    with suppress(EcgError):
        assert np.isfinite(reader.read(unchecked, Stated()).signal).all()
