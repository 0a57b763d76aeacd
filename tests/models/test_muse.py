from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from ecgdatakit import FileParser
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ecg import LEADS, DecodeError, EcgError, Filters, Recording, Stated
from models.ecg.errors import (
    ChecksumMismatch,
    MissingLeads,
    MissingMetadata,
    TruncatedFile,
    UnknownUnit,
    UnsafeFile,
    UnsupportedFormat,
)
from models.ecg.formats import muse
from models.ecg.measurements import Measurements
from tests.models.damage import assert_cut_files_are_refused, corruptions, outcome, silent_changes
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
from tests.models.muse_files import STORED, muse_xml

SIGNAL = made_up_signal()
EIGHT = SIGNAL[[LEADS.index(lead) for lead in STORED]]
WHOLE = muse_xml(EIGHT)
ROWS = expected("muse")


def read(data: bytes) -> Recording:
    assert muse.matches(data)
    return muse.read(data, Stated())


def read_anything(data: bytes) -> Recording:
    return muse.read(data, Stated())


def changed(old: str, new: str) -> bytes:
    """The first of the places that read so; if it is in a lead, it is in the averaged beat."""
    assert old.encode() in WHOLE, old
    return WHOLE.replace(old.encode(), new.encode(), 1)


def in_rhythm(old: str, new: str) -> bytes:
    """The first of the places in the rhythm that read so."""
    start = WHOLE.index(b"Rhythm")
    assert old.encode() in WHOLE[start:], old
    return WHOLE[:start] + WHOLE[start:].replace(old.encode(), new.encode("latin-1"), 1)


@pytest.mark.parametrize("row", [row for row in ROWS if row["action"].startswith("accept")], ids=name_of)
def test_a_file_that_other_readers_know_is_read_the_same(row: Row) -> None:
    recording = read(content(row))
    assert_reading(recording, row)
    if "patient_as_read" in row:
        assert (recording.age, recording.sex) == (age_of(row), sex_of(row))
    known = recording.measured.known()
    told = {name: value for name, value in row.get("measurements_as_read", {}).items() if name != "qrs_count"}
    assert {name: known.get(name) for name in told} == told


@pytest.mark.parametrize("row", [row for row in ROWS if not row["action"].startswith("accept")], ids=name_of)
def test_a_lead_that_is_missing_is_not_made_up(row: Row) -> None:
    with pytest.raises(MissingLeads, match="V6"):
        read(content(row))


@pytest.mark.parametrize("row", [row for row in ROWS if row["action"].startswith("accept")], ids=name_of)
def test_ecgdatakit_reads_every_sample_the_same(row: Row) -> None:
    recording = read(content(row))
    for lead in FileParser().parse(FILES / row["path"], units="uV").leads:
        np.testing.assert_allclose(1e3 * recording.lead(lead.label), lead.samples, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("step", "rate"), [(1.0, 500), (4.88, 500), (4.88, 250), (2.5, 1000)])
def test_samples_are_steps_of_so_many_microvolts(step: float, rate: int) -> None:
    recording = read(muse_xml(EIGHT, step=step, rate=rate))
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=1e-3 * step + 1e-9)
    assert recording.sampling_rate == rate
    assert recording.derived == ("III", "aVR", "aVL", "aVF")


def test_what_the_file_says_beside_the_samples_is_kept_without_the_name() -> None:
    recording = read(WHOLE)
    assert (recording.age, recording.sex, recording.patient_id) == (61, "M", "1000037")
    assert (recording.height, recording.weight) == (180, 80)
    assert recording.acquired_at == datetime(2016, 11, 7, 9, 5, 3)
    assert recording.device == "MAC55"
    assert recording.filters == Filters(high_pass=0.16, low_pass=150, notch=50)
    assert recording.paced is None
    assert "DOE" not in repr(recording)


