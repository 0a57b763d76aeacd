from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import orjson
import pytest

from models.ecg import LEADS, DecodeError, EcgError, Stated, UnsupportedFormat, decode
from models.ecg.errors import MissingLeads, MissingMetadata, MissingSamples, TruncatedFile, UnknownUnit, UnsafeFile
from tests.models.ecg_files import Row, age_of, assert_reading, content, expected, name_of, sex_of

SAMPLES = {lead: [0.1, 0.2, 0.3] for lead in LEADS}
WHOLE = {"fs": 500, "unit": "mV", "leads": SAMPLES}


@pytest.mark.parametrize("row", expected("json"), ids=name_of)
def test_a_real_document_is_read_as_known(row: Row) -> None:
    recording = decode(content(row))
    assert_reading(recording, row)
    assert (recording.age, recording.sex) == (age_of(row), sex_of(row))


@pytest.mark.parametrize("key", ["fs", "sampling_rate", "sampling_rate_hz"])
def test_the_rate_has_several_names(key: str) -> None:
    assert decode(orjson.dumps({key: 250.5, "unit": "mV", "leads": SAMPLES})).sampling_rate == 250.5


def test_rows_with_names_are_the_same_as_samples_by_lead() -> None:
    signal = np.random.default_rng(3).normal(0, 1, (12, 100)).round(4)
    by_lead = decode(orjson.dumps(WHOLE | {"leads": dict(zip(LEADS, signal.tolist(), strict=True))}))
    rows = {"fs": 500, "unit": "mV", "signal": signal.tolist()}
    assert decode(orjson.dumps(rows | {"lead_names": LEADS})).digest == by_lead.digest
    assert decode(orjson.dumps(rows | {"leads": LEADS})).digest == by_lead.digest
    assert decode(orjson.dumps(rows), Stated(leads=LEADS)).digest == by_lead.digest
    with pytest.raises(MissingMetadata, match="leads"):
        decode(orjson.dumps(rows))


def test_what_the_document_says_of_patient_and_device_is_kept() -> None:
    recording = decode(
        orjson.dumps(
            WHOLE
            | {"patient": {"age": 61.5, "sex": "male", "id": 12}, "acquired_at": "2020-01-02T03:04:05Z"}
            | {"device": "Cart 9", "paced": True, "remark": {"any": "thing"}}
        )
    )
    assert (recording.age, recording.sex, recording.patient_id) == (61.5, "M", "12")
    assert recording.acquired_at == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (recording.device, recording.paced) == ("Cart 9", True)


@pytest.mark.parametrize("gap", [None, float("nan")])
def test_a_gap_in_a_limb_lead_is_computed_again(gap: float | None) -> None:
    text = json.dumps(WHOLE | {"leads": SAMPLES | {"aVF": [0.05, gap, 0.15]}})
    recording = decode(text.encode())
    assert recording.lead("aVF").tolist() == pytest.approx([0.05, 0.1, 0.15])
    assert recording.derived == ("aVF",)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (WHOLE | {"unit": "parsec"}, UnknownUnit),
        ({"fs": 500, "leads": SAMPLES}, MissingMetadata),
        ({"unit": "mV", "leads": SAMPLES}, MissingMetadata),
        (WHOLE | {"leads": {"I": [1], "II": [1], "III": [0]}}, MissingLeads),
        (WHOLE | {"leads": SAMPLES | {"V1": [0.1, None, 0.3]}}, MissingSamples),
        (WHOLE | {"leads": SAMPLES | {"V1": [0.1, True, 0.3]}}, DecodeError),
        (WHOLE | {"leads": SAMPLES | {"V1": [0.1, "0.2", 0.3]}}, DecodeError),
        (WHOLE | {"leads": SAMPLES | {"V1": [0.1, [0.2], 0.3]}}, DecodeError),
        (WHOLE | {"leads": SAMPLES | {"V1": 0.1}}, DecodeError),
        (WHOLE | {"leads": SAMPLES | {"v1": [0.1, 0.2, 0.3]}}, DecodeError),
        (WHOLE | {"leads": SAMPLES | {"V1": [0.1]}}, DecodeError),
        (WHOLE | {"leads": {lead: [] for lead in LEADS}}, DecodeError),
        (WHOLE | {"fs": -1}, DecodeError),
        (WHOLE | {"fs": "500"}, DecodeError),
        (WHOLE | {"fs": True}, DecodeError),
        (WHOLE | {"patient": 3}, DecodeError),
        (WHOLE | {"acquired_at": "yesterday"}, DecodeError),
        (WHOLE | {"leads": {f"x{n}": [0.1] for n in range(200_000)}}, UnsafeFile),
        (WHOLE | {"leads": SAMPLES | {f"x{n}": [0.1] for n in range(65)}}, UnsafeFile),
        (WHOLE | {"x": {str(n): 1 for n in range(100_001)}}, UnsafeFile),
        (WHOLE | {"x": ["x"] * 200_001}, UnsafeFile),
        ({"fs": 500, "unit": "mV"}, UnsupportedFormat),
        ({"resourceType": "Observation"}, UnsupportedFormat),
        ([1, 2, 3], UnsupportedFormat),
    ],
)
def test_a_wrong_document_is_refused_for_its_own_reason(document: object, error: type[EcgError]) -> None:
    with pytest.raises(error):
        decode(orjson.dumps(document))


@pytest.mark.parametrize(
    "text", [b'{"fs":' * 20 + b"1" + b"}" * 20, b"[" * 100_000, b'{"a":' * 100_000, b"[" + b"]" * 200_000]
)
def test_deep_nesting_is_refused_before_it_is_parsed(text: bytes) -> None:
    with pytest.raises(UnsafeFile, match=r"nested|parts"):
        decode(text)


def test_a_cut_document_is_told_apart_from_a_broken_one() -> None:
    text = orjson.dumps(WHOLE)
    with pytest.raises(TruncatedFile):
        decode(text[:60])
    with pytest.raises(DecodeError, match="no JSON"):
        decode(text.replace(b":", b";", 1))


def test_a_list_without_end_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(UnsafeFile, match="numbers"):
        decode(b'{"fs":500,"unit":"mV","x":[' + b"0," * 6_000_001 + b"0]}")
    with pytest.raises(UnsafeFile, match="missing"):
        decode(b'{"fs":500,"unit":"mV","x":[' + b"NaN," * 500_001 + b"0]}")
