"""Files are read to the values that independent readers found, or refused in words; nothing else ever happens."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pydicom
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from models.ecg import LEADS, DecodeError, EcgError, Recording, Stated, UnsupportedFormat, archive, decode
from models.ecg.errors import (
    ChecksumMismatch,
    EmptyFile,
    IncompleteRecording,
    MissingLeads,
    MissingMetadata,
    MissingSamples,
    TruncatedFile,
    UnknownUnit,
    UnsafeFile,
)
from models.ecg.formats import wfdb_header, wfdb_record
from models.ecg.leads import lead_name
from models.ecg.units import millivolts_per
from tests.models.conftest import FILES, expected_rows, upload_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas, which wfdb imports, deprecates what wfdb does
    import wfdb

READ_HERE = ("WFDB", "DICOM", "CSV", "TSV", "JSON", "zip")
STATED = Stated(sampling_rate=500, unit="mV")


def needs_stating(row: dict[str, Any]) -> bool:
    """CSV files without comment lines say neither their rate nor their unit."""
    return bool(row["path"].endswith(".csv"))


@pytest.mark.parametrize("row", expected_rows(*READ_HERE))
def test_a_real_file_is_read_as_other_readers_read_it_or_refused(row: dict[str, Any]) -> None:
    stated = STATED if needs_stating(row) else None
    if row["action"].startswith(("refuse", "decode-only")) and "gaps" not in row["path"]:
        with pytest.raises(EcgError):
            decode(upload_of(row), stated if "no_header" not in row["path"] else None)
        return
    recording = decode(upload_of(row), stated)
    reading = row.get("reading")
    if "gaps" in row["path"]:
        assert "gaps-derived" in {remark.code for remark in recording.remarks}
        return
    assert recording.sampling_rate == reading["sampling_rate_hz"]
    assert recording.signal.shape == (12, reading["samples"])
    for lead, first in reading["first8_uV"].items():
        np.testing.assert_allclose(recording.lead(lead)[:8] * 1000, first, atol=0.01)
    for lead, (low, high) in reading["min_max_uV"].items():
        np.testing.assert_allclose(
            (recording.lead(lead).min() * 1000, recording.lead(lead).max() * 1000), (low, high), atol=0.01
        )
    for lead, total in reading.get("sum_uV", {}).items():
        assert recording.lead(lead).sum() * 1000 == pytest.approx(total, abs=0.01 * reading["samples"])
    patient = row.get("patient_as_read") or {}
    if recording.source_format != "CSV":  # tables say nothing of the patient
        assert recording.age == float(patient.get("age_years") or patient.get("age"))
        assert recording.sex == patient.get("sex")
    assert set(LEADS) == set(reading["leads_in_file"]) | set(recording.derived)


def test_a_csv_without_rate_and_unit_is_refused_and_the_request_may_state_them() -> None:
    csv = ("I,II,V1,V2,V3,V4,V5,V6\n" + "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8\n" * 50).encode()
    with pytest.raises(MissingMetadata, match=r"sampling rate|unit"):
        decode(csv)
    with pytest.raises(MissingMetadata, match="sampling rate"):
        decode(csv, Stated(unit="mV"))
    recording = decode(csv, Stated(sampling_rate=250, unit="uV"))
    assert recording.sampling_rate == 250
    assert recording.lead("II")[0] == pytest.approx(0.0002)
    assert recording.lead("III")[0] == pytest.approx(0.0001)
    assert recording.derived == ("III", "aVR", "aVL", "aVF")


@pytest.mark.parametrize(
    ("text", "rate", "first"),
    [
        ("# fs=500\n# unit=uV\n{h}\n{r}", 500, 0.001),
        ("# sampling_rate: 250 Hz\n#unit: mV\n{h}\n{r}", 250, 1.0),
        ("# unit=mV\ntime,{h}\n{t}", 100, 1.0),
        ("\ufeff# fs=500\r\n# unit=V\r\n{h}\r\n{r}", 500, 1000.0),
    ],
)
def test_a_table_may_say_its_rate_and_unit_in_several_ways(text: str, rate: float, first: float) -> None:
    rows = "1,2,3,4,5,6,7,8\n" * 40
    timed = "".join(f"{i / 100:.2f},1,2,3,4,5,6,7,8\n" for i in range(40))
    recording = decode(text.format(h="I,II,V1,V2,V3,V4,V5,V6", r=rows, t=timed).encode())
    assert recording.sampling_rate == rate
    assert recording.lead("I")[5] == pytest.approx(first)
    assert recording.signal.shape[1] == 40


def test_decimal_commas_and_columns_without_names_are_understood_when_stated() -> None:
    rows = "\n".join(";".join(f"{c},5" for c in range(8)) for _ in range(30)).encode() + b"\n"
    leads = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
    recording = decode(rows, Stated(sampling_rate=500, unit="mV", leads=leads))
    assert recording.lead("V6").tolist() == [7.5] * 30


def test_a_request_that_contradicts_the_file_is_refused() -> None:
    document = orjson.dumps({"fs": 500, "unit": "mV", "leads": {lead: [0.1] * 9 for lead in LEADS}})
    assert decode(document, STATED).sampling_rate == 500
    for contradicting in (Stated(sampling_rate=250), Stated(unit="uV")):
        with pytest.raises(DecodeError, match="request"):
            decode(document, contradicting)


JSON_LEADS = {lead: [0.1, 0.2, 0.3] for lead in LEADS}


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"fs": 500, "unit": "parsec", "leads": JSON_LEADS}, UnknownUnit),
        ({"fs": 500, "leads": JSON_LEADS}, MissingMetadata),
        ({"unit": "mV", "leads": JSON_LEADS}, MissingMetadata),
        ({"fs": 500, "unit": "mV", "leads": {"I": [1], "II": [1], "III": [0]}}, MissingLeads),
        ({"fs": 500, "unit": "mV", "leads": JSON_LEADS | {"V1": [0.1, None, 0.3]}}, MissingSamples),
        ({"fs": 500, "unit": "mV", "leads": JSON_LEADS | {"V1": [0.1, True, 0.3]}}, DecodeError),
        ({"fs": 500, "unit": "mV", "leads": JSON_LEADS | {"V1": [0.1, "0.2", 0.3]}}, DecodeError),
        ({"fs": 500, "unit": "mV", "leads": JSON_LEADS | {"v1": [0.1, 0.2, 0.3]}}, DecodeError),
        ({"fs": 500, "unit": "mV", "leads": JSON_LEADS | {"V1": [0.1]}}, DecodeError),
        ({"fs": -1, "unit": "mV", "leads": JSON_LEADS}, DecodeError),
        ({"fs": 500, "unit": "mV"}, UnsupportedFormat),
        ({"resourceType": "Observation"}, UnsupportedFormat),
        ([1, 2, 3], UnsupportedFormat),
    ],
)
def test_a_wrong_json_document_is_refused_for_its_own_reason(document: object, error: type[EcgError]) -> None:
    with pytest.raises(error):
        decode(orjson.dumps(document))


def test_json_with_rows_and_names_is_the_same_as_json_by_lead() -> None:
    rng = np.random.default_rng(3)
    signal = rng.normal(0, 1, (12, 100)).round(4)
    by_lead = decode(orjson.dumps({"fs": 500, "unit": "mV", "leads": dict(zip(LEADS, signal.tolist(), strict=True))}))
    rows = decode(orjson.dumps({"fs": 500, "unit": "mV", "lead_names": [*LEADS], "signal": signal.tolist()}))
    assert by_lead.digest == rows.digest


@pytest.mark.parametrize("name", ["HR06000", "E07500", "w16"])
def test_wfdb_samples_equal_the_reading_of_the_wfdb_package(name: str, shared_data: Path) -> None:
    folder = shared_data / "ecg-files" / "wfdb"
    record = wfdb.rdrecord(str(folder / name))
    packed = archive.pack({file.name: file.read_bytes() for file in folder.glob(f"{name}.*")})
    recording = decode(packed)
    assert recording.sampling_rate == record.fs
    for label, column in zip(record.sig_name, record.p_signal.T, strict=True):
        lead = lead_name(label)
        assert lead
        np.testing.assert_allclose(recording.lead(lead), column, atol=1e-9)


def test_the_ten_storage_formats_equal_the_reading_of_the_wfdb_package(shared_data: Path) -> None:
    folder = shared_data / "ecg-files" / "wfdb"
    files = {file.name: file.read_bytes() for file in folder.glob("binformats.*")}
    signals = wfdb_record.read_signals(wfdb_header.parse(files["binformats.hea"]), files)
    expected = wfdb.rdrecord(str(folder / "binformats"), physical=False)
    assert len(signals) == 10
    for ours, theirs in zip(signals, expected.d_signal.T, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_changed_wfdb_sample_is_noticed_by_its_checksum(shared_data: Path) -> None:
    folder = shared_data / "ecg-files" / "wfdb"
    signal = bytearray((folder / "w16.dat").read_bytes())
    signal[60_000] ^= 1
    with pytest.raises(ChecksumMismatch):
        decode(archive.pack({"w16.hea": (folder / "w16.hea").read_bytes(), "w16.dat": bytes(signal)}))


@pytest.fixture(scope="module")
def dicom() -> bytes:
    return Path(str(get_testdata_file("waveform_ecg.dcm"))).read_bytes()


def test_dicom_samples_equal_the_reading_of_pydicom(dicom: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(dicom))
    recording = decode(dicom)
    for column, channel in zip(
        dataset.waveform_array(0).T, dataset.WaveformSequence[0].ChannelDefinitionSequence, strict=True
    ):
        lead = lead_name(channel.ChannelSourceSequence[0].CodeValue)
        assert lead
        np.testing.assert_allclose(recording.lead(lead) * 1000, column, atol=1e-6)
    assert (recording.age, recording.sex, recording.patient_id) == (42, "F", "642341")
    assert recording.acquired_at is not None
    assert recording.acquired_at.isoformat() == "2013-01-25T10:59:19"
    assert recording.device == "Mortara Instrument, Inc. el250"
    assert recording.source_format == "DICOM"


def rewritten(dicom: bytes, change: Callable[[Any], None], syntax: str = "1.2.840.10008.1.2.1") -> bytes:
    """The DICOM file as pydicom writes it again after a change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(dicom))
        change(dataset)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
        out = io.BytesIO()
        dataset.save_as(out, little_endian=syntax != "1.2.840.10008.1.2.2", implicit_vr=syntax == "1.2.840.10008.1.2")
    return out.getvalue()


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"])
def test_every_little_endian_transfer_syntax_gives_the_same_ecg(dicom: bytes, syntax: str) -> None:
    assert decode(rewritten(dicom, lambda _: None, syntax)).digest == decode(dicom).digest


