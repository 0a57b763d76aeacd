"""What is written about a person or an ECG is kept as one line that can be stored, shown and believed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import orjson
import pytest

from models.ecg import LEADS, DecodeError, Recording, decode
from models.ecg.confined import Readers
from models.ecg.recording import LONGEST_IDENTIFIER
from models.ecg.statements import kept, paced
from models.ecg.text import line, moment
from models.ecg.writers import json_document
from tests.models.ecg_files import made_up_signal

RESTING = Recording(signal=made_up_signal(), sampling_rate=500.0, age=61.0, sex="F")


@pytest.mark.parametrize(
    "said",
    [
        "PACED RHYTHM - NO FURTHER ANALYSIS ATTEMPTED",
        "Pacemaker rhythm - no P waves found",
        "No P waves, pacemaker rhythm",
        "Atrial-paced rhythm",
        "Electronic ventricular pacemaker",
        "AV dual-paced complexes",
    ],
)
def test_a_paced_heart_is_told_from_its_statement(said: str) -> None:
    assert paced([said]) is True


@pytest.mark.parametrize(
    "said",
    [
        "Not paced",
        "No evidence of pacing",
        "Un-paced rhythm",
        "Cannot rule out ventricular pacing",
        "Wandering atrial pacemaker",
        "Ectopic atrial pacemaker",
        "Junctional pacemaker",
        "Sinus rhythm",
    ],
)
def test_a_denial_a_doubt_and_the_heart_s_own_pacemaker_are_no_pacing(said: str) -> None:
    assert paced([said]) is None


def test_what_cannot_be_printed_is_shown_as_such_and_blanks_are_one() -> None:
    assert line(" a\tb\x00c\ud800\n d ") == "a b\ufffdc\ufffd d"
    assert kept(["x\x07", "x\x07", " "]) == ("x\ufffd",)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("20200102", datetime(2020, 1, 2)),
        ("2020-01-02T10:11:12", datetime(2020, 1, 2, 10, 11, 12)),
        ("2020-01-02T10:11:12+01:00:30", datetime(2020, 1, 2, 10, 11, 12, tzinfo=timezone(timedelta(seconds=3630)))),
        ("0999-01-02", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_a_moment_is_a_date_that_an_ecg_can_have(text: str | None, when: datetime | None) -> None:
    assert moment(text) == when


def test_a_digit_string_in_json_is_a_date_and_never_seconds_since_1970() -> None:
    told = orjson.loads(json_document.write(RESTING)) | {"acquired_at": "20200102"}
    assert decode(orjson.dumps(told)).acquired_at == datetime(2020, 1, 2)
    with pytest.raises(DecodeError, match="a date is needed"):
        decode(orjson.dumps(told | {"acquired_at": 1577959872}))


def test_an_identifier_too_long_for_the_store_is_left_out_and_said() -> None:
    longest = Recording(signal=RESTING.signal, sampling_rate=500.0, patient_id="x" * LONGEST_IDENTIFIER)
    assert longest.patient_id == "x" * LONGEST_IDENTIFIER
    longer = Recording(signal=RESTING.signal, sampling_rate=500.0, patient_id="x" * (LONGEST_IDENTIFIER + 1))
    assert longer.patient_id is None
    assert [remark.code for remark in longer.remarks] == ["identifier-left-out"]


def test_odd_zones_and_hostile_text_pass_the_wire_of_a_confined_reader() -> None:
    told = orjson.loads(json_document.write(RESTING))
    told |= {"acquired_at": "2020-01-01T10:00:00+01:00:30", "patient": {"id": "a\0b" * 100}, "device": "c\x1b[2J"}
    told["leads"]["V\0" + "7"] = told["leads"]["V6"]
    with Readers(count=1) as readers:
        recording = readers.examine(orjson.dumps(told)).recording
    assert recording.acquired_at == moment("2020-01-01T10:00:00+01:00:30")
    texts = [recording.patient_id or "", recording.device or "", *(remark.message for remark in recording.remarks)]
    assert all(text.isprintable() for text in texts)


def test_digits_of_an_age_and_a_weight_are_all_kept() -> None:
    recording = Recording(signal=RESTING.signal, sampling_rate=500.0, age=10 / 12, weight=155 * 0.45359237)
    again = decode(json_document.write(recording))
    assert (again.age, again.weight) == (recording.age, recording.weight)
    np.testing.assert_array_equal(again.leads, LEADS)
