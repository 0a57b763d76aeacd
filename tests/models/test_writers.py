from __future__ import annotations

import base64
import dataclasses
import io
import shutil
import struct
import subprocess
import warnings
import xml.etree.ElementTree as ET
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from ecgdatakit import FileParser
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.ecg import LEADS, Filters, Recording, Stated, decode
from models.ecg.formats.dicom_annotations import CONCEPTS
from models.ecg.formats.muse import read as read_muse
from models.ecg.measurements import Measurements
from models.ecg.recording import CANONICAL_STEP, INDEPENDENT_LEADS, twelve_leads
from models.ecg.writers import FORMATS, Unwritable, dicom, muse, save, wfdb_record
from models.ecg.writers.errors import LimbLeadsDisagree, RateNotAllowed, TextNotAllowed, VoltageTooLarge
from models.ecg.writers.storage import store
from tests.conftest import missing
from tests.models.ecg_files import made_up_signal

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas, which wfdb imports, warns of its own future
    import wfdb

RESTING = Recording(
    signal=made_up_signal(),
    sampling_rate=500.0,
    age=61.0,
    sex="F",
    patient_id="sim-7",
    acquired_at=datetime(2024, 3, 9, 5, 6, 7, 250_000, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    device="cart of the test",
    filters=Filters(high_pass=0.15, low_pass=150.0, notch=50.0),
    paced=True,
)
MEASURED = dataclasses.replace(
    RESTING,
    height=171.5,
    weight=82.25,
    measured=Measurements(**{field.name: 60.5 + n for n, field in enumerate(dataclasses.fields(Measurements))}),
    statements=("Sinus rhythm", "Atrial paced rhythm, ø µ", "ST \\ T"),
)
UNKNOWN = Recording(signal=made_up_signal(seed=1), sampling_rate=500.0)
STEPS = st.sampled_from([500, 488, 250, 244, 122, 100, 7, 1])
"""Of 10 nV: the converters met in real files, and odd ones."""


@st.composite
def on_a_grid(draw: st.DrawFn, consistent: bool = False) -> Recording:
    """Twelve leads of any whole number of steps within 16 bits; `consistent`: limb leads that follow from I and II."""
    step, samples = draw(STEPS), draw(st.integers(1, 30))
    leads, limit = (8, 2**12) if consistent else (12, 2**15 - 1)
    whole = 2 if consistent else 1  # the halves that the augmented leads are must be canonical too
    signal = draw(arrays(np.int64, (leads, samples), elements=st.integers(-limit, limit))) * whole * step
    signal = signal * CANONICAL_STEP
    if consistent:
        signal, _, _ = twelve_leads(dict(zip(INDEPENDENT_LEADS, signal, strict=True)))
    return Recording(signal=signal, sampling_rate=draw(st.sampled_from([250.0, 500.0])))


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_recording_gives_the_same_bytes(name: str) -> None:
    again = dataclasses.replace(RESTING, signal=RESTING.signal.copy())
    assert FORMATS[name].write(RESTING) == FORMATS[name].write(again)


@settings(max_examples=50, deadline=None)
@given(recording=on_a_grid())
def test_our_readers_get_every_sample_back_from_wfdb_and_dicom(recording: Recording) -> None:
    assert decode(FORMATS["WFDB"].write(recording)).digest == recording.digest
    assert decode(FORMATS["DICOM"].write(recording)).digest == recording.digest


@settings(max_examples=50, deadline=None)
@given(recording=on_a_grid(consistent=True))
def test_a_loop_written_reader_gets_every_sample_back_from_muse(recording: Recording) -> None:
    assert rhythm_of(muse.write(recording)).digest == recording.digest


@settings(max_examples=50, deadline=None)
@given(recording=on_a_grid(consistent=True))
def test_our_reader_gets_every_sample_back_from_muse(recording: Recording) -> None:
    assert read_muse(muse.write(recording), Stated()).digest == recording.digest


def test_muse_carries_what_is_known_of_the_recording_but_zone_and_fractions_of_seconds() -> None:
    read = read_muse(muse.write(RESTING), Stated())
    for name in ("sampling_rate", "age", "sex", "patient_id", "device", "filters", "paced"):
        assert getattr(read, name) == getattr(RESTING, name), name
    assert RESTING.acquired_at is not None
    assert read.acquired_at == RESTING.acquired_at.replace(tzinfo=None, microsecond=0)
    assert (read.derived, read.remarks) == (("III", "aVR", "aVL", "aVF"), ())


@pytest.mark.parametrize("age", [61.9, 1.5])
def test_muse_carries_completed_years_or_months(age: float) -> None:
    read = read_muse(muse.write(dataclasses.replace(RESTING, age=age)), Stated())
    assert read.age == pytest.approx(age, abs=1)


def test_muse_makes_nothing_up() -> None:
    read = read_muse(muse.write(UNKNOWN), Stated())
    for name in ("age", "sex", "height", "weight", "patient_id", "acquired_at", "device", "paced"):
        assert getattr(read, name) is None, name
    assert (read.filters, read.measured, read.statements) == (Filters(), Measurements(), ())


@settings(max_examples=50, deadline=None)
@given(
    signal=arrays(np.float64, (12, 9), elements=st.floats(-160, 160)),
)
def test_any_other_signal_comes_back_within_half_the_finest_step_that_fits(signal: np.ndarray[Any, Any]) -> None:
    read = decode(FORMATS["DICOM"].write(Recording(signal=signal, sampling_rate=500.0)))
    finest = np.abs(signal).max() / 32767 + 2 * CANONICAL_STEP
    np.testing.assert_allclose(read.signal, signal, rtol=0, atol=finest / 2 + CANONICAL_STEP)


def test_the_step_is_that_of_the_converter() -> None:
    assert store(np.outer(np.arange(-3, 4), [0.00488, 0.01464])).step == 4.88
    assert store(np.array([[0.005, 0.010, 0.0025]])).step == 2.5
    assert store(np.zeros((12, 3))).step == 5.0


def test_dicom_carries_all_that_is_known_of_the_recording() -> None:
    read = decode(dicom.write(MEASURED))
    for field in dataclasses.fields(Recording):
        if field.name not in ("signal", "source_format"):
            assert getattr(read, field.name) == getattr(MEASURED, field.name), field.name
    assert read.digest == MEASURED.digest


def test_dicom_says_that_the_heart_is_paced_where_no_statement_does() -> None:
    assert decode(dicom.write(RESTING)).statements == ("Paced rhythm",)
    assert decode(dicom.write(dataclasses.replace(RESTING, paced=False))).paced is None


def test_measurements_are_coded_as_in_the_dictionary_of_dicom() -> None:
    from pydicom.sr.codedict import codes

    known = {
        (code.scheme_designator, code.value, code.meaning)
        for group in (codes.cid3227, codes.cid3228, codes.cid3229)
        for code in (getattr(group, name) for name in group.dir())
    }
    notes = pydicom.dcmread(io.BytesIO(dicom.write(MEASURED))).WaveformAnnotationSequence[3:]
    written = {concept.code for concept in CONCEPTS.values()}
    assert len(notes) == len(CONCEPTS) == len(dataclasses.fields(Measurements))
    assert {(code.scheme, code.value, code.meaning) for code in written} - known == {
        ("MDC", "2:16016", "Ventricular Heart Rate")  # a template's code, in no context group
    }
    for note, (name, concept) in zip(notes, CONCEPTS.items(), strict=True):
        assert note.NumericValue == getattr(MEASURED.measured, name)
        assert note.ConceptNameCodeSequence[0].CodeValue == concept.code.value
        assert note.MeasurementUnitsCodeSequence[0].CodingSchemeDesignator == "UCUM"
        modifiers = note.ConceptNameCodeSequence[0].get("ModifierCodeSequence", [])
        assert [code.CodeMeaning for code in modifiers] == ([concept.formula.meaning] if concept.formula else [])


def test_wfdb_carries_age_sex_and_the_clock() -> None:
    read = decode(wfdb_record.write(RESTING))
    assert RESTING.acquired_at is not None
    assert (read.age, read.sex, read.sampling_rate) == (61.0, "F", 500.0)
    assert read.acquired_at == RESTING.acquired_at.replace(tzinfo=None)


def test_wfdb_carries_device_height_weight_and_statements_in_any_script() -> None:
    read = decode(wfdb_record.write(dataclasses.replace(MEASURED, device="Gerät 心電計")))
    for name in ("height", "weight", "statements", "paced"):
        assert getattr(read, name) == getattr(MEASURED, name), name
    assert read.device == "Gerät 心電計"


@pytest.mark.parametrize("write", [dicom.write, wfdb_record.write])
def test_what_is_not_known_is_not_made_up(write: Any) -> None:
    read = decode(write(UNKNOWN))
    for name in ("age", "sex", "patient_id", "acquired_at", "device", "paced"):
        assert getattr(read, name) is None, name
    assert read.filters == Filters()


@pytest.mark.parametrize(("age", "stored", "unit"), [(61.9, "061Y", "YEARS"), (1.5, "018M", "MONTHS")])
def test_ages_are_completed_years_or_months(age: float, stored: str, unit: str) -> None:
    child = dataclasses.replace(RESTING, age=age)
    assert pydicom.dcmread(io.BytesIO(dicom.write(child))).PatientAge == stored
    assert ET.fromstring(muse.write(child)).findtext("PatientDemographics/AgeUnits") == unit


def test_the_wfdb_package_reads_the_same_samples(tmp_path: Path) -> None:
    for name, content in wfdb_record.files(RESTING, name="r7").items():
        (tmp_path / name).write_bytes(content)
    record = wfdb.rdrecord(str(tmp_path / "r7"))
    assert record.sig_name == list(LEADS)
    assert set(record.units) == {"mV"}
    assert (record.fs, record.base_time, record.base_date) == (
        500,
        RESTING.acquired_at.time(),
        datetime(2024, 3, 9).date(),
    )  # type: ignore[union-attr]
    assert record.comments[:2] == ["Age: 61", "Sex: Female"]
    assert record.comments[2] == f"Device: {RESTING.device}"
    np.testing.assert_allclose(record.p_signal.T, RESTING.signal, rtol=0, atol=1e-9)
    digital = wfdb.rdrecord(str(tmp_path / "r7"), physical=False)
    assert [
        (int(total) - stored) % 65536
        for total, stored in zip(digital.d_signal.sum(axis=0), record.checksum, strict=True)
    ] == [0] * 12
    assert digital.init_value == list(digital.d_signal[0])


def test_pydicom_reads_the_same_samples_from_the_raw_multiplex() -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom.write(RESTING)))
    group = dataset.WaveformSequence[0]
    raw = struct.unpack(f"<{12 * 5000}h", group.WaveformData)
    for number, channel in enumerate(group.ChannelDefinitionSequence):
        assert channel.ChannelSensitivityUnitsSequence[0].CodeValue == "uV"
        sensitivity = float(channel.ChannelSensitivity) * float(channel.ChannelSensitivityCorrectionFactor)
        millivolts = [1e-3 * (sample * sensitivity + float(channel.ChannelBaseline)) for sample in raw[number::12]]
        np.testing.assert_allclose(millivolts, RESTING.lead(channel.ChannelLabel), rtol=0, atol=1e-9)
    np.testing.assert_allclose(1e-3 * dataset.waveform_array(0).T, RESTING.signal, rtol=0, atol=1e-9)


