"""Recordings to CSV and JSON and back: nothing is lost on the way but what the format says it has no place for."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.ecg import LEADS, Filters, Recording, Stated, decode
from models.ecg.errors import TruncatedFile
from models.ecg.formats import csv_table as csv_reader
from models.ecg.formats import json_document as json_reader
from models.ecg.measurements import Measurements
from models.ecg.recording import CANONICAL_STEP
from models.ecg.writers import csv_table, json_document
from tests.models.ecg_files import made_up_signal

RESTING = Recording(
    signal=made_up_signal(),
    sampling_rate=500.0,
    age=61.5,
    sex="F",
    height=170.0,
    weight=70.25,
    patient_id="Ø-<病&1>, #7",
    acquired_at=datetime(2024, 3, 9, 5, 6, 7, 250_000, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    device='cart = "of" the test; 9',
    filters=Filters(high_pass=0.15, low_pass=150.0, notch=50.0),
    paced=False,
    measured=Measurements(heart_rate=75.0, pr_interval=160.0, qtc_hodges=401.5, qrs_axis=-35.0),
    statements=("SINUS RHYTHM", "# no = pacemaker: 'x', \"y\"; Überleitung"),
    derived=("aVR", "aVF"),
)
UNKNOWN = Recording(signal=made_up_signal(seed=1), sampling_rate=333.3333333333333)
WAYS: dict[str, Callable[[Recording], Recording]] = {
    "CSV": lambda recording: csv_reader.read(csv_table.write(recording), Stated()),
    "JSON": lambda recording: json_reader.read(json_document.write(recording), Stated()),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("recording", [RESTING, UNKNOWN], ids=["known", "unknown"])
def test_everything_that_is_known_comes_back(way: str, recording: Recording) -> None:
    again = WAYS[way](recording)
    lost = {"signal", "source_format", *(["derived"] if way == "CSV" else [])}
    for field in dataclasses.fields(Recording):
        if field.name not in lost:
            assert getattr(again, field.name) == getattr(recording, field.name), field.name
    assert again.digest == recording.digest
    assert again.source_format == way


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=100, deadline=None)
@given(signal=arrays(np.float64, (12, 5), elements=st.floats(-20_000, 20_000)), rate=st.floats(20, 32_000))
def test_every_sample_comes_back_within_ten_nanovolts(way: str, signal: np.ndarray[Any, Any], rate: float) -> None:
    recording = Recording(signal=signal, sampling_rate=rate)
    again = WAYS[way](recording)
    assert (again.digest, again.sampling_rate) == (recording.digest, recording.sampling_rate)
    np.testing.assert_allclose(again.signal, signal, rtol=0, atol=0.5001 * CANONICAL_STEP)


@pytest.mark.parametrize("write", [csv_table.write, json_document.write])
def test_the_same_recording_gives_the_same_bytes(write: Callable[[Recording], bytes]) -> None:
    assert write(RESTING) == write(dataclasses.replace(RESTING, signal=RESTING.signal.copy()))


def test_other_programs_read_the_same_numbers() -> None:
    document = json.loads(json_document.write(RESTING))
    assert (document["sampling_rate_hz"], document["unit"]) == (500, "uV")
    table = [line for line in csv_table.write(RESTING).decode().splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(io.StringIO("\n".join(table))))
    for lead in LEADS:
        np.testing.assert_allclose(document["leads"][lead], 1e3 * RESTING.lead(lead), rtol=0, atol=1e-9)
        np.testing.assert_allclose([float(row[lead]) for row in rows], 1e3 * RESTING.lead(lead), rtol=0, atol=1e-9)


def test_what_is_not_known_is_not_made_up() -> None:
    assert json.loads(json_document.write(UNKNOWN)).keys() == {"sampling_rate_hz", "unit", "leads"}
    comments = [line for line in csv_table.write(UNKNOWN).decode().splitlines() if line.startswith("#")]
    assert comments == ["# fs=333.3333333333333", f"# samples={UNKNOWN.signal.shape[1]}", "# unit=uV"]


def test_a_table_says_how_long_it_is_and_a_cut_one_is_refused() -> None:
    whole = csv_table.write(RESTING)
    with pytest.raises(TruncatedFile, match=r"4999 of the 5000"):
        decode(whole[: whole.rindex(b"\n", 0, -1) + 1])


@pytest.mark.parametrize(
    "changes",
    [
        {"patient": {"height": 900, "weight": "heavy", "age": 300, "sex": "U"}},
        {"measurements": {"heart_rate": -1, "pr_interval": 0, "qt_interval": 1e9, "qrs_axis": 29999, "colour": 3}},
        {"filters": {"high_pass": 0, "low_pass": -40, "notch": None}},
        {"derived": ["V1", "X"]},
    ],
)
def test_what_nobody_can_have_is_nothing(changes: dict[str, Any]) -> None:
    document = json.loads(json_document.write(UNKNOWN)) | changes
    again = json_reader.read(json.dumps(document).encode(), Stated())
    for field in dataclasses.fields(Recording):
        if field.name not in ("signal", "source_format"):
            assert getattr(again, field.name) == getattr(UNKNOWN, field.name), field.name