def test_measurements_are_those_that_were_edited() -> None:
    assert read(WHOLE).measured == Measurements(
        heart_rate=75,
        rr_interval=800,
        pr_interval=160,
        qrs_duration=90,
        qt_interval=380,
        qtc=424,
        qtc_fridericia=409,
        p_axis=50,
        qrs_axis=-30,
        t_axis=-160,  # 200 degrees
    )
    unedited = WHOLE.replace(b"<RestingECGMeasurements>", b"<Other>").replace(b"</RestingECGMeasurements>", b"</Other>")
    assert read(unedited).measured == Measurements(heart_rate=74, rr_interval=800, pr_interval=158)
    assert read(unedited.replace(b"OriginalResting", b"Other")).measured == Measurements()


@pytest.mark.parametrize("nothing", ["", "0", "-1", "29999", "32767", "none", "1e3"])
def test_what_was_not_measured_is_not_a_measurement(nothing: str) -> None:
    measured = read(changed("<PRInterval>160<", f"<PRInterval>{nothing}<")).measured
    assert measured.pr_interval is None
    assert measured.qt_interval == 380
    assert read(changed("<RAxis>-30<", "<RAxis>999<")).measured.qrs_axis is None


@pytest.mark.parametrize(
    ("stored", "rate", "milliseconds"),
    [(800, 500, 800), (400, 500, 800), (200, 250, 800), (400, 250, 800), (216, 250, 864), (600, 500, None)],
)
def test_the_interval_of_beats_is_that_which_the_heart_rate_confirms(
    stored: int, rate: int, milliseconds: float | None
) -> None:
    file = muse_xml(EIGHT, rate=rate).replace(b"<GlobalRR>800<", f"<GlobalRR>{stored}<".encode())
    assert read(file).measured.rr_interval == milliseconds
    assert read(file.replace(b"<VentricularRate>75<", b"<VentricularRate><")).measured.rr_interval is None


def test_statements_are_joined_to_lines() -> None:
    assert read(WHOLE).statements == ("Sinus rhythm", "Left axis deviation")
    assert read(WHOLE.replace(b"ENDSLINE", b"OTHER")).statements == ("Sinus rhythm", "Left axis", "deviation")
    assert read(WHOLE.replace(b"<Diagnosis>", b"<D>").replace(b"</Diagnosis>", b"</D>")).statements == ("As computed",)


@pytest.mark.parametrize(
    ("age", "unit", "years"),
    [("18", "MONTHS", 1.5), ("73", "DAYS", 73 / 365.25), ("2", "WEEKS", 14 / 365.25), ("300", "YEARS", None)],
)
def test_ages_count_years_months_weeks_or_days(age: str, unit: str, years: float | None) -> None:
    stated = changed("<PatientAge>61</PatientAge><AgeUnits>YEARS", f"<PatientAge>{age}</PatientAge><AgeUnits>{unit}")
    assert read(stated).age == (None if years is None else pytest.approx(years))


def test_age_comes_from_birth_where_it_is_not_stated() -> None:
    birth = "<DateofBirth>11-08-1950</DateofBirth>"
    assert read(changed("<PatientAge>61</PatientAge>", birth)).age == 65
    assert read(changed("<PatientAge>61</PatientAge>", birth.replace("11-08", "13-08"))).age is None


def test_pounds_and_inches_are_converted_and_the_impossible_is_left_out() -> None:
    old = "<HeightCM>180</HeightCM><WeightKG>80</WeightKG>"
    imperial = read(changed(old, "<HeightIN>58</HeightIN><WeightLBS>158</WeightLBS>"))
    assert (imperial.height, imperial.weight) == (pytest.approx(147.32), pytest.approx(71.66759446))
    impossible = read(changed(old, "<HeightCM>1800</HeightCM><WeightKG>0</WeightKG>"))
    assert (impossible.height, impossible.weight) == (None, None)


@pytest.mark.parametrize("date", ["13-07-2016", "02-30-2016", "", "2016", "NOV-07-2016"])
def test_an_impossible_date_is_no_date(date: str) -> None:
    assert read(changed("11-07-2016", date)).acquired_at is None


