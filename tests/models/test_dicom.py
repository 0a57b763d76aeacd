from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from models.ecg import LEADS, DecodeError, EcgError, Recording, UnsupportedFormat, decode
from models.ecg.errors import (
    MissingLeads,
    MissingMetadata,
    MissingSamples,
    TooShort,
    TruncatedFile,
    UnknownUnit,
    UnsafeFile,
)
from models.ecg.leads import lead_name
from tests.models.ecg_files import Row, age_of, assert_reading, content, expected, name_of, sex_of

LITTLE, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
IMPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"


@pytest.fixture(scope="module")
def cart() -> bytes:
    """A 12-lead ECG of a real cart, 10 s at 1000 Hz, and a median beat; it comes with pydicom."""
    return Path(str(get_testdata_file("waveform_ecg.dcm"))).read_bytes()


def rewritten(file: bytes, change: Callable[[Dataset], None], syntax: str = LITTLE) -> bytes:
    """The file as pydicom writes it again after a change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(file))
        dataset.walk(lambda _, element: element.value)  # converts every element, and with it the byte order
        change(dataset)
        for group in dataset.get("WaveformSequence", []):
            if "WaveformPaddingValue" in group:
                group["WaveformPaddingValue"].VR = "OW"
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
        out = io.BytesIO()
        order = {"little_endian": syntax != BIG, "implicit_vr": syntax == IMPLICIT}
        dcmwrite(out, dataset, force_encoding=True, **order)
    return out.getvalue()


def changed(file: bytes, **elements: object) -> Recording:
    """Decode with some elements of the data set set anew; None removes one."""

    def change(dataset: Dataset) -> None:
        for keyword, value in elements.items():
            delattr(dataset, keyword) if value is None else setattr(dataset, keyword, value)

    return decode(rewritten(file, change))


@pytest.mark.parametrize("row", [row for row in expected("dicom") if row["action"].startswith("accept")], ids=name_of)
def test_real_files_are_read_as_other_readers_read_them(row: Row) -> None:
    recording = decode(content(row))
    assert_reading(recording, row)
    assert (recording.age, recording.sex) == (age_of(row), sex_of(row))
    assert recording.source_format == "DICOM"
    assert ("hemodynamic" in {remark.code for remark in recording.remarks}) == ("Hemodynamic" in row["format"])


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("general_3x4", TooShort, r"5 groups of 2\.5 s"),
        ("no_channel_source", MissingMetadata, "names the leads"),
    ],
)
def test_layouts_without_twelve_named_simultaneous_leads_are_refused(
    name: str, error: type[EcgError], reason: str, shared_data: Path
) -> None:
    with pytest.raises(error, match=reason):
        decode((shared_data / "ecg-files" / "dicom" / f"{name}.dcm").read_bytes())


def test_samples_equal_the_reading_of_pydicom(cart: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(cart))
        truth = dataset.waveform_array(0)
    recording = decode(cart)
    for column, channel in zip(truth.T, dataset.WaveformSequence[0].ChannelDefinitionSequence, strict=True):
        lead = lead_name(channel.ChannelSourceSequence[0].CodeValue)
        np.testing.assert_allclose(recording.lead(str(lead)) * 1000, column, atol=1e-6)


def test_what_the_file_says_of_patient_device_and_filters_is_kept(cart: bytes) -> None:
    recording = decode(cart)
    assert (recording.age, recording.sex, recording.patient_id) == (42, "F", "642341")
    assert recording.acquired_at == datetime(2013, 1, 25, 10, 59, 19)
    assert recording.device == "Mortara Instrument, Inc. el250"
    assert (recording.filters.high_pass, recording.filters.low_pass) == (0.05, 300)
    assert recording.paced is None


@pytest.mark.parametrize("syntax", [IMPLICIT, LITTLE, DEFLATED])
def test_every_little_endian_transfer_syntax_gives_the_same_ecg(cart: bytes, syntax: str) -> None:
    assert decode(rewritten(cart, lambda _: None, syntax)).digest == decode(cart).digest


def test_big_endian_samples_are_turned_round(cart: bytes) -> None:
    def swap(dataset: Dataset) -> None:
        for group in dataset.WaveformSequence:
            group.WaveformData = np.frombuffer(group.WaveformData, "<i2").astype(">i2").tobytes()

    assert decode(rewritten(cart, swap, BIG)).digest == decode(cart).digest


def test_a_file_without_preamble_is_read_from_its_meta_information(cart: bytes) -> None:
    assert decode(cart[132:]).digest == decode(cart).digest


def test_a_deflated_bomb_is_stopped_at_its_bound(cart: bytes) -> None:
    def blow_up(dataset: Dataset) -> None:
        dataset.add_new((0x0009, 0x0010), "LO", "BOMB")
        dataset.add_new((0x0009, 0x1001), "OB", bytes(80 * 2**20))

    bomb = rewritten(cart, blow_up, DEFLATED)
    assert len(bomb) < 2**20
    with pytest.raises(UnsafeFile, match="inflates to more"):
        decode(bomb)


@pytest.mark.parametrize("kind", ["u1", "i1", "<u2", "<i2", "<u4", "<i4"])
def test_every_kind_of_linear_sample_is_read(cart: bytes, kind: str) -> None:
    names = {"u1": "UB", "i1": "SB", "<u2": "US", "<i2": "SS", "<u4": "UL", "<i4": "SL"}
    values = (np.arange(10_000 * 12) % 100).reshape(10_000, 12) - (50 if "i" in kind else 0)

    def store(dataset: Dataset) -> None:
        group = dataset.WaveformSequence[0]
        group.WaveformData = values.astype(kind).tobytes()
        group.WaveformBitsAllocated = 8 * np.dtype(kind).itemsize
        group.WaveformSampleInterpretation = names[kind]

    np.testing.assert_allclose(decode(rewritten(cart, store)).lead("I"), values[:, 0] * 1.25e-3)


def change_channel(cart: bytes, lead: str, **elements: object) -> Recording:
    def change(dataset: Dataset) -> None:
        for channel in dataset.WaveformSequence[0].ChannelDefinitionSequence:
            if lead_name(channel.ChannelSourceSequence[0].CodeValue) == lead:
                for keyword, value in elements.items():
                    delattr(channel, keyword) if value is None else setattr(channel, keyword, value)

    return decode(rewritten(cart, change))


def coded(value: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "X", "free text"
    return [item]


def test_sensitivity_correction_and_baseline_are_applied_in_the_unit_of_the_channel(cart: bytes) -> None:
    raw = decode(cart).lead("V2") / 1.25e-3
    numbers = {"ChannelSensitivity": "2.5", "ChannelSensitivityCorrectionFactor": "0.4", "ChannelBaseline": "40"}
    np.testing.assert_allclose(change_channel(cart, "V2", **numbers).lead("V2"), (raw + 40) * 1e-3, atol=1e-9)
    unit = {"ChannelSensitivityUnitsSequence": coded("mV")}
    np.testing.assert_allclose(change_channel(cart, "V2", **numbers, **unit).lead("V2"), raw + 40, atol=1e-9)


@pytest.mark.parametrize(
    ("elements", "error"),
    [
        ({"ChannelSensitivity": None}, MissingMetadata),
        ({"ChannelSensitivityUnitsSequence": None}, MissingMetadata),
        ({"ChannelSensitivityUnitsSequence": coded("mmHg")}, UnknownUnit),
        ({"ChannelSourceSequence": coded("5.6.3-9-9")}, MissingLeads),
        ({"ChannelSourceSequence": coded("2:1")}, MissingLeads),
    ],
)
def test_a_channel_that_does_not_say_what_it_is_is_refused(
    cart: bytes, elements: dict[str, object], error: type[EcgError]
) -> None:
    with pytest.raises(error):
        change_channel(cart, "V2", **elements)


def test_the_code_of_a_channel_is_believed_and_not_its_meaning(cart: bytes) -> None:
    lying = coded("2:4")
    lying[0].CodeMeaning = "Lead V1"
    assert change_channel(cart, "V2", ChannelSourceSequence=lying).digest == decode(cart).digest


def test_without_a_known_code_the_meaning_names_the_lead(cart: bytes) -> None:
    meaning = coded("ABC")
    meaning[0].CodeMeaning = "Lead V2"
    assert change_channel(cart, "V2", ChannelSourceSequence=meaning).digest == decode(cart).digest


def with_sample(cart: bytes, value: int, padding: bytes) -> bytes:
    """The file with one sample of V1 set to a value, and a padding value."""

    def change(dataset: Dataset) -> None:
        group = dataset.WaveformSequence[0]
        samples = np.frombuffer(group.WaveformData, "<i2").copy().reshape(-1, 12)
        samples[5, 6] = value
        group.WaveformData, group.WaveformPaddingValue = samples.tobytes(), padding

    return rewritten(cart, change)


def test_the_padding_value_is_a_gap() -> None:
    file = Path(str(get_testdata_file("waveform_ecg.dcm"))).read_bytes()
    with pytest.raises(MissingSamples, match="1 samples are not numbers, in V1"):
        decode(with_sample(file, -32768, b"\x00\x80"))


def test_zeros_stay_zeros_where_the_padding_value_is_zero(cart: bytes) -> None:
    recording = decode(with_sample(cart, 0, b"\x00\x00"))
    assert recording.lead("V1")[5] == 0


def test_a_derived_beat_before_the_rhythm_is_not_taken_for_it(cart: bytes) -> None:
    def turn(dataset: Dataset) -> None:
        dataset.WaveformSequence = [*reversed(dataset.WaveformSequence)]

    assert decode(rewritten(cart, turn)).digest == decode(cart).digest


@pytest.mark.parametrize(
    ("age", "years"), [("042Y", 42), ("018M", 1.5), ("026W", 0.4983), ("100D", 0.2738), ("", 42), ("old", 42)]
)
def test_ages_come_in_every_unit_or_from_the_date_of_birth(cart: bytes, age: str, years: float) -> None:
    assert changed(cart, PatientAge=age).age == pytest.approx(years, abs=1e-3)  # born on 23, recorded on 25 January


def test_without_age_and_date_of_birth_the_age_stays_unknown(cart: bytes) -> None:
    assert changed(cart, PatientAge=None, PatientBirthDate="").age is None


def test_the_time_zone_is_that_of_the_moment_or_of_the_object(cart: bytes) -> None:
    east = timezone(timedelta(hours=1, minutes=30))
    moment = datetime(2020, 1, 2, 3, 4, 5, 60_000, tzinfo=east)
    assert changed(cart, AcquisitionDateTime="20200102030405.06+0130").acquired_at == moment
    assert changed(cart, AcquisitionDateTime="20200102030405.06", TimezoneOffsetFromUTC="+0130").acquired_at == moment


@pytest.mark.parametrize(
    ("text", "paced"),
    [("VENTRICULAR PACED RHYTHM", True), ("Electronic pacemaker", True), ("no pacing seen", None), ("sinus", None)],
)
def test_pacing_is_told_where_an_annotation_says_so(cart: bytes, text: str, paced: bool | None) -> None:
    note = Dataset()
    note.UnformattedTextValue = text
    assert changed(cart, WaveformAnnotationSequence=[note]).paced is paced


def group_element(cart: bytes, keyword: str, value: object) -> bytes:
    return rewritten(cart, lambda dataset: setattr(dataset.WaveformSequence[0], keyword, value))


@pytest.mark.parametrize(
    ("keyword", "value", "error"),
    [
        ("NumberOfWaveformSamples", 2**31 - 1, TruncatedFile),
        ("NumberOfWaveformSamples", 10_001, TruncatedFile),
        ("NumberOfWaveformSamples", 9_999, DecodeError),
        ("NumberOfWaveformSamples", 0, DecodeError),
        ("NumberOfWaveformChannels", 11, DecodeError),
        ("SamplingFrequency", "0", MissingMetadata),
        ("SamplingFrequency", "1e9", DecodeError),
        ("WaveformBitsAllocated", 8, DecodeError),
        ("WaveformSampleInterpretation", "MB", UnsupportedFormat),
    ],
)
def test_a_group_that_contradicts_itself_is_refused(
    cart: bytes, keyword: str, value: object, error: type[EcgError]
) -> None:
    with pytest.raises(error):
        decode(group_element(cart, keyword, value))


@pytest.mark.parametrize("name", ["CT_small.dcm", "rtplan.dcm"])
def test_another_dicom_object_is_called_by_its_name(name: str) -> None:
    file = Path(str(get_testdata_file(name))).read_bytes()
    with pytest.raises(UnsupportedFormat, match=r"is (CT Image|RT Plan) Storage, not"):
        decode(file)


def test_a_missing_class_or_waveform_is_refused(cart: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        changed(cart, SOPClassUID="1.2.3")
    with pytest.raises(DecodeError, match="without waveforms"):
        changed(cart, WaveformSequence=None)


def test_a_file_cut_anywhere_is_refused_unless_only_the_end_padding_is_lost(cart: bytes) -> None:
    for percent in range(5, 100, 5):
        with pytest.raises(EcgError):
            decode(cart[: len(cart) * percent // 100])


def test_all_twelve_leads_are_in_their_order(cart: bytes) -> None:
    assert decode(cart).leads == LEADS
