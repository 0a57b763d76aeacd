"""Every file beside the repository does exactly what its entry in expected.json says: samples, person, fate."""

from __future__ import annotations

import numpy as np
import pytest

from models.ecg import LEADS, EcgError, Stated, assess, decode, writers
from models.ecg.errors import MissingLeads
from tests.models.ecg_files import FILES, Row, assert_reading, content, expected, name_of

ROWS = expected(*(sorted(folder.name for folder in FILES.iterdir() if folder.is_dir()) if FILES.is_dir() else ()))

STATED = {
    "csv/00009_hr.csv": Stated(sampling_rate=500, unit="mV"),
    "csv/eight_leads.csv": Stated(sampling_rate=500, unit="mV"),
    "numpy/mv_5000x12.npy": Stated(sampling_rate=500, unit="mV", leads=LEADS),
    "parquet/uv.parquet": Stated(sampling_rate=500, unit="uV"),
}
"""What no reader may guess: the files themselves do not say it."""


def rows(*actions: str) -> list[Row]:
    return [row for row in ROWS if row["action"] in actions]


def read(row: Row):  # type: ignore[no-untyped-def]  # a Recording
    return decode(content(row), STATED.get(row["path"]))


@pytest.mark.parametrize("row", rows("accept", "accept-with-warning", "accept-with-metadata"), ids=name_of)
def test_an_accepted_file_gives_the_samples_that_other_readers_or_its_maker_know(row: Row) -> None:
    recording = read(row)
    if "usable" in row:  # behind it stands a calibration pulse
        first, last = row["usable"]
        assert (first, last) == (0, recording.signal.shape[1])
        for lead in LEADS:
            assert (1e3 * recording.lead(lead)[:8]).tolist() == pytest.approx(row["reading"]["first8_uV"][lead])
    else:
        assert_reading(recording, row)


@pytest.mark.parametrize("row", rows("accept", "accept-with-warning", "accept-with-metadata"), ids=name_of)
def test_the_person_of_an_accepted_file_is_whom_it_says(row: Row) -> None:
    recording = read(row)
    patient = row.get("patient_as_read") or {}
    sex = {"U": None}.get(patient.get("sex"), patient.get("sex"))
    if "age" in patient:  # known from the source record; not every file that was made of it says so
        assert recording.age in (None, float(patient["age"]))
        assert recording.sex in (None, sex)
    else:
        assert recording.age == patient.get("age_years_reported", patient.get("age_years"))
        assert recording.sex == sex


@pytest.mark.parametrize("row", [row for row in ROWS if row.get("measurements_as_read")], ids=name_of)
def test_the_device_s_measurements_are_kept_to_the_digit(row: Row) -> None:
    if row["action"] not in {"accept", "accept-with-warning"}:
        with pytest.raises(MissingLeads):
            read(row)
        return
    known = read(row).measured.known()
    wanted = {name: value for name, value in row["measurements_as_read"].items() if name != "qrs_count"}
    assert {name: known.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("row", rows("refuse", "decode-only", "digitise-or-refuse"), ids=name_of)
def test_a_file_that_is_no_ecg_of_twelve_leads_is_refused_in_words(row: Row) -> None:
    with pytest.raises(EcgError) as refused:
        read(row)
    assert len(refused.value.detail) > 10


@pytest.mark.parametrize("row", rows("refuse-or-warn", "refuse-or-accept"), ids=name_of)
def test_a_doubtful_file_is_refused_or_comes_with_a_warning(row: Row) -> None:
    try:
        recording = read(row)
    except EcgError:
        return
    assert any(finding.severity != "info" for finding in assess(recording).findings)


@pytest.mark.parametrize("row", rows("accept-with-warning"), ids=name_of)
def test_a_file_with_a_trap_is_read_with_a_warning(row: Row) -> None:
    recording = read(row)
    findings = assess(recording).findings
    if not row["path"].startswith("muse/"):  # its trap, fiducial points on another clock, lies outside of what is read
        assert any(finding.severity == "warning" for finding in findings)


@pytest.mark.parametrize("row", rows("accept-with-metadata"), ids=name_of)
def test_what_a_file_does_not_say_is_never_guessed(row: Row) -> None:
    with pytest.raises(EcgError, match=r"rate|unit|leads"):
        decode(content(row))


def test_one_ecg_in_scp_aecg_and_dicom_has_one_identity() -> None:
    if not FILES.is_dir():
        pytest.skip("the real files are not beside the repository")
    scp, aecg = (decode((FILES / name).read_bytes()) for name in ("scp/Example.scp", "aecg/Example_aECG.xml"))
    dicom = decode(writers.dicom.write(scp))
    for other in (aecg, dicom):  # the last bit of a product may differ; the canonical samples may not
        np.testing.assert_allclose(other.signal, scp.signal, rtol=0, atol=1e-12)
    assert scp.digest == aecg.digest == dicom.digest
