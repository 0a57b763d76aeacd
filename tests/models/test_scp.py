"""SCP-ECG is read as its twins in other formats; whatever its compression; and refused where a checksum fails."""

from __future__ import annotations

import struct
import warnings
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ecgdatakit import FileParser
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ecg import LEADS, DecodeError, EcgError, Filters, Recording, Stated
from models.ecg.errors import ChecksumMismatch, MissingLeads, MissingMetadata, TruncatedFile, UnknownUnit, UnsafeFile
from models.ecg.formats import scp as reader
from models.ecg.formats import scp_huffman
from models.ecg.measurements import Measurements
from tests.models import scp_files
from tests.models.ecg_files import (
    FILES,
    Row,
    age_of,
    assert_reading,
    content,
    expected,
    made_up_signal,
    name_of,
    sex_of,
)
from tests.models.scp_files import DEFAULT, EIGHT, SWITCHING, TWELVE, Beats, Code, Steps, scp

ORDER = [LEADS.index(lead) for lead in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6", "III", "aVR", "aVL", "aVF")]
STEPS = np.rint(1e3 * made_up_signal(2.0)[ORDER]).astype(np.int64)
WHOLE = scp(STEPS)
REAL = [row for row in expected("scp") if row["action"] == "accept"]
LONG: list[list[Code]] = [[("1" * n + "0", n + 1, 1, (n + 1) // 2 * (-1) ** n) for n in range(20)]]
LONG[0].append(("1" * 20, 36, 1, 0))


def read(data: bytes) -> Recording:
    assert reader.matches(data)
    return reader.read(data, Stated())


def microvolts(recording: Recording) -> Steps:
    return 1e3 * recording.signal[ORDER]


@pytest.mark.parametrize("row", REAL, ids=name_of)
def test_a_file_that_other_readers_know_is_read_the_same(row: Row) -> None:
    recording = read(content(row))
    assert_reading(recording, row)
    assert (recording.age, recording.sex) == (age_of(row), sex_of(row))


@pytest.mark.parametrize("row", REAL, ids=name_of)
def test_every_sample_is_that_of_an_independent_reader(row: Row) -> None:
    recording = read(content(row))
    for lead in FileParser().parse(FILES / row["path"], units="uV").leads:
        np.testing.assert_allclose(1e3 * recording.lead(lead.label), lead.samples, rtol=0, atol=1e-6)


@pytest.mark.skipif(not FILES.is_dir(), reason="the real files are not beside the repository")
def test_one_ecg_has_the_same_samples_and_intervals_in_scp_and_in_aecg() -> None:
    recording = read((FILES / "scp/Example.scp").read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other reader
        twin = FileParser().parse(FILES / "aecg/Example_aECG.xml", units="uV")
    assert {lead.label for lead in twin.leads} == set(LEADS)
    for lead in twin.leads:
        np.testing.assert_allclose(1e3 * recording.lead(lead.label), lead.samples, rtol=0, atol=1e-6)
    (row,) = [row for row in expected("aecg") if row["path"] == "aecg/Example_aECG.xml"]
    known = recording.measured.known()
    assert {name: known[name] for name in row["measurements_as_read"]} == row["measurements_as_read"]
    assert (recording.patient_id, recording.acquired_at) == ("SBJ-123", datetime(2002, 11, 22, 9, 10))


@pytest.mark.skipif(not FILES.is_dir(), reason="the real files are not beside the repository")
def test_a_writer_that_breaks_the_standard_is_told_so() -> None:
    with pytest.raises(DecodeError, match="conformant"):
        read((FILES / "scp/62.SCP").read_bytes())


@pytest.mark.parametrize("tables", [None, DEFAULT, SWITCHING, LONG], ids=["raw", "default", "switching", "long"])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_samples_survive_every_coding(order: int, tables: list[list[Code]] | None) -> None:
    recording = read(scp(STEPS, order=order, tables=tables))
    np.testing.assert_allclose(microvolts(recording), STEPS, rtol=0, atol=1e-9)
    assert (recording.sampling_rate, recording.derived, recording.remarks) == (500.0, (), ())


def test_both_tables_are_in_use_where_they_are_switched() -> None:
    rows = [[0, 1, -1, 20, 25, -22, 9, 0, -3, 30000, 5, -30000, 0], [0] * 5]
    for row in rows:
        coded = scp_files.bits(row, SWITCHING)
        tables = scp_huffman.tables(scp_files.huffman(SWITCHING))
        assert scp_huffman.decode(coded, len(row), tables)[0].tolist() == row
    assert scp_files.bits(rows[0], SWITCHING) != scp_files.bits(rows[0], SWITCHING[:1])


@given(st.lists(st.integers(-32768, 32767) | st.integers(-30, 30), min_size=1, max_size=300))
def test_any_numbers_survive_huffman_codes(values: list[int]) -> None:
    for tables in (DEFAULT, SWITCHING, LONG):
        coded = scp_files.bits(values, tables)
        decoded, used = scp_huffman.decode(coded, len(values), scp_huffman.tables(scp_files.huffman(tables)))
        assert decoded.tolist() == values
        assert 8 * len(coded) - 16 < used <= 8 * len(coded)


@pytest.mark.parametrize("step", [1000, 2500, 4880, 65535])
def test_steps_are_nanovolts(step: int) -> None:
    recording = read(scp(STEPS, step=step, interval=1000))
    np.testing.assert_allclose(microvolts(recording), STEPS * step / 1000, rtol=1e-12, atol=1e-9)
    assert recording.sampling_rate == 1000


def test_leads_go_by_code_and_limb_leads_are_derived() -> None:
    recording = read(scp(STEPS[7::-1], codes=EIGHT[::-1]))
    np.testing.assert_allclose(microvolts(recording)[:8], STEPS[:8], rtol=0, atol=1e-9)
    assert recording.derived == ("III", "aVR", "aVL", "aVF")
    cabrera = read(scp(np.vstack([STEPS[:8], -STEPS[9:10]]), codes=(*EIGHT, 65)))
    np.testing.assert_allclose(cabrera.lead("aVR"), read(WHOLE).lead("aVR"), rtol=0, atol=1e-12)


def test_leads_beyond_the_twelve_are_named_and_left_out() -> None:
    recording = read(scp(np.vstack([STEPS, STEPS[:3]]), codes=(*TWELVE, 9, 12, 200)))
    assert recording.digest == read(WHOLE).digest
    assert [remark.leads for remark in recording.remarks] == [("V7", "V4R", "lead 200")]


def beats(*, decimation: int, subtracted: bool) -> Beats:
    """Beats 400 samples apart, the second of another type; protected areas of odd lengths around their peaks."""
    peaks = (250, 650)
    return Beats(
        beat=STEPS[:, 100:400],
        fiducial=101,
        zones=[(0, 160, 200, 390), (1, 0, peaks[1], 0), (0, 561, 601, 760)],
        areas=[(231, 275), (630, 676), (821, 823)],
        decimation=decimation,
        subtracted=subtracted,
    )


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("tables", [None, DEFAULT, SWITCHING], ids=["raw", "default", "switching"])
def test_a_reference_beat_is_added_where_it_was_subtracted(order: int, tables: list[list[Code]] | None) -> None:
    recording = read(scp(STEPS, order=order, tables=tables, beats=beats(decimation=1, subtracted=True)))
    np.testing.assert_allclose(microvolts(recording), STEPS, rtol=0, atol=1e-9)


@pytest.mark.parametrize("tables", [None, DEFAULT, SWITCHING, LONG], ids=["raw", "default", "switching", "long"])
def test_another_reader_understands_our_tables_and_beats_alike(tables: list[list[Code]] | None, tmp_path: Path) -> None:
    for used in (None, beats(decimation=1, subtracted=True)):
        file = tmp_path / "made.scp"
        file.write_bytes(scp(STEPS, tables=tables, beats=used))
        recording = read(file.read_bytes())
        for lead in FileParser().parse(file, units="uV").leads:
            np.testing.assert_allclose(1e3 * recording.lead(lead.label), lead.samples, rtol=0, atol=1e-6)


@pytest.mark.parametrize("subtracted", [False, True])
@pytest.mark.parametrize("decimation", [2, 3, 4])
def test_bimodal_compression_keeps_the_protected_areas_and_draws_lines_between_the_means(
    decimation: int, subtracted: bool
) -> None:
    used = beats(decimation=decimation, subtracted=subtracted)
    recording = read(scp(STEPS, beats=used))
    assert (recording.sampling_rate, recording.signal.shape) == (500.0, STEPS.shape)
    assert [remark.code for remark in recording.remarks] == ["bimodal"]
    found = microvolts(recording)
    for first, last in used.areas:
        np.testing.assert_allclose(found[:, first - 1 : last], STEPS[:, first - 1 : last], rtol=0, atol=1e-9)
    for row, truth, beat in zip(found, STEPS, used.beat, strict=True):
        np.testing.assert_allclose(row, redrawn(truth, beat, used), rtol=0, atol=1e-9)


def redrawn(row: Steps, beat: Steps, used: Beats) -> Steps:
    """Sample by sample: what the encoder stored, spread over its groups, and the beats upon it."""
    stored, d = list(scp_files.residual(row, beat, used)), used.decimation
    out: list[float] = []
    for first, last in scp_files.free(used.areas, len(row)):
        groups, rest = divmod(last - first + 1, d)
        means, stored = stored[:groups], stored[groups:]
        if groups:
            out += [means[0]] * (d // 2)
            for a, b in pairwise(means):
                out += [a + k * (b - a) / d for k in range(d)]
            out += [means[-1]] * (d - d // 2)
        out, stored = out + stored[:rest], stored[rest:]
        kept = next((b - a + 1 for a, b in used.areas if a == last + 1), 0)
        out, stored = out + stored[:kept], stored[kept:]
    if used.subtracted:
        for kind, first, fiducial, last in used.zones:
            for sample in range(first, last + 1):
                if kind == 0:
                    out[sample - 1] += beat[sample - fiducial + used.fiducial - 1]
    return np.array(out)


def test_what_the_file_says_beside_the_samples_is_kept_without_the_name() -> None:
    recording = read(scp(STEPS, more={7: scp_files.measurements()}))
    assert (recording.age, recording.sex, recording.patient_id, recording.weight) == (61, "F", "P-17", 80)
    assert recording.height == pytest.approx(177.8)
    assert recording.acquired_at == datetime(2016, 11, 7, 9, 5, 3, tzinfo=timezone(timedelta(hours=-5)))
    assert recording.device == "Schiller AT-104"
    assert recording.filters == Filters(high_pass=0.05, low_pass=150, notch=50)
    assert (recording.paced, recording.source_format) == (None, "SCP-ECG")
    assert recording.measured == Measurements(
        heart_rate=75,
        rr_interval=800,
        p_duration=100,
        pr_interval=160,
        qrs_duration=90,
        qt_interval=380,
        qtc_bazett=425,
        p_axis=45,
        qrs_axis=-30,
    )
    assert "Doe" not in repr(recording)


@pytest.mark.parametrize(
    ("unit", "number", "age"), [(1, 61, 61), (2, 18, 1.5), (3, 0, 65), (4, 731, 2.0), (9, 40, 65), (1, 300, None)]
)
def test_an_age_has_a_unit_and_comes_from_birth_where_it_is_not_stated(unit: int, number: int, age: float) -> None:
    recording = read(scp(STEPS, more={1: scp_files.patient(t4=struct.pack("<HB", number, unit))}))
    assert recording.age == (None if age is None else pytest.approx(age, abs=0.01))


def test_what_cannot_be_is_nothing_and_no_reason_to_refuse() -> None:
    odd = scp_files.patient(
        t4=b"",
        t5=b"\0\0\x0d\x40",
        t6=struct.pack("<HB", 65000, 2),
        t7=struct.pack("<HB", 900, 1),
        t8=b"\x09",
        t25=struct.pack("<HBB", 2016, 13, 1),
        t29=b"",
    )
    recording = read(scp(STEPS, more={1: odd, 7: b"\x01"}))
    assert (recording.age, recording.height, recording.weight, recording.sex) == (None, None, None, None)
    assert (recording.acquired_at, recording.measured) == (None, Measurements())
    timeless = read(scp(STEPS, more={1: scp_files.patient(t26=b"", t34=b"\xff\x7f\0\0")}))
    assert timeless.acquired_at == datetime(2016, 11, 7)
    bare = read(scp(STEPS, more={1: b"\x02\xff\xff"}))
    assert (bare.patient_id, bare.device) == (None, None)


@pytest.mark.parametrize("mark", [0, 29999, 0xFFFF])
def test_no_interval_begins_with_a_wave_that_was_not_found(mark: int) -> None:
    without_p = struct.pack("<BBHH5H3h", 1, 0, 29999, 0, mark, mark, 260, 350, 640, 29999, -30, 29999)
    known = read(scp(STEPS, more={7: without_p})).measured.known()
    assert known == {"qrs_duration": 90, "qt_interval": 380, "qrs_axis": -30}


@pytest.mark.parametrize(("formula", "name"), [(0, "qtc"), (1, "qtc_bazett"), (2, "qtc_hodges"), (255, "qtc")])
def test_a_corrected_qt_goes_by_the_name_of_its_formula(formula: int, name: str) -> None:
    assert read(scp(STEPS, more={7: scp_files.measurements(formula=formula)})).measured.known()[name] == 425


def test_a_heart_with_spikes_or_a_pacemaker_or_a_word_of_it_was_paced() -> None:
    spikes = read(scp(STEPS, more={7: scp_files.measurements(spikes=3)}))
    assert (spikes.paced, spikes.measured.heart_rate) == (True, 75)
    assert read(scp(STEPS, more={1: scp_files.patient(t32=b"\x00\x07\x2a")})).paced is True
    assert read(scp(STEPS, more={1: scp_files.patient(t32=b"\x00\x07")})).paced is None
    assert read(scp(STEPS, more={8: scp_files.statements(8, [b"Ventricular paced rhythm"])})).paced is True


def test_statements_are_those_of_both_sections_in_the_language_of_the_file() -> None:
    more = {
        1: scp_files.patient(language=0x37),
        8: scp_files.statements(8, ["Sinusrhythmus für".encode(), b"", b"LVH\0probable"]),
        11: scp_files.statements(11, [b"NSR"]),
    }
    assert read(scp(STEPS, more=more)).statements == ("Sinusrhythmus für", "LVH probable", "NSR")
    cut = scp_files.statements(8, [b"NSR", b"LVH"])[:-2]
    assert read(scp(STEPS, more={8: cut})).statements[0] == "NSR"


def test_what_a_request_states_may_not_contradict_the_file() -> None:
    assert reader.read(WHOLE, Stated(sampling_rate=500, unit="nV")).sampling_rate == 500
    for stated in (Stated(sampling_rate=250), Stated(unit="mV"), Stated(leads=LEADS)):
        with pytest.raises(DecodeError):
            reader.read(WHOLE, stated)
    with pytest.raises(UnknownUnit):
        reader.read(WHOLE, Stated(unit="mmHg"))


def section3(rows: list[tuple[int, int, int]], flags: int = 4) -> bytes:
    return bytes((len(rows), flags)) + b"".join(struct.pack("<IIB", *row) for row in rows)


def waveform(step: int = 1000, interval: int = 2000, order: int = 2) -> bytes:
    return scp_files.waveform(list(STEPS), step, interval, order, DEFAULT, False)


SPANS = [(1, 1000, code) for code in TWELVE]
AMBIGUOUS: list[list[Code]] = [[("0", 1, 1, 0), ("01", 2, 1, 1), ("11", 18, 1, 0)]]
HOLEY: list[list[Code]] = [[("0", 1, 1, 0), ("10", 18, 1, 0)]]


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({3: section3([(1, 1000, 9), (1, 1000, 16)])}, MissingLeads, "none of the twelve"),
        ({3: section3([*SPANS[:11], (1, 1000, 1)])}, DecodeError, "twice"),
        ({3: section3([*SPANS[:11], (1001, 2000, 64)])}, MissingLeads, "not recorded at once"),
        ({3: section3(SPANS, flags=3 << 3)}, MissingLeads, "3 of its leads"),
        ({3: section3([(5, 4, code) for code in TWELVE])}, DecodeError, "sample 5 to 4"),
        ({3: section3([(0, 999, code) for code in TWELVE])}, DecodeError, "sample 0"),
        ({3: section3([(1, 1100, code) for code in TWELVE])}, TruncatedFile, "of 1100"),
        ({3: section3([(1, 90_000, code) for code in TWELVE])}, TruncatedFile, "for 90000 samples"),
        ({3: section3([(1, 500, code) for code in TWELVE])}, DecodeError, "bytes more"),
        ({3: section3([(1, 2**31, code) for code in TWELVE])}, UnsafeFile, "samples"),
        ({3: section3([(1, 1000, 1)] * 200)}, UnsafeFile, "200 leads"),
        ({3: section3(SPANS)[:-12]}, DecodeError, "too short"),
        ({3: section3(SPANS, flags=5)}, DecodeError, "no section 5"),
        ({6: waveform(step=0)}, MissingMetadata, "step"),
        ({6: waveform(interval=0)}, MissingMetadata, "interval"),
        ({6: waveform(order=3)}, DecodeError, "order 3"),
        ({6: waveform()[:-200]}, TruncatedFile, "shorter than its leads"),
        ({6: scp_files.waveform(list(STEPS), 1000, 2000, 2, DEFAULT, True)[:20]}, DecodeError, "too short"),
        ({6: b""}, DecodeError, "too short"),
        ({2: struct.pack("<H", 0)}, DecodeError, "0 Huffman"),
        ({2: struct.pack("<H", 5000)}, UnsafeFile, "5000 Huffman"),
        ({2: struct.pack("<HH", 1, 60)}, DecodeError, "Huffman table 1"),
        ({2: scp_files.huffman(AMBIGUOUS)}, DecodeError, "same bits"),
        ({2: scp_files.huffman(HOLEY)}, DecodeError, "Huffman codes of a lead"),
        ({2: scp_files.huffman([[("0", 1, 0, 2), ("1", 1, 1, 0)]])}, DecodeError, "not there"),
        ({2: scp_files.huffman([[("0", 40, 1, 2), ("1", 1, 1, 0)]])}, DecodeError, "impossible length"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_for_its_own_reason(
    more: dict[int, bytes], error: type[EcgError], words: str
) -> None:
    with pytest.raises(error, match=words):
        read(scp(STEPS, more=more))


def pointing(sections: bytes, *pointers: tuple[int, int, int]) -> bytes:
    """A record of section 0, these sections, and pointers of number, length and place among them."""
    start = 6 + 16 + 10 * (1 + len(pointers)) + 1
    placed = [(0, start - 7, 7), *((number, length, start + at) for number, length, at in pointers)]
    heads = b"".join(struct.pack("<HII", *pointer) for pointer in placed)
    body = scp_files.section(0, heads, mark=b"SCPECG") + sections
    tail = struct.pack("<I", len(body) + 6) + body
    return struct.pack("<H", scp_files.crc(tail)) + tail


@pytest.mark.parametrize(("times", "words"), [(2, "twice"), (1024, "more than 1024")])
def test_a_section_that_is_pointed_to_twice_is_refused(times: int, words: str) -> None:
    section = scp_files.section(3, bytes(84))
    with pytest.raises(DecodeError, match=words):
        read(pointing(section, *[(3, len(section), 0)] * times))


def test_a_section_within_another_is_refused() -> None:
    inner = scp_files.section(4, bytes(984))
    outer = scp_files.section(3, inner + bytes(84))
    with pytest.raises(DecodeError, match="in another section"):
        read(pointing(outer, (3, len(outer), 0), (4, len(inner), 16)))


def test_tables_that_switch_in_a_circle_come_to_an_end() -> None:
    circle: list[list[Code]] = [[("1", 1, 0, 2)], [("1", 1, 0, 1), ("0", 1, 1, 7)]]
    tables = scp_huffman.tables(scp_files.huffman(circle))
    with pytest.raises(DecodeError):
        scp_huffman.decode(b"\xff" * 1000, 5, tables)
    assert scp_huffman.decode(b"\xbf", 1, tables)[0].tolist() == [7]


def test_beats_that_are_not_described_are_refused() -> None:
    used = beats(decimation=1, subtracted=True)
    zones = struct.pack("<HHH", 600, 101, 3) + b"".join(struct.pack("<HIII", 0, 160, 200, 460) for _ in range(3))
    for four, words in ((zones, "overlap"), (zones[:20], "too short"), (bytes(6), "no length")):
        with pytest.raises(DecodeError, match=words):
            read(scp(STEPS, beats=used, more={4: four}))


def test_a_bimodal_file_without_protected_areas_is_refused() -> None:
    used = beats(decimation=4, subtracted=True)
    unprotected = struct.pack("<HHH", 600, 101, 3) + b"".join(struct.pack("<HIII", *zone) for zone in used.zones)
    with pytest.raises(DecodeError, match="section 4"):
        read(scp(STEPS, beats=used, more={4: unprotected}))


def test_more_beats_than_a_resting_ecg_has_are_refused() -> None:
    with pytest.raises(UnsafeFile, match="5001 beats"):
        read(scp(STEPS, beats=beats(decimation=1, subtracted=True), more={4: struct.pack("<HHH", 600, 101, 5001)}))


def test_a_file_without_all_chest_leads_is_refused() -> None:
    with pytest.raises(MissingLeads, match="no V5, V6"):
        read(scp(STEPS[:6], codes=EIGHT[:6]))


def test_a_file_without_rhythm_says_what_to_export() -> None:
    with pytest.raises(EcgError, match="section 6"):
        read(scp_files.record({1: scp_files.patient(), 3: section3(SPANS)}))


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_cut_file_is_refused(percent: int) -> None:
    for data in [WHOLE, *[content(row) for row in REAL]]:
        with pytest.raises(DecodeError):
            reader.read(data[: len(data) * percent // 100], Stated())


def test_no_corruption_passes_silently() -> None:
    rng = np.random.default_rng(5)
    for data in [WHOLE, *[content(row) for row in REAL]]:
        for limit in [len(data)] * 25 + [2000] * 25:
            broken = bytearray(data)
            broken[rng.integers(limit)] ^= int(rng.integers(1, 256))
            with pytest.raises(EcgError):
                reader.read(bytes(broken), Stated())


def test_the_crc_of_a_section_is_checked_beside_that_of_the_file() -> None:
    broken = bytearray(WHOLE)
    broken[-1] ^= 1
    broken[:2] = struct.pack("<H", scp_files.crc(bytes(broken[2:])))
    with pytest.raises(ChecksumMismatch, match="section 6"):
        read(bytes(broken))


SMALL = scp(STEPS[:, :40], tables=SWITCHING, order=1)


@settings(max_examples=200, deadline=None)
@given(st.integers(6, len(SMALL) - 1), st.binary(min_size=1, max_size=4), st.booleans())
def test_any_bytes_under_right_checksums_are_a_recording_or_a_refusal(at: int, new: bytes, cut: bool) -> None:
    broken = SMALL[:at] + new + SMALL[at + len(new) * (not cut) :]
    with suppress(EcgError):
        assert np.isfinite(reader.read(mended(broken), Stated()).signal).all()


def mended(data: bytes) -> bytes:
    """With checksums that fit wherever the pointers lead, so that what they hide is reached."""
    out = bytearray(data)
    for number, length, index in struct.iter_unpack("<HII", data[22:142]):
        if length > 16 and 6 < index < len(data) - length and number < 12:
            out[index - 1 : index + 1] = struct.pack("<H", scp_files.crc(bytes(out[index + 1 : index - 1 + length])))
    out[2:6] = struct.pack("<I", len(out))
    return struct.pack("<H", scp_files.crc(bytes(out[2:]))) + bytes(out[2:])
