"""Whatever the bytes: a recording as independent readers found it, or a refusal in words; nothing else ever happens."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.ecg import DecodeError, EcgError, Recording, Stated, UnsupportedFormat, archive, decode
from models.ecg.decode import MAX_BYTES
from models.ecg.errors import ChecksumMismatch, EmptyFile, MissingMetadata, UnsafeFile
from tests.models.ecg_files import FILES, SHARED
from tests.models.seeds import SEEDS

HOSTILE = sorted((FILES / "adversarial").iterdir()) if FILES.is_dir() else []
JSON_ECG, CSV_ECG = SEEDS["JSON"], SEEDS["CSV"]

UNITS = dict.fromkeys(("WFDB", "NumPy", "MATLAB", "Parquet", "Mortara ELI XML"), "mV") | {
    "SCP-ECG": "nV",
    "ISHNE": "nV",
    "MFER": "V",
}
"""In which a seed's steps are told; µV in the others."""

FOREIGN = {
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "a Python pickle": b"\x80\x04\x95" + bytes(100),
    "a 7-Zip archive": b"7z\xbc\xaf\x27\x1c" + bytes(100),
    "a RAR archive": b"Rar!\x1a\x07\x01\0",
    "a PNG picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a JPEG picture": b"\xff\xd8\xff\xe0" + bytes(100),
    "a GE Sapphire XML file": b"<?xml version='1.0'?><sapphire/>",
    "a FHIR resource in XML": b"<Observation xmlns='http://hl7.org/fhir'/>",
    "an HTML page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "root element 'invoice'": b"<!-- a comment --><invoice/>",
}


def outcome(data: bytes) -> Recording | EcgError:
    """What decode does with the bytes; any other exception fails the test that asks."""
    try:
        return decode(data)
    except EcgError as error:
        return error


@pytest.mark.parametrize("kind", SEEDS)
def test_the_format_is_told_from_the_bytes(kind: str) -> None:
    assert decode(SEEDS[kind]).source_format == kind


@pytest.mark.parametrize("name", FOREIGN)
def test_a_format_that_is_not_read_is_called_by_its_name_with_what_to_send_instead(name: str) -> None:
    with pytest.raises(UnsupportedFormat, match=rf"{name}.*(send|export)"):
        decode(FOREIGN[name])


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


@pytest.mark.parametrize("kind", SEEDS)
def test_two_thousand_damaged_files_give_a_recording_or_an_ecg_error(kind: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        assert isinstance(outcome(damaged(SEEDS[kind], rng)), Recording | EcgError)


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, and perhaps a stretch cut out, doubled or cut off; headers are short and break most."""
    content = bytearray(whole)
    for _ in range(rng.integers(1, 7)):
        reach = min(int(rng.choice((200, 2000, len(content)))), len(content))
        content[rng.integers(reach)] = rng.choice((0, 255, rng.integers(256)))
    start, end = sorted(rng.integers(len(content), size=2))
    kind = rng.integers(8)
    if kind == 0:
        del content[start:end]
    elif kind == 1:
        content[start:start] = content[start:end]
    return bytes(content[: end if kind == 2 else None])


@pytest.mark.parametrize("kind", SEEDS)
def test_a_file_cut_anywhere_is_refused(kind: str) -> None:
    whole = SEEDS[kind]
    for percent in range(1, 100):
        assert isinstance(outcome(whole[: len(whole) * percent // 100]), EcgError), percent


def test_a_cut_table_that_does_not_say_its_length_is_refused_or_shorter_by_whole_rows_or_doubted() -> None:
    silent = b"\n".join(row for row in CSV_ECG.split(b"\n") if not row.startswith(b"# samples"))
    whole = decode(silent)
    assert whole.remarks == ()
    for end in range(len(silent) - 400, len(silent)):
        found = outcome(silent[:end])
        if isinstance(found, Recording) and not np.array_equal(found.signal, whole.signal[:, : found.signal.shape[1]]):
            assert "open-end" in {remark.code for remark in found.remarks}


def test_annotations_travel_with_their_record() -> None:
    files = archive.unpack(SEEDS["WFDB"])
    annotations = bytes.fromhex("0904") + b"0       " + bytes(8)  # two bytes each, which may look like anything
    packed = zipped(files | {f"{next(iter(files)).partition('.')[0]}.atr": SEEDS["EDF"], "notes": annotations})
    assert decode(packed).digest == decode(SEEDS["WFDB"]).digest


def test_a_member_that_lies_about_its_size_is_not_inflated_whole() -> None:
    packed = bytearray(zipped({"ecg": bytes(150_000)}))
    entry = packed.index(b"PK\x01\x02")
    packed[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    with pytest.raises(DecodeError):
        decode(bytes(packed))


@pytest.mark.parametrize("declared", ["<!ATTLIST RestingECG x CDATA 'big'>", "<!ELEMENT RestingECG ANY>"])
def test_xml_that_declares_anything_is_refused(declared: str) -> None:
    with pytest.raises(UnsafeFile):
        decode(f"<?xml version='1.0'?><!DOCTYPE RestingECG [{declared}]><RestingECG/>".encode())


@pytest.mark.parametrize(
    "twice",
    [
        CSV_ECG.replace(b"# fs=500", b"# fs=500\n# fs=250"),
        CSV_ECG.replace(b"# unit=uV", b"# unit=uV\n# unit=mV"),
        JSON_ECG.replace(b'"unit"', b'"units":"V","unit"'),
        JSON_ECG.replace(b'"unit"', b'"fs":250,"unit"'),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(twice: bytes) -> None:
    assert twice not in (CSV_ECG, JSON_ECG)
    with pytest.raises(DecodeError, match="twice"):
        decode(twice)


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
        (zipped(archive.unpack(SEEDS["WFDB"]) | {"b": SEEDS["DICOM"]}), DecodeError, "one ECG at a time"),
        (zipped(archive.unpack(SEEDS["NumPy"]) | {"b": SEEDS["DICOM"]}), DecodeError, "one ECG at a time"),
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


@pytest.mark.parametrize("kind", sorted(set(SEEDS) - {"PDF report"}))
def test_what_a_request_states_may_repeat_the_file_but_never_contradict_it(kind: str) -> None:
    unit = UNITS.get(kind, "uV")
    assert decode(SEEDS[kind], Stated(sampling_rate=500, unit=unit)).digest == decode(SEEDS[kind]).digest
    leads = ("II", "I", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    other = "mV" if unit != "mV" else "V"
    for contradiction in (Stated(sampling_rate=250), Stated(unit=other), Stated(leads=leads)):
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
