from __future__ import annotations

import tracemalloc
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ecg import LEADS, DecodeError, EcgError, Recording, Stated
from models.ecg.errors import MissingLeads, MissingMetadata, TruncatedFile, UnknownUnit, UnsafeFile, UnsupportedFormat
from models.ecg.formats import schiller
from models.ecg.measurements import Measurements
from tests.models.damage import assert_cut_files_are_refused, outcome
from tests.models.ecg_files import Row, assert_reading, content, expected, made_up_signal, name_of
from tests.models.schiller_files import schiller_xml

SIGNAL = np.rint(1e3 * made_up_signal()[:, :4998]) / 1e3  # so many in real files
WHOLE = schiller_xml(SIGNAL)


def read(data: bytes) -> Recording:
    assert schiller.matches(data)
    return schiller.read(data, Stated())


def read_anything(data: bytes) -> Recording:
    return schiller.read(data, Stated())


def changed(old: str, new: str) -> bytes:
    assert old.encode() in WHOLE, old
    return WHOLE.replace(old.encode(), new.encode(), 1)


def in_rhythm(old: str, new: str) -> bytes:
    """The first of the places in the rhythm that read so."""
    start = WHOLE.index(b"ECG_RHYTHMS")
    assert old.encode() in WHOLE[start:], old
    return WHOLE[:start] + WHOLE[start:].replace(old.encode(), new.encode(), 1)


@pytest.mark.parametrize("row", expected("schiller"), ids=name_of)
def test_a_file_that_its_maker_knows_is_read_right(row: Row) -> None:
    recording = read(content(row))
    assert_reading(recording, row)
    assert recording.measured.heart_rate == row["measurements"]["heart_rate"]


def test_the_rhythm_is_read_whatever_its_length_and_not_the_averages() -> None:
    recording = read(WHOLE)
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=1e-9)
    assert (recording.sampling_rate, recording.derived, recording.remarks) == (500, (), ())


def test_the_unit_is_that_of_the_file() -> None:
    fine = WHOLE.replace(b"<unitperbit>1.0</unitperbit><units>UV", b"<unitperbit>0.001</unitperbit><units>MV")
    assert read(fine).digest == read(WHOLE).digest


def test_what_the_file_says_beside_the_samples_is_kept_without_the_name() -> None:
    recording = read(WHOLE)
    assert (recording.age, recording.sex, recording.patient_id, recording.paced) == (65, "M", "1000037", False)
    assert (recording.height, recording.weight) == (178, 80)
    assert recording.acquired_at == datetime(2016, 11, 7, 9, 5, 3, 250_000)
    assert recording.device == "SCHILLER AT-102"
    assert recording.measured == Measurements(heart_rate=75)
    assert "DOE" not in repr(recording)


@pytest.mark.parametrize(("answer", "paced"), [("ON", True), ("OFF", False), ("UNKNOWN", None), ("", None)])
def test_a_pacemaker_is_told_only_where_it_is_known(answer: str, paced: bool | None) -> None:
    assert read(changed("<pacemaker><value>OFF", f"<pacemaker><value>{answer}")).paced is paced


def test_impossible_dates_and_values_are_none() -> None:
    assert read(changed("20161107", "20161307")).acquired_at is None
    assert read(changed("090503250", "")).acquired_at == datetime(2016, 11, 7)
    assert read(changed("19501108", "20501108")).age is None
    assert read(changed("<value>178<", "<value>1780<")).height is None
    assert read(changed("<unit>KG<", "<unit>STONE<")).weight is None


def test_leads_go_by_name_and_limb_leads_are_derived() -> None:
    order = ("V6", "V5", "V4", "V3", "V2", "V1", "II", "I")
    recording = read(schiller_xml(SIGNAL[[LEADS.index(lead) for lead in order]], labels=order))
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=1e-3)
    assert recording.derived == ("III", "aVR", "aVL", "aVF")


@pytest.mark.parametrize("encoding", ["UTF-16", "ISO-8859-1"])
def test_the_encoding_is_the_files_own(encoding: str) -> None:
    assert read(schiller_xml(SIGNAL, encoding=encoding)).digest == read(WHOLE).digest
    assert read(b"\xef\xbb\xbf" + WHOLE).digest == read(WHOLE).digest


def test_what_a_request_states_may_not_contradict() -> None:
    assert schiller.read(WHOLE, Stated(500, "uV", LEADS)).digest == read(WHOLE).digest
    for wrong in (Stated(sampling_rate=5000), Stated(unit="mV"), Stated(leads=LEADS[::-1])):
        with pytest.raises(DecodeError):
            schiller.read(WHOLE, wrong)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("<exponent>1<", "<exponent>2<", UnsupportedFormat),
        ("<value>500</value>", "", MissingMetadata),
        ("<value>500<", "<value>-500<", DecodeError),
        ("<unitperbit>1.0<", "<unitperbit>0<", MissingMetadata),
        ("<unitperbit>1.0<", "<unitperbit>one<", DecodeError),
        ("<units>UV<", "<units><", MissingMetadata),
        ("<units>UV<", "<units>BAR<", UnknownUnit),
        ("COMMASEPARATE", "BASE64", UnsupportedFormat),
        ("<samplecount>4998<", "<samplecount>5000<", TruncatedFile),
        ("<samplecount>4998<", "<samplecount>4996<", DecodeError),
        ("<data>", "<data>nan,", DecodeError),
        ("<data>", "<data>,", DecodeError),
        ("<data>", "<data>1-,", DecodeError),
        ("<data>", "<data>10000000,", DecodeError),
        ("<data>", "<data>\u0661,", DecodeError),
        ("<name>V1<", "<name>V9<", MissingLeads),
        ("<name>V1<", "<name>V2<", DecodeError),
        ("</channel>", "</channels>", DecodeError),
    ],
)
def test_a_wrong_file_is_refused_for_its_own_reason(old: str, new: str, error: type[EcgError]) -> None:
    with pytest.raises(error):
        read(in_rhythm(old, new))


def test_no_rhythm_several_rhythms_and_too_many_leads_are_refused() -> None:
    with pytest.raises(MissingMetadata, match="ECG_RHYTHMS"):
        read(WHOLE.replace(b"ECG_RHYTHMS", b"ECG_OTHER"))
    with pytest.raises(DecodeError, match="2 rhythms"):
        read(WHOLE.replace(b"ECG_AVERAGES", b"ECG_RHYTHMS"))
    with pytest.raises(UnsafeFile, match="65 leads"):
        read(schiller_xml(np.zeros((65, 61)), labels=("X",) * 65))


def test_blanks_and_samples_without_end_cost_no_time_and_little_memory() -> None:
    tracemalloc.start()
    with pytest.raises(DecodeError, match="whole numbers"):
        read(in_rhythm("<data>", "<data>1" + " " * 5_000_000 + "x,"))
    with pytest.raises(UnsafeFile, match="500000"):
        read(in_rhythm("<data>", "<data>" + "1," * 500_001))
    assert tracemalloc.get_traced_memory()[1] < 60e6
    tracemalloc.stop()


def test_a_cut_file_is_refused_wherever_it_is_cut() -> None:
    assert_cut_files_are_refused(read_anything, WHOLE)


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, len(WHOLE) - 1), other=st.integers(0, 255))
def test_any_other_byte_gives_a_recording_or_a_reason(position: int, other: int) -> None:
    found = outcome(read_anything, WHOLE[:position] + bytes([other]) + WHOLE[position + 1 :])
    assert isinstance(found, Recording | EcgError)