def test_big_endian_samples_are_turned_round(dicom: bytes) -> None:
    def swap(dataset: Any) -> None:
        for group in dataset.WaveformSequence:
            group.WaveformData = np.frombuffer(group.WaveformData, "<i2").astype(">i2").tobytes()

    assert decode(rewritten(dicom, swap, "1.2.840.10008.1.2.2")).digest == decode(dicom).digest


def test_a_deflated_dicom_bomb_is_stopped_at_its_bound(dicom: bytes) -> None:
    def blow_up(dataset: Any) -> None:
        dataset.add_new((0x0009, 0x0010), "LO", "BOMB")
        dataset.add_new((0x0009, 0x1001), "OB", bytes(80 * 2**20))

    bomb = rewritten(dicom, blow_up, "1.2.840.10008.1.2.1.99")
    assert len(bomb) < 2**20
    with pytest.raises(UnsafeFile, match="inflates to more"):
        decode(bomb)


def test_dicom_scale_offset_unit_and_padding_are_applied(dicom: bytes) -> None:
    original = decode(dicom).lead("V2")

    def rescale(dataset: Any) -> None:
        channel = dataset.WaveformSequence[0].ChannelDefinitionSequence[7]
        channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = "2.5", "0.5"
        channel.ChannelBaseline = "40"

    assert lead_name("5.6.3-9-4") == "V2"
    np.testing.assert_allclose(decode(rewritten(dicom, rescale)).lead("V2"), original + 0.04, atol=1e-9)

    def pad(dataset: Any) -> None:
        group = dataset.WaveformSequence[0]
        samples = np.frombuffer(group.WaveformData, "<i2").copy().reshape(-1, 12)
        samples[5, 6] = -32768
        group.WaveformData, group.WaveformPaddingValue = samples.tobytes(), b"\x00\x80"

    with pytest.raises(MissingSamples, match="V1"):
        decode(rewritten(dicom, pad))


