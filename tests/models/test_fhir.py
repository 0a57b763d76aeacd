from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.ecg import LEADS, DecodeError, EcgError, Recording, Stated, UnsupportedFormat
from models.ecg.errors import MissingLeads, MissingMetadata, MissingSamples, TruncatedFile, UnknownUnit, UnsafeFile
from models.ecg.formats import fhir
from models.ecg.measurements import Measurements
from models.ecg.recording import CANONICAL_STEP, INDEPENDENT_LEADS
from models.ecg.writers import fhir as writer
from models.ecg.writers.errors import TextNotAllowed, VoltageTooLarge
from tests.models.ecg_files import (
    FILES,
    Row,
    assert_reading,
    content,
    expected,
    made_up_signal,
    name_of,
)
from tests.models.fhir_files import MDC, R5, Resource, bundle, encoded, lead, number, observation, sampled

SIGNAL = made_up_signal()
OBSERVATION = observation(SIGNAL)
WHOLE = encoded(OBSERVATION)
SMALL = encoded(observation(SIGNAL[:, :30]))
ACCEPTED = [row for row in expected("fhir") if row["action"] == "accept"]
EXAMPLE = FILES / "fhir" / "observation-example-sample-data.json"
PATIENT = {
    "resourceType": "Patient",
    "id": "f001",
    "identifier": [{"value": "MRN-7"}],
    "name": [{"family": "Doe"}],
    "gender": "female",
    "birthDate": "1950-02-20",
}

RESTING = Recording(
    signal=SIGNAL,
    sampling_rate=500.0,
    age=61.0,
    sex="F",
    patient_id="sim-7",
    acquired_at=datetime(2024, 3, 9, 5, 6, 7, 250_000, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    device="cart of the test",
    paced=True,
    measured=Measurements(heart_rate=61, pr_interval=148, qrs_duration=120, qt_interval=420, qtc=443, qrs_axis=-61),
    statements=("Sinus rhythm", "Left axis deviation"),
)
UNKNOWN = Recording(signal=made_up_signal(seed=1), sampling_rate=500.0)


def decode(data: bytes, stated: Stated | None = None) -> Recording:
    return fhir.read(data, stated or Stated())


def changed(**fields: Any) -> bytes:
    return encoded(OBSERVATION | fields)


def with_lead(number: int, **fields: Any) -> bytes:
    """The same ECG, with other fields in the samples of one lead."""
    components = [*OBSERVATION["component"]]
    lead = components[number]
    components[number] = lead | {"valueSampledData": lead["valueSampledData"] | fields}
    return changed(component=components)


def outcome(data: bytes) -> Recording | EcgError:
    try:
        return decode(data)
    except EcgError as error:
        return error


@pytest.mark.parametrize("row", ACCEPTED, ids=name_of)
def test_a_file_of_known_source_is_read_as_it_was_made(row: Row) -> None:
    recording = decode(content(row))
    assert_reading(recording, row)
    # The row knows age and sex from the source of the signal; the file names its patient only by reference.
    assert (recording.age, recording.sex, recording.patient_id) == (None, None, "p1")


@pytest.mark.skipif(not EXAMPLE.is_file(), reason="the real files are not beside the repository")
def test_the_example_of_the_specification_lacks_a_unit_and_most_leads() -> None:
    with pytest.raises(MissingMetadata, match="unit"):
        decode(EXAMPLE.read_bytes())
    with pytest.raises(MissingLeads, match="V1"):
        decode(EXAMPLE.read_bytes(), Stated(unit="uV"))


@pytest.mark.skipif(not EXAMPLE.is_file(), reason="the real files are not beside the repository")
def test_the_arithmetic_is_that_of_the_example() -> None:
    (row,) = (each for each in expected("fhir") if each["action"] == "refuse")
    example = json.loads(EXAMPLE.read_text())
    first = example["component"][0]["valueSampledData"] | {"origin": {"value": 2048, "unit": "uV"}}
    names = [lead(name, SIGNAL[0])["code"] for name in LEADS]
    components = [{"code": code, "valueSampledData": first} for code in names]
    recording = decode(encoded(example | {"component": components}))
    assert recording.sampling_rate == row["reading"]["sampling_rate_hz"]
    np.testing.assert_allclose(1e3 * recording.lead("V3")[:8], row["reading"]["first8_uV"]["I"], rtol=0, atol=1e-9)
    assert 1e3 * recording.lead("V3").sum() == pytest.approx(row["reading"]["sum_uV"]["I"])
    assert recording.acquired_at == datetime(2015, 2, 19, 9, 30, 35, tzinfo=timezone(timedelta(hours=1)))
    assert (recording.patient_id, recording.device) == ("f001", "12 lead EKG Device Metric")


@pytest.mark.parametrize(("step", "zero"), [(1.0, 0.0), (2.5, 0.0), (4.88, -1000.0)])
def test_a_sample_is_origin_and_factor_times_number(step: float, zero: float) -> None:
    components = [lead(name, row, step=step, zero=zero) for name, row in zip(LEADS, SIGNAL, strict=True)]
    recording = decode(changed(component=components))
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=0.5e-3 * step + 1e-9)


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        ({"period": 2}, 500),
        ({"period": 4.1667}, 240),
        ({"interval": 2, "intervalUnit": "ms"}, 500),
        ({"interval": 0.001, "intervalUnit": "s"}, 1000),
        ({"interval": 1000, "intervalUnit": "us"}, 1000),
    ],
)
def test_the_rate_is_that_of_the_period_or_the_interval(fields: Resource, rate: float) -> None:
    samples = [sampled(row) for row in SIGNAL[:, :1000]]
    for each in samples:
        del each["period"]
    named = [lead(name, SIGNAL[0])["code"] for name in LEADS]
    components = [{"code": code, "valueSampledData": each | fields} for code, each in zip(named, samples, strict=True)]
    assert decode(changed(component=components)).sampling_rate == rate


