from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ecg import LEADS, DecodeError, EcgError, Stated, UnsupportedFormat, decode
from models.ecg.errors import MissingLeads, MissingMetadata, MissingSamples, TruncatedFile, UnknownUnit, UnsafeFile
from tests.models.ecg_files import Row, assert_reading, content, expected, name_of

LEADS8 = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
HEADER = ",".join(LEADS8)
ROWS = "1,2,3,4,5,6,7,8\n" * 40
STATED = Stated(500, "mV")


@pytest.mark.parametrize("row", [row for row in expected("csv") if row["action"] == "accept"], ids=name_of)
def test_real_tables_are_read_as_known(row: Row) -> None:
    stated = STATED if row["path"].endswith(".csv") else None
    assert_reading(decode(content(row), stated), row)


@pytest.mark.parametrize("row", [row for row in expected("csv") if row["path"].endswith(".csv")], ids=name_of)
def test_tables_without_rate_and_unit_are_refused(row: Row) -> None:
    with pytest.raises(MissingMetadata):
        decode(content(row))


@pytest.mark.parametrize("row", expected("csv")[:1], ids=name_of)
def test_values_equal_those_of_another_parser(row: Row) -> None:
    text = content(row).decode()
    truth = np.genfromtxt(text.splitlines(), delimiter=",", names=True)
    recording = decode(text.encode(), STATED)
    for lead in LEADS:
        np.testing.assert_array_equal(recording.lead(lead), truth[lead])


@pytest.mark.parametrize("row", [row for row in expected("csv") if "gaps" in row["path"]], ids=name_of)
def test_gaps_in_a_derived_lead_are_computed_again_and_said_so(row: Row) -> None:
    recording = decode(content(row), STATED)
    assert recording.derived == ("aVR",)
    assert [remark.code for remark in recording.remarks] == ["gaps-derived"]
    np.testing.assert_allclose(recording.lead("aVR"), -(recording.lead("I") + recording.lead("II")) / 2)


@pytest.mark.parametrize(
    ("text", "rate", "first"),
    [
        ("# fs=500\n# unit=uV\n{header}\n{rows}", 500, 0.001),
        ("# sampling_rate: 250 Hz\n#unit: mV\n{header}\n{rows}", 250, 1.0),
        ("# Sampling Rate 1000\n# units = microvolts\n{header}\n{rows}", 1000, 0.001),
        ("\ufeff# hz=500\r\n# unit=V\r\n{header}\r\n{rows}", 500, 1000.0),
        ("# unit=mV\ntime,{header}\n{timed}", 100, 1.0),
        ("# unit=mV\nTime (ms),{header}\n{timed_ms}", 100, 1.0),
        ("# fs=500\nI (uV),II (uV),V1 (uV),V2 (uV),V3 (uV),V4 (uV),V5 (uV),V6 (uV)\n{rows}", 500, 0.001),
        ('# fs=500\n# unit=mV\n"I","II","V1","V2","V3","V4","V5","V6"\n{rows}', 500, 1.0),
    ],
)
def test_a_table_may_say_its_rate_and_unit_in_several_ways(text: str, rate: float, first: float) -> None:
    timed = "".join(f"{n / 100:.2f},1,2,3,4,5,6,7,8\n" for n in range(40))
    timed_ms = "".join(f"{10 * n},1,2,3,4,5,6,7,8\n" for n in range(40))
    recording = decode(text.format(header=HEADER, rows=ROWS, timed=timed, timed_ms=timed_ms).encode())
    assert recording.sampling_rate == rate
    assert recording.lead("I").tolist() == pytest.approx([first] * 40)


def test_a_clock_rounded_to_milliseconds_still_gives_its_rate() -> None:
    rows = "".join(f"{n / 360:.3f},1,2,3,4,5,6,7,8\n" for n in range(3600))
    assert decode(f"# unit=mV\nt,{HEADER}\n{rows}".encode()).sampling_rate == 360


@pytest.mark.parametrize(("separator", "comma"), [(";", ","), ("\t", ","), (";", "."), ("\t", "."), (",", ".")])
def test_separators_and_decimal_commas_are_told_apart(separator: str, comma: str) -> None:
    row = separator.join(f"{n}{comma}5" for n in range(8))
    recording = decode((separator.join(LEADS8) + "\n" + f"{row}\n" * 30).encode(), STATED)
    assert recording.lead("V6").tolist() == [7.5] * 30


