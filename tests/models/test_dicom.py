from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import warnings
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from models.ecg import LEADS, DecodeError, EcgError, Recording, UnsupportedFormat, decode, statements
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
from models.ecg.measurements import Measurements
from models.ecg.writers import dicom as dicom_writer
from tests.models.ecg_files import Row, age_of, assert_reading, content, expected, name_of, sex_of

LITTLE, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
IMPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"

SMALL = dicom_writer.write(
    Recording(
        signal=np.zeros((12, 3)),
        sampling_rate=500.0,
        age=5,
        height=120,
        acquired_at=datetime(2020, 1, 2, 3, 4, 5),
        measured=Measurements(qtc_hodges=400, p_axis=1),
        statements=("Sinus rhythm",),
    )
)


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
    known = recording.measured.known()
    assert {name: known.get(name) for name in row.get("measurements_as_read", {})} == row.get(
        "measurements_as_read", {}
    )
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
    assert (recording.height, recording.weight) == (None, None)
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
        ({"ChannelSensitivity": "1e300"}, DecodeError),
        ({"ChannelBaseline": "1e300"}, DecodeError),
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


def test_where_the_acquisition_has_no_time_the_study_has() -> None:
    file = Path(str(get_testdata_file("waveform_ecg.dcm"))).read_bytes()
    older = {"AcquisitionDateTime": "1900", "StudyDate": "2001.02.03", "StudyTime": "04:05:06"}
    assert changed(file, **older).acquired_at == datetime(2001, 2, 3, 4, 5, 6)
    newer = {"AcquisitionDate": "20020304", "AcquisitionTime": "0506"}
    assert changed(file, **older, **newer).acquired_at == datetime(2002, 3, 4, 5, 6)


@pytest.mark.parametrize("moment", ["20130230105919", "2013", "20130125", "19710123256000", "20130125105919+9999"])
def test_an_impossible_moment_is_none(cart: bytes, moment: str) -> None:
    recording = changed(cart, AcquisitionDateTime=moment, StudyDate=None)
    assert recording.acquired_at is None
    assert recording.age == 42


@pytest.mark.parametrize(
    ("size", "weight", "height", "kilograms"),
    [("1.77", "90", 177, 90), ("1.1", "72.25", 110, 72.25), ("177", "0", None, None), ("-1", "9000", None, None)],
)
def test_size_in_metres_and_weight_are_kept_where_a_person_can_have_them(
    cart: bytes, size: str, weight: str, height: float | None, kilograms: float | None
) -> None:
    recording = changed(cart, PatientSize=size, PatientWeight=weight)
    assert (recording.height, recording.weight) == (height, kilograms)


def test_a_real_haemodynamic_file_says_height_weight_and_heart_rate(shared_data: Path) -> None:
    recording = decode((shared_data / "ecg-files" / "dicom" / "test_ecg.dcm").read_bytes())
    assert (recording.height, recording.weight, recording.measured.heart_rate) == (177, 90, 69)


def test_the_cart_measured_and_stated_what_its_annotations_say(cart: bytes) -> None:
    recording = decode(cart)
    assert recording.measured == Measurements(
        rr_interval=982, pr_interval=161, qrs_duration=75, qt_interval=368, qtc=370, p_axis=74, qrs_axis=52, t_axis=57
    )
    assert recording.statements == ("RITMO SINUSALE", "ECG NORMALE")


def note(
    value: str, code: str = "2:16160", unit: str | None = "ms", channels: tuple[int, int] = (1, 0), formula: str = ""
) -> Dataset:
    """One measurement."""
    item = Dataset()
    item.ReferencedWaveformChannels = list(channels)
    item.NumericValue = value
    item.ConceptNameCodeSequence = coded(code)
    if formula:
        item.ConceptNameCodeSequence[0].ModifierCodeSequence = coded(formula)
    if unit is not None:
        item.MeasurementUnitsCodeSequence = coded(unit)
    return item


@pytest.mark.parametrize(
    ("item", "found"),
    [
        (note("400"), {"qt_interval": 400}),
        (note("0.4", unit="s"), {"qt_interval": 400}),
        (note("400", code="8634-8"), {"qt_interval": 400}),
        (note("61", code="2:16016", unit="{H.B.}/min"), {"heart_rate": 61}),
        (note("61", code="8867-4", unit="/min", channels=(1, 1)), {"heart_rate": 61}),
        (note("-30", code="2:16132", unit="deg"), {"qrs_axis": -30}),
        (note("420", code="2:15876"), {"qtc": 420}),
        (note("420", code="2:15876", formula="122730"), {"qtc_bazett": 420}),
        (note("420", code="2:15892"), {"qtc_fridericia": 420}),
        (note("420", code="5.10.2.5-5", formula="122733"), {"qtc_framingham": 420}),
        (note("400", channels=(1, 2)), {}),  # of lead II alone
        (note("400", unit=None), {}),
        (note("400", unit="mm"), {}),
        (note("61", code="2:16016", unit="ms"), {}),
        (note("400", code="2:8192"), {}),  # per lead
        (note("0"), {}),
        (note("-1"), {}),
        (note("29999"), {}),
        (note("32767"), {}),
        (note("29999", code="2:16132", unit="deg"), {}),
        (note("181", code="2:16132", unit="deg"), {}),
    ],
)
def test_a_measurement_is_known_by_code_unit_and_size(cart: bytes, item: Dataset, found: dict[str, float]) -> None:
    assert changed(cart, WaveformAnnotationSequence=[item]).measured.known() == found