@pytest.mark.parametrize("origin", [{"code": "mV"}, {"unit": "millivolt"}, {"unit": "text of its own", "code": "mV"}])
def test_the_unit_is_that_of_the_origin_by_code_before_text(origin: Resource) -> None:
    stands = encoded({"origin": {"value": 0.0, "code": "uV"}})[1:-1]
    recording = decode(WHOLE.replace(stands, encoded({"origin": origin})[1:-1]))
    np.testing.assert_allclose(recording.signal, 1e3 * decode(WHOLE).signal, rtol=1e-12)


@pytest.mark.parametrize(
    "code",
    [
        {"coding": [{"system": MDC, "code": "131389"}]},
        {"coding": [{"system": "urn:iso:std:iso:11073:10101", "code": "131389"}]},
        {"coding": [{"display": "MDC_ECG_ELEC_POTL_III"}]},
        {"coding": [{"system": MDC, "code": "MDC_ECG_LEAD_III"}]},
        {"coding": [{"system": "http://example.org", "code": "x-3", "display": "Lead III"}]},
        {"text": "III"},
    ],
)
def test_a_lead_goes_by_code_display_or_text(code: Resource) -> None:
    components = [*OBSERVATION["component"]]
    components[2] = components[2] | {"code": code}
    assert decode(changed(component=components[::-1])).digest == decode(WHOLE).digest


def test_a_code_that_contradicts_its_display_is_refused() -> None:
    with pytest.raises(DecodeError, match="III and aVR"):
        decode(WHOLE.replace(b"MDC_ECG_ELEC_POTL_III", b"MDC_ECG_ELEC_POTL_AVR"))


def test_limb_leads_are_derived_and_other_channels_left_out() -> None:
    recording = decode(encoded(observation(SIGNAL, leads=INDEPENDENT_LEADS)))
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=1e-9)
    assert recording.derived == ("III", "aVR", "aVL", "aVF")
    other = {"code": {"coding": [{"system": MDC, "code": "131400"}]}, "valueSampledData": sampled(SIGNAL[0])}
    (remark,) = decode(changed(component=[*OBSERVATION["component"], other])).remarks
    assert remark.code == "extra-leads"


def test_leads_that_stand_side_by_side_are_named_by_the_request() -> None:
    flat = sampled(SIGNAL.T.ravel(), dimensions=12)
    alone = {name: value for name, value in OBSERVATION.items() if name != "component"} | {"valueSampledData": flat}
    assert decode(encoded(alone), Stated(leads=LEADS)).digest == decode(WHOLE).digest
    with pytest.raises(MissingMetadata, match="12 columns"):
        decode(encoded(alone))
    cut = flat | {"data": flat["data"].rpartition(" ")[0]}
    with pytest.raises(TruncatedFile):
        decode(encoded(alone | {"valueSampledData": cut}), Stated(leads=LEADS))