def test_columns_without_names_are_read_only_when_stated() -> None:
    with pytest.raises(MissingMetadata, match="leads"):
        decode(ROWS.encode(), STATED)
    assert decode(ROWS.encode(), Stated(500, "mV", LEADS8)).lead("V6")[0] == 8.0


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"{HEADER}\n{ROWS}1,2,3\n", DecodeError),
        (f"{HEADER}\n{ROWS}1,2,3,4,5,6,7,eight\n", DecodeError),
        (f"{HEADER}\n1,2,3,4,5,6,7,\n{ROWS}", MissingSamples),
        (f"{HEADER}\n{ROWS},2,3,4,5,6,7,8\n", MissingSamples),
        (f"{HEADER}\n{ROWS}1,2,3,4,5,6,7,inf\n", MissingSamples),
        (f"{HEADER},i\n" + "1,2,3,4,5,6,7,8,9\n" * 9, DecodeError),
        ("I,II,III\n" + "1,2,1\n" * 9, MissingLeads),
        (f"{HEADER}\n", TruncatedFile),
        (HEADER, TruncatedFile),
        (f"# fs=fast\n{HEADER}\n{ROWS}", DecodeError),
        (f"# fs=1e9\n{HEADER}\n{ROWS}", DecodeError),
        (f"# unit=mmHg\n# fs=500\n{HEADER}\n{ROWS}", UnknownUnit),
        (f"# unit=uV\n# fs=500\nI (mV),{HEADER[2:]}\n{ROWS}", DecodeError),
        (",".join(["I", *(f"x{n}" for n in range(100))]) + "\n" + ",".join(["1"] * 101) + "\n", UnsafeFile),
        (",".join(["I", *(f"x{n}" for n in range(100_000))]) + "\n" + ",".join(["1"] * 100_001) + "\n", UnsafeFile),
        ("I,II,V1,V2,V3,V4,V5,V6\n" + ",".join(["1"] * 600_000), UnsafeFile),
        (f"# fs=500\n# sampling_rate=250\n{HEADER}\n{ROWS}", DecodeError),
        ("I,1,2,3\nII,1,2\n", DecodeError),
        ("I,1,2,3\nII,1,x,3\n", DecodeError),
        ("I,1,2,3\n" * 65, UnsafeFile),
        (f"{HEADER}\n" + "\n" * 500_001 + ROWS, UnsafeFile),
        ("name,surname\nIda,Noddack\n", UnsupportedFormat),
        ("To be, or not to be\n", UnsupportedFormat),
    ],
)
def test_a_wrong_table_is_refused_for_its_own_reason(text: str, error: type[EcgError]) -> None:
    with pytest.raises(error):
        decode(text.encode(), Stated(unit="mV", sampling_rate=500) if "# " not in text else Stated(unit=None))


SIDEWAYS = "\n".join(f"{lead},{n}.5,{n},{-n}" for n, lead in enumerate(LEADS8))


@pytest.mark.parametrize(
    "text",
    [
        SIDEWAYS,
        "lead,0,1,2\n" + SIDEWAYS,
        "time_ms,0,2,4\r\n" + SIDEWAYS.replace("\n", "\r\n") + "\r\n",
        SIDEWAYS.replace(",", ";").replace(".", ","),
        "# age: 61\n" + "\n".join('"' + line.replace(",", '",', 1) for line in SIDEWAYS.split("\n")),
    ],
)
def test_leads_may_be_rows(text: str) -> None:
    recording = decode(text.encode(), STATED)
    assert recording.lead("V6").tolist() == [7.5, 7, -7]
    assert recording.derived == ("III", "aVR", "aVL", "aVF")


def test_numbers_without_names_are_read_either_way_round() -> None:
    signal = np.arange(96.0).reshape(8, 12)
    for table in (signal, signal.T):
        text = "\n".join(",".join(map(str, row)) for row in table)
        np.testing.assert_array_equal(decode(text.encode(), Stated(500, "mV", LEADS8)).lead("V6"), signal[7])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-8"])
