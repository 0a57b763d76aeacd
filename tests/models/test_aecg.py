from __future__ import annotations

from datetime import datetime, timedelta, timezone
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
    MissingSamples,
    TooShort,
    TruncatedFile,
    UnknownUnit,
    UnsafeFile,
)
from models.ecg.formats import aecg
from models.ecg.measurements import Measurements
from models.ecg.recording import INDEPENDENT_LEADS
from tests.models.aecg_files import (
    aecg_xml,
    annotation_set,
    filtered,
    of_lead,
    quantity,
    sequence_set,
    series,
    words,
)
from tests.models.ecg_files import Row, age_of, assert_reading, content, expected, made_up_signal, name_of, sex_of

SIGNAL = made_up_signal()
WHOLE = aecg_xml(series(sequence_set(SIGNAL)))
SMALL = aecg_xml(series(sequence_set(SIGNAL[:, :40])))
ACCEPTED = [row for row in expected("aecg") if row["action"] == "accept"]
REFUSED = [row for row in expected("aecg") if row["action"] != "accept"]


def decode(data: bytes, stated: Stated | None = None) -> Recording:
    return aecg.read(data, stated or Stated())


def changed(old: str, new: str, whole: bytes = WHOLE) -> bytes:
    assert whole.count(old.encode()) >= 1, old
    return whole.replace(old.encode(), new.encode(), 1)


def outcome(data: bytes) -> Recording | EcgError:
    try:
        return decode(data)
    except EcgError as error:
        return error


def age_and_sex(row: Row) -> tuple[float | None, str | None]:
    patient = row.get("patient_as_read") or {}
    return patient.get("age_years_reported", age_of(row)), sex_of(row)


@pytest.mark.parametrize("row", ACCEPTED, ids=name_of)
def test_a_file_that_other_readers_know_is_read_the_same(row: Row) -> None:
    recording = decode(content(row))
    assert_reading(recording, row)
    assert (recording.age, recording.sex) == age_and_sex(row)
    measured = recording.measured.known()
    assert {name: measured[name] for name in row["measurements_as_read"]} == row["measurements_as_read"]


@pytest.mark.parametrize("row", REFUSED, ids=name_of)
def test_a_file_without_twelve_leads_says_which_are_missing(row: Row) -> None:
    with pytest.raises(MissingLeads, match=r"V6|no rhythm"):
        decode(content(row))


def test_an_age_that_contradicts_the_dates_is_told() -> None:
    recording = decode(changed('value="65" unit="a"', 'value="62" unit="a"'))
    assert recording.age == 62
    assert [remark.message for remark in recording.remarks] == [
        "the file reports an age of 62 years, but its dates give 65"
    ]
    assert decode(WHOLE).remarks == ()


def test_another_reader_reads_the_same_samples(tmp_path: Path) -> None:
    path = tmp_path / "ecg.xml"
    path.write_bytes(WHOLE)
    recording = decode(WHOLE)
    for lead in FileParser().parse(path, units="mV").leads:
        np.testing.assert_allclose(lead.samples, recording.lead(lead.label), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("step", "unit", "origin", "zero"),
    [
        (1.0, "uV", 'value="0" unit="uV"', 0.0),
        (2.5, "uV", 'value="0"', 0.0),
        (0.005, "mV", 'value="0" unit="mV"', 0.0),
        (0.005, "mV", 'value="-250" unit="uV"', -0.25),
        (1.0, "uV", 'value="0.1" unit="mV"', 0.1),
        (1.0, "uV", 'value="100"', 0.1),
    ],
)
def test_origin_and_scale_each_have_a_unit_of_their_own(step: float, unit: str, origin: str, zero: float) -> None:
    recording = decode(aecg_xml(series(sequence_set(SIGNAL, step=step, unit=unit, origin=origin))))
    half = 0.5e-3 * step if unit == "uV" else 0.5 * step
    np.testing.assert_allclose(recording.signal, SIGNAL + zero, rtol=0, atol=half + 1e-9)
    assert recording.derived == ()


@pytest.mark.parametrize(
    ("increment", "rate"),
    [
        ('value="0.002" unit="s"', 500),
        ('value="2" unit="ms"', 500),
        ('value="1000" unit="us"', 1000),
        ('value="0.0041667" unit="s"', 240),
        ('value="0.0010000" unit="s"', 1000),
        ('value="7" unit="ms"', 1000 / 7),
    ],
)
def test_the_rate_is_one_over_the_increment(increment: str, rate: float) -> None:
    recording = decode(aecg_xml(series(sequence_set(SIGNAL, increment=increment))))
    assert recording.sampling_rate == pytest.approx(rate, rel=1e-12)