def test_r5_reads_as_r4() -> None:
    components = [lead(name, row, **R5) for name, row in zip(LEADS, SIGNAL, strict=True)]
    for each in components:
        del each["valueSampledData"]["period"]
    device = {"resourceType": "Device", "id": "d", "manufacturer": "Maker", "name": [{"value": "Cart"}]}
    recording = decode(changed(component=components, contained=[device], device={"reference": "#d"}))
    assert recording.digest == decode(WHOLE).digest
    assert recording.device == "Maker Cart"


@pytest.mark.parametrize("token", ["E", "L", "U"])
def test_a_marked_sample_is_missing(token: str) -> None:
    data = OBSERVATION["component"][2]["valueSampledData"]["data"]
    gap = f"{token} {data.partition(' ')[2]}"
    assert [remark.code for remark in decode(with_lead(2, data=gap, upperLimit=3000)).remarks] == ["gaps-derived"]
    with pytest.raises(MissingSamples, match="V1"):
        decode(with_lead(6, data=gap))


@pytest.mark.parametrize(
    "resource",
    [
        OBSERVATION | {"contained": [PATIENT], "subject": {"reference": "#f001"}},
        bundle(PATIENT | {"id": "f002", "gender": "male"}, PATIENT, OBSERVATION),
        bundle(PATIENT, OBSERVATION | {"subject": {"reference": "urn:uuid:f001"}}),
        bundle(PATIENT, OBSERVATION | {"subject": {"reference": "https://example.org/fhir/Patient/f001"}}),
    ],
)
def test_the_patient_is_the_one_that_is_referred_to(resource: Resource) -> None:
    recording = decode(encoded(resource))
    assert (recording.age, recording.sex, recording.patient_id) == (64, "F", "MRN-7")
    assert recording.digest == decode(WHOLE).digest
    assert "Doe" not in repr(recording)


def test_a_patient_outside_the_document_is_known_by_its_reference_only() -> None:
    recording = decode(WHOLE)
    assert (recording.age, recording.sex, recording.patient_id) == (None, None, "f001")
    assert recording.acquired_at == datetime(2015, 2, 19, 9, 30, 35, 250_000, tzinfo=timezone(timedelta(hours=1)))
    assert decode(changed(subject={"identifier": {"value": "MRN-8"}})).patient_id == "MRN-8"
    assert decode(changed(subject={"reference": "urn:uuid:7"})).patient_id is None


@pytest.mark.parametrize("date", ["1950", "1950-13-01", "soon", 7])
def test_an_impossible_birth_date_is_none(date: object) -> None:
    broken = PATIENT | {"birthDate": date}
    assert decode(changed(contained=[broken], subject={"reference": "#f001"})).age is None


def test_measurements_are_known_by_loinc_and_unit() -> None:
    numbers = [
        number("76282-3", 61, "/min"),
        number("8625-6", 148, "ms"),
        number("8633-0", 0, "ms"),
        number("8634-8", 420, "s"),
        number("8632-2", -180, "deg"),
        number("8638-9", 29999, "deg"),
        number("21612-7", 18, "mo"),
    ]
    recording = decode(changed(component=[*OBSERVATION["component"], *numbers], note=[{"text": "Paced rhythm"}]))
    assert recording.measured == Measurements(heart_rate=61, pr_interval=148, qrs_axis=-180)
    assert (recording.age, recording.statements, recording.paced) == (1.5, ("Paced rhythm",), True)