def test_text_may_be_utf_16_with_its_mark(encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("e") else ""
    text = mark + "# unit=µV\n# fs=500\n" + HEADER.replace(",", "\t") + "\n" + ROWS.replace(",", "\t")
    assert decode(text.encode(encoding)).lead("V6")[0] == pytest.approx(0.008)


@pytest.mark.parametrize(
    ("row", "last"),
    [
        ('"1","2","3","4","5","6","7","8.5"', 8.5),
        ('"1","2","3","4","5","6","7","8,5"', 8.5),
        ("1,2,3,4,5,6,7, 8.5 ", 8.5),
        ("1,2,3,4,5,6,7,+8.5e0", 8.5),
    ],
)
def test_cells_may_be_quoted(row: str, last: float) -> None:
    assert decode(f"{HEADER}\n{row}\n{row}\n".encode(), STATED).lead("V6").tolist() == [last, last]


@pytest.mark.parametrize("gap", ["", "nan", "NaN", "NA", "N/A", "null", "None", " "])
def test_gaps_have_many_names(gap: str) -> None:
    with pytest.raises(MissingSamples, match="1 samples are not numbers, in V2"):
        decode(f"{HEADER}\n1,2,3,{gap},5,6,7,8\n{ROWS}".encode(), STATED)


@pytest.mark.parametrize("label", ["{} (uV)", "{} [µV]", "{}_uV", "{}/uV", "{} uV", "Lead {} (uV)"])
def test_the_unit_may_stand_in_the_labels(label: str) -> None:
    header = ",".join(label.format(lead) for lead in LEADS8)
    assert decode(f"{header}\n{ROWS}".encode(), Stated(500)).lead("V6")[0] == pytest.approx(0.008)


def test_what_comments_say_is_kept() -> None:
    said = "# age: 61\n# Sex = F\n# height=170\n# weight=none\n# acquired_at=2024-03-09T05:06:07Z\n# paced: yes\n"
    recording = decode(f"{said}# heart_rate=75\n# qrs_axis=29999\n{HEADER}\n{ROWS}".encode(), STATED)
    assert (recording.age, recording.sex, recording.height, recording.weight) == (61, "F", 170, None)
    assert recording.acquired_at == datetime(2024, 3, 9, 5, 6, 7, tzinfo=UTC)
    assert (recording.paced, recording.measured.known()) == (True, {"heart_rate": 75})


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_cut_table_is_refused_or_a_table_of_whole_rows(percent: int) -> None:
    text = f"# unit=mV\n# fs=500\n{HEADER}\n{ROWS}".encode()
    cut = text[: len(text) * percent // 100]
    try:
        recording = decode(cut)
    except EcgError:
        return
    assert (recording.signal[:, -1] == recording.signal[:, 0]).all()


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 200), value=st.integers(0, 255))
def test_whatever_the_bytes_there_is_a_recording_or_a_reason(position: int, value: int) -> None:
    broken = bytearray(f"# unit=mV\n# fs=500\n{HEADER}\n{ROWS}".encode())
    broken[position] = value
    with contextlib.suppress(EcgError):
        assert decode(bytes(broken)).signal.shape[0] == 12


@pytest.mark.parametrize(
    "text",
    [
        "#" + " a" * 2_000_000,
        "# a" + " " * 2_000_000,
        ("#" + " " * 4000 + "x\n") * 300,
        "1" * 2_000_000 + "x,1",
        "," * 2_000_000,
        "I," + "1" * 4_000_000 + "x\n",
        "I,II\n1," + " " * 100_000 + "x\n",
        ",".join(LEADS) + "\n" + ",,,,,,,,,,,\n" * 100_000,
    ],
    ids=["words", "blanks", "lines", "digits", "commas", "row", "cell", "gaps"],
)
def test_lines_without_end_are_refused_at_once(text: str) -> None:
    with pytest.raises(EcgError):
        decode(text.encode(), STATED)


def test_gaps_at_the_end_of_a_row_are_gaps_between_tabs_too() -> None:
    rows = f"{HEADER}\taVL\taVF\n".replace(",", "\t") + "1\t2\t3\t4\t5\t6\t7\t8\t\t\n" * 3
    assert decode(rows.encode(), Stated(500, "mV")).signal.shape == (12, 3)


@pytest.mark.parametrize("times", ["0,0,0", "0,1,0", "0,0.002,0.1", "0,,0.004", "0,2,4"])
def test_a_clock_that_does_not_run_evenly_gives_no_rate(times: str) -> None:
    rows = "".join(f"{time},1,2,3,4,5,6,7,8\n" for time in times.split(","))
    with pytest.raises(DecodeError, match="time column"):
        decode(f"# unit=mV\ntime,{HEADER}\n{rows}".encode())