def test_a_dicom_image_is_no_ecg() -> None:
    image = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    with pytest.raises(UnsupportedFormat, match="CT Image"):
        decode(image)


@pytest.mark.parametrize(
    "row", expected_rows("GE", "Philips", "HL7", "SCP", "EDF", "BDF", "ISHNE", "NumPy", "Parquet", "PNG", "PDF")
)
def test_formats_that_are_not_read_yet_are_recognised_and_say_what_to_send(row: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFormat) as refused:
        decode(upload_of(row))
    assert re_any(str(refused.value), ("send", "export"))


def re_any(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


@pytest.mark.parametrize(
    ("label", "lead"),
    [
        ("I", "I"), ("i", "I"), ("Lead I (Einthoven)", "I"), ("ECG I", "I"), ("EKG V1", "V1"), ("ECG I-REF", "I"),
        ("MDC_ECG_LEAD_AVF", "aVF"), ("5.6.3-9-1", "I"), ("5.6.3-9-62", "aVR"), ("2:1", "I"), ("2:64", "aVF"), ("AVR", "aVR"),
        ("avl", "aVL"), ("a V R", "aVR"), ("-aVR", "-aVR"), ("Lead V6", "V6"), ("V7", None), ("V3R", None), ("vx", None),
        ("", None), ("IV", None), ("2:99", None), ("I I", "II"),
    ],
)  # fmt: skip
def test_every_spelling_of_a_lead_is_understood(label: str, lead: str | None) -> None:
    assert lead_name(label) == lead


@pytest.mark.parametrize(
    ("unit", "factor"), [("mV", 1), ("mv", 1), ("uV", 1e-3), ("µV", 1e-3), ("μV", 1e-3), ("nV", 1e-6), ("V", 1e3)]
)
def test_every_spelling_of_a_voltage_is_understood(unit: str, factor: float) -> None:
    assert millivolts_per(unit) == factor


def test_minus_avr_is_turned_over_and_extra_leads_are_named() -> None:
    leads = {lead: [1.0, 2.0] for lead in LEADS if lead != "aVR"} | {"-aVR": [3.0, 4.0], "V7": [0.0, 0.0]}
    recording = decode(orjson.dumps({"fs": 500, "unit": "mV", "leads": leads}))
    assert recording.lead("aVR").tolist() == [-3.0, -4.0]
    assert [(remark.code, remark.leads) for remark in recording.remarks] == [("extra-leads", ("V7",))]


def test_an_archive_within_its_limits_is_read_and_beyond_them_refused() -> None:
    document = orjson.dumps({"fs": 500, "unit": "mV", "leads": JSON_LEADS})
    assert decode(archive.pack({"ecg.json": document})).sampling_rate == 500

    def zipped(**members: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in members.items():
                packed.writestr(name.replace("__", "/"), content)
        return buffer.getvalue()

    with pytest.raises(UnsafeFile):
        decode(zipped(**{"..__ecg.json": document}))
    with pytest.raises(UnsafeFile):
        decode(zipped(bomb=bytes(10 * 2**20)))
    with pytest.raises(UnsafeFile):
        decode(zipped(inner=zipped(ecg=document)))
    with pytest.raises(UnsafeFile):
        decode(zipped(**{f"m{i}": b"x" for i in range(21)}))
    with pytest.raises(DecodeError):
        decode(zipped(a=document, b=document))


def test_nothing_is_an_empty_file() -> None:
    with pytest.raises(EmptyFile):
        decode(b"")


def test_a_header_without_its_signal_says_what_to_send(shared_data: Path) -> None:
    with pytest.raises(IncompleteRecording, match="zip"):
        decode((shared_data / "ecg-files" / "wfdb" / "w16.hea").read_bytes())


ADVERSARIAL = sorted((FILES / "adversarial").iterdir()) if (FILES / "adversarial").is_dir() else []


@pytest.mark.skipif(not ADVERSARIAL, reason="the hostile files are not beside the repository")
def test_hostile_files_are_refused_quickly_and_in_little_memory() -> None:
    program = """
import resource, sys, time
from pathlib import Path
from models.ecg import EcgError, decode
for name in sys.argv[1:]:
    data, started = Path(name).read_bytes(), time.perf_counter()
    try:
        decode(data)
        print(name, "was accepted")
    except EcgError:
        seconds = time.perf_counter() - started
        if seconds > 2:
            print(name, "took", seconds)
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    told = subprocess.run(
        [sys.executable, "-c", program, *map(str, ADVERSARIAL)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(told) == 1, told
    assert int(told[0].removeprefix("peak ")) < 512, "megabytes at the most"


SEEDS: dict[str, bytes] = {
    "json": orjson.dumps({"fs": 500, "unit": "mV", "leads": JSON_LEADS}),
    "csv": b"# fs=500\n# unit=mV\n" + ",".join(LEADS).encode() + b"\n" + b"1,2,3,4,5,6,7,8,9,1,2,3\n" * 20,
    "wfdb": archive.pack(
        {
            "r.hea": b"r 8 500 4\n"
            + b"".join(f"r.dat 16 1000/mV 16 0 0 0 0 {lead}\n".encode() for lead in (*LEADS[:2], *LEADS[6:])),
            "r.dat": bytes(64),
        }
    ),
    "dicom": Path(str(get_testdata_file("waveform_ecg.dcm"))).read_bytes()[:20_000],
}


def outcome(data: bytes) -> Recording | EcgError:
    """What decode does with the bytes; any other exception fails the test that asks."""
    try:
        return decode(data)
    except EcgError as error:
        return error


def test_the_seeds_of_the_fuzzer_are_what_they_say() -> None:
    assert isinstance(outcome(SEEDS["json"]), Recording)
    assert isinstance(outcome(SEEDS["csv"]), Recording)
    assert isinstance(outcome(SEEDS["wfdb"]), Recording)
    assert isinstance(outcome(SEEDS["dicom"]), EcgError)


@given(st.binary(max_size=400))
@example(b"\0" * 128 + b"DICM")
@example(b"PK\x03\x04")
@example(b'{"leads":')
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_a_recording_or_an_ecg_error(data: bytes) -> None:
    assert isinstance(outcome(data), Recording | EcgError)


@given(st.sampled_from(sorted(SEEDS)), st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_files_give_a_recording_or_an_ecg_error(kind: str, draw: st.DataObject) -> None:
    content = bytearray(SEEDS[kind])
    for _ in range(draw.draw(st.integers(1, 6))):
        position = draw.draw(st.integers(0, len(content) - 1))
        content[position] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(0, len(content)))
    assert isinstance(outcome(bytes(content[: max(cut, 1)])), Recording | EcgError)


@pytest.mark.parametrize("kind", ["dicom", "wfdb", "json"])
def test_a_file_cut_anywhere_is_refused_and_never_silently_shorter(kind: str, dicom: bytes) -> None:
    whole = dicom if kind == "dicom" else SEEDS[kind]
    for percent in range(5, 100, 5):
        cut = whole[: len(whole) * percent // 100]
        found = outcome(cut)
        if kind == "dicom" and isinstance(found, Recording):
            # What follows the rhythm is a median beat and measurements: the ECG itself must be all there.
            assert found.digest == decode(whole).digest
        else:
            assert isinstance(found, EcgError), percent


def test_truncation_is_told_apart_from_damage(dicom: bytes) -> None:
    assert isinstance(outcome(dicom[: len(dicom) // 2]), TruncatedFile)
    assert isinstance(outcome(SEEDS["json"][:60]), TruncatedFile)