def test_the_request_completes_the_file_and_never_contradicts_it() -> None:
    silent = WHOLE.replace(b',"code":"uV"', b"").replace(b',"period":2', b"")
    assert decode(silent, Stated(sampling_rate=500, unit="uV")).digest == decode(WHOLE).digest
    for stated in (Stated(unit="uV"), Stated(sampling_rate=500)):
        with pytest.raises(MissingMetadata):
            decode(silent, stated)
    for stated in (Stated(sampling_rate=250), Stated(unit="V"), Stated(leads=LEADS[::-1])):
        with pytest.raises(DecodeError):
            decode(WHOLE, stated)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"origin": {"value": 0, "code": "mm[Hg]"}}, UnknownUnit),
        ({"origin": {"value": "zero", "code": "uV"}}, DecodeError),
        ({"origin": {"value": 1e300, "code": "uV"}}, DecodeError),
        ({"factor": "fast"}, DecodeError),
        ({"factor": 1e300}, DecodeError),
        ({"period": 4}, DecodeError),
        ({"period": 0}, DecodeError),
        ({"period": -2}, DecodeError),
        ({"dimensions": 0}, DecodeError),
        ({"dimensions": 2}, DecodeError),
        ({"dimensions": 1_000_000}, DecodeError),
        ({"data": ""}, DecodeError),
        ({"data": None}, DecodeError),
        ({"data": "1 2 3"}, DecodeError),
        ({"data": "1 x"}, DecodeError),
        ({"data": "1 nan"}, DecodeError),
        ({"data": "1 1_0"}, DecodeError),
        ({"data": "1 ١"}, DecodeError),
        ({"data": "1-2"}, DecodeError),
        ({"data": "1e99"}, DecodeError),
        ({"data": "1 " * 500_001}, UnsafeFile),
        ({"data": " " * 8_000_001}, UnsafeFile),
    ],
)
def test_a_wrong_lead_is_refused_for_its_own_reason(fields: Resource, error: type[EcgError]) -> None:
    with pytest.raises(error):
        decode(with_lead(0, **fields))