def test_the_first_value_that_is_one_counts(cart: bytes) -> None:
    notes = [note("0"), note("400"), note("410")]
    assert changed(cart, WaveformAnnotationSequence=notes).measured.qt_interval == 400


def test_lines_and_coded_findings_are_statements(cart: bytes) -> None:
    text, finding = Dataset(), Dataset()
    text.UnformattedTextValue = "Sinus rhythm\r\n***Normal ECG***\r\n"
    finding.ConceptCodeSequence = coded("164889003")
    read = changed(cart, WaveformAnnotationSequence=[text, finding])
    assert read.statements == ("Sinus rhythm", "***Normal ECG***", "free text")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("ISO_IR 192", "Ритм 心電図"),
        ("ISO_IR 144", "Синусовый ритм"),
        ("ISO_IR 100", "Überleitung"),
        ("\\ISO 2022 IR 87", "心電図"),
        ("\\ISO 2022 IR 149", "심전도"),
    ],
)
def test_statements_come_in_the_character_set_of_the_file(cart: bytes, names: str, said: str) -> None:
    text = Dataset()
    text.UnformattedTextValue = said

    def change(dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = names.split("\\")
        dataset.WaveformAnnotationSequence = [text]

    assert decode(rewritten(cart, change)).statements == (said,)


def test_the_mark_of_a_pacemaker_spike_says_that_the_heart_is_paced(cart: bytes) -> None:
    spike = Dataset()
    spike.ConceptNameCodeSequence = coded("10:5120")
    assert changed(cart, WaveformAnnotationSequence=[spike]).paced is True


def test_modifiers_and_status_of_a_channel_are_told(cart: bytes) -> None:
    told = change_channel(cart, "V2", ChannelSourceModifiersSequence=coded("X"), ChannelStatus=["DISCONNECTED"])
    assert [(remark.code, remark.message) for remark in told.remarks] == [
        ("channel-note", "the source of the channel is modified: free text"),
        ("channel-note", "the device calls the channel DISCONNECTED"),
    ]
    assert change_channel(cart, "V2", ChannelStatus=["OK"]).remarks == ()


def in_groups(cart: bytes, offsets: tuple[str | None, ...]) -> bytes:
    """The rhythm of the cart in groups of equal size, each with the start it states."""

    def change(dataset: Dataset) -> None:
        whole, size = dataset.WaveformSequence[0], 12 // len(offsets)
        samples = np.frombuffer(whole.WaveformData, "<i2").reshape(-1, 12)
        groups = []
        for number, offset in enumerate(offsets):
            group, channels = deepcopy(whole), slice(number * size, (number + 1) * size)
            group.ChannelDefinitionSequence = whole.ChannelDefinitionSequence[channels]
            group.NumberOfWaveformChannels = size
            group.WaveformData = samples[:, channels].tobytes()
            del group.MultiplexGroupTimeOffset
            if offset is not None:
                group.MultiplexGroupTimeOffset = offset
            groups.append(group)
        dataset.WaveformSequence = groups

    return rewritten(cart, change)


def test_groups_that_started_together_are_one_ecg(cart: bytes) -> None:
    assert decode(in_groups(cart, ("0", "0", "0"))).digest == decode(cart).digest


@pytest.mark.parametrize("offsets", [(None, None), ("0", "2500"), ("0", None)])
def test_groups_that_did_not_or_do_not_say_so_are_none(cart: bytes, offsets: tuple[str | None, ...]) -> None:
    with pytest.raises(MissingLeads, match="not recorded at once"):
        decode(in_groups(cart, offsets))


@pytest.mark.parametrize(
    ("text", "paced"),
    [("VENTRICULAR PACED RHYTHM", True), ("Electronic pacemaker", True), ("no pacing seen", None), ("sinus", None)],
)
def test_pacing_is_told_where_an_annotation_says_so(cart: bytes, text: str, paced: bool | None) -> None:
    said = Dataset()
    said.UnformattedTextValue = text
    assert changed(cart, WaveformAnnotationSequence=[said]).paced is paced


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


@pytest.mark.parametrize("row", [row for row in expected("dicom") if row["action"].startswith("accept")], ids=name_of)
def test_a_real_file_cut_at_any_percent_is_refused(row: Row) -> None:
    whole = content(row)
    for percent in range(100):
        with pytest.raises(EcgError):
            decode(whole[: len(whole) * percent // 100])


def test_a_file_cut_at_any_byte_of_its_headers_is_refused() -> None:
    for end in range(len(SMALL)):
        with pytest.raises(EcgError):
            decode(SMALL[:end])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_the_bytes_the_answer_is_an_ecg_or_our_error(changes: list[tuple[int, int]]) -> None:
    broken = bytearray(SMALL)
    for place, value in changes:
        broken[place % len(broken)] = value
    with contextlib.suppress(EcgError):
        decode(bytes(broken))


def test_a_file_cut_anywhere_is_refused_unless_only_the_end_padding_is_lost(cart: bytes) -> None:
    for percent in range(5, 100, 5):
        with pytest.raises(EcgError):
            decode(cart[: len(cart) * percent // 100])


def test_all_twelve_leads_are_in_their_order(cart: bytes) -> None:
    assert decode(cart).leads == LEADS


def element(tag: int, representation: bytes, value: bytes, length: int | None = None) -> bytes:
    """One element, explicit VR little endian; another length than that of its value on demand."""
    size = len(value) if length is None else length
    if representation in (b"SQ", b"OB", b"UN", b"UT"):
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, representation, 0, size) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, representation, size) + value


def an_item(length: int) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, length)


START = bytes(128) + b"DICM" + element(0x00020010, b"UI", f"{LITTLE}\0".encode())
CLASS = element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.9.1.1\0")
UNDEFINED = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("body", "error", "reason"),
    [
        (element(0x00110001, b"CS", b"") * 300_000, UnsafeFile, "elements"),
        (element(0x54000100, b"SQ", an_item(0) * 300_000), UnsafeFile, "elements"),
        (element(0x00110001, b"SQ", an_item(0) * 300_000, UNDEFINED), UnsafeFile, "elements"),
        ((element(0x54000100, b"SQ", b"", UNDEFINED) + an_item(UNDEFINED)) * 300_000, UnsafeFile, "nested"),
        ((element(0x00110001, b"UN", b"", UNDEFINED) + an_item(UNDEFINED)) * 300_000, EcgError, "DICOM"),
        (element(0x00110001, b"OB", bytes(10), 0xFFFFFFFE), TruncatedFile, "within an element"),
        (element(0x00110001, b"OB", an_item(4) + b"abcd", UNDEFINED), DecodeError, "encapsulated"),
        (element(0x54000100, b"SQ", an_item(UNDEFINED), UNDEFINED), TruncatedFile, "within an element"),
        (element(0x54000100, b"SQ", an_item(99)) + bytes(99), DecodeError, "reaches out"),
        (element(0x54000100, b"SQ", b"abcdefgh"), DecodeError, "than items"),
        (CLASS, DecodeError, "twice"),
        (bytes(4_000_000), DecodeError, "without waveforms"),  # the filling of a medium
        (bytes(4_000_000) + b"\1", UnsafeFile, "elements"),
    ],
)
def test_a_hostile_file_is_refused_before_it_costs(body: bytes, error: type[EcgError], reason: str) -> None:
    tracemalloc.start()
    with pytest.raises(error, match=reason):
        decode(START + CLASS + body)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


def test_private_elements_are_stepped_over_however_large(cart: bytes) -> None:
    def enlarge(dataset: Dataset) -> None:
        dataset.add_new((0x0009, 0x0010), "LO", "MAKER")
        dataset.add_new((0x0009, 0x1001), "OB", bytes(20 * 2**20))

    assert decode(rewritten(cart, enlarge)).digest == decode(cart).digest


def test_many_long_annotations_cost_little(cart: bytes) -> None:
    def talk(dataset: Dataset) -> None:
        said = Dataset()
        said.UnformattedTextValue = "\n".join(f"{number:x}" for number in range(10_000))
        dataset.WaveformAnnotationSequence = [said] * 300

    file = rewritten(cart, talk)
    tracemalloc.start()
    assert len(decode(file).statements) == statements.MOST
    assert tracemalloc.get_traced_memory()[1] < 60e6
    tracemalloc.stop()


def test_zeros_behind_the_file_are_the_filling_of_a_medium(cart: bytes) -> None:
    assert decode(cart + bytes(1000)).digest == decode(cart).digest


def test_a_file_that_calls_itself_implicit_and_is_not_is_read_as_it_is(cart: bytes) -> None:
    explicit = rewritten(cart, lambda _: None)
    named = f"{LITTLE}\0".encode()
    syntax = explicit.index(named)
    short = explicit[:syntax] + f"{IMPLICIT}\0".encode().ljust(len(named), b"\0") + explicit[syntax + len(named) :]
    assert decode(short).digest == decode(cart).digest


def test_sequences_that_lost_their_representation_are_read_in_the_implicit_encoding(cart: bytes) -> None:
    """An archive that does not know an element stores it as UN, with the value as implicit VR has it (PS3.5 6.2.2)."""
    file = rewritten(cart, lambda _: None, IMPLICIT)
    dataset = pydicom.dcmread(io.BytesIO(file))
    start = file.index(struct.pack("<HH", 0x5400, 0x0100))
    head = element(0x00080016, b"UI", str(dataset.SOPClassUID).encode() + b"\0")
    end = file.rindex(struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)) + 8
    unknown = START + head + element(0x54000100, b"UN", file[start + 8 : end], UNDEFINED)
    assert decode(unknown).digest == decode(cart).digest
