from __future__ import annotations

import base64
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from ecgdatakit import FileParser
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ecg import LEADS, DecodeError, EcgError, Filters, Recording, Stated
from models.ecg.errors import (
    MissingLeads,
    MissingMetadata,
    TruncatedFile,
    UnsafeFile,
    UnsupportedFormat,
)
from models.ecg.formats import philips
from models.ecg.measurements import Measurements
from tests.models.damage import assert_cut_files_are_refused, corruptions, outcome, silent_changes
from tests.models.ecg_files import FILES, Row, age_of, content, expected, made_up_signal, name_of, sex_of
from tests.models.philips_files import ACQUISITION, FORM, philips_xml

SIGNAL = np.rint(200 * made_up_signal()) / 200
WHOLE = philips_xml(SIGNAL, encoding="utf-8")
ROWS = expected("philips")
READ = [row for row in ROWS if row["action"] == "accept"]


def read(data: bytes) -> Recording:
    assert philips.matches(data)
    return philips.read(data, Stated())


def read_anything(data: bytes) -> Recording:
    return philips.read(data, Stated())


def changed(old: str, new: str) -> bytes:
    assert old.encode() in WHOLE, old
    return WHOLE.replace(old.encode(), new.encode(), 1)


@pytest.mark.parametrize("row", READ, ids=name_of)
def test_the_ecg_of_a_file_that_other_readers_know_is_read_the_same(row: Row) -> None:
    recording, reading = read(content(row)), row["reading"]
    start, stop = row["usable"]
    assert recording.signal.shape == (12, stop - start)
    assert recording.sampling_rate == reading["sampling_rate_hz"]
    assert recording.derived == recording.remarks == ()
    for lead in LEADS:
        np.testing.assert_allclose(1e3 * recording.lead(lead)[:8], reading["first8_uV"][lead], rtol=0, atol=0.01)
    sex = sex_of(row)
    assert (recording.age, recording.sex) == (age_of(row), None if sex == "U" else sex)


@pytest.mark.parametrize("row", READ, ids=name_of)
def test_ecgdatakit_reads_every_sample_of_the_ecg_the_same(row: Row) -> None:
    recording = read(content(row))
    for lead in FileParser().parse(FILES / row["path"], units="uV").leads:
        np.testing.assert_allclose(1e3 * recording.lead(lead.label), lead.samples[:5000], rtol=0, atol=1e-6)


@pytest.mark.parametrize("row", READ, ids=name_of)
def test_measurements_are_kept_as_the_device_wrote_them(row: Row) -> None:
    known = read(content(row)).measured.known()
    told = {name: value for name, value in row["measurements_as_read"].items() if name != "qrs_count"}
    assert {name: known.get(name) for name in told} == told


@pytest.mark.parametrize("row", [row for row in ROWS if row["action"] == "refuse"], ids=name_of)
def test_a_document_of_another_type_is_refused(row: Row) -> None:
    with pytest.raises(UnsupportedFormat, match="MortaraECG"):
        read(content(row))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "ISO-8859-1"])
def test_the_ecg_comes_back_without_the_calibration_pulse(encoding: str) -> None:
    recording = read(philips_xml(SIGNAL, encoding=encoding))
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=1e-9)
    assert (recording.sampling_rate, recording.remarks) == (500, ())


def test_what_is_left_out_beyond_the_pulse_is_told() -> None:
    long = np.concatenate([SIGNAL, SIGNAL[:, :1000]], axis=1)
    recording = read(philips_xml(long, seconds=13))
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=1e-9)
    assert [(remark.code, remark.message) for remark in recording.remarks] == [
        ("shortened", "the first 10 of 13 s were read")
    ]


def test_an_ecg_without_the_pulse_is_read_to_its_end() -> None:
    assert read(philips_xml(SIGNAL[:, :4000], seconds=9)).signal.shape == (12, 4500)


def test_what_the_file_says_beside_the_samples_is_kept_without_the_name() -> None:
    recording = read(WHOLE)
    assert (recording.age, recording.sex, recording.patient_id, recording.paced) == (61, "M", "1000037", None)
    assert (recording.height, recording.weight) == (pytest.approx(177.8), 80)
    assert recording.acquired_at == datetime(2016, 11, 7, 9, 5, 3)
    assert recording.device == "PageWriter TC A.07.04"
    assert recording.filters == Filters(high_pass=0.05, low_pass=150, notch=50)
    assert recording.statements == ("Sinus rhythm: V-rate 50-99", "Early transition", "OTHERWISE NORMAL ECG")
    assert "DOE" not in repr(recording)


def test_measurements_carry_the_names_of_their_formulas() -> None:
    assert read(WHOLE).measured == Measurements(
        heart_rate=75,
        rr_interval=800,
        p_duration=104,
        pr_interval=160,
        qrs_duration=90,
        qt_interval=380,
        qtc_bazett=425,
        qtc_fridericia=409,
        qtc_framingham=411,
        qtc_hodges=406,
        p_axis=50,
        qrs_axis=-30,
        t_axis=-160,  # 200 degrees
    )