@pytest.mark.parametrize(
    ("resource", "error", "reason"),
    [
        ({"resourceType": "Patient"}, UnsupportedFormat, "Patient"),
        ({"resourceType": "Observation", "valueQuantity": {"value": 61}}, UnsupportedFormat, "SampledData"),
        ([{"resourceType": "Observation"}], UnsupportedFormat, "SampledData"),
        (bundle(), UnsupportedFormat, "SampledData"),
        (bundle(OBSERVATION, OBSERVATION | {"id": "b"}), DecodeError, "one ECG at a time"),
        (bundle(*[{"resourceType": "Observation"}] * 1001), UnsafeFile, "1001"),
        (OBSERVATION | {"status": "entered-in-error"}, DecodeError, "void"),
        (OBSERVATION | {"component": 7}, DecodeError, "component"),
        (OBSERVATION | {"component": OBSERVATION["component"] * 6}, UnsafeFile, "72 leads"),
        (OBSERVATION | {"component": OBSERVATION["component"][:11]}, MissingLeads, "V6"),
        (OBSERVATION | {"component": [*OBSERVATION["component"], OBSERVATION["component"][0]]}, DecodeError, "twice"),
    ],
)
def test_a_document_of_anything_else_is_refused(resource: Any, error: type[EcgError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        decode(encoded(resource))


def test_more_samples_than_any_ecg_are_refused_whichever_way_they_stand() -> None:
    many = sampled(SIGNAL[0]) | {"data": "1 " * 400_000}
    leads = [{"code": {"text": name}, "valueSampledData": many} for name in LEADS]
    side_by_side = many | {"dimensions": 64, "data": "1 " * 2_000_001}
    for fields in ({"component": leads}, {"component": [], "valueSampledData": side_by_side}):
        with pytest.raises(UnsafeFile, match="2000000 samples"):
            decode(changed(**fields))


def test_it_is_told_by_its_resource_type_wherever_it_stands() -> None:
    backwards = encoded(dict(reversed(OBSERVATION.items())))
    assert fhir.matches(WHOLE)
    assert fhir.matches(backwards)
    assert decode(backwards).digest == decode(WHOLE).digest
    for other in (b"", b'{"leads": {}}', b'<Observation a="resourceType"/>', b"\0" * 50):
        assert not fhir.matches(other)


@pytest.mark.parametrize("whole", [WHOLE, *map(content, ACCEPTED)], ids=["constructed", *map(name_of, ACCEPTED)])
def test_a_file_cut_anywhere_is_refused(whole: bytes) -> None:
    for percent in range(1, 100):
        assert isinstance(outcome(whole[: len(whole) * percent // 100]), EcgError), percent


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_files_give_a_recording_or_an_ecg_error(draw: st.DataObject) -> None:
    damaged = bytearray(SMALL)
    for _ in range(draw.draw(st.integers(1, 6))):
        damaged[draw.draw(st.integers(0, len(damaged) - 1))] = draw.draw(st.integers(0, 255))
    assert isinstance(outcome(bytes(damaged)), Recording | EcgError)


@settings(max_examples=50, deadline=None)
@given(
    steps=arrays(np.int64, (12, 9), elements=st.integers(-(2**31) + 1, 2**31 - 1)),
    rate=st.sampled_from([100.0, 240.0, 300.0, 500.0, 997.0, 512.5]),
)
def test_our_reader_gets_every_sample_and_the_rate_back(steps: np.ndarray[Any, Any], rate: float) -> None:
    recording = Recording(signal=steps * CANONICAL_STEP, sampling_rate=rate)
    assert decode(writer.write(recording)).digest == recording.digest


def test_a_signal_between_the_steps_comes_back_within_ten_nanovolts() -> None:
    signal = np.random.default_rng(0).normal(size=(12, 100))
    read = decode(writer.write(Recording(signal=signal, sampling_rate=500.0)))
    np.testing.assert_allclose(read.signal, signal, rtol=0, atol=1e-5)


def test_an_observation_carries_what_is_known_of_the_recording() -> None:
    read = decode(writer.write(RESTING))
    for name in ("sampling_rate", "age", "sex", "patient_id", "acquired_at", "device", "paced", "measured"):
        assert getattr(read, name) == getattr(RESTING, name), name
    assert read.statements == (*RESTING.statements, "Paced rhythm")
    assert (read.derived, read.remarks) == ((), ())


def test_what_is_not_known_is_not_made_up() -> None:
    read = decode(writer.write(UNKNOWN))
    for name in ("age", "sex", "patient_id", "acquired_at", "device", "paced"):
        assert getattr(read, name) is None, name
    assert (read.measured, read.statements) == (Measurements(), ())


def test_a_moment_without_a_zone_keeps_its_day() -> None:
    naive = dataclasses.replace(RESTING, acquired_at=datetime(2024, 3, 9, 5, 6, 7))
    assert decode(writer.write(naive)).acquired_at == datetime(2024, 3, 9)


def test_the_same_recording_gives_the_same_bytes() -> None:
    again = dataclasses.replace(RESTING, signal=RESTING.signal.copy())
    assert writer.write(RESTING) == writer.write(again)


@pytest.mark.parametrize("recording", [RESTING, UNKNOWN], ids=["known", "unknown"])
def test_an_independent_validator_finds_an_observation_with_the_same_samples(recording: Recording) -> None:
    from fhir.resources.R4B.observation import Observation

    validated = Observation.model_validate_json(writer.write(recording))
    assert validated.code.coding[0].code == "11524-6"
    assert validated.category[0].coding[0].code == "procedure"
    leads = [part for part in validated.component if part.valueSampledData]
    assert [part.code.text for part in leads] == list(LEADS)
    for part in leads:
        samples = part.valueSampledData
        microvolts = [samples.origin.value + samples.factor * Decimal(number) for number in samples.data.split()]
        assert (samples.origin.code, samples.dimensions, 1000 / samples.period) == ("uV", 1, 500)
        np.testing.assert_allclose(
            np.array(microvolts, dtype=float), 1e3 * recording.lead(part.code.text), rtol=0, atol=1e-8
        )


def test_lead_codes_are_those_of_the_dictionary_of_dicom() -> None:
    from pydicom.sr.codedict import codes

    concepts = [getattr(codes.cid3001, name) for name in codes.cid3001.dir()]
    known = {concept.value: concept.meaning for concept in concepts if concept.scheme_designator == "MDC"}
    for part in json.loads(writer.write(UNKNOWN))["component"]:
        term = int(part["code"]["coding"][0]["code"]) - 2 * 2**16  # partition 2 of ISO/IEEE 11073-10101
        assert part["code"]["text"] in known[f"2:{term - 256}"].replace(",", "").split()


def test_what_no_field_holds_is_refused() -> None:
    with pytest.raises(TextNotAllowed):
        writer.write(dataclasses.replace(RESTING, patient_id="x" * 65))
    with pytest.raises(VoltageTooLarge, match="microvolts"):
        writer.write(dataclasses.replace(RESTING, signal=1e6 * RESTING.signal))