def test_what_the_file_says_beside_the_samples_is_kept_without_the_name() -> None:
    inside = filtered("LOW_PASS", 150) + filtered("HIGH_PASS", 0.05) + filtered("NOTCH", 50, "NOTCH_FREQ")
    recording = decode(aecg_xml(series(sequence_set(SIGNAL), inside=inside)))
    assert (recording.age, recording.sex, recording.patient_id, recording.paced) == (65, "F", "SBJ-7", None)
    zone = timezone(timedelta(hours=-3, minutes=-30))
    assert recording.acquired_at == datetime(2024, 3, 9, 5, 6, 7, 250_000, tzinfo=zone)
    assert recording.device == "Maker Cart 3"
    assert recording.filters == Filters(high_pass=0.05, low_pass=150, notch=50)
    assert "Doe" not in repr(recording)


@pytest.mark.parametrize(
    ("old", "new", "moment"),
    [
        ("<low", "<no", datetime(2024, 3, 9, 5, 6, 7, 250_000)),
        ("20240309050607.250-0330", "202403090506", datetime(2024, 3, 9, 5, 6)),
        ("20240309050607.250-0330", "20240231", datetime(2024, 3, 9, 5, 6, 7, 250_000)),
        ("20240309050607.250-0330", "20240309050607+9999", datetime(2024, 3, 9, 5, 6, 7, 250_000)),
    ],
)
def test_an_impossible_moment_is_none_and_the_next_is_asked(old: str, new: str, moment: datetime) -> None:
    assert decode(changed(old, new)).acquired_at == moment


@pytest.mark.parametrize(
    ("reported", "age"),
    [('value="18" unit="mo"', 1.5), ('value="300" unit="a"', 65), ('value="old" unit="a"', 65), ('value="9"', 65)],
)
def test_the_age_is_the_reported_one_or_that_of_the_dates(reported: str, age: float) -> None:
    assert decode(aecg_xml(series(sequence_set(SIGNAL)), reported_age=reported)).age == age


def test_a_person_of_whom_nothing_is_said_has_neither_age_nor_sex_nor_identifier() -> None:
    bare = '<id/><subjectDemographicPerson><administrativeGenderCode code="UN"/><birthTime/></subjectDemographicPerson>'
    recording = decode(aecg_xml(series(sequence_set(SIGNAL)), subject=bare, reported_age=""))
    assert (recording.age, recording.sex, recording.patient_id) == (None, None, None)


def test_measurements_of_the_whole_ecg_come_before_those_of_a_beat_or_a_lead() -> None:
    notes = annotation_set(
        of_lead(quantity("MDC_ECG_TIME_PD_QRS", 77, "ms"), "V1"),
        words("MDC_ECG_BEAT", "", quantity("MDC_ECG_TIME_PD_QT", 555, "ms"), quantity("MDC_ECG_TIME_PD_P", 99, "ms")),
        quantity("MDC_ECG_HEART_RATE", 61, "bmp"),
        quantity("MDC_ECG_TIME_PD_PR", 0.148, "s"),
        quantity("MDC_ECG_TIME_PD_QRS", 120, "ms"),
        quantity("MDC_ECG_TIME_PD_QT", 420, "ms"),
        quantity("MDC_ECG_TIME_PD_QTc", 443, "ms", quantity("MINDRAY_ECG_TIME_PD_QTcH", 437, "ms")),
        quantity("MDC_ECG_ANGLE_P_FRONT", 44, "deg"),
        quantity("MDC_ECG_ANGLE_QRS_FRONT", -61, "deg"),
        quantity("MDC_ECG_ANGLE_T_FRONT", 29999, "deg"),
        quantity("MDC_ECG_TIME_PD_RR", 32767, "ms"),
    )
    assert decode(aecg_xml(series(sequence_set(SIGNAL), after=notes))).measured == Measurements(
        heart_rate=61,
        p_duration=99,
        pr_interval=148,
        qrs_duration=120,
        qt_interval=420,
        qtc=443,
        qtc_hodges=437,
        p_axis=44,
        qrs_axis=-61,
    )


@pytest.mark.parametrize(
    ("code", "value", "unit"),
    [
        ("TIME_PD_PR", 0, "ms"),
        ("TIME_PD_PR", -1, "ms"),
        ("TIME_PD_PR", "short", "ms"),
        ("TIME_PD_PR", 148, "mV"),
        ("HEART_RATE", 0, "bpm"),
        ("HEART_RATE", 29999, "bpm"),
        ("ANGLE_QRS_FRONT", 181, "deg"),
        ("ANGLE_QRS_FRONT", 1, "rad"),
    ],
)
def test_a_marker_of_nothing_measured_is_nothing_measured(code: str, value: object, unit: str) -> None:
    notes = annotation_set(quantity(f"MDC_ECG_{code}", value, unit))
    assert decode(aecg_xml(series(sequence_set(SIGNAL), after=notes))).measured.known() == {}