@pytest.mark.parametrize("nothing", ["Failed", "Indeterminate", "---", "", "0", "-1", "29999"])
def test_what_was_not_measured_is_not_a_measurement(nothing: str) -> None:
    assert read(changed("<print>160<", f"<print>{nothing}<")).measured.pr_interval is None
    assert read(changed("<qrsfrontaxis>-30<", "<qrsfrontaxis>Failed<")).measured.qrs_axis is None


@pytest.mark.parametrize(
    ("age", "years"),
    [
        ("<years>61</years>", 61),
        ("<months>18</months>", 1.5),
        ("<dateofbirth>1950-11-08</dateofbirth>", 65),
        ("<dateofbirth>1950-13-08</dateofbirth>", None),
        ("<years>300</years>", None),
        ("", None),
    ],
)
def test_age_is_stated_or_comes_from_birth_and_never_from_the_settings(age: str, years: float | None) -> None:
    assert read(changed("<years>61</years>", age)).age == years


@pytest.mark.parametrize("moment", ['date="" time=""', 'date="2016-13-07" time="09:05:03"', ""])
def test_an_impossible_date_is_no_date(moment: str) -> None:
    assert read(changed('date="2016-11-07" time="09:05:03"', moment)).acquired_at is None


@pytest.mark.parametrize(
    ("old", "new", "paced"),
    [
        ("<pacestatus>Unknown", "<pacestatus>Paced", True),
        ("<pacestatus>Unknown", "<pacestatus>No", False),
        ("<pacemode>0", "<pacemode>3", True),
        ("<pacemode>0", "<pacemode>Unknown", None),
        ("Sinus rhythm", "Atrial-paced rhythm", True),
        ("Sinus rhythm", "No pacing spikes", None),
    ],
)
def test_pacing_is_told_by_patient_device_or_statement(old: str, new: str, paced: bool | None) -> None:
    assert read(changed(old, new)).paced is paced


def version_1_03(file: bytes) -> bytes:
    """The same with the names of version 1.03, where nothing is said beside the samples."""
    names = {
        "PhilipsECG</documenttype><documentversion>1.04": "SierraECG</documenttype><documentversion>1.03",
        "<resolution>5</resolution><hipass>0.05</hipass><lowpass>150</lowpass>": (
            "<signalresolution>5</signalresolution><signalbandwidth>0.05-150</signalbandwidth>"
        ),
        "interpretation><globalmeasurements>": "interpretation><interpretationmeasurements>",
        "</globalmeasurements><severity>": "</interpretationmeasurements><severity>",
        "<print>160</print>": "<meanprint>160</meanprint>",
        "<qtcb>425</qtcb>": "<meanqtc>425</meanqtc>",
        "10-WIRE": "STD-12",
    }
    for old, new in names.items():
        assert old.encode() in file, old
        file = file.replace(old.encode(), new.encode())
    return file


FORM_1_03 = 'compressflag="True" compressmethod="XLI" dataencoding="Base64" nbitspersample="16"'


def test_version_1_03_says_the_same_under_other_names() -> None:
    file = version_1_03(philips_xml(SIGNAL, labels=(), form=FORM_1_03, encoding="utf-8"))
    recording = read(file)
    assert recording.digest == read(WHOLE).digest
    assert (recording.measured.pr_interval, recording.measured.qtc, recording.measured.qtc_bazett) == (160, 425, None)
    assert (recording.filters.high_pass, recording.filters.low_pass) == (0.05, 150)


def test_leads_that_are_not_named_are_not_guessed_but_may_be_stated() -> None:
    unnamed = philips_xml(SIGNAL, labels=(), acquisition=ACQUISITION.replace("10-WIRE", "EASI"))
    with pytest.raises(MissingMetadata, match="leads"):
        read(unnamed)
    assert philips.read(unnamed, Stated(leads=LEADS)).digest == read(WHOLE).digest


def test_leads_beyond_the_twelve_are_left_out_by_name() -> None:
    fifteen = np.concatenate([SIGNAL, SIGNAL[6:9]])
    recording = read(philips_xml(fifteen, labels=(*LEADS, "V3R", "V4R", "V7")))
    assert recording.digest == read(WHOLE).digest
    assert [remark.leads for remark in recording.remarks] == [("V3R", "V4R", "V7")]