@pytest.mark.parametrize("clock", ["25:00:00", "", "noon"])
def test_a_date_without_a_time_is_a_day(clock: str) -> None:
    assert read(changed("09:05:03", clock)).acquired_at == datetime(2016, 11, 7)


def test_pacing_is_told_by_spikes_or_by_a_statement() -> None:
    spikes = "<PaceSpikes><PaceTime>120</PaceTime><PaceType>V</PaceType><PaceWidth>2</PaceWidth></PaceSpikes>"
    assert read(muse_xml(EIGHT, before_leads=spikes)).paced is True
    assert read(muse_xml(EIGHT, before_leads="<PaceSpikes/>")).paced is None
    assert read(changed("Sinus rhythm", "Electronic ventricular pacemaker")).paced is True


def test_electrodes_that_were_off_are_told() -> None:
    (remark,) = read(in_rhythm("<LeadOff>FALSE", "<LeadOff>TRUE")).remarks
    assert (remark.code, remark.leads) == ("lead-off", ("I",))
    assert read(changed("<LeadOff>FALSE", "<LeadOff>TRUE")).remarks == ()  # in the averaged beat


def test_of_several_rhythms_the_first_is_read() -> None:
    again = WHOLE[WHOLE.rindex(b"<Waveform>") : WHOLE.rindex(b"</RestingECG>")]
    recording = read(changed("</RestingECG>", again.decode() + "</RestingECG>"))
    assert [remark.code for remark in recording.remarks] == ["several-rhythms"]
    assert recording.digest == read(WHOLE).digest


def test_leads_go_by_name_and_the_others_are_left_out() -> None:
    order = ("V6", "V5", "V4", "V3", "V2", "V1", "II", "I")
    fifteen = muse_xml(np.concatenate([EIGHT[::-1], EIGHT[:1]])[[8, *range(8)]], labels=("V7", *reversed(STORED)))
    assert read(muse_xml(EIGHT[::-1], labels=order)).digest == read(WHOLE).digest == read(fifteen).digest
    assert [remark.leads for remark in read(fifteen).remarks] == [("V7",)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "ISO-8859-1", "windows-1252"])
def test_the_encoding_is_the_files_own(encoding: str) -> None:
    assert read(muse_xml(EIGHT, encoding=encoding)).digest == read(WHOLE).digest


def test_the_rate_has_an_exponent_of_ten_and_the_step_a_decimal_comma() -> None:
    old, new = "<SampleBase>500</SampleBase><SampleExponent>0<", "<SampleBase>5</SampleBase><SampleExponent>2<"
    assert read(in_rhythm(old, new)).sampling_rate == 500
    assert read(WHOLE.replace(b"PerBit>1<", b"PerBit>1,00<")).digest == read(WHOLE).digest


