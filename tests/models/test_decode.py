"""Whatever the bytes: a recording as independent readers found it, or a refusal in words; nothing else ever happens."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.ecg import LEADS, DecodeError, EcgError, Recording, Stated, UnsupportedFormat, archive, decode
from models.ecg.decode import MAX_BYTES
from models.ecg.errors import ChecksumMismatch, EmptyFile, MissingMetadata, UnsafeFile
from tests.models.cardiosoft_files import cardiosoft_xml
from tests.models.ecg_files import FILES, SHARED, content, expected, made_up_signal, name_of

FOREIGN = ("muse", "philips", "aecg", "scp", "fhir", "pdf", "image", "edf", "numpy", "parquet", "ishne")
HOSTILE = sorted((FILES / "adversarial").iterdir()) if FILES.is_dir() else []
JSON_ECG = orjson.dumps(
    {"fs": 500, "unit": "mV", "leads": dict(zip(LEADS, made_up_signal(0.2).round(3).tolist(), strict=True))}
)
CSV_ECG = b"# fs=500\n# unit=mV\n" + ",".join(LEADS).encode() + b"\n" + b"1,2,3,4,5,6,7,8,9,1,2,3\n" * 20
WFDB_ECG = archive.pack(
    {
        "r.hea": b"r 8 500 4\n"
        + b"".join(b"r.dat 16 1000/mV 16 0 0 0 0 %b\n" % c for c in b"I II V1 V2 V3 V4 V5 V6".split()),
        "r.dat": bytes(64),
    }
)
CARDIOSOFT_ECG = cardiosoft_xml(made_up_signal(0.2), step=1.0)


def dicom_ecg() -> bytes:
    file = FILES / "dicom" / "general8.dcm"
    return file.read_bytes() if file.is_file() else b""


SEEDS = {"JSON": JSON_ECG, "CSV": CSV_ECG, "WFDB": WFDB_ECG, "CardioSoft XML": CARDIOSOFT_ECG} | (
    {"DICOM": dicom_ecg()} if dicom_ecg() else {}
)


def outcome(data: bytes) -> Recording | EcgError:
    """What decode does with the bytes; any other exception fails the test that asks."""
    try:
        return decode(data)
    except EcgError as error:
        return error


@pytest.mark.parametrize("kind", SEEDS)
def test_the_format_is_told_from_the_bytes(kind: str) -> None:
    assert decode(SEEDS[kind]).source_format == kind


@pytest.mark.parametrize("row", expected(*FOREIGN), ids=name_of)
def test_formats_that_are_not_read_are_refused_with_what_to_send_instead(row: dict[str, str]) -> None:
    with pytest.raises(UnsupportedFormat, match=r"send|export"):
        decode(content(row))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("muse/constructed_500hz.xml", "GE MUSE"),
        ("philips/2020-5-18_15-48-11.xml", "Philips"),
        ("aecg/Example_aECG.xml", "HL7"),
        ("schiller/constructed.xml", "Schiller"),
        ("mortara/constructed_200.xml", "Mortara"),
        ("scp/Example.scp", "SCP-ECG"),
        ("edf/rest12.edf", "EDF"),
        ("edf/rest12.bdf", "BDF"),
        ("ishne/constructed_10s.ecg", "ISHNE"),
        ("mfer/constructed_le.mwf", "MFER"),
        ("fhir/ecg12_r4.json", "FHIR Observation"),
        ("pdf/00009_hr.pdf", "PDF"),
        ("image/00002_hr-0.png", "PNG"),
        ("numpy/mv_5000x12.npy", "NumPy"),
        ("parquet/uv.parquet", "Parquet"),
        ("adversarial/html_named.xml", "HTML page"),
    ],
)
def test_a_format_that_is_not_read_is_called_by_its_name(file: str, name: str) -> None:
    if not FILES.is_dir():
        pytest.skip("the real files are not beside the repository")
    with pytest.raises(UnsupportedFormat, match=name):
        decode((FILES / file).read_bytes())


@pytest.mark.skipif(not HOSTILE, reason="the hostile files are not beside the repository")
def test_hostile_files_are_refused_quickly_and_in_little_memory() -> None:
    program = """
