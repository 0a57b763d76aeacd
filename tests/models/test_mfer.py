"""MFER files are read exactly in every byte order, type and nesting; cut and contradictory ones are refused."""

from __future__ import annotations

import struct
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from ecgdatakit import FileParser
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ecg import DecodeError, EcgError, Filters, Recording, Stated
from models.ecg.errors import (
    MissingLeads,
    MissingMetadata,
    MissingSamples,
    TruncatedFile,
    UnsafeFile,
    UnsupportedFormat,
)
from models.ecg.formats import mfer as reader
from tests.models.ecg_files import FILES, Row, assert_reading, content, expected, made_up_signal, name_of
from tests.models.mfer_files import TWELVE, Order, attributes, definition, mfer, quantity, waves, whole

STEPS = np.rint(1e3 * made_up_signal(2.0)).astype(np.int64)
WHOLE = mfer(STEPS)


def read(data: bytes) -> Recording:
    assert reader.matches(data)
    return reader.read(data, Stated())


@pytest.mark.parametrize("row", expected("mfer"), ids=name_of)
def test_a_file_whose_source_is_known_is_read_exactly(row: Row) -> None:
    recording = read(content(row))
    assert_reading(recording, row)
    twin = FileParser().parse(FILES / row["path"], units="uV")
    for lead in twin.leads:
        np.testing.assert_allclose(1e3 * recording.lead(lead.label), lead.samples, rtol=0, atol=1e-6)
    assert recording.sex == twin.patient.sex
    assert recording.patient_id == twin.patient.patient_id


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(
    ("type_code", "dtype", "shift"),
    [(0, "i2", 0), (1, "u2", 9000), (2, "i4", 0), (6, "u4", 9000), (7, "f4", 0), (8, "f8", 0)],
)
def test_samples_have_every_type_in_both_byte_orders(order: Order, type_code: int, dtype: str, shift: int) -> None:
    recording = read(mfer(STEPS + shift, order=order, dtype=dtype, type_code=type_code))
    np.testing.assert_allclose(1e3 * recording.signal, STEPS + shift, rtol=0, atol=1e-9)
    assert recording.sampling_rate == 500


