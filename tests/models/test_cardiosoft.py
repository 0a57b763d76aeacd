from __future__ import annotations

import tracemalloc
from datetime import datetime

import numpy as np
import pytest

from models.ecg import LEADS, DecodeError, EcgError, Filters, decode
from models.ecg.errors import MissingLeads, MissingMetadata, TruncatedFile, UnknownUnit, UnsafeFile
from tests.models.cardiosoft_files import cardiosoft_xml
from tests.models.ecg_files import Row, age_of, assert_reading, content, expected, made_up_signal, name_of, sex_of

SIGNAL = made_up_signal()
WHOLE = cardiosoft_xml(SIGNAL, step=1.0)


def changed(old: str, new: str) -> bytes:
    assert WHOLE.count(old.encode()) >= 1, old
    return WHOLE.replace(old.encode(), new.encode(), 1)


@pytest.mark.parametrize("row", expected("cardiosoft"), ids=name_of)
def test_a_file_that_another_reader_knows_is_read_the_same(row: Row) -> None:
    recording = decode(content(row))
    assert_reading(recording, row)
    assert (recording.age, recording.sex) == (age_of(row), sex_of(row))


@pytest.mark.parametrize("step", [1.0, 2.5, 5.0])
def test_samples_are_steps_of_the_stated_resolution(step: float) -> None:
    recording = decode(cardiosoft_xml(SIGNAL, step=step))
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=0.5e-3 * step + 1e-9)
    assert recording.sampling_rate == 500
    assert recording.derived == ()


def test_what_the_file_says_beside_the_samples_is_kept_without_the_name() -> None:
    named = changed("<PID>", "<Name><FamilyName>Doe</FamilyName></Name><PID>")
    recording = decode(named)
    assert (recording.age, recording.sex, recording.patient_id, recording.paced) == (61, "M", "1000037", False)
    assert recording.acquired_at == datetime(2016, 11, 7, 9, 5, 3)
    assert recording.filters == Filters(high_pass=0.01, low_pass=150, notch=50)
    assert "Doe" not in repr(recording)


def test_age_comes_from_birth_where_it_is_not_stated() -> None:
    birth = "<BirthDateTime><Day>8</Day><Month>11</Month><Year>1950</Year></BirthDateTime>"
    assert decode(changed('<Age units="YEARS">61</Age>', birth)).age == 65
    assert decode(changed('<Age units="YEARS">61</Age>', '<Age units="MONTHS">18</Age>')).age == 1.5
    assert decode(changed('<Age units="YEARS">61</Age>', "")).age is None


@pytest.mark.parametrize("date", ["<Month>13</Month>", "<Month></Month>", "<Month>May</Month>"])
def test_an_impossible_date_is_no_date(date: str) -> None:
    assert decode(changed("<Month>11</Month>", date)).acquired_at is None


def test_leads_go_by_name_and_limb_leads_are_derived() -> None:
    order = [LEADS.index(lead) for lead in ("V6", "V5", "V4", "V3", "V2", "V1", "II", "I")]
    labels = ("V6", "V5", "V4", "V3", "V2", "V1", "II", "I")
    recording = decode(cardiosoft_xml(SIGNAL[order], step=1.0, labels=labels))
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=1.1e-3)
    assert recording.derived == ("III", "aVR", "aVL", "aVF")
    assert decode(changed('lead="aVR"', 'lead="AVR"')).digest == decode(WHOLE).digest


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "ISO-8859-1"])
def test_the_encoding_is_the_files_own(encoding: str) -> None:
    assert decode(cardiosoft_xml(SIGNAL, step=1.0, encoding=encoding)).digest == decode(WHOLE).digest


