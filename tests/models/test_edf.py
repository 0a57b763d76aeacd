from __future__ import annotations

import dataclasses
import io
from datetime import datetime
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import pyedflib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.ecg import LEADS, DecodeError, EcgError, Filters, Recording, Stated
from models.ecg.errors import MissingLeads, MissingMetadata, MissingSamples, TruncatedFile, UnknownUnit, UnsafeFile
from models.ecg.formats import edf as reader
from models.ecg.writers import edf as writer
from models.ecg.writers.errors import RateNotAllowed, TextNotAllowed, VoltageTooLarge
from tests.models.ecg_files import FILES, Row, assert_reading, content, expected, made_up_signal, name_of

RESTING = Recording(
    signal=made_up_signal(),
    sampling_rate=500.0,
    age=61.0,
    sex="F",
    height=170.0,
    weight=70.5,
    patient_id="sim-7",
    acquired_at=datetime(2024, 3, 9, 5, 6, 7, 250_000),
    device="cart of the test",
    filters=Filters(high_pass=0.15, low_pass=150.0, notch=50.0),
    paced=True,
    statements=("SINUS RHYTHM", "Vorhofflimmern möglich", "PACED RHYTHM"),
)
UNKNOWN = Recording(signal=made_up_signal(seed=1), sampling_rate=500.0)
WHOLE = writer.write(RESTING)


def read(data: bytes, stated: Stated | None = None) -> Recording:
    return reader.read(data, stated or Stated())


def changed(old: str, new: str) -> bytes:
    """A field of the header with another text of the same width."""
    before, after = old.encode("latin-1"), new.ljust(len(old)).encode("latin-1")
    assert WHOLE.count(before) >= 1, old
    assert len(before) == len(after), new
    return WHOLE.replace(before, after, 1)


def by_pyedflib(path: Path, signals: list[Any], labels: list[str], rates: list[float], **options: Any) -> bytes:
    """A file that another program wrote."""
    kind = options.get("kind", pyedflib.FILETYPE_EDFPLUS)
    with pyedflib.EdfWriter(str(path), len(labels), file_type=kind) as file:
        bits = 24 if kind in (pyedflib.FILETYPE_BDF, pyedflib.FILETYPE_BDFPLUS) else 16
        file.setSignalHeaders(
            [
                {
                    "label": label,
                    "dimension": options.get("unit", "uV"),
                    "sample_frequency": rate,
                    "physical_min": -3000.0,
                    "physical_max": 3000.0,
                    "digital_min": -(2 ** (bits - 1)),
                    "digital_max": 2 ** (bits - 1) - 1,
                    "transducer": "",
                    "prefilter": "HP:0.05Hz LP:150Hz",
                }
                for label, rate in zip(labels, rates, strict=True)
            ]
        )
        file.writeSamples(signals)
    return path.read_bytes()


@pytest.mark.parametrize("row", expected("edf"), ids=name_of)
def test_a_file_that_other_readers_know_is_read_the_same(row: Row) -> None:
    assert reader.matches(content(row))
    assert_reading(read(content(row)), row)


@pytest.mark.parametrize("row", [row for row in expected("edf") if row["path"].endswith(".edf")], ids=name_of)
def test_a_real_file_is_read_as_edfio_reads_it_at_every_sample(row: Row) -> None:
    data = content(row)
    truth = edfio.read_edf(io.BytesIO(data))
    recording = read(data)
    for signal in truth.signals:
        lead = signal.label.removeprefix("ECG ")
        np.testing.assert_allclose(1e3 * recording.lead(lead), signal.data, rtol=0, atol=1e-6)
    assert (recording.sex, recording.patient_id, recording.acquired_at) == ("F", "P1", None)
    assert recording.filters == Filters(high_pass=0.05, low_pass=150.0)