def test_statements_are_those_of_device_and_reader_and_tell_of_pacing() -> None:
    notes = annotation_set(
        words(
            "MDC_ECG_INTERPRETATION",
            "",
            words("MDC_ECG_INTERPRETATION_STATEMENT", "Atrial-paced  rhythm"),
            words("MDC_ECG_INTERPRETATION_SUMMARY", "ABNORMAL ECG"),
        ),
        '<annotation><code code="MDC_ECG_RHY"/><value code="MDC_ECG_RHY_SINUS_RHY" displayName="Sinus"/></annotation>',
    )
    recording = decode(aecg_xml(series(sequence_set(SIGNAL), after=notes)))
    assert recording.statements == ("Sinus", "Atrial-paced rhythm", "ABNORMAL ECG")
    assert recording.paced is True


def test_a_representative_beat_is_no_rhythm_wherever_it_stands() -> None:
    beat = sequence_set(0.5 * SIGNAL[:, :600])
    first = series(beat, code="REPRESENTATIVE_BEAT")
    derived = f"<derivation>{first.replace('series>', 'derivedSeries>')}</derivation>"
    recording = decode(aecg_xml(first, series(sequence_set(SIGNAL), after=derived)))
    assert recording.digest == decode(WHOLE).digest
    with pytest.raises(MissingLeads, match="no rhythm"):
        decode(aecg_xml(first))


def test_the_first_rhythm_with_all_leads_is_read() -> None:
    strip = sequence_set(SIGNAL[:, :1000], leads=("II",))
    later = series(sequence_set(2 * SIGNAL))
    assert decode(aecg_xml(series(strip), series(sequence_set(SIGNAL)), later)).digest == decode(WHOLE).digest
    assert decode(aecg_xml(series(strip, sequence_set(SIGNAL)), later)).digest == decode(WHOLE).digest


@pytest.mark.parametrize(("samples", "error"), [(1250, TooShort), (5000, MissingLeads)])
def test_leads_that_were_recorded_one_after_the_other_are_no_ecg(samples: int, error: type[EcgError]) -> None:
    columns = [LEADS[start : start + 3] for start in range(0, 12, 3)]
    sets = [sequence_set(SIGNAL[:, :samples], leads=column) for column in columns]
    with pytest.raises(error, match="not recorded at once"):
        decode(aecg_xml(series(*sets)))


def test_leads_go_by_name_and_limb_leads_are_derived() -> None:
    recording = decode(aecg_xml(series(sequence_set(SIGNAL, leads=INDEPENDENT_LEADS[::-1]))))
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=1e-9)
    assert recording.derived == ("III", "aVR", "aVL", "aVF")
    fifteen = changed("MDC_ECG_LEAD_III", "MDC_ECG_LEAD_V4R")
    assert [remark.code for remark in decode(fifteen).remarks] == ["extra-leads"]


@pytest.mark.parametrize("gap", ["NaN", "NA", "nan"])
def test_a_gap_in_a_limb_lead_is_derived_and_in_another_refused(gap: str) -> None:
    def with_gap(lead: str) -> bytes:
        head, found, tail = WHOLE.decode().partition(f"MDC_ECG_LEAD_{lead}")
        return (head + found + tail.replace("<digits>", f"<digits>{gap} 0 ", 1)).encode()

    longer = with_gap("III").replace(b"<digits>\n", b"<digits>0 0\n")
    recording = decode(longer)
    assert [remark.code for remark in recording.remarks] == ["gaps-derived"]
    with pytest.raises(MissingSamples, match="V2"):
        decode(with_gap("V2").replace(b"<digits>\n", b"<digits>0 0\n"))


