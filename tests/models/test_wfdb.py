from __future__ import annotations

import contextlib
import warnings
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ecg import DecodeError, EcgError, Stated, UnsupportedFormat, archive, decode
from models.ecg.errors import (
    ChecksumMismatch,
    IncompleteRecording,
    MissingLeads,
    MissingMetadata,
    MissingSamples,
    TruncatedFile,
    UnsafeFile,
)
from models.ecg.formats import wfdb_header, wfdb_record
from models.ecg.formats.wfdb_samples import STORAGE
from models.ecg.leads import lead_name
from tests.models.ecg_files import Row, age_of, assert_reading, content, expected, name_of, sex_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas, which wfdb imports, warns of its own future
    import wfdb

LEADS8 = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
SAMPLES = np.arange(1, 41).reshape(5, 8)
"""Five samples of eight leads, as they stand in the file."""


def record(
    first: str = "r 8 500 5",
    signal: str = "r.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}",
    samples: bytes | None = None,
    comments: str = "",
) -> bytes:
    """A zip of one small record."""
    lines = [
        signal.format(initial=column[0], checksum=column.sum(), lead=lead)
        for lead, column in zip(LEADS8, SAMPLES.T, strict=True)
    ]
    header = "\n".join([first, *lines]) + "\n" + comments
    return archive.pack(
        {"r.hea": header.encode(), "r.dat": SAMPLES.astype("<i2").tobytes() if samples is None else samples}
    )


@pytest.mark.parametrize("row", [row for row in expected("wfdb", "zip") if row["action"] == "accept"], ids=name_of)
def test_real_records_are_read_as_other_readers_read_them(row: Row) -> None:
    recording = decode(content(row))
    assert_reading(recording, row)
    assert (recording.age, recording.sex) == (age_of(row), sex_of(row))
    assert recording.source_format == "WFDB"


@pytest.mark.parametrize("row", [row for row in expected("wfdb", "zip") if row["action"] != "accept"], ids=name_of)
def test_records_that_are_no_whole_ecg_are_refused(row: Row) -> None:
    with pytest.raises((MissingLeads, IncompleteRecording)):
        decode(content(row))


@pytest.mark.parametrize("folder", ["ecg-files/wfdb", "ludb/wfdb_sample", "cinc2021_sample"])
def test_every_record_equals_the_reading_of_the_wfdb_package(folder: str, shared_data: Path) -> None:
    headers = [header for header in sorted((shared_data / folder).glob("*.hea")) if header.stem != "binformats"]
    assert headers
    for header in headers:
        signal_file = next(
            header.with_suffix(suffix) for suffix in (".dat", ".mat") if header.with_suffix(suffix).exists()
        )
        recording = decode(archive.pack({file.name: file.read_bytes() for file in (header, signal_file)}))
        truth = wfdb.rdrecord(str(header.with_suffix("")))
        assert recording.sampling_rate == truth.fs
        for label, column in zip(truth.sig_name, truth.p_signal.T, strict=True):
            np.testing.assert_allclose(recording.lead(str(lead_name(label))), column, atol=1e-9)


def test_what_ludb_says_of_a_patient_is_kept(shared_data: Path) -> None:
    folder = shared_data / "ludb" / "wfdb_sample"
    recording = decode(archive.pack({name: (folder / name).read_bytes() for name in ("1.hea", "1.dat")}))
    assert (recording.age, recording.sex) == (51, "F")
    assert recording.statements[:2] == (
        "Rhythm: Sinus bradycardia.",
        "Electric axis of the heart: left axis deviation.",
    )
    assert len(recording.statements) == 5


