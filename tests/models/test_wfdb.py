from __future__ import annotations

import warnings
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
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
def test_millivolts_equal_those_of_the_wfdb_package(folder: str, shared_data: Path) -> None:
    for header in sorted((shared_data / folder).glob("*.hea")):
        if header.stem == "binformats":
            continue
        signal_file = next(
            header.with_suffix(suffix) for suffix in (".dat", ".mat") if header.with_suffix(suffix).exists()
        )
        recording = decode(archive.pack({file.name: file.read_bytes() for file in (header, signal_file)}))
        truth = wfdb.rdrecord(str(header.with_suffix("")))
        assert recording.sampling_rate == truth.fs
        for label, column in zip(truth.sig_name, truth.p_signal.T, strict=True):
            np.testing.assert_allclose(recording.lead(str(lead_name(label))), column, atol=1e-9)


def test_the_ten_storage_formats_equal_the_reading_of_the_wfdb_package(shared_data: Path) -> None:
    folder = shared_data / "ecg-files" / "wfdb"
    files = {file.name: file.read_bytes() for file in folder.glob("binformats.*")}
    signals = wfdb_record.read_signals(wfdb_header.parse(files["binformats.hea"]), files)
    truth = wfdb.rdrecord(str(folder / "binformats"), physical=False)
    assert {signal.storage for signal in wfdb_header.parse(files["binformats.hea"]).signals} == set(STORAGE)
    for ours, theirs in zip(signals, truth.d_signal.T, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(st.sampled_from(sorted(STORAGE)), st.integers(0, 100))
def test_the_size_of_a_file_and_its_number_of_samples_belong_together(code: int, samples: int) -> None:
    storage = STORAGE[code]
    # Format 310 cannot tell the last two samples of a group from three.
    assert samples <= storage.samples_in(storage.bytes_of(samples)) <= samples + (code == 310)
    assert samples == 0 or storage.samples_in(storage.bytes_of(samples) - 1) < samples
    assert len(storage.samples(bytes(storage.bytes_of(samples)))) >= samples


def test_age_sex_and_start_are_taken_from_the_header() -> None:
    recording = decode(record(first="r 8 500 5 10:11:12.5 03/02/2001", comments="# Age: 59\n#<sex>: F\n# Dx: 4267\n"))
    assert (recording.age, recording.sex) == (59, "F")
    assert recording.acquired_at == datetime(2001, 2, 3, 10, 11, 12, 500_000)


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
    named = Stated(leads=LEADS8)
    unnamed = archive.pack({"r.hea": header.encode(), "r.dat": samples.astype("<i2").tobytes()})
    with pytest.raises((MissingSamples, DecodeError)):
        decode(unnamed, named)


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
        ("r 8 500 5 25:00:00 01/01/2020", "r.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", DecodeError),
        ("r/3 8 500 5", "r 5", UnsupportedFormat),
        ("r 8 500 5", "../r.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", UnsafeFile),
        ("r 8 500 5", "/etc/passwd 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", UnsafeFile),
        ("r 8 500 5", "C:r.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", UnsafeFile),
        ("r 8 500 5", "other.dat 16 1000/mV 16 0 {initial} {checksum} 0 {lead}", IncompleteRecording),
        ("r 8 500 5", "r.dat 16x2 1000/mV 16 0 {initial} {checksum} 0 {lead}", UnsupportedFormat),
        ("r 8 500 5", "r.dat 16:3 1000/mV 16 0 {initial} {checksum} 0 {lead}", UnsupportedFormat),
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