def test_the_request_completes_the_file_and_never_contradicts_it() -> None:
    silent = WHOLE.replace(b'<increment value="0.002" unit="s"/>', b"").replace(b' unit="uV"', b"")
    assert decode(silent, Stated(sampling_rate=500, unit="uV")).digest == decode(WHOLE).digest
    with pytest.raises(MissingMetadata):
        decode(silent, Stated(unit="uV"))
    with pytest.raises(MissingMetadata):
        decode(silent, Stated(sampling_rate=500))
    with pytest.raises(DecodeError):
        decode(WHOLE, Stated(sampling_rate=250))
    with pytest.raises(DecodeError):
        decode(WHOLE, Stated(unit="mV"))
    with pytest.raises(DecodeError):
        decode(WHOLE, Stated(leads=LEADS))


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('unit="s"/></value>', 'unit="min"/></value>', DecodeError),
        ('<increment value="0.002"', '<increment value="0"', DecodeError),
        ('<increment value="0.002"', '<increment value="-0.002"', DecodeError),
        ('<increment value="0.002"', '<increment value="fast"', DecodeError),
        ('<increment value="0.002"', '<increment value="0.000000001"', DecodeError),
        ('<scale value="1" unit="uV"/>', "", MissingMetadata),
        ('<scale value="1"', '<scale value="one"', MissingMetadata),
        ('<scale value="1" unit="uV"/>', '<scale value="1" unit="mmHg"/>', UnknownUnit),
        ('<origin value="0" unit="uV"/>', '<origin value="zero" unit="uV"/>', DecodeError),
        ('<origin value="0" unit="uV"/>', '<origin value="0" unit="mmHg"/>', UnknownUnit),
        ("MDC_ECG_LEAD_V1", "MDC_ECG_LEAD_V9", MissingLeads),
        ("MDC_ECG_LEAD_V1", "MDC_ECG_LEAD_V2", MissingLeads),
        ("MDC_ECG_LEAD_III", "MDC_ECG_LEAD_V2", DecodeError),
        ("<digits>", "<digits>1 ", DecodeError),
        ("<digits>", "<digits>1_0 ", DecodeError),
        ("<digits>", "<digits>١ ", DecodeError),
        ("<digits>", "<digits>1,2 ", DecodeError),
        ("<digits>", "<digits>1-2 ", DecodeError),
        ("<digits>", "<digits>nought ", DecodeError),
        ("<digits>", "<digits>inf ", DecodeError),
        ("<digits>", "<digits>1e400 ", DecodeError),
        ("digits>", "numbers>", DecodeError),
        ("<digits>", "<digits/><digits>", DecodeError),
        ("<subject>", "<!DOCTYPE x><subject>", DecodeError),
    ],
)
def test_a_wrong_file_is_refused_for_its_own_reason(old: str, new: str, error: type[EcgError]) -> None:
    with pytest.raises(error):
        decode(changed(old, new))


def test_an_entity_is_refused() -> None:
    bomb = '<!DOCTYPE AnnotatedECG [<!ENTITY a "1 1"><!ENTITY b "&a;&a;">]><AnnotatedECG'
    with pytest.raises(UnsafeFile, match="entities"):
        decode(changed("<AnnotatedECG", bomb))


@pytest.mark.parametrize("digits", ["1 " * 500_001, "1" + " " * 8_000_001 + "1"])
def test_no_ecg_has_so_many_samples(digits: str) -> None:
    with pytest.raises(UnsafeFile, match="more than 500000"):
        decode(changed("<digits>", f"<digits>{digits}"))


def test_no_ecg_has_so_many_leads() -> None:
    with pytest.raises(UnsafeFile, match="65 leads"):
        decode(aecg_xml(series(sequence_set(SIGNAL[:, :2], leads=("V1",) * 65))))


def test_it_is_told_by_its_root() -> None:
    assert aecg.matches(WHOLE)
    assert aecg.matches(WHOLE.partition(b"?>")[2].strip())
    for other in (b"", b"<RestingECG/>", b"\0" * 100, b"<html><AnnotatedECG/></html>", b"{}"):
        assert not aecg.matches(other)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_the_encoding_is_the_files_own(encoding: str) -> None:
    text = WHOLE.decode().replace("utf-8", encoding.removesuffix("-sig"))
    assert decode(text.encode(encoding)).digest == decode(WHOLE).digest


@pytest.mark.parametrize("whole", [WHOLE, *map(content, ACCEPTED)], ids=["constructed", *map(name_of, ACCEPTED)])
def test_a_file_cut_anywhere_is_refused_as_cut(whole: bytes) -> None:
    for percent in range(1, 100):
        assert isinstance(outcome(whole[: len(whole) * percent // 100]), TruncatedFile), percent


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_files_give_a_recording_or_an_ecg_error(draw: st.DataObject) -> None:
    damaged = bytearray(SMALL)
    for _ in range(draw.draw(st.integers(1, 6))):
        damaged[draw.draw(st.integers(0, len(damaged) - 1))] = draw.draw(st.integers(0, 255))
    assert isinstance(outcome(bytes(damaged)), Recording | EcgError)