def test_lead_codes_are_those_of_the_dictionary() -> None:
    from pydicom.sr.codedict import codes

    group = pydicom.dcmread(io.BytesIO(dicom.write(RESTING))).WaveformSequence[0]
    known = {
        codes.cid3001.__getattr__(name).value: codes.cid3001.__getattr__(name)
        for name in codes.cid3001.dir()
        if codes.cid3001.__getattr__(name).scheme_designator == "MDC"
    }
    for channel, lead in zip(group.ChannelDefinitionSequence, LEADS, strict=True):
        source = channel.ChannelSourceSequence[0]
        assert channel.ChannelLabel == lead
        assert source.CodingSchemeDesignator == "MDC"
        assert source.CodeMeaning == known[source.CodeValue].meaning
        assert lead in source.CodeMeaning.replace(",", "").split()


def test_a_recording_of_any_length_is_a_general_ecg() -> None:
    for samples in (100, 16_385):  # a 12-lead ECG ends at 16,384 (PS3.3 A.34.3.4.4)
        file = dicom.write(Recording(signal=np.zeros((12, samples)), sampling_rate=1000.0))
        assert pydicom.dcmread(io.BytesIO(file)).SOPClassUID.name == "General ECG Waveform Storage"


def test_other_patients_and_other_signals_are_other_instances() -> None:
    others = (
        RESTING,
        UNKNOWN,
        dataclasses.replace(RESTING, patient_id="sim-8"),
        dataclasses.replace(RESTING, filters=Filters()),
        MEASURED,
        dataclasses.replace(RESTING, statements=("Sinus rhythm",)),
    )
    headers = [pydicom.dcmread(io.BytesIO(dicom.write(other))) for other in others]
    uids = {
        uid for header in headers for uid in (header.SOPInstanceUID, header.SeriesInstanceUID, header.StudyInstanceUID)
    }
    assert len(uids) == 3 * len(others)
    assert all(pydicom.uid.UID(uid).is_valid for uid in uids)