@pytest.mark.parametrize("row", expected("edf"), ids=name_of)
def test_a_cut_file_is_refused_wherever_it_is_cut(row: Row) -> None:
    data = content(row)
    for percent in range(1, 100):
        with pytest.raises(TruncatedFile):
            read(data[: len(data) * percent // 100])


def test_the_truncated_sample_is_refused() -> None:
    path = FILES / "adversarial/edf_truncated.edf"
    if not path.is_file():
        pytest.skip("the real files are not here")
    with pytest.raises(TruncatedFile, match="record 7 of 10"):
        read(path.read_bytes())


def test_what_is_written_comes_back_with_all_that_is_known() -> None:
    recording = read(WHOLE)
    assert recording.digest == RESTING.digest
    for field in dataclasses.fields(Recording):
        if field.name not in ("signal", "source_format"):
            assert getattr(recording, field.name) == getattr(RESTING, field.name), field.name
    nothing = read(writer.write(UNKNOWN))
    for name in ("age", "sex", "height", "weight", "patient_id", "acquired_at", "device", "paced"):
        assert getattr(nothing, name) is None, name
    assert (nothing.statements, nothing.filters) == ((), Filters())


def test_a_paced_heart_is_told_even_where_no_statement_tells_of_it() -> None:
    recording = read(writer.write(dataclasses.replace(RESTING, statements=("SINUS RHYTHM",))))
    assert recording.paced is True
    assert recording.statements == ("SINUS RHYTHM", "PACED RHYTHM")


def test_edfio_and_pyedflib_read_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ecg.edf"
    path.write_bytes(WHOLE)
    by_edfio = edfio.read_edf(path)
    assert (by_edfio.patient.code, by_edfio.patient.sex) == ("sim-7", "F")
    assert by_edfio.recording.equipment_code == "cart_of_the_test"
    assert datetime.combine(by_edfio.startdate, by_edfio.starttime) == RESTING.acquired_at
    assert {note.text for note in by_edfio.annotations} == set(RESTING.statements)
    assert {note.onset for note in by_edfio.annotations} == {0.0}
    with pyedflib.EdfReader(str(path)) as other:
        assert other.getSignalLabels() == [f"ECG {lead}" for lead in LEADS]
        assert other.datarecords_in_file == 10
        for n, signal in enumerate(by_edfio.signals):
            assert (signal.sampling_frequency, signal.physical_dimension) == (500, "uV")
            np.testing.assert_allclose(1e-3 * signal.data, RESTING.signal[n], rtol=0, atol=1e-9)
            np.testing.assert_allclose(1e-3 * other.readSignal(n), RESTING.signal[n], rtol=0, atol=1e-9)
        assert list(other.readAnnotations()[2]) == list(RESTING.statements)


@settings(max_examples=100, deadline=None)
@given(
    steps=arrays(np.int64, (12, 8), elements=st.integers(-32_700, 32_700)),
    step=st.sampled_from([500, 488, 250, 244, 122, 100, 7, 1]),
)
def test_every_sample_of_a_converter_comes_back(steps: np.ndarray[Any, Any], step: int) -> None:
    recording = Recording(signal=steps * step * 1e-5, sampling_rate=500.0)
    if recording.signal.any() and np.gcd.reduce(steps, axis=None) < 60:
        assert read(writer.write(recording)).digest == recording.digest


@settings(max_examples=100, deadline=None)
@given(signal=arrays(np.float64, (12, 4), elements=st.floats(-160, 160)))
def test_any_other_signal_comes_back_within_half_a_step_and_five_millionths(signal: np.ndarray[Any, Any]) -> None:
    recording = read(writer.write(Recording(signal=signal, sampling_rate=250.0)))
    largest = np.abs(signal).max()
    np.testing.assert_allclose(
        recording.signal, signal, rtol=0, atol=(largest / 32767 + 2e-5) / 2 + 5e-6 * largest + 1e-5
    )


@pytest.mark.parametrize(
    ("samples", "rate"), [(5000, 500.0), (4999, 500.0), (2934, 400.0), (4096, 400.0), (5500, 500.0), (2400, 240.0)]
)
def test_every_length_is_kept_to_the_sample(samples: int, rate: float) -> None:
    recording = Recording(signal=np.tile(np.arange(samples) % 300 * 5e-3, (12, 1)), sampling_rate=rate)
    again = read(writer.write(recording))
    assert (again.sampling_rate, again.digest) == (rate, recording.digest)
    assert edfio.read_edf(io.BytesIO(writer.write(recording))).signals[0].data.shape == (samples,)


@pytest.mark.parametrize(("samples", "rate"), [(4096, 360.0), (4999, 1000 / 3), (5000, 499.1234567)])
def test_a_length_that_no_record_divides_is_refused(samples: int, rate: float) -> None:
    with pytest.raises(RateNotAllowed, match="resample"):
        writer.write(Recording(signal=np.ones((12, samples)), sampling_rate=rate))


@pytest.mark.parametrize(
    "change",
    [
        {"patient_id": "sim 7"},
        {"patient_id": "Ø7"},
        {"patient_id": "x" * 75},
        {"device": "Wägemann"},
        {"device": "x" * 70},
    ],
)
def test_texts_that_no_field_holds_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TextNotAllowed):
        writer.write(dataclasses.replace(RESTING, **change))


def test_voltages_beyond_16_bits_are_refused() -> None:
    with pytest.raises(VoltageTooLarge):
        writer.write(dataclasses.replace(RESTING, signal=1e3 * RESTING.signal))


@pytest.mark.parametrize(
    "kind", [pyedflib.FILETYPE_EDF, pyedflib.FILETYPE_EDFPLUS, pyedflib.FILETYPE_BDF, pyedflib.FILETYPE_BDFPLUS]
)
def test_leads_go_by_name_and_other_signals_of_other_rates_are_left_out(kind: int, tmp_path: Path) -> None:
    order = ("V6", "V5", "V4", "V3", "V2", "V1", "II", "I")
    labels = [*(f"EKG {lead}" for lead in order), "EKG AVR", "Resp"]
    rows = [1e3 * RESTING.lead(lead) for lead in (*order, "aVR")] + [np.zeros(250)]
    data = by_pyedflib(tmp_path / "x", rows, labels, [500] * 9 + [25], kind=kind)
    recording = read(data)
    step = 6.0 / 2**16 if kind in (pyedflib.FILETYPE_EDF, pyedflib.FILETYPE_EDFPLUS) else 6.0 / 2**24
    np.testing.assert_allclose(recording.signal, RESTING.signal, rtol=0, atol=2 * step)
    assert recording.derived == ("III", "aVL", "aVF")
    assert [remark.leads for remark in recording.remarks] == [("Resp",)]
    assert recording.source_format == ("EDF" if step > 1e-5 else "BDF")
    with pyedflib.EdfReader(str(tmp_path / "x")) as other:
        np.testing.assert_allclose(1e3 * recording.lead("V6"), other.readSignal(0), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("unit", "factor"), [("mV", 1.0), ("nV", 1e-6), ("V", 1e3)])
def test_the_unit_is_that_of_the_signal(unit: str, factor: float, tmp_path: Path) -> None:
    rows = [np.full(500, 1500.0)] * 12
    data = by_pyedflib(tmp_path / "x", rows, list(LEADS), [500] * 12, unit=unit)
    np.testing.assert_allclose(read(data).signal, 1500 * factor, rtol=1e-4)


def test_annotations_of_another_writer_are_statements() -> None:
    notes = [edfio.EdfAnnotation(0.5 * n, 0.25 if n % 2 else None, f"note {n} µ") for n in range(12)]
    signals = [
        edfio.EdfSignal(1e3 * row, 500, label=f"ECG {lead}", physical_dimension="uV")
        for lead, row in zip(LEADS, RESTING.signal, strict=True)
    ]
    file = io.BytesIO()
    edfio.Edf(signals, annotations=notes).write(file)
    assert read(file.getvalue()).statements == tuple(f"note {n} µ" for n in range(12))


def test_age_is_told_by_birth_and_an_impossible_one_by_nothing() -> None:
    assert read(changed("F X X age=61 height=170 weight", "F 10-MAR-1950 X")).age == 73
    assert read(changed("F X X age=61", "F X X age=300"[:12])).age == 30
    for birth in ("30-FEB-1950", "10-XYZ-1950", "10-MAR-2050"):
        assert read(changed("F X X age=61 height=170 weight", f"F {birth} X")).age is None
    assert read(changed("height=170 weight=70.5", "height=900 weight=none")).height is None


def test_a_free_text_about_the_patient_is_not_taken_for_an_identifier() -> None:
    recording = read(changed("sim-7 F X X age=61", "Doe, Jane 12345"))
    assert (recording.patient_id, recording.sex, recording.age) == (None, None, None)


def test_dates_say_the_whole_year_where_edf_plus_does() -> None:
    assert read(changed("Startdate 09-MAR-2024", "Startdate 09-MAR-1973")).acquired_at == datetime(
        1973, 3, 9, 5, 6, 7, 250_000
    )
    assert read(changed("Startdate 09-MAR-2024", "Startdate X")).acquired_at == datetime(2024, 3, 9, 5, 6, 7, 250_000)
    assert read(changed("09.03.24", "99.03.24")).acquired_at is None
    old = dataclasses.replace(RESTING, acquired_at=datetime(1973, 3, 9, 5, 6, 7))
    assert read(writer.write(old)).acquired_at == old.acquired_at


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("HP:0.05Hz LP:150Hz N:50Hz", Filters(high_pass=0.05, low_pass=150, notch=50)),
        ("HP:DC; LP:100", Filters(low_pass=100)),
        ("HP: 0,1 Hz LP: 40Hz", Filters(high_pass=0.1, low_pass=40)),
        ("No filtering", Filters()),
    ],
)
def test_filters_are_told_from_the_text_of_the_signals(text: str, filters: Filters) -> None:
    data = WHOLE.replace(b"HP:0.15Hz LP:150Hz N:50Hz", text.ljust(25).encode())
    assert read(data).filters == filters
    assert read(changed("HP:0.15Hz LP:150Hz N:50Hz", text)).filters == (
        RESTING.filters if filters == RESTING.filters else Filters()
    )