@pytest.mark.parametrize("order", ["little", "big"])
def test_another_reader_understands_our_files_alike(order: Order, tmp_path: Path) -> None:
    file = tmp_path / "made.mwf"
    offset = definition(0x0D, whole(7, order, 2))
    file.write_bytes(mfer(STEPS, order=order, block=50, common=offset, sensitivity=quantity(0, -7, 25, order)))
    recording = read(file.read_bytes())
    for lead in FileParser().parse(file, units="uV").leads:
        np.testing.assert_allclose(1e3 * recording.lead(lead.label), lead.samples, rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", ["little", "big"])
def test_bytes_and_offsets_make_steps_of_the_sensitivity(order: Order) -> None:
    small = np.clip(STEPS // 20, -128, 127)
    common = definition(0x0D, whole(-3, order, 1))
    sensitivity = quantity(0, -7, 25, order)
    recording = read(mfer(small, order=order, dtype="i1", type_code=5, common=common, sensitivity=sensitivity))
    np.testing.assert_allclose(1e3 * recording.signal, (small - 3) * 2.5, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("unit", "exponent", "mantissa", "rate"),
    [(1, -3, 2, 500), (1, -6, 1000, 1000), (1, -3, 4, 250), (0, 0, 500, 500), (0, 2, 5, 500), (1, -5, 125, 800)],
)
def test_the_rate_is_a_frequency_or_an_interval(unit: int, exponent: int, mantissa: int, rate: float) -> None:
    assert read(mfer(STEPS, interval=quantity(unit, exponent, mantissa, "little"))).sampling_rate == rate


@pytest.mark.parametrize("block", [1, 10, 100, 1000])
@pytest.mark.parametrize("sequences", [-1, None])
def test_blocks_of_the_channels_stand_in_turn(block: int, sequences: int | None) -> None:
    assert read(mfer(STEPS, block=block, sequences=sequences)).digest == read(WHOLE).digest


def test_groups_may_be_open_nested_or_padded_and_lengths_wide() -> None:
    assert read(mfer(STEPS, is_open=True)).digest == read(WHOLE).digest
    nested = definition(0x67, definition(0x67, attributes(0, definition(0x09, whole(1, "little", 2), wide=3))), wide=2)
    assert read(mfer(STEPS, own=b"\0\0\0" + nested)).digest == read(WHOLE).digest
    assert read(mfer(STEPS, preamble=False)).digest == read(WHOLE).digest
    assert (
        read(mfer(STEPS, behind=definition(0x99, b"?") + attributes(9, definition(0x09)))).digest == read(WHOLE).digest
    )


def test_frames_follow_each_other_and_a_beat_is_no_frame() -> None:
    second = definition(0x07, whole(1000, "little")) + waves(STEPS, 100, "i2", "little")
    beat = definition(0x08, whole(9, "little", 2)) + waves(STEPS, 100, "i2", "little")
    recording = read(mfer(STEPS, behind=second + beat))
    np.testing.assert_allclose(1e3 * recording.signal, np.hstack([STEPS, STEPS]), rtol=0, atol=1e-9)
    first = definition(0x08, whole(9, "little", 2)) + definition(0x05, b"\x0c")
    typed = mfer(
        STEPS, before=definition(0x08, whole(1, "little", 2)), behind=first + waves(STEPS, 100, "i2", "little")
    )
    assert read(typed).signal.shape == (12, 1000)


def test_frames_with_a_gap_or_of_other_channels_are_refused() -> None:
    frame = waves(STEPS, 100, "i2", "little")
    with pytest.raises(DecodeError, match="gap"):
        read(mfer(STEPS, behind=definition(0x07, whole(1500, "little")) + frame))
    with pytest.raises(DecodeError, match="differ in their channels"):
        read(mfer(STEPS, behind=definition(0x0C, quantity(0, -6, 5, "little")) + frame))
    with pytest.raises(UnsafeFile, match="1000 frames"):
        read(mfer(STEPS[:, :10], block=10, behind=waves(STEPS[:, :10], 10, "i2", "little") * 1000))


def test_leads_go_by_code_and_limb_leads_are_derived() -> None:
    order = [11, 10, 9, 8, 7, 6, 1, 0]
    recording = read(mfer(STEPS[order], codes=[TWELVE[index] for index in order]))
    np.testing.assert_allclose(1e3 * recording.signal, STEPS, rtol=0, atol=1)
    assert recording.derived == ("III", "aVR", "aVL", "aVF")


def test_channels_beyond_the_twelve_are_named_and_left_out() -> None:
    own = (
        attributes(12, definition(0x0C, quantity(1, 0, 1, "little")))
        + attributes(13, definition(0x09, whole(999, "little", 2) + b"SpO2"))
        + attributes(14, definition(0x0A, b"\x04"))
    )
    recording = read(mfer(np.vstack([STEPS, STEPS[:3]]), codes=(*TWELVE, 11, 175, 4160), own=own))
    assert recording.digest == read(WHOLE).digest
    assert [remark.leads for remark in recording.remarks] == [("V3R", "SpO2")]


def test_a_null_value_is_a_gap() -> None:
    broken = np.array(STEPS)
    broken[2, 100] = -32768
    common = definition(0x12, whole(-32768, "little", 2))
    recording = read(mfer(broken, common=common))
    assert ("III" in recording.derived, recording.remarks[0].code) == (True, "gaps-derived")
    broken[6, 100] = -32768
    with pytest.raises(MissingSamples, match="V1"):
        read(mfer(broken, common=common))
    with pytest.raises(DecodeError, match="tag 12"):
        read(mfer(STEPS, common=definition(0x12, b"\0")))


def test_a_number_that_is_none_is_a_gap() -> None:
    for number in (np.nan, np.inf, 1.7e308):
        broken = STEPS.astype(np.float64)
        broken[0, 100] = number
        with pytest.raises(MissingSamples, match="I"):
            read(mfer(broken, dtype="f8", type_code=8, sensitivity=quantity(0, 3, 1, "little")))


def test_what_the_file_says_beside_the_samples_is_kept_without_the_name() -> None:
    behind = (
        definition(0x81, b"Doe^Jane")
        + definition(0x82, b"P-17^x")
        + definition(0x83, bytes((61,)) + struct.pack("<HHBB", 100, 1955, 11, 8))
        + definition(0x84, b"\x02")
        + definition(0x85, struct.pack("<H", 2016) + bytes((11, 7, 9, 5, 3)) + struct.pack("<HH", 250, 0))
        + definition(0x17, b"Nihon Kohden^ECG-2550^1.0")
        + definition(0x11, b"HPF=0.05")
        + definition(0x11, b"LPF=150^x")
        + definition(0x11, b"BEF=50^Hum")
        + definition(0x11, b"OTHER")
        + definition(0x16, b"Ventricular paced rhythm")
        + definition(0x43, b"\x01")
    )
    recording = read(mfer(STEPS, before=behind))
    assert (recording.age, recording.sex, recording.patient_id) == (61, "F", "P-17")
    assert recording.acquired_at == datetime(2016, 11, 7, 9, 5, 3, 250_000)
    assert (recording.device, recording.source_format) == ("Nihon Kohden ECG-2550", "MFER")
    assert recording.filters == Filters(high_pass=0.05, low_pass=150, notch=50)
    assert (recording.statements, recording.paced) == (("Ventricular paced rhythm",), True)
    assert [remark.code for remark in recording.remarks] == ["channel-skew"]
    assert "Doe" not in repr(recording)


def test_text_is_in_the_character_set_of_the_file() -> None:
    note = definition(0x03, b"ISO 2022") + definition(0x16, "洞調律".encode("iso2022_jp"))
    assert read(mfer(STEPS, before=note)).statements == ("洞調律",)
    assert read(mfer(STEPS, before=definition(0x16, "洞調律".encode()))).statements == ("洞調律",)


@pytest.mark.parametrize(
    ("age", "years"),
    [
        (bytes(3) + struct.pack("<HBB", 1950, 11, 8), 65),
        (bytes((1,)) + struct.pack("<H", 500), 500 / 365.25),
        (bytes((200,)), None),
        (bytes(3) + struct.pack("<HBB", 1950, 13, 8), None),
        (bytes(3), None),
        (b"", None),
    ],
)
def test_an_age_is_of_years_or_days_or_comes_from_birth(age: bytes, years: float | None) -> None:
    started = definition(0x85, struct.pack("<H", 2016) + bytes((11, 7, 9, 5, 3)))
    assert read(mfer(STEPS, before=started + definition(0x83, age))).age == years


def test_what_cannot_be_is_nothing_and_no_reason_to_refuse() -> None:
    before = definition(0x84, b"\x07") + definition(0x85, struct.pack("<H", 2016) + bytes((13, 7, 9, 5, 3)))
    recording = read(mfer(STEPS, before=before + definition(0x82)))
    assert (recording.sex, recording.acquired_at, recording.patient_id) == (None, None, None)


def test_what_the_file_does_not_say_may_be_stated_but_not_contradicted() -> None:
    bare = mfer(STEPS, interval=b"", sensitivity=b"")
    with pytest.raises(MissingMetadata, match="rate"):
        read(bare)
    with pytest.raises(MissingMetadata, match="unit"):
        reader.read(bare, Stated(sampling_rate=500))
    assert reader.read(bare, Stated(sampling_rate=500, unit="uV")).digest == read(WHOLE).digest
    unnamed = mfer(STEPS, own=b"".join(attributes(n, definition(0x09)) for n in range(12)))
    with pytest.raises(MissingMetadata, match="leads"):
        read(unnamed)
    names = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    assert reader.read(unnamed, Stated(leads=names)).digest == read(WHOLE).digest
    for stated in (Stated(sampling_rate=250), Stated(unit="uV"), Stated(leads=names[::-1])):
        with pytest.raises(DecodeError):
            reader.read(WHOLE, stated)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (mfer(STEPS[:6], codes=TWELVE[:6]), MissingLeads, "V1"),
        (mfer(STEPS, codes=(1, *TWELVE[:11])), DecodeError, "twice"),
        (mfer(STEPS, sequences=11), TruncatedFile, "26400 defined"),
        (mfer(STEPS, sequences=9), DecodeError, "21600 defined"),
        (mfer(STEPS, sequences=0), TruncatedFile, "2400 defined"),
        (mfer(STEPS, common=definition(0x04, whole(2**31, "little"))), TruncatedFile, "defined"),
        (mfer(STEPS, common=definition(0x04, whole(0, "little"))), DecodeError, "no samples"),
        (mfer(STEPS, own=attributes(3, definition(0x06, b"\x05"))), DecodeError, "differ in their sequences"),
        (mfer(STEPS, own=attributes(3, definition(0x0B, quantity(1, -3, 4, "little")))), MissingLeads, "rates"),
        (mfer(STEPS, type_code=9), UnsupportedFormat, "compressed"),
        (mfer(STEPS, common=definition(0x0E, b"\x01\0\0\0")), UnsupportedFormat, "compressed"),
        (mfer(STEPS, sensitivity=quantity(1, -6, 1, "little")), DecodeError, "no volts"),
        (mfer(STEPS, sensitivity=quantity(0, -6, -1, "little")), DecodeError, "no volts"),
        (mfer(STEPS, sensitivity=b"\0\0"), DecodeError, "3 to 6"),
        (mfer(STEPS, interval=quantity(2, -3, 2, "little")), DecodeError, "unit 2"),
        (mfer(STEPS, interval=quantity(1, -3, 0, "little")), DecodeError, "interval of 0"),
        (mfer(STEPS, interval=quantity(1, 100, 1, "little")), DecodeError, "exponent"),
        (mfer(STEPS, before=definition(0x05, b"\xff\xff")), UnsafeFile, "65535 channels"),
        (mfer(STEPS, before=definition(0x01, b"\x07")), DecodeError, "byte order"),
        (mfer(STEPS, before=b"\x16\x85\0\0\0\0\x01x"), DecodeError, "5 bytes"),
        (mfer(STEPS, before=b"\x16\x80xx\0\0"), DecodeError, "states no length"),
        (mfer(STEPS, before=b"\x3f" + b"\xff" * 9 + b"\0\0"), DecodeError, "numbers a channel"),
        (mfer(STEPS, before=b"\x67\x80" * 20), UnsafeFile, "deeper"),
        (mfer(STEPS, before=b"\x16\0" * 50_001), UnsafeFile, "50000 definitions"),
        (mfer(STEPS, before=b"\x80"), DecodeError, "no waveform"),
        (mfer(np.zeros((12, 500_100), np.int64), block=100, dtype="i1", type_code=5), UnsafeFile, "500100"),
    ],
    ids=range(26),
)
def test_a_file_that_contradicts_itself_is_refused_for_its_own_reason(
    data: bytes, error: type[EcgError], words: str
) -> None:
    with pytest.raises(error, match=words):
        read(data)


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_cut_file_is_refused(percent: int) -> None:
    for data in [WHOLE, *[content(row) for row in expected("mfer")]]:
        with pytest.raises((TruncatedFile, DecodeError)):
            reader.read(data[: len(data) * percent // 100], Stated())


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 330), st.binary(min_size=1, max_size=8), st.booleans())
def test_any_definitions_are_a_recording_or_a_refusal(at: int, new: bytes, cut: bool) -> None:
    with suppress(EcgError):
        broken = WHOLE[:at] + new + WHOLE[at + len(new) * (not cut) :]
        assert np.isfinite(reader.read(broken, Stated()).signal).all()