@pytest.mark.parametrize("form", ["Base64", "Plain"])
def test_samples_without_compression_are_read_as_they_are(form: str) -> None:
    steps = np.rint(200 * SIGNAL).astype("<i2")
    samples = base64.encodebytes(steps.tobytes()).decode() if form == "Base64" else " ".join(map(str, steps.ravel()))
    named = FORM.replace('compression="XLI"', 'compression="Uncompressed"').replace("Base64", form)
    assert read(philips_xml(SIGNAL, form=named, seconds=10, samples=samples)).digest == read(WHOLE).digest
    with pytest.raises(TruncatedFile):
        read(philips_xml(SIGNAL, form=named, seconds=11, samples=samples))


def test_what_a_request_states_may_not_contradict() -> None:
    assert philips.read(WHOLE, Stated(500, "uV", LEADS)).digest == read(WHOLE).digest
    for wrong in (Stated(sampling_rate=250), Stated(unit="mV"), Stated(leads=LEADS[::-1])):
        with pytest.raises(DecodeError):
            philips.read(WHOLE, wrong)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("<documentversion>1.04<", "<documentversion>2.0<", UnsupportedFormat),
        ("<documenttype>PhilipsECG<", "<documenttype>MortaraECG<", UnsupportedFormat),
        ("<documenttype>PhilipsECG</documenttype>", "", UnsupportedFormat),
        ('samplespersecond="500"', 'samplespersecond="fast"', DecodeError),
        ('samplespersecond="500"', 'samplespersecond="-500"', UnsafeFile),
        ('resolution="5"', 'resolution="0"', MissingMetadata),
        ('resolution="5"', 'resolution="-5"', MissingMetadata),
        ('compression="XLI"', 'compression="ZIP"', UnsupportedFormat),
        ('compression="XLI"', 'compression=""', DecodeError),
        ('dataencoding="Base64"', 'dataencoding="Hex"', UnsupportedFormat),
        ('dataencoding="Base64"', 'dataencoding="Plain"', UnsupportedFormat),
        ("<bitspersample>16<", "<bitspersample>24<", UnsupportedFormat),
        ("<signaloffset>0<", "<signaloffset>2048<", UnsupportedFormat),
        ("<signalsigned>True<", "<signalsigned>False<", UnsupportedFormat),
        ('durationperchannel="11000"', "", MissingMetadata),
        ('durationperchannel="11000"', 'durationperchannel="11002"', TruncatedFile),
        ('durationperchannel="11000"', 'durationperchannel="10998"', DecodeError),
        ('durationperchannel="11000"', 'durationperchannel="1e9"', UnsafeFile),
        ('numberofleads="12"', 'numberofleads="13"', DecodeError),
        ('numberofleads="12"', 'numberofleads="11"', MissingLeads),
        ('numberofleads="12"', 'numberofleads="1.5"', DecodeError),
        ('numberofleads="12"', 'numberofleads="99"', DecodeError),
        ('leadlabels="I II III aVR', 'leadlabels="I II aVR III', UnsupportedFormat),
        ("aVF V1 V2", "aVF V1 V1", DecodeError),
        ("aVF V1 V2", "aVF V9 V2", MissingLeads),
        ("parsedwaveforms", "parsedwaveform", DecodeError),
        ("</patient>", "</patien>", DecodeError),
    ],
)
def test_a_wrong_file_is_refused_for_its_own_reason(old: str, new: str, error: type[EcgError]) -> None:
    with pytest.raises(error):
        read(changed(old, new))


def test_a_file_without_waveforms_says_what_to_export() -> None:
    with pytest.raises(MissingMetadata, match="waveforms"):
        read(WHOLE.replace(b"parsedwaveforms", b"other"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_in_every_encoding(encoding: str) -> None:
    text = WHOLE.decode().replace("utf-8", encoding)
    with pytest.raises(UnsafeFile, match="entities"):
        read(text.replace("<restingecgdata", '<!DOCTYPE x [<!ENTITY a "1">]><restingecgdata', 1).encode(encoding))


def whole_files() -> dict[str, bytes]:
    """A constructed file, and real ones where there are some."""
    names = ("129DYPRG.XML", "3191723_ZZDEMOPTONLY_1-04_orig.xml")
    paths = (Path(FILES / "philips" / name) for name in names)
    return {"constructed": WHOLE} | {path.name: path.read_bytes() for path in paths if path.is_file()}


@pytest.mark.parametrize("data", whole_files().values(), ids=whole_files())
def test_a_cut_file_is_refused_wherever_it_is_cut(data: bytes) -> None:
    assert_cut_files_are_refused(read_anything, data)


@pytest.mark.parametrize("data", whole_files().values(), ids=whole_files())
def test_corruptions_are_found_though_there_is_no_checksum(data: bytes) -> None:
    assert silent_changes(read_anything, data, corruptions(data)) <= 1


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, len(WHOLE) - 1), other=st.integers(0, 255))
def test_any_other_byte_gives_a_recording_or_a_reason(position: int, other: int) -> None:
    found = outcome(read_anything, WHOLE[:position] + bytes([other]) + WHOLE[position + 1 :])
    assert isinstance(found, Recording | EcgError)