def with_onset(kind: str, old: str, new: str) -> bytes:
    data = changed("EDF+C", kind)
    assert data.count(old.encode()) == 1
    return data.replace(old.encode(), new.encode())


def test_a_discontinuous_file_is_read_only_if_it_has_no_gap() -> None:
    assert read(changed("EDF+C", "EDF+D")).digest == RESTING.digest
    with pytest.raises(MissingSamples, match="behind record 4"):
        read(with_onset("EDF+D", "+4.25\x14\x14", "+4.75\x14\x14"))
    with pytest.raises(MissingSamples, match="when"):
        read(with_onset("EDF+D", "+4.25\x14\x14", "x4.25\x14\x14"))


def test_an_open_number_of_records_is_allowed_only_if_they_are_whole() -> None:
    opened = WHOLE[:236] + b"-1      " + WHOLE[244:]
    assert read(opened).digest == RESTING.digest
    with pytest.raises(TruncatedFile):
        read(opened[:-7])


@pytest.mark.parametrize(
    ("start", "old", "new", "error"),
    [
        (236, "10      ", "11      ", TruncatedFile),
        (236, "10      ", "9       ", DecodeError),
        (236, "10      ", "ten     ", DecodeError),
        (236, "10      ", "0       ", DecodeError),
        (236, "10      ", "-7      ", DecodeError),
        (236, "10      ", "99999999", TruncatedFile),
        (244, "1       ", "0       ", MissingMetadata),
        (244, "1       ", "-1      ", DecodeError),
        (244, "1       ", "0.00001 ", DecodeError),
        (252, "13  ", "14  ", DecodeError),
        (252, "13  ", "0   ", UnsafeFile),
        (252, "13  ", "9999", UnsafeFile),
        (184, "3584    ", "3585    ", DecodeError),
        (256, "ECG I           ", "ECG II          ", DecodeError),
        (256, "ECG I           ", "ECG V9          ", MissingLeads),
        (256 + 13 * 96, "uV      ", "mmHg    ", UnknownUnit),
        (256 + 13 * 96, "uV      ", "        ", MissingMetadata),
        (256 + 13 * 120, "-", "32767", MissingMetadata),
        (256 + 13 * 120, "-", "x", DecodeError),
        (256 + 13 * 216, "500     ", "501     ", TruncatedFile),
        (256 + 13 * 216, "500     ", "0       ", DecodeError),
        (256 + 13 * 216, "500     ", "-500    ", DecodeError),
        (256 + 13 * 216, "500     ", "99999999", TruncatedFile),
    ],
)
def test_a_wrong_header_is_refused_for_its_own_reason(start: int, old: str, new: str, error: type[EcgError]) -> None:
    assert WHOLE[start : start + len(old)] == old.encode() or len(old) == 1
    width = len(old) if len(old) > 1 else 8
    field = new.encode() if len(old) > 1 else new.encode().ljust(8)
    with pytest.raises(error):
        read(WHOLE[:start] + field + WHOLE[start + width :], Stated())