def test_it_is_told_by_its_root_and_not_by_what_stands_before() -> None:
    text = WHOLE.partition(b"?>")[2]
    for start in (b"", b"\xef\xbb\xbf", b"<!-- <RestingECG> -->\n", b'<!DOCTYPE CardiologyXML SYSTEM "cs.dtd">\n'):
        assert decode(start + text).source_format == "CardioSoft XML"


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('<SampleRate units="Hz">500</SampleRate>', "", MissingMetadata),
        ('<SampleRate units="Hz">', '<SampleRate units="kHz">', DecodeError),
        ("500</SampleRate>", "fast</SampleRate>", DecodeError),
        ("500</SampleRate>", "-500</SampleRate>", DecodeError),
        ("500</SampleRate>", "0</SampleRate>", DecodeError),
        ('<Resolution units="uVperLsb">1</Resolution>', "", MissingMetadata),
        ('"uVperLsb">1<', '"uVperLsb">0<', MissingMetadata),
        ('units="uVperLsb"', "", MissingMetadata),
        ('units="uVperLsb"', 'units="mmHgperLsb"', UnknownUnit),
        ("<NumberOfLeads>12<", "<NumberOfLeads>15<", DecodeError),
        ("Total>5000<", "Total>5001<", TruncatedFile),
        ("Total>5000<", "Total>4999<", DecodeError),
        ('lead="V1"', 'lead="V9"', MissingLeads),
        ('lead="V1"', 'lead="V2"', DecodeError),
        ('<WaveformData lead="II">', '<WaveformData lead="II">nan,', DecodeError),
        ('<WaveformData lead="II">', '<WaveformData lead="II">,', DecodeError),
        ('<WaveformData lead="II">', '<WaveformData lead="II">1_0,', DecodeError),
        ("StripData>", "StripDat>", DecodeError),
        ("</PatientInfo>", "</Patient>", DecodeError),
    ],
)
def test_a_wrong_file_is_refused_for_its_own_reason(old: str, new: str, error: type[EcgError]) -> None:
    with pytest.raises(error):
        decode(changed(old, new))


def test_a_file_without_a_strip_says_what_to_export() -> None:
    with pytest.raises(MissingMetadata, match="StripData"):
        decode(WHOLE.replace(b"StripData", b"Other"))


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE CardiologyXML [<!ENTITY a "1,1"><!ENTITY b "&a;&a;">]>',
        '<!DOCTYPE CardiologyXML [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        "<!DOCTYPE CardiologyXML [<!ENTITY % a \"<!ENTITY b '1'>\"> %a;]>",
    ],
)
def test_entities_are_refused_where_they_are_declared(declaration: str) -> None:
    with pytest.raises(UnsafeFile, match="entities"):
        decode(changed("<CardiologyXML>", declaration + "<CardiologyXML>"))


def test_an_entity_of_a_foreign_dtd_is_refused_where_it_is_used() -> None:
    hidden = changed("<CardiologyXML>", '<!DOCTYPE CardiologyXML SYSTEM "http://example.org/x.dtd"><CardiologyXML>')
    with pytest.raises(UnsafeFile, match="entities"):
        decode(hidden.replace(b"<PID>", b"<PID>&x;"))


@pytest.mark.parametrize("inside", ["<a>" * 40 + "</a>" * 40, "<a/>" * 100_001])
def test_no_ecg_has_so_many_levels_or_elements(inside: str) -> None:
    with pytest.raises(UnsafeFile, match="levels"):
        decode(changed("<PID>", inside + "<PID>"))


def test_blanks_without_end_cost_no_time_and_little_memory() -> None:
    blanks = changed('<WaveformData lead="II">', '<WaveformData lead="II">1' + " " * 5_000_000 + "x,")
    tracemalloc.start()
    with pytest.raises(DecodeError, match="whole numbers"):
        decode(blanks)
    assert tracemalloc.get_traced_memory()[1] < 60e6
    tracemalloc.stop()


def test_a_strip_of_hours_is_refused_before_it_is_parsed() -> None:
    rows = "".join(f'<WaveformData lead="{lead}">{"1," * 500_001}1</WaveformData>' for lead in ("I", "II"))
    head = '<SampleRate units="Hz">500</SampleRate><Resolution units="uVperLsb">1</Resolution>'
    with pytest.raises(UnsafeFile, match="500000"):
        decode(f"<CardiologyXML><StripData>{head}{rows}</StripData></CardiologyXML>".encode())
