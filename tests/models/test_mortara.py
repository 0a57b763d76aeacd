from __future__ import annotations

import tracemalloc
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from ecgdatakit import FileParser
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ecg import LEADS, DecodeError, EcgError, Filters, Recording, Stated
from models.ecg.errors import MissingLeads, MissingMetadata, TruncatedFile, UnsafeFile, UnsupportedFormat
from models.ecg.formats import mortara
from models.ecg.formats.base64_samples import decode_base64
from models.ecg.measurements import Measurements
from tests.models.damage import assert_cut_files_are_refused, outcome
from tests.models.ecg_files import FILES, Row, age_of, assert_reading, content, expected, made_up_signal, name_of
from tests.models.mortara_files import mortara_xml

SIGNAL = np.rint(200 * made_up_signal()) / 200
WHOLE = mortara_xml(SIGNAL)


def read(data: bytes) -> Recording:
    assert mortara.matches(data)
    return mortara.read(data, Stated())


def read_anything(data: bytes) -> Recording:
    return mortara.read(data, Stated())


def changed(old: str, new: str) -> bytes:
    assert old.encode() in WHOLE, old
    return WHOLE.replace(old.encode(), new.encode(), 1)


def in_channel(old: str, new: str) -> bytes:
    """Changed in the first lead of the rhythm."""
    start = WHOLE.index(b"<CHANNEL")
    assert old.encode() in WHOLE[start:], old
    return WHOLE[:start] + WHOLE[start:].replace(old.encode(), new.encode(), 1)


@pytest.mark.parametrize("row", expected("mortara"), ids=name_of)
def test_a_file_that_other_readers_know_is_read_the_same(row: Row) -> None:
    recording = read(content(row))
    assert_reading(recording, row)
    if age_of(row) is not None:
        assert recording.age == age_of(row)
    for lead in FileParser().parse(FILES / row["path"], units="uV").leads:
        np.testing.assert_allclose(1e3 * recording.lead(lead.label), lead.samples, rtol=0, atol=1e-6)


@pytest.mark.parametrize("per_millivolt", [200, 400, 1000])
def test_samples_are_so_many_units_per_millivolt(per_millivolt: int) -> None:
    recording = read(mortara_xml(SIGNAL, per_millivolt=per_millivolt))
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=1e-9)
    assert (recording.sampling_rate, recording.derived) == (500, ())


def test_what_the_file_says_beside_the_samples_is_kept_without_the_name() -> None:
    recording = read(WHOLE)
    assert (recording.age, recording.sex, recording.patient_id, recording.paced) == (61, "M", "1000037", None)
    assert (recording.height, recording.weight) == (pytest.approx(177.8), 80)
    assert recording.acquired_at == datetime(2016, 11, 7, 9, 5, 3)
    assert recording.device == "MORTARA INSTRUMENT ELI 280"
    assert recording.filters == Filters(low_pass=150)
    assert recording.statements == ("Sinus rhythm: rate 75", "Normal ECG")
    assert "DOE" not in repr(recording)


def test_measurements_are_kept_under_their_names() -> None:
    assert read(WHOLE).measured == Measurements(
        heart_rate=75,
        rr_interval=800,
        p_duration=104,
        pr_interval=160,
        qrs_duration=90,
        qt_interval=380,
        qtc=424,
        qtc_bazett=425,
        qtc_fridericia=409,
        p_axis=50,
        qrs_axis=-30,
        t_axis=-160,  # 200 degrees
    )
    assert read(changed('PR_DURATION="160"', 'PR_DURATION="0"')).measured.pr_interval is None