def test_leads_of_different_rates_are_refused(tmp_path: Path) -> None:
    rows = [np.zeros(500)] * 11 + [np.zeros(250)]
    with pytest.raises(DecodeError, match="different sampling rates"):
        read(by_pyedflib(tmp_path / "x", rows, list(LEADS), [500] * 11 + [250]))


def test_what_is_stated_may_not_contradict_the_file() -> None:
    assert read(WHOLE, Stated(500, "uV", LEADS)).digest == RESTING.digest
    for stated in (Stated(sampling_rate=250), Stated(unit="mV"), Stated(leads=LEADS[::-1])):
        with pytest.raises(DecodeError):
            read(WHOLE, stated)


def test_annotations_without_end_are_refused() -> None:
    signals, head, records = int(WHOLE[252:256]), int(WHOLE[184:192]), int(WHOLE[236:244])
    place = 256 + 216 * signals + 8 * (signals - 1)  # samples of the last signal, the annotations, in a record
    more = 5 * 2**20 // records // 2 * 2
    bodies = np.frombuffer(WHOLE[head:], np.uint8).reshape(records, -1)
    count = b"%-8d" % (int(WHOLE[place : place + 8]) + more // 2)
    with pytest.raises(UnsafeFile, match="annotations"):
        read(WHOLE[:place] + count + WHOLE[place + 8 : head] + np.pad(bodies, ((0, 0), (0, more))).tobytes())


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, 4200), value=st.integers(0, 255), cut=st.integers(0, len(WHOLE)))
def test_whatever_the_bytes_there_is_a_recording_or_a_reason(position: int, value: int, cut: int) -> None:
    broken = bytearray(WHOLE)
    broken[position] = value
    for data in (bytes(broken), bytes(broken)[:cut]):
        reader.matches(data)
        try:
            recording = read(data)
        except EcgError:
            continue
        assert recording.signal.shape == (12, 5000)
