"""DICOM waveforms: a recording as General ECG, with what was measured and stated of it (PS3.3 A.34.4 and C.10.9)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, GeneralECGWaveformStorage

from models.ecg import statements
from models.ecg.formats.dicom_annotations import CONCEPTS
from models.ecg.patient import completed_age
from models.ecg.recording import Filters, Recording
from models.ecg.writers.errors import RateNotAllowed
from models.ecg.writers.identity import content_of, printable, uid
from models.ecg.writers.storage import Stored, store

RATES = 200.0, 1000.0
"""Hz, the least and the most (PS3.3 A.34.4.4.4)."""

UNKNOWN_DATE = "19000101"
"""Stands where the standard demands a date and the recording has none; its acquisition says only 1900."""

_LEADS = {  # ISO/IEEE 11073-10102 reference identifiers, CID 3001
    "I": ("2:1", "Lead I"),
    "II": ("2:2", "Lead II"),
    "III": ("2:61", "Lead III"),
    "aVR": ("2:62", "aVR, augmented voltage, right"),
    "aVL": ("2:63", "aVL, augmented voltage, left"),
    "aVF": ("2:64", "aVF, augmented voltage, foot"),
    **{f"V{n}": (f"2:{n + 2}", f"Lead V{n}") for n in range(1, 7)},
}


def write(recording: Recording) -> bytes:
    """One General ECG with one group of twelve channels; the UIDs follow from the content.

    Raises
    ------
    RateNotAllowed
        Outside 200 to 1000 Hz.
    VoltageTooLarge
        If 16 bits do not hold a sample.
    TextNotAllowed
        If patient identifier or device do not fit their elements.
    """
    low, high = RATES
    if not low <= recording.sampling_rate <= high:
        raise RateNotAllowed(f"{recording.sampling_rate:g} Hz; DICOM allows {low:g} to {high:g} Hz in a resting ECG")
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = GeneralECGWaveformStorage
    _add_patient(dataset, recording)
    _add_study(dataset, recording)
    _add_acquisition(dataset, recording.acquired_at)
    dataset.WaveformSequence = Sequence([_group(recording, store(recording.signal))])
    annotations = [*_statements(recording), *_measurements(recording)]
    if annotations:
        dataset.WaveformAnnotationSequence = Sequence(annotations)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def _add_patient(dataset: Dataset, recording: Recording) -> None:
    dataset.PatientName = ""
    dataset.PatientID = printable(recording.patient_id)
    dataset.PatientBirthDate = ""
    dataset.PatientSex = recording.sex or ""
    if recording.age is not None:
        number, unit = completed_age(recording.age)
        dataset.PatientAge = f"{number:03}{unit}"
    if recording.height is not None:
        dataset.PatientSize = f"{recording.height / 100:.10g}"
    if recording.weight is not None:
        dataset.PatientWeight = f"{recording.weight:.10g}"


def _add_study(dataset: Dataset, recording: Recording) -> None:
    """Study, series, equipment and instance; what nobody knows is empty, as type 2 elements may be."""
    content = content_of(recording)
    dataset.StudyInstanceUID = uid("study", *content)
    dataset.SeriesInstanceUID = uid("series", *content)
    dataset.SOPInstanceUID = uid("instance", *content)
    for keyword in ("StudyID", "AccessionNumber", "ReferringPhysicianName"):
        setattr(dataset, keyword, "")
    dataset.Modality = "ECG"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = 1
    dataset.Manufacturer = printable(recording.device)


def _add_acquisition(dataset: Dataset, moment: datetime | None) -> None:
    """When; a date and time of content and acquisition are demanded (PS3.3 C.10.8), so that unknown ones say 1900."""
    dataset.StudyDate = "" if moment is None else f"{moment.year:04}{moment:%m%d}"
    dataset.StudyTime = "" if moment is None else f"{moment:%H%M%S.%f}"
    dataset.ContentDate = dataset.StudyDate or UNKNOWN_DATE
    dataset.ContentTime = dataset.StudyTime or "00"
    dataset.AcquisitionDateTime = UNKNOWN_DATE[:4] if moment is None else f"{moment.year:04}{moment:%m%d%H%M%S.%f%z}"
    dataset.AcquisitionContextSequence = Sequence()


def _group(recording: Recording, stored: Stored) -> Dataset:
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = stored.samples.shape
    group.SamplingFrequency = f"{recording.sampling_rate:.10g}"
    group.MultiplexGroupLabel = "RHYTHM"
    group.ChannelDefinitionSequence = Sequence([_channel(lead, stored.step, recording.filters) for lead in _LEADS])
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.WaveformData = stored.samples.T.astype("<i2").tobytes()
    return group


def _channel(lead: str, step: float, filters: Filters) -> Dataset:
    code, meaning = _LEADS[lead]
    channel = Dataset()
    channel.ChannelLabel = lead
    channel.ChannelSourceSequence = Sequence([_code(code, "MDC", meaning)])
    channel.ChannelSensitivity = f"{step:.10g}"
    channel.ChannelSensitivityUnitsSequence = Sequence([_code("uV", "UCUM", "microvolt")])
    channel.ChannelSensitivityCorrectionFactor = "1"
    channel.ChannelBaseline = "0"
    channel.ChannelTimeSkew = "0"
    channel.WaveformBitsStored = 16
    stated = {
        "FilterLowFrequency": filters.high_pass,
        "FilterHighFrequency": filters.low_pass,
        "NotchFilterFrequency": filters.notch,
    }
    for keyword, frequency in stated.items():
        if frequency is not None:
            setattr(channel, keyword, f"{frequency:.10g}")
    return channel


def _statements(recording: Recording) -> Iterator[Dataset]:
    """What was stated, and that the heart is paced where no statement says it."""
    said = recording.statements
    if recording.paced and not statements.paced(said):
        said = (*said, "Paced rhythm")
    for text in said:
        annotation = _annotation(1)
        annotation.UnformattedTextValue = text
        yield annotation


def _measurements(recording: Recording) -> Iterator[Dataset]:
    """What was measured, each with its code, its unit, and the formula where its code leaves that open."""
    for name, value in recording.measured.known().items():
        concept = CONCEPTS[name]
        annotation = _annotation(2)
        coded = _code(*concept.code)
        if concept.formula is not None:
            coded.ModifierCodeSequence = Sequence([_code(*concept.formula)])
        annotation.ConceptNameCodeSequence = Sequence([coded])
        annotation.NumericValue = f"{value:.10g}"
        annotation.MeasurementUnitsCodeSequence = Sequence([_code(*concept.unit)])
        yield annotation


def _annotation(number: int) -> Dataset:
    """An annotation of all channels of the group, among others of the same number."""
    annotation = Dataset()
    annotation.ReferencedWaveformChannels = [1, 0]
    annotation.AnnotationGroupNumber = number
    return annotation


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