def test_a_time_with_a_zone_goes_before_the_one_without() -> None:
    zoned = read(changed("VENT_RATE", 'ACQUISITION_TIME_XML="2016-11-07T09:05:03-03:30" VENT_RATE')).acquired_at
    assert zoned == datetime(2016, 11, 7, 9, 5, 3, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
    assert read(changed("20161107090503", "20161307090503")).acquired_at is None


def test_age_comes_from_birth_where_it_is_not_stated() -> None:
    born = WHOLE.replace(b' AGE="61"', b"").replace(b"<SUBJECT", b'<SUBJECT DOB="19501108"')
    assert read(born).age == 65
    assert read(changed('AGE="61" AGE_UNITS="YEARS"', 'AGE="18" AGE_UNITS="MONTHS"')).age == 1.5


def test_pacing_is_told_by_a_statement() -> None:
    assert read(changed("Normal ECG", "Ventricular-paced rhythm")).paced is True


def test_leads_go_by_name_and_limb_leads_are_derived() -> None:
    order = ("V6", "V5", "V4", "V3", "V2", "V1", "II", "I")
    recording = read(mortara_xml(SIGNAL[[LEADS.index(lead) for lead in order]], labels=order))
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=0.0101)
    assert recording.derived == ("III", "aVR", "aVL", "aVF")
    assert read(in_channel('NAME="aVR"', 'NAME="AVR"')).digest == read(WHOLE).digest


@pytest.mark.parametrize("encoding", ["UTF-16", "ISO-8859-1"])
def test_the_encoding_is_the_files_own(encoding: str) -> None:
    assert read(mortara_xml(SIGNAL, encoding=encoding)).digest == read(WHOLE).digest


def test_what_a_request_states_may_not_contradict() -> None:
    assert mortara.read(WHOLE, Stated(500, "mV", LEADS)).digest == read(WHOLE).digest
    for wrong in (Stated(sampling_rate=250), Stated(unit="uV"), Stated(leads=LEADS[::-1])):
        with pytest.raises(DecodeError):
            mortara.read(WHOLE, wrong)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('UNITS_PER_MV="200"', "", MissingMetadata),
        ('UNITS_PER_MV="200"', 'UNITS_PER_MV="0"', MissingMetadata),
        ('UNITS_PER_MV="200"', 'UNITS_PER_MV="many"', DecodeError),
        ('SAMPLE_FREQ="500"', 'SAMPLE_FREQ="250"', DecodeError),
        ('SAMPLE_FREQ="500"', "", DecodeError),
        ('BITS="16"', 'BITS="32"', UnsupportedFormat),
        ('FORMAT="SIGNED"', 'FORMAT="UNSIGNED"', UnsupportedFormat),
        ('ENCODING="BASE64"', 'ENCODING="HEX"', UnsupportedFormat),
        ('OFFSET="0"', 'OFFSET="12"', UnsupportedFormat),
        ('DURATION="5000"', 'DURATION="5001"', TruncatedFile),
        ('DURATION="5000"', 'DURATION="4999"', DecodeError),
        ('DATA="', 'DATA="*', DecodeError),
        ('NAME="V1"', 'NAME="V9"', MissingLeads),
        ('NAME="V1"', 'NAME="V2"', DecodeError),
    ],
)
def test_a_wrong_file_is_refused_for_its_own_reason(old: str, new: str, error: type[EcgError]) -> None:
    with pytest.raises(error):
        read(in_channel(old, new))


def test_a_file_without_a_rate_may_be_told_it() -> None:
    silent = WHOLE.replace(b'SAMPLE_FREQ="500"', b"")
    with pytest.raises(MissingMetadata, match="sampling rate"):
        read(silent)
    assert mortara.read(silent, Stated(sampling_rate=500)).digest == read(WHOLE).digest


def test_no_rhythm_and_too_many_leads_are_refused() -> None:
    with pytest.raises(MissingMetadata, match="CHANNEL"):
        read(WHOLE.replace(b"<CHANNEL", b"<OTHER"))
    with pytest.raises(UnsafeFile, match="65 leads"):
        read(mortara_xml(np.zeros((65, 61)), labels=("X",) * 65))


def test_base64_of_other_signs_is_refused_before_it_is_copied() -> None:
    text = "A" * 4_000_000 + "é"
    tracemalloc.start()
    with pytest.raises(DecodeError, match="no base64"):
        decode_base64(text, "lead I")
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_cut_file_is_refused_wherever_it_is_cut() -> None:
    assert_cut_files_are_refused(read_anything, WHOLE)


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, len(WHOLE) - 1), other=st.integers(0, 255))
def test_any_other_byte_gives_a_recording_or_a_reason(position: int, other: int) -> None:
    found = outcome(read_anything, WHOLE[:position] + bytes([other]) + WHOLE[position + 1 :])
    assert isinstance(found, Recording | EcgError)