import sys, time
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
status = Path("/proc/self/status").read_text()  # getrusage would also count the process that started this one
print("peak", int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""
    arguments = [sys.executable, "-c", program, *map(str, HOSTILE)]
    *complaints, peak = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()
    assert complaints == []
    assert int(peak.removeprefix("peak ")) < 512, "megabytes"


def test_nothing_is_an_empty_file() -> None:
    with pytest.raises(EmptyFile):
        decode(b"")


def test_more_bytes_than_any_ecg_are_not_even_looked_at() -> None:
    with pytest.raises(UnsafeFile, match="64 MB"):
        decode(bytes(MAX_BYTES + 1))


@given(st.binary(max_size=400))
@example(b"\0" * 128 + b"DICM")
@example(b"\x02\x00\x00\x00UL\x04\x00")
@example(b"PK\x03\x04")
@example(b'{"leads":')
@example(b"I,II\n")
@example(b"r 1 500\nr.dat 16")
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_a_recording_or_an_ecg_error(data: bytes) -> None:
    assert isinstance(outcome(data), Recording | EcgError)


@given(st.sampled_from(sorted(SEEDS)), st.data())
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_files_give_a_recording_or_an_ecg_error(kind: str, draw: st.DataObject) -> None:
    damaged = bytearray(SEEDS[kind])
    for _ in range(draw.draw(st.integers(1, 6))):
        reach = draw.draw(st.sampled_from((200, 2000, len(damaged))))  # headers are short and break most
        damaged[draw.draw(st.integers(0, min(reach, len(damaged)) - 1))] = draw.draw(st.integers(0, 255))
    end = draw.draw(st.sampled_from((len(damaged), draw.draw(st.integers(1, len(damaged))))))
    assert isinstance(outcome(bytes(damaged[:end])), Recording | EcgError)


@pytest.mark.parametrize("kind", sorted(set(SEEDS) - {"CSV"}))
def test_a_file_cut_anywhere_is_refused(kind: str) -> None:
    whole = SEEDS[kind]
    for percent in range(5, 100, 5):
        assert isinstance(outcome(whole[: len(whole) * percent // 100]), EcgError), percent


def test_a_cut_table_is_refused_or_shorter_by_whole_rows() -> None:
    # A table does not say how long it is: cut behind a row it cannot be told from a shorter one, cut within it can.
    whole = decode(CSV_ECG)
    for percent in range(5, 100, 5):
        found = outcome(CSV_ECG[: len(CSV_ECG) * percent // 100])
        if isinstance(found, Recording):
            assert found.signal.shape[1] < whole.signal.shape[1]
            assert (found.signal == whole.signal[:, : found.signal.shape[1]]).all()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JSON", "CSV"])
def test_the_one_file_of_an_archive_is_read(kind: str) -> None:
    packed = zipped({"export/ecg": SEEDS[kind], "__MACOSX/._ecg": b"litter", "readme": b"Recorded on Monday\n"})
    assert decode(packed).digest == decode(SEEDS[kind]).digest


@pytest.mark.parametrize(
    ("upload", "error", "reason"),
    [
        (zipped({"../ecg.json": JSON_ECG}), UnsafeFile, "outside"),
        (zipped({"/etc/ecg.json": JSON_ECG}), UnsafeFile, "outside"),
        (zipped({"C:\\ecg.json": JSON_ECG}), UnsafeFile, "outside"),
        (zipped({"bomb": bytes(10 * 2**20)}), UnsafeFile, "200-fold"),
        (zipped({"inner": zipped({"ecg": JSON_ECG})}), UnsafeFile, "another zip"),
        (zipped({f"m{n}": b"x" for n in range(21)}), UnsafeFile, "20 members"),
        (zipped({"a": JSON_ECG, "b": CSV_ECG}), DecodeError, "one ECG at a time"),
        (zipped({"a/ecg": JSON_ECG, "b/ecg": JSON_ECG}), DecodeError, "twice"),
        (zipped({"readme": b"nothing else"}), UnsupportedFormat, "readme"),
        (zipped({}), UnsupportedFormat, "nothing"),
    ],
)
def test_an_archive_of_anything_else_is_refused(upload: bytes, error: type[EcgError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        decode(upload)


def test_a_link_in_an_archive_is_not_followed() -> None:
    link = zipfile.ZipInfo("ecg.json")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(UnsafeFile, match="link"):
        decode(buffer.getvalue())


def test_an_encrypted_archive_is_refused() -> None:
    packed = bytearray(archive.pack({"ecg.json": JSON_ECG}))
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UnsafeFile, match="encrypted"):
        decode(bytes(packed))


def test_a_changed_byte_in_an_archive_is_noticed() -> None:
    packed = bytearray(archive.pack({"ecg.json": JSON_ECG}))
    packed[200] ^= 1
    with pytest.raises(ChecksumMismatch):
        decode(bytes(packed))


def test_an_archive_lying_about_a_size_is_refused() -> None:
    packed = bytearray(zipped({"ecg": JSON_ECG}))
    entry = packed.index(b"PK\x01\x02")
    packed[entry + 24 : entry + 28] = (100).to_bytes(4, "little")
    with pytest.raises(DecodeError):
        decode(bytes(packed))


@pytest.mark.parametrize("kind", sorted(SEEDS))
def test_what_a_request_states_may_repeat_the_file_but_never_contradict_it(kind: str) -> None:
    unit = "uV" if kind in {"DICOM", "CardioSoft XML"} else "mV"
    assert decode(SEEDS[kind], Stated(sampling_rate=500, unit=unit)).digest == decode(SEEDS[kind]).digest
    leads = ("II", "I", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    for contradiction in (Stated(sampling_rate=250), Stated(unit="V"), Stated(leads=leads)):
        with pytest.raises(DecodeError) as refused:
            decode(SEEDS[kind], contradiction)
        assert not isinstance(refused.value, MissingMetadata)


def test_every_real_record_of_the_challenge_is_read() -> None:
    headers = sorted((SHARED / "cinc2021_sample").glob("*.hea"))
    if not headers:
        pytest.skip("the real records are not beside the repository")
    for header in headers:
        signal = header.with_suffix(".mat")
        recording = decode(archive.pack({header.name: header.read_bytes(), signal.name: signal.read_bytes()}))
        assert recording.duration == 10
        assert recording.sex is not None