def test_the_ten_storage_formats_equal_the_reading_of_the_wfdb_package(shared_data: Path) -> None:
    folder = shared_data / "ecg-files" / "wfdb"
    files = {file.name: file.read_bytes() for file in folder.glob("binformats.*")}
    signals = wfdb_record.read_signals(wfdb_header.parse(files["binformats.hea"]), files)
    truth = wfdb.rdrecord(str(folder / "binformats"), physical=False)
    assert {signal.storage for signal in wfdb_header.parse(files["binformats.hea"]).signals} == set(STORAGE)
    for ours, theirs in zip(signals, truth.d_signal.T, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    reading = next(row["reading"] for row in expected("wfdb") if row["path"] == "wfdb/binformats.hea")
    for label, ours in zip(reading["leads_in_file"], signals, strict=True):
        microvolts = ours.astype(float) / 200 * 1000  # the gain of all ten
        np.testing.assert_allclose(microvolts[:8], reading["first8_uV"][label])
        np.testing.assert_allclose((microvolts.min(), microvolts.max()), reading["min_max_uV"][label])
        np.testing.assert_allclose(microvolts.sum(), reading["sum_uV"][label])


@given(st.sampled_from(sorted(STORAGE)), st.integers(0, 100))
def test_the_size_of_a_file_and_its_number_of_samples_belong_together(code: int, samples: int) -> None:
    storage = STORAGE[code]
    # Format 310 cannot tell the last two samples of a group from three.
    assert samples <= storage.samples_in(storage.bytes_of(samples)) <= samples + (code == 310)
    assert samples == 0 or storage.samples_in(storage.bytes_of(samples) - 1) < samples
    assert len(storage.samples(bytes(storage.bytes_of(samples)))) >= samples


def test_age_sex_and_start_are_taken_from_the_header() -> None:
    recording = decode(record(first="r 8 500 5 10:11:12.5 03/02/2001", comments="# Age: 59\n#<sex>: F\n# Dx: 4267\n"))
    assert (recording.age, recording.sex, recording.statements) == (59, "F", ("Dx: 4267",))
    assert recording.acquired_at == datetime(2001, 2, 3, 10, 11, 12, 500_000)


def test_a_counter_frequency_is_not_the_sampling_rate() -> None:
    assert decode(record(first="r 8 500/1000(3) 5")).sampling_rate == 500


@pytest.mark.parametrize("moment", ["25:00:00 01/01/2020", "10:11:12 31/02/2020", "10:11:12"])
def test_an_impossible_start_is_no_start(moment: str) -> None:
    assert decode(record(first=f"r 8 500 5 {moment}")).acquired_at is None


def test_comments_say_size_weight_and_device_as_they_are_written() -> None:
    recording = decode(record(comments="#Height: 1.76 m\n# weight: 70.5\n# Device: AT-2 plus\n# Gender: male\n"))
    assert (recording.height, recording.weight, recording.device, recording.sex) == (176, 70.5, "AT-2 plus", "M")
    assert decode(record(comments="# Height: 1.76\n# Weight: heavy\n")).height is None


def test_diagnoses_follow_their_tag_or_stand_behind_it() -> None:
    tagged = decode(record(comments="#<age>: 51 <sex>: F <diagnoses>: Infarct\n#Rhythm: Sinus.\n#Age: 7\n#\n"))
    assert (tagged.age, tagged.sex) == (51, "F")
    assert tagged.statements == ("Infarct", "Rhythm: Sinus.", "Age: 7")
    assert decode(record(comments="# Dx: Unknown\n# Diagnosis: (none)\n")).statements == ()


@pytest.mark.parametrize(
    ("comment", "paced"), [("Dx: 426783006,10370003", True), ("Diagnosis: Paced rhythm", True), ("Dx: 103700031", None)]
)
def test_pacing_is_told_by_code_or_in_words(comment: str, paced: bool | None) -> None:
    assert decode(record(comments=f"# {comment}\n")).paced is paced


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_letters_of_other_scripts_end_no_line(encoding: str) -> None:
    """Å is C3 85 in UTF-8, and 85 alone would be the end of a line in Latin-1."""
    files = archive.unpack(record(comments="# Device: Ångström\r\n# Age: 59\n"))
    files["r.hea"] = files["r.hea"].decode().encode(encoding)
    recording = decode(archive.pack(files))
    assert (recording.device, recording.age) == ("Ångström", 59)


@pytest.mark.parametrize("age", ["Unknown", "NaN", "300", ">89", ""])
def test_an_age_that_is_none_stays_unknown(age: str) -> None:
    assert decode(record(comments=f"# Age: {age}\n")).age is None


@pytest.mark.parametrize(
    ("gain", "millivolts"),
    [("1000/mV", 0.001), ("1000(1)/mv", 0.0), ("0", 0.005), ("200", 0.005), ("2/uV", 0.0005), ("1e3(-1)/mV", 0.002)],
)
def test_gain_baseline_and_unit_are_applied(gain: str, millivolts: float) -> None:
    recording = decode(record(signal=f"r.dat 16 {gain} 16 0 {{initial}} {{checksum}} 0 {{lead}}"))
    assert recording.lead("I")[0] == pytest.approx(millivolts)


def test_without_a_baseline_the_converter_zero_is_taken() -> None:
    recording = decode(record(signal="r.dat 16 1000/mV 16 1 {initial} {checksum} 0 {lead}"))
    assert recording.lead("I")[0] == 0


def test_the_value_for_a_missing_sample_is_a_gap() -> None:
    samples = SAMPLES.copy()
    samples[2, 3] = -32768
    upload = record(signal="r.dat 16 1000/mV 16 0 {initial} 0 0 {lead}", samples=samples.astype("<i2").tobytes())
    with pytest.raises(ChecksumMismatch):
        decode(upload)
    header = "r 8 500 5\n" + "".join(f"r.dat 16 1000/mV\t16 0 {c + 1}\n" for c in range(8))
    unnamed = archive.pack({"r.hea": header.encode(), "r.dat": samples.astype("<i2").tobytes()})
    with pytest.raises(MissingSamples, match="1 samples are not numbers, in V2"):
        decode(unnamed, Stated(leads=LEADS8))


def test_a_changed_sample_is_noticed_by_its_checksum() -> None:
    samples = SAMPLES.copy()
    samples[3, 5] += 1
    with pytest.raises(ChecksumMismatch, match="V4"):
        decode(record(samples=samples.astype("<i2").tobytes()))


def test_a_changed_first_sample_is_noticed() -> None:
    samples = SAMPLES.copy()
    samples[0, 0] += 1
    samples[1, 0] -= 1
    with pytest.raises(ChecksumMismatch, match="first sample 2"):
        decode(record(samples=samples.astype("<i2").tobytes()))


def test_checksums_may_be_written_signed_or_unsigned() -> None:
    large = np.full((5, 8), 20_000)
    for checksum in (100_000 % 65_536, 100_000 % 65_536 - 65_536):
        line = f"r.dat 16 1000/mV 16 0 20000 {checksum} 0 {{lead}}"
        assert decode(record(signal=line, samples=large.astype("<i2").tobytes())).lead("V1")[0] == 20.0


@pytest.mark.parametrize(
    ("first", "signal", "error"),
    [
        ("r 8 500 6", "r.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", TruncatedFile),
        ("r 8 500 2000000000", "r.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", UnsafeFile),
        ("r 9 500 5", "r.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", DecodeError),
        ("r 8 500 4", "r.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", ChecksumMismatch),
        ("r 8", "r.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", MissingMetadata),
        ("r/3 8 500 5", "r 5", UnsupportedFormat),
        ("r 8 500 5", "../r.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", UnsafeFile),
        ("r 8 500 5", "/etc/passwd 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", UnsafeFile),
        ("r 8 500 5", "C:r.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", UnsafeFile),
        ("r 8 500 5", "other.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", IncompleteRecording),
        ("r 8 500 5", "r.dat 16x2 1000/mV 16 0 {initial} {checksum} 0 {lead}", TruncatedFile),
        ("r 8 500 5", "r.dat 16x0 1000/mV 16 0 {initial} {checksum} 0 {lead}", UnsafeFile),
        ("r 8 500 5", "r.dat 16:5 1000/mV 16 0 {initial} {checksum} 0 {lead}", DecodeError),
        ("r 8 500 5", "r.dat 0 1000/mV 16 0 {initial} {checksum} 0 {lead}", UnsupportedFormat),
        ("r 8 500 5", "r.dat 16 1e999/mV 16 0 {initial} {checksum} 0 {lead}", DecodeError),
        ("r 8 500 5", "r.dat 16 1e-300/mV 16 0 {initial} {checksum} 0 {lead}", DecodeError),
        ("r 8 500 5", "r.dat 16 " + "1" * 20_000 + "x 16 0 {initial} {checksum} 0 {lead}", DecodeError),
        ("r 8 500 5", "r.dat 16 1." + "1" * 20_000 + "x 16 0 {initial} {checksum} 0 {lead}", DecodeError),
        ("r 8 500 5", "r.dat 16 1" + " " * 100_000 + "x 16 0 {initial} {checksum} 0 {lead}", DecodeError),
        ("r 65 500 5", "r.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", UnsafeFile),
        ("r 8 500 5", "r.dat 16 1000/mmHg 16 0 {initial} {checksum} 0 {lead}", DecodeError),
        ("r 8 500 5", "r.dat 16+70 1000/mV 16 0 {initial} {checksum} 0 {lead}", TruncatedFile),
    ],
)
def test_a_header_that_breaks_the_rules_is_refused_for_its_own_reason(
    first: str, signal: str, error: type[EcgError]
) -> None:
    with pytest.raises(error):
        decode(record(first=first, signal=signal))


def test_a_header_without_its_signal_says_what_to_send() -> None:
    with pytest.raises(IncompleteRecording, match="in one zip"):
        decode(b"r 1 500 5\nr.dat 16 1000/mV 16 0 1 2 0 I\n")


@pytest.mark.parametrize("code", [508, 516, 524])
def test_flac_compression_is_called_by_its_name(code: int) -> None:
    line = f"r.flac {code} 1000/mV 16 0 {{initial}} {{checksum}} 0 {{lead}}"
    for upload in (record(signal=line), archive.unpack(record(signal=line))["r.hea"]):
        with pytest.raises(UnsupportedFormat, match="FLAC"):
            decode(upload)


def test_a_frame_may_hold_several_samples_of_each_lead_and_one_of_another_signal() -> None:
    """Two samples of each of eight leads, and one of a respiration; numbered as they stand in the file."""
    frames = np.arange(6 * 17).reshape(6, 17).astype("<i2")
    lines = [
        f"r.dat 16x2 1000/mV 16 0 {frames[0, 2 * n]} {frames[:, 2 * n : 2 * n + 2].sum()} 0 {lead}"
        for n, lead in enumerate(LEADS8)
    ]
    header = "\n".join(["r 9 250 6", *lines, f"r.dat 16 1/l 16 0 16 {frames[:, 16].sum()} 0 resp"]) + "\n"
    upload = archive.pack({"r.hea": header.replace("1/l", "1/mV").encode(), "r.dat": frames.tobytes()})
    recording = decode(upload)
    assert (recording.sampling_rate, recording.signal.shape) == (500, (12, 12))
    np.testing.assert_allclose(recording.lead("II") * 1000, [frames[t, 2 + part] for t in range(6) for part in (0, 1)])
    assert recording.remarks[0].leads == ("resp",)
    with pytest.raises(DecodeError, match="different rates"):
        decode(
            archive.pack(
                {"r.hea": header.replace("1/l", "1/mV").replace("resp", "III").encode(), "r.dat": frames.tobytes()}
            )
        )


def test_a_skewed_signal_is_shifted_and_the_end_that_the_others_lack_is_cut() -> None:
    plain = record()
    files = archive.unpack(plain)
    skewed = files["r.hea"].replace(b"r.dat 16 1000", b"r.dat 16:2 1000", 1)
    recording = decode(archive.pack(files | {"r.hea": skewed}))
    np.testing.assert_allclose(recording.lead("I") * 1000, SAMPLES[2:, 0])
    np.testing.assert_allclose(recording.lead("V6") * 1000, SAMPLES[:3, 7])
    assert [remark.code for remark in recording.remarks] == ["channel-skew"]


def test_signals_lie_in_files_of_their_own_formats_offsets_and_gains() -> None:
    whole = np.vstack([SAMPLES] * 3)
    stored = {
        "a.dat": ("16+24", bytes(24) + whole[:, :3].astype("<i2").tobytes()),
        "b.dat": ("61", whole[:, 3:].astype(">i2").tobytes()),
    }
    lines = [
        f"{name} {stored[name][0]} {100 * n + 100}({n})/{unit} 16 0 {whole[0, n]} {whole[:, n].sum()} 0 {lead}"
        for n, lead in enumerate(LEADS8)
        for name, unit in [("a.dat", "mV") if n < 3 else ("b.dat", "uV")]
    ]
    files = {name: content for name, (_, content) in stored.items()}
    recording = decode(archive.pack({"r.hea": "\n".join(["r 8 500 15", *lines]).encode()} | files))
    for n, lead in enumerate(LEADS8):
        np.testing.assert_allclose(recording.lead(lead), (whole[:, n] - n) / (100 * n + 100) * (1 if n < 3 else 1e-3))
    turned = [*lines[:2], *lines[3:], lines[2]]
    with pytest.raises(DecodeError, match="follow each other"):
        decode(archive.pack({"r.hea": "\n".join(["r 8 500 15", *turned]).encode()} | files))


def test_leads_without_a_description_are_the_senders_to_name() -> None:
    header = "r 8 500 5\n" + "r.dat 16 1000/mV\n" * 8
    upload = archive.pack({"r.hea": header.encode(), "r.dat": SAMPLES.astype("<i2").tobytes()})
    assert decode(upload, Stated(leads=LEADS8)).digest == decode(record()).digest
    with pytest.raises(MissingMetadata):
        decode(upload)


@pytest.mark.parametrize(
    ("first", "signal", "error", "reason"),
    [
        ("r 8 500 4", "r.dat 16", DecodeError, "more than the 4 samples"),
        ("r 8 500", "r.dat 16+2", TruncatedFile, "holds 4 samples"),
    ],
)
def test_without_checksums_a_file_is_as_long_as_it_says(
    first: str, signal: str, error: type[EcgError], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        decode(record(first=first, signal=signal), Stated(leads=LEADS8))


def test_a_header_of_megabytes_is_refused() -> None:
    with pytest.raises(UnsafeFile, match="header"):
        decode(record(comments="# x\n" * 400_000))


def test_two_records_in_one_archive_are_refused() -> None:
    header = b"r 1 500 5\nr.dat 16 1000/mV 16 0 1 2 0 I\n"
    with pytest.raises(DecodeError, match="one record"):
        decode(archive.pack({"a.hea": header, "b.hea": header, "r.dat": bytes(10)}))


def test_annotations_beside_the_record_are_left_alone() -> None:
    files = archive.unpack(record()) | {"r.atr": b"\x01\x02\x03", "r.i": b"\x04"}
    assert decode(archive.pack(files)).digest == decode(record()).digest


def test_more_samples_than_announced_are_only_taken_with_their_checksum() -> None:
    longer = np.vstack([SAMPLES, SAMPLES]).astype("<i2").tobytes()
    assert decode(record(samples=longer)).signal.shape == (12, 5)


REAL = [row for row in expected("wfdb", "zip") if row["action"] == "accept"]


@pytest.mark.parametrize("row", REAL, ids=name_of)
def test_a_record_cut_anywhere_is_refused(row: Row) -> None:
    files = archive.unpack(content(row))
    (signal_name,) = (name for name in files if not name.endswith(".hea"))
    for percent in range(100):
        cut = files[signal_name][: len(files[signal_name]) * percent // 100]
        with pytest.raises(EcgError):
            decode(archive.pack(files | {signal_name: cut}))


@pytest.mark.parametrize("row", REAL, ids=name_of)
def test_no_changed_sample_is_taken_for_a_sound_one(row: Row) -> None:
    """One changed byte always changes the sum of the samples."""
    files = archive.unpack(content(row))
    (signal_name,) = (name for name in files if not name.endswith(".hea"))
    rng = np.random.default_rng(7)
    for _ in range(25):
        changed = bytearray(files[signal_name])
        changed[rng.integers(len(changed))] ^= int(rng.integers(1, 256))
        if signal_name.endswith(".mat"):
            changed[:24] = files[signal_name][:24]  # the header of the MAT file is not looked at
        if changed != files[signal_name]:
            with pytest.raises(ChecksumMismatch):
                decode(archive.pack(files | {signal_name: bytes(changed)}))


@settings(max_examples=150, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4), part=st.booleans()
)
def test_whatever_the_bytes_the_answer_is_an_ecg_or_our_error(changes: list[tuple[int, int]], part: bool) -> None:
    files = archive.unpack(
        record(first="r 8 500/1(2) 5 1:2:3 4/5/2006", comments="#<age>: 51 <dx>: a\n# Height: 9 m\n")
    )
    name = "r.hea" if part else "r.dat"
    broken = bytearray(files[name])
    for place, value in changes:
        broken[place % len(broken)] = value
    with contextlib.suppress(EcgError):
        decode(archive.pack(files | {name: bytes(broken)}))
