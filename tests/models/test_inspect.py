from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from models.ecg import Filters, Recording, decode
from models.ecg.__main__ import app
from models.ecg.conversion import convert
from models.ecg.examination import look
from models.ecg.inspection import report
from models.ecg.measurements import Measurements
from models.ecg.recording import LEADS, Remark
from models.ecg.source import content, sources
from models.ecg.writers import FORMATS, dicom, wfdb_record
from tests.models.ecg_files import FILES, REPOSITORY, Row, expected, made_up_signal, name_of

RESTING = Recording(
    signal=made_up_signal(),
    sampling_rate=500.0,
    age=61.0,
    sex="F",
    height=165.0,
    weight=70.5,
    patient_id="sim-7",
    acquired_at=datetime(2024, 3, 9, 5, 6, 7, tzinfo=UTC),
    device="cart of the test",
    filters=Filters(high_pass=0.15, low_pass=150.0),
    measured=Measurements(heart_rate=74, qt_interval=400),
    statements=("Sinus rhythm",),
)
READ = [row for row in expected("wfdb", "dicom", "json", "cardiosoft") if row["action"] == "accept"]
REFUSED = [row for row in expected("adversarial") if row["action"] == "refuse"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_record(folder: Path, name: str = "rec") -> Path:
    """A WFDB record of two files."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in wfdb_record.files(RESTING, name=name).items():
        (folder / file).write_bytes(data)
    return folder / f"{name}.hea"


@pytest.fixture
def ecg(tmp_path: Path) -> Path:
    path = tmp_path / "ecg.dcm"
    path.write_bytes(dicom.write(RESTING))
    return path


def test_a_program_of_its_own_reads_a_file_and_says_how_it_went(ecg: Path, tmp_path: Path) -> None:
    def status(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "models.ecg", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
        return done.returncode, done.stdout, done.stderr

    code, told, wrong = status("inspect", str(ecg))
    assert (code, wrong) == (0, "")
    assert told.startswith("ecg.dcm\n  format    DICOM\n")
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(ecg.read_bytes()[:50_000])
    code, told, wrong = status("inspect", str(cut))
    assert (code, told) == (1, "")
    assert wrong.startswith("cut.dcm: The file ends too early: ")
    assert wrong.endswith("The transfer was probably cut: send the whole file again.\n")
    assert "Traceback" not in wrong
    assert status("inspect", str(tmp_path / "nothing.dcm"))[0] == 2
    assert status("convert", str(ecg), "--to", "gif")[0] == 2


def test_everything_that_was_understood_is_printed(ecg: Path) -> None:
    told = run("inspect", ecg).stdout
    for line in (
        "  signal    10.0 s at 500 Hz (5000 samples)",
        "  leads     all twelve stored",
        "  patient   sim-7, 61 years, female, 165 cm, 70.5 kg",
        "  recorded  2024-03-09 05:06:07+00:00",
        "  device    cart of the test",
        "  filters   above 0.15 Hz, below 150 Hz",
        "  pacing    not stated",
        f"  digest    {RESTING.digest}",
        "quality: usable, nothing noticed",
    ):
        assert line in told.splitlines()
    (rate,) = [line for line in told.splitlines() if line.startswith("  heart rate")]
    assert rate.split() == ["heart", "rate", "75", "74", "/min"]


def test_measurements_of_the_device_stand_beside_ours() -> None:
    lines = report(look(RESTING)).splitlines()
    (head,) = [line for line in lines if line.startswith("measured")]
    assert head.split() == ["measured", "ours", "device"]
    assert [line.split() for line in lines if "heart rate" in line] == [["heart", "rate", "75", "74", "/min"]]
    assert [line.split()[-2:] for line in lines if line.startswith("  QT ")] == [["400", "ms"]]
    assert '  "Sinus rhythm"' in lines


def test_what_is_not_in_the_file_is_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "unknown.zip"
    path.write_bytes(wfdb_record.write(Recording(signal=made_up_signal(), sampling_rate=500.0)))
    told = run("inspect", path).stdout
    for name in ("patient", "recorded", "device", "filters", "pacing"):
        assert f"  {name:8}  not stated" in told.splitlines()


def test_computed_and_extra_leads_are_named() -> None:
    extra = Remark(code="extra-leads", leads=("V3R",), message="left out: V3R")
    told = report(look(dataclasses.replace(RESTING, derived=("III", "aVF"), remarks=(extra,))))
    leads = ", ".join(lead for lead in LEADS if lead not in ("III", "aVF"))
    assert f"  leads     {leads} stored, computed from I and II: III, aVF" in told
    assert "  left out  V3R" in told
    assert "  info  extra-leads" in told


def test_a_signal_that_cannot_be_used_is_told_in_full_and_refused(tmp_path: Path) -> None:
    signal = RESTING.signal.copy()
    signal[LEADS.index("V2")] = 0
    path = tmp_path / "flat.dcm"
    path.write_bytes(dicom.write(dataclasses.replace(RESTING, signal=signal)))
    done = run("inspect", path)
    assert done.exit_code == 1
    assert "quality: not usable\n  error  flat-leads  no signal in V2" in done.stdout
    assert done.stderr == (
        "flat.dcm: Leads without a signal: no signal in V2\nCheck the electrodes and record the ECG again.\n"
    )


def test_json_says_the_same_for_programs(ecg: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"")
    done = run("inspect", ecg, broken, "--json")
    assert done.exit_code == 1
    good, bad = map(json.loads, done.stdout.splitlines())
    assert good["file"] == "ecg.dcm"
    assert (good["usable"], good["refused"], good["digest"]) == (True, None, RESTING.digest)
    patient = {"id": "sim-7", "age_years": 61.0, "sex": "F", "height_cm": 165.0, "weight_kg": 70.5}
    assert good["patient"] == patient
    assert good["filters_hz"] == {"high_pass": 0.15, "low_pass": 150.0, "notch": None}
    assert good["measured_by_us"]["heart_rate"] == pytest.approx(75, abs=0.5)
    assert bad["usable"] is False
    assert done.stderr.startswith("broken.dcm: The file is empty: ")
    assert bad["refused"]["title"] == "The file is empty"


def test_what_a_file_does_not_say_can_be_stated(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    np.savetxt(path, 1e3 * RESTING.signal.T, "%.3f", ",")
    done = run("inspect", path)
    assert done.exit_code == 1
    assert done.stderr.endswith("State them with --sampling-rate, --unit and --leads.\n")
    named = run("inspect", path, "--sampling-rate", 500, "--unit", "uV", "--leads", ",".join(LEADS))
    assert named.exit_code == 0
    assert f"  digest    {RESTING.digest}" in named.stdout


def test_a_record_is_read_from_its_header_with_the_file_beside_it(tmp_path: Path) -> None:
    header = write_record(tmp_path)
    assert decode(content(header)).digest == RESTING.digest
    header.with_suffix(".dat").unlink()
    done = run("inspect", header)
    assert done.exit_code == 1
    assert "signal file 'rec.dat' is missing" in done.stderr


@pytest.mark.parametrize("name", ["../outside.dat", "/etc/passwd", "..", "sub/rec.dat"])
def test_no_path_leads_out_of_the_folder_of_a_header(tmp_path: Path, name: str) -> None:
    header = write_record(tmp_path / "in")
    (tmp_path / "in/sub").mkdir()
    for place in (tmp_path / "outside.dat", tmp_path / "in/sub/rec.dat"):
        place.write_bytes(header.with_suffix(".dat").read_bytes())
    header.write_text(header.read_text().replace("rec.dat", name))
    done = run("inspect", header)
    assert done.exit_code == 1
    assert "which is no plain file name" in done.stderr


def test_no_link_beside_a_header_is_followed(tmp_path: Path) -> None:
    header = write_record(tmp_path / "in")
    (tmp_path / "in/rec.dat").rename(tmp_path / "outside.dat")
    (tmp_path / "in/rec.dat").symlink_to(tmp_path / "outside.dat")
    assert "signal file 'rec.dat' is missing" in run("inspect", header).stderr


def test_a_file_larger_than_any_ecg_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)
    done = run("inspect", path)
    assert done.exit_code == 1
    assert "10240 MB is more than any resting ECG has" in done.stderr


def test_a_folder_is_one_line_a_file_without_the_signal_files_of_records(ecg: Path, tmp_path: Path) -> None:
    write_record(tmp_path / "deeper")
    (tmp_path / "note.txt").write_text("no ECG at all")
    (tmp_path / ".hidden").write_text("nothing")
    assert [str(source.name) for source in sources(tmp_path)] == ["deeper/rec.hea", "ecg.dcm", "note.txt"]
    done = run("inspect", tmp_path)
    assert done.exit_code == 1
    record, file, note, total = done.stdout.splitlines()
    assert record.split()[:6] == ["deeper/rec.hea", "usable", "WFDB", "500", "Hz", "10.0"]
    assert file.split()[:3] == ["ecg.dcm", "usable", "DICOM"]
    assert note.split()[:2] == ["note.txt", "refused"]
    assert total == "2 of 3 can be used"
    assert run("inspect", tmp_path / "deeper").exit_code == 0


def test_an_empty_folder_is_a_wrong_command(tmp_path: Path) -> None:
    done = run("inspect", tmp_path)
    assert done.exit_code == 2
    assert "there is no file in" in done.stderr


def test_the_ecg_is_drawn(ecg: Path, tmp_path: Path) -> None:
    picture, vector = tmp_path / "new" / "ecg.png", tmp_path / "ecg.svg"
    done = run("inspect", ecg, "--png", picture, "--svg", vector, "--layout", "12x1", "--gain", "5")
    assert done.exit_code == 0
    assert Image.open(io.BytesIO(picture.read_bytes())).width == 1620
    told = [text.text or "" for text in ET.fromstring(vector.read_text()).iter("{http://www.w3.org/2000/svg}text")]
    assert any("5 mm/mV" in text for text in told)
    assert any(text.startswith("Patient sim-7") for text in told)


def test_several_are_drawn_into_a_folder(ecg: Path, tmp_path: Path) -> None:
    header = write_record(tmp_path)
    assert run("inspect", ecg, header, "--png", tmp_path / "drawn").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["ecg.dcm.png", "rec.hea.png"]


def test_no_drawing_replaces_another(ecg: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ecg.dcm").write_bytes(ecg.read_bytes())
    done = run("inspect", ecg, tmp_path / "other" / "ecg.dcm", "--png", tmp_path / "drawn")
    assert done.exit_code == 2
    assert "two of the files have the same name" in done.stderr


def test_no_drawing_replaces_an_ecg_by_mistake(ecg: Path) -> None:
    before = ecg.read_bytes()
    assert run("inspect", ecg, "--png", ecg).exit_code == 2
    assert run("inspect", ecg, "--layout", "5x5").exit_code == 2
    assert ecg.read_bytes() == before


def test_escape_sequences_of_a_file_reach_no_terminal() -> None:
    hostile = dataclasses.replace(RESTING, device="\x1b]0;owned\x07", statements=("\x1b[2J",), patient_id="a\nb")
    told = report(look(hostile))
    assert "\x1b" not in told
    assert "\x07" not in told
    assert "a\nb" not in told


@pytest.mark.parametrize("row", READ, ids=name_of)
def test_real_files_are_inspected(row: Row) -> None:
    done = run("inspect", FILES / row["path"], "--json")
    assert done.exit_code == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["sampling_rate_hz"] == row["reading"]["sampling_rate_hz"]
    assert seen["samples"] == row["reading"]["samples"]
    assert set(seen["leads"]["stored"]) == set(row["reading"]["leads_in_file"]) & set(LEADS)


@pytest.mark.parametrize("row", REFUSED, ids=name_of)
def test_hostile_files_are_refused_in_words(row: Row) -> None:
    done = run("inspect", FILES / row["path"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert len(done.stderr.splitlines()) == 2


def test_converting_tells_what_the_format_could_not_hold(ecg: Path) -> None:
    done = run("convert", ecg, "--to", "wfdb")
    assert done.exit_code == 0
    first, *lost = done.stdout.splitlines()
    written = ecg.with_suffix(".zip")
    assert first == f"ecg.dcm -> {written} ({written.stat().st_size} bytes, largest difference 0.00 µV)"
    assert "  patient id sim-7: dropped" in lost
    assert "  filters above 0.15 Hz, below 150 Hz: dropped" in lost
    assert decode(written.read_bytes()).digest == RESTING.digest


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_of_each_field_whether_it_came_back(name: str) -> None:
    result = convert(RESTING, name)
    if result.difference is None:
        assert result.losses[0].startswith("not compared, as the file is not read here: ")
        return
    again = decode(result.content)
    assert result.difference == pytest.approx(1e3 * np.abs(again.signal - RESTING.signal).max())
    for field in ("age", "sex", "height", "weight", "patient_id", "acquired_at", "device", "filters", "statements"):
        told = any(loss.startswith(field.replace("_", " ")) for loss in result.losses)
        assert told == (getattr(again, field) != getattr(RESTING, field)), field
    told = any(loss.startswith("measured by the device") for loss in result.losses)
    assert told == (again.measured.known() != RESTING.measured.known())


def test_a_coarser_format_says_by_how_much() -> None:
    rng = np.random.default_rng(3)
    result = convert(dataclasses.replace(RESTING, signal=30 * rng.standard_normal((12, 5000))), "DICOM")
    assert result.difference is not None
    assert 0.5 < result.difference < 5


def test_leads_that_were_computed_are_said_to_be_stored_as_recorded_ones() -> None:
    result = convert(dataclasses.replace(RESTING, derived=("III", "aVF")), "WFDB")
    assert "III, aVF, computed from I and II, are stored as if they were recorded" in result.losses


def test_nothing_is_overwritten_unless_forced_and_the_ecg_itself_never(ecg: Path) -> None:
    before = ecg.read_bytes()
    place = ecg.with_suffix(".zip")
    place.write_text("precious")
    done = run("convert", ecg, "--to", "wfdb")
    assert done.exit_code == 1
    assert "Nothing was written" in done.stderr
    assert place.read_text() == "precious"
    assert run("convert", ecg, "--to", "wfdb", "--force").exit_code == 0
    assert decode(place.read_bytes()).digest == RESTING.digest
    done = run("convert", ecg, "--to", "dicom", "--force")
    assert done.exit_code == 1
    assert "this is the file that was read" in done.stderr
    assert ecg.read_bytes() == before


def test_a_folder_becomes_a_folder(ecg: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    write_record(folder / "deeper")
    (folder / "ecg.dcm").write_bytes(ecg.read_bytes())
    (folder / "ecg.csv").write_text("no ECG")
    done = run("convert", folder, "--to", "wfdb")
    assert done.exit_code == 1
    assert done.stderr.startswith("ecg.csv: ")
    new = tmp_path / "exports-wfdb"
    assert sorted(str(path.relative_to(new)) for path in new.rglob("*.zip")) == ["deeper/rec.zip", "ecg.zip"]
    assert run("convert", folder / "deeper", "--to", "DICOM", "--out", tmp_path / "there").exit_code == 0
    assert decode((tmp_path / "there" / "rec.dcm").read_bytes()).digest == RESTING.digest


def test_two_files_of_one_name_do_not_replace_each_other(ecg: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twins"
    twin.mkdir()
    for name in ("ecg.dcm", "ecg.dicom"):
        (twin / name).write_bytes(ecg.read_bytes())
    done = run("convert", twin, "--to", "wfdb", "--force")
    assert done.exit_code == 1
    assert "another file of this command was written there" in done.stderr


def test_what_a_format_cannot_hold_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fast.zip"
    path.write_bytes(wfdb_record.write(dataclasses.replace(RESTING, sampling_rate=1000.0)))
    done = run("convert", path, "--to", "muse")
    assert done.exit_code == 1
    assert "This format cannot hold the ECG: 1000 Hz" in done.stderr
    assert not path.with_suffix(".xml").exists()


@pytest.mark.parametrize(
    ("command", "taught"),
    [
        ((), ("inspect", "convert", ".hea")),
        (("inspect", "--help"), ("--png", "exports/", "exit status")),
        (("convert", "--help"), ("--to", "wfdb|dicom|", "read again")),
    ],
)
def test_the_help_teaches(command: tuple[str, ...], taught: tuple[str, ...]) -> None:
    told = run(*command).output
    for words in taught:
        assert words in told
