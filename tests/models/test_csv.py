from __future__ import annotations

import numpy as np
import pytest

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
        (",".join(["I", *map(str, range(100))]) + "\n" + ",".join(["1"] * 101) + "\n", UnsafeFile),
        (f"{HEADER}\n" + "\n" * 500_001 + ROWS, UnsafeFile),
        ("name,surname\nIda,Noddack\n", UnsupportedFormat),
        ("To be, or not to be\n", UnsupportedFormat),
    ],
)
def test_a_wrong_table_is_refused_for_its_own_reason(text: str, error: type[EcgError]) -> None:
    with pytest.raises(error):
        decode(text.encode(), Stated(unit="mV", sampling_rate=500) if "# " not in text else Stated(unit=None))


@pytest.mark.parametrize("times", ["0,0,0", "0,1,0", "0,0.002,0.1", "0,,0.004", "0,2,4"])
def test_a_clock_that_does_not_run_evenly_gives_no_rate(times: str) -> None:
    rows = "".join(f"{time},1,2,3,4,5,6,7,8\n" for time in times.split(","))
    with pytest.raises(DecodeError, match="time column"):
        decode(f"# unit=mV\ntime,{HEADER}\n{rows}".encode())