KINDS = {"known": RESTING, "unknown": UNKNOWN, "measured": MEASURED}


@pytest.mark.parametrize("recording", KINDS.values(), ids=KINDS)
def test_an_independent_validator_finds_no_error(recording: Recording, tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        missing("dciodvfy (dicom3tools)")
    file = tmp_path / "ecg.dcm"
    file.write_bytes(dicom.write(recording))
    report = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False).stderr
    assert "GeneralECG" in report
    assert "Error" not in report, report


@pytest.mark.parametrize("recording", KINDS.values(), ids=KINDS)
def test_dcmtk_parses_the_file(recording: Recording, tmp_path: Path) -> None:
    if shutil.which("dcmdump") is None:
        missing("dcmdump (dcmtk)")
    file = tmp_path / "ecg.dcm"
    file.write_bytes(dicom.write(recording))
    run = subprocess.run(["dcmdump", "+E", str(file)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert "=GeneralECGWaveformStorage" in run.stdout


def rhythm_of(document: bytes) -> Recording:
    """Read a MUSE document step by step, as its fields say."""
    root = ET.fromstring(document)
    (waveform,) = [each for each in root.iter("Waveform") if each.findtext("WaveformType") == "Rhythm"]
    leads = {}
    for data in waveform.iter("LeadData"):
        content = base64.b64decode(str(data.findtext("WaveFormData")))
        assert len(content) == int(str(data.findtext("LeadByteCountTotal")))
        assert zlib.crc32(content) == int(str(data.findtext("LeadDataCRC32")))
        assert data.findtext("LeadAmplitudeUnits") == "MICROVOLTS"
        step = float(str(data.findtext("LeadAmplitudeUnitsPerBit")))
        samples = [struct.unpack_from("<h", content, at)[0] for at in range(0, len(content), 2)]
        assert len(samples) == int(str(data.findtext("LeadSampleCountTotal")))
        leads[str(data.findtext("LeadID"))] = 1e-3 * step * np.array(samples, dtype=np.float64)
    assert len(leads) == int(str(waveform.findtext("NumberofLeads")))
    signal, _, _ = twelve_leads(leads)
    return Recording(signal=signal, sampling_rate=float(str(waveform.findtext("SampleBase"))))


def test_another_reader_of_muse_reads_the_same_recording(tmp_path: Path) -> None:
    path = tmp_path / "ecg.xml"
    path.write_bytes(muse.write(RESTING))
    record = FileParser().parse(path)
    assert [lead.label for lead in record.leads] == list(INDEPENDENT_LEADS)
    for lead in record.leads:
        assert (lead.sampling_rate, lead.units) == (500, "mV")
        np.testing.assert_allclose(lead.samples, RESTING.lead(lead.label), rtol=0, atol=1e-9)
    assert (record.patient.patient_id, record.patient.age, record.patient.sex) == ("sim-7", 61, "F")
    acquisition = record.recording.acquisition
    assert record.recording.date == datetime(2024, 3, 9, 5, 6, 7)
    assert (acquisition.filters.highpass, acquisition.filters.lowpass) == (0.15, 150)


def test_the_layout_is_that_of_a_real_muse_export(shared_data: Path) -> None:
    """Every element that is written stands in the same place, in the same order, as MUSE itself writes it."""
    real = ET.fromstring((shared_data / "ecg-files/muse/MUSE_20080710_165457_96000.xml").read_bytes())
    ours = ET.fromstring(muse.write(RESTING))

    def paths(root: ET.Element) -> list[str]:
        found: dict[str, None] = {}

        def visit(element: ET.Element, path: str) -> None:
            for child in element:
                found.setdefault(f"{path}/{child.tag}")
                visit(child, f"{path}/{child.tag}")

        visit(root, root.tag)
        return list(found)

    written, known = paths(ours), paths(real)
    assert [path for path in known if path in written] == written
    waveforms = [path for path in known if path.startswith("RestingECG/Waveform")]
    assert [path for path in waveforms if path not in written] == []
    kinds = [[each.findtext("WaveformType") for each in root.iter("Waveform")] for root in (real, ours)]
    assert kinds[0] == kinds[1] == ["Median", "Rhythm"]
    leads = [[each.text for each in root.iter("LeadID")] for root in (real, ours)]
    assert leads[0] == leads[1]


def test_the_median_block_is_one_beat_of_the_rhythm() -> None:
    median, rhythm = ET.fromstring(muse.write(RESTING)).iter("Waveform")
    assert median.findtext("LeadData/LeadSampleCountTotal") == "600"
    for beat, lead in zip(median.iter("LeadData"), rhythm.iter("LeadData"), strict=True):
        whole, one = (
            np.frombuffer(base64.b64decode(str(each.findtext("WaveFormData"))), "<i2") for each in (lead, beat)
        )
        assert abs(np.ptp(one) - np.ptp(whole)) < 0.1 * np.ptp(whole)
        assert abs(np.abs(one).argmax() - 200) <= 10  # R stands 0.4 s after the start


def test_a_recording_without_beats_has_no_median_block() -> None:
    flat = Recording(signal=np.zeros((12, 5000)), sampling_rate=500.0)
    assert [each.findtext("WaveformType") for each in ET.fromstring(muse.write(flat)).iter("Waveform")] == ["Rhythm"]


def test_identifiers_in_any_script_come_back() -> None:
    patient = dataclasses.replace(RESTING, patient_id="Ø-<病&1>")
    assert decode(dicom.write(patient)).patient_id == "Ø-<病&1>"
    assert ET.fromstring(muse.write(patient)).findtext("PatientDemographics/PatientID") == "Ø-<病&1>"


@pytest.mark.parametrize("patient_id", ["back\\slash", "x" * 65])
@pytest.mark.parametrize("write", [dicom.write, muse.write])
def test_identifiers_that_no_field_holds_are_refused(write: Any, patient_id: str) -> None:
    with pytest.raises(TextNotAllowed):
        write(dataclasses.replace(RESTING, patient_id=patient_id))


@pytest.mark.parametrize("name", ["", "a b", "../a", "a" * 21, "a.b"])
def test_names_that_are_no_record_are_refused(name: str) -> None:
    with pytest.raises(TextNotAllowed):
        wfdb_record.write(RESTING, name=name)


@pytest.mark.parametrize("name", ["WFDB", "DICOM", "MUSE"])
def test_voltages_beyond_16_bits_are_refused(name: str) -> None:
    with pytest.raises(VoltageTooLarge, match="microvolts"):
        FORMATS[name].write(dataclasses.replace(RESTING, signal=1e3 * RESTING.signal))


@pytest.mark.parametrize(("name", "rate"), [("DICOM", 199.0), ("DICOM", 1000.1), ("MUSE", 499.0), ("MUSE", 1000.0)])
def test_rates_that_the_format_forbids_are_refused(name: str, rate: float) -> None:
    with pytest.raises(RateNotAllowed, match=f"{rate:g} Hz"):
        FORMATS[name].write(dataclasses.replace(RESTING, sampling_rate=rate))


def test_muse_refuses_limb_leads_that_it_would_lose() -> None:
    signal = RESTING.signal.copy()
    signal[LEADS.index("aVF")] *= 1.5
    with pytest.raises(LimbLeadsDisagree, match="aVF"):
        muse.write(dataclasses.replace(RESTING, signal=signal))


def test_save_writes_one_file_a_format_or_none(tmp_path: Path) -> None:
    names = ("WFDB", "DICOM", "MUSE")
    paths = save(RESTING, tmp_path / "7", "sim-7", names)
    assert [path.name for path in paths] == ["sim-7.zip", "sim-7.dcm", "sim-7.xml"]
    assert [path.read_bytes() for path in paths] == [FORMATS[name].write(RESTING) for name in names]
    with pytest.raises(Unwritable):
        save(dataclasses.replace(RESTING, sampling_rate=1000.0), tmp_path / "8", "sim-8", ("DICOM", "MUSE"))
    assert not (tmp_path / "8").exists()