def test_what_a_request_states_may_not_contradict() -> None:
    assert muse.read(WHOLE, Stated(sampling_rate=500, unit="uV", leads=STORED)).digest == read(WHOLE).digest
    for wrong in (Stated(sampling_rate=250), Stated(unit="mV"), Stated(leads=STORED[::-1])):
        with pytest.raises(DecodeError):
            muse.read(WHOLE, wrong)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("<SampleBase>500</SampleBase>", "", MissingMetadata),
        ("<SampleBase>500<", "<SampleBase>-500<", DecodeError),
        ("<SampleBase>500<", "<SampleBase>fast<", DecodeError),
        ("<SampleExponent>0<", "<SampleExponent>99<", DecodeError),
        ("<SampleExponent>0<", "<SampleExponent>0.5<", DecodeError),
        ("PerBit>1<", "PerBit><", MissingMetadata),
        ("PerBit>1<", "PerBit>0<", MissingMetadata),
        ("PerBit>1<", "PerBit>-1<", MissingMetadata),
        ("PerBit>1<", "PerBit>1x<", DecodeError),
        ("MICROVOLTS", "", MissingMetadata),
        ("MICROVOLTS", "FURLONGS", UnknownUnit),
        ("<LeadSampleSize>2<", "<LeadSampleSize>4<", UnsupportedFormat),
        ("<FirstSampleBaseline>0<", "<FirstSampleBaseline>7<", UnsupportedFormat),
        ("<LeadOffsetFirstSample>0<", "<LeadOffsetFirstSample>1250<", UnsupportedFormat),
        ("<LeadTimeOffset>0<", "<LeadTimeOffset>2500<", UnsupportedFormat),
        ("<LeadSampleCountTotal>5000<", "<LeadSampleCountTotal>5001<", TruncatedFile),
        ("<LeadSampleCountTotal>5000<", "<LeadSampleCountTotal>4999<", DecodeError),
        ("<LeadByteCountTotal>10000<", "<LeadByteCountTotal>9998<", DecodeError),
        ("<LeadDataCRC32>", "<LeadDataCRC32>1", ChecksumMismatch),
        ("<LeadDataCRC32>", "<LeadDataCRC32>x", DecodeError),
        ("<WaveFormData>\n", "<WaveFormData>\n*", DecodeError),
        ("<WaveFormData>\n", "<WaveFormData>\nAAA", DecodeError),
        ("<WaveFormData>\n", "<WaveFormData>\n\xe4", DecodeError),
        ("<LeadID>V1<", "<LeadID>V9<", MissingLeads),
        ("<LeadID>V1<", "<LeadID>V2<", DecodeError),
        ("<LeadData>", "<LeadDat>", DecodeError),
    ],
)
def test_a_wrong_file_is_refused_for_its_own_reason(old: str, new: str, error: type[EcgError]) -> None:
    with pytest.raises(error):
        read(in_rhythm(old, new))


def test_a_file_without_a_rhythm_says_what_to_export() -> None:
    with pytest.raises(MissingMetadata, match="waveforms"):
        read(WHOLE.replace(b"Rhythm", b"Other"))


def test_more_leads_or_samples_than_an_ecg_has_are_refused() -> None:
    with pytest.raises(UnsafeFile, match="65 leads"):
        read(muse_xml(np.zeros((65, 60)), labels=("X",) * 65))
    with pytest.raises(UnsafeFile, match="500000"):
        read(muse_xml(np.zeros((1, 500_001)), labels=("I",)))


@pytest.mark.parametrize("declaration", ['[<!ENTITY a "1"><!ENTITY b "&a;&a;">]', '[<!ENTITY a SYSTEM "file:///x">]'])
def test_the_dtd_may_be_named_but_declares_nothing(declaration: str) -> None:
    with pytest.raises(UnsafeFile, match="entities"):
        read(changed('SYSTEM "restecg.dtd"', declaration))


def whole_files() -> list[bytes]:
    """A constructed file, and a real one where there is one."""
    real = Path(FILES / "muse/MUSE_20080710_165457_96000.xml")
    return [WHOLE, real.read_bytes()] if real.is_file() else [WHOLE]


@pytest.mark.parametrize("data", whole_files(), ids=["constructed", "real"][: len(whole_files())])
def test_a_cut_file_is_refused_wherever_it_is_cut(data: bytes) -> None:
    assert_cut_files_are_refused(read_anything, data)


@pytest.mark.parametrize("data", whole_files(), ids=["constructed", "real"][: len(whole_files())])
def test_no_corruption_changes_a_sample_silently(data: bytes) -> None:
    assert silent_changes(read_anything, data, corruptions(data)) == 0
    start = data.index(b"<WaveFormData>", data.index(b"Rhythm"))
    end = data.index(b"</WaveFormData>", start)
    samples = (data[:start] + each + data[end:] for each in corruptions(data[start:end], count=100, seed=1))
    assert silent_changes(read_anything, data, samples) == 0


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, len(WHOLE) - 1), other=st.integers(0, 255))
def test_any_other_byte_gives_a_recording_or_a_reason(position: int, other: int) -> None:
    found = outcome(read_anything, WHOLE[:position] + bytes([other]) + WHOLE[position + 1 :])
    assert isinstance(found, Recording | EcgError)
