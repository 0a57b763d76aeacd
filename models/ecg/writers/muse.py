"""MUSE XML: a recording as GE's ``RestingECG``, laid out as in real exports, with the eight leads that those store."""

from __future__ import annotations

import base64
import zlib
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from numpy.typing import NDArray

from models.ecg.beats import r_peaks
from models.ecg.measurements import Measurements
from models.ecg.patient import completed_age
from models.ecg.recording import INDEPENDENT_LEADS, LEADS, Filters, Recording, twelve_leads
from models.ecg.statements import paced
from models.ecg.writers.errors import LimbLeadsDisagree, RateNotAllowed
from models.ecg.writers.identity import printable
from models.ecg.writers.storage import Stored, store

RATES = (250.0, 500.0)
"""Hz; those of all real exports met."""

LIMB_TOLERANCE = 0.010
"""mV that a stored limb lead may differ from I and II: two of the coarsest steps, as each lead is rounded alone."""

_DECLARATION = b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n'
_BEFORE, _BEAT = 0.4, 1.2  # seconds of the median beat before R and in all; real ones have 1.2 s
_SEXES = {"F": "FEMALE", "M": "MALE"}
_MEASURED = {
    "heart_rate": "VentricularRate",
    "pr_interval": "PRInterval",
    "qrs_duration": "QRSDuration",
    "qt_interval": "QTInterval",
    "qtc": "QTCorrected",
    "qtc_fridericia": "QTcFrederica",
    "p_axis": "PAxis",
    "qrs_axis": "RAxis",
    "t_axis": "TAxis",
}
_AGE_UNITS = {"Y": "YEARS", "M": "MONTHS"}


def write(recording: Recording) -> bytes:
    """One document with the median beat before the rhythm, as in real exports; fields that nobody knows are left out.

    III, aVR, aVL and aVF are not stored: who reads the file computes them from I and II.

    Raises
    ------
    RateNotAllowed
        Other than 250 and 500 Hz.
    LimbLeadsDisagree
        If III, aVR, aVL or aVF would be lost, as I and II say something else.
    VoltageTooLarge
        If 16 bits do not hold a sample.
    TextNotAllowed
        If patient identifier or device do not fit.
    """
    if recording.sampling_rate not in RATES:
        raise RateNotAllowed(f"{recording.sampling_rate:g} Hz; MUSE stores an ECG at 250 or 500 Hz")
    _check_limb_leads(recording)
    stored = store(recording.signal[[LEADS.index(lead) for lead in INDEPENDENT_LEADS]])
    root = Element("RestingECG")
    _add(SubElement(root, "MuseInfo"), MuseVersion="7.1.0")
    _add_patient(SubElement(root, "PatientDemographics"), recording)
    _add_test(SubElement(root, "TestDemographics"), recording)
    _add_measurements(root, recording.measured)
    _add_statements(root, recording)
    beat = _median_beat(recording, stored)
    if beat is not None:
        _add_waveform(SubElement(root, "Waveform"), "Median", beat, recording)
    _add_waveform(SubElement(root, "Waveform"), "Rhythm", stored, recording)
    indent(root, "   ")
    document: bytes = tostring(root, encoding="us-ascii", xml_declaration=False)
    return _DECLARATION + document + b"\n"


def _check_limb_leads(recording: Recording) -> None:
    signal, derived, _ = twelve_leads({lead: recording.lead(lead) for lead in INDEPENDENT_LEADS})
    for lead in derived:
        error = float(np.abs(recording.lead(lead) - signal[LEADS.index(lead)]).max())
        if error > LIMB_TOLERANCE:
            raise LimbLeadsDisagree(f"{lead} is up to {1e3 * error:.0f} µV from what I and II say; MUSE stores neither")


def _add(parent: Element, **fields: object) -> None:
    """Append fields in their order; those that are None or empty are left out."""
    for name, value in fields.items():
        if value not in (None, ""):
            SubElement(parent, name).text = str(value)


def _add_patient(demographics: Element, recording: Recording) -> None:
    age, unit = (None, "") if recording.age is None else completed_age(recording.age)
    _add(
        demographics,
        PatientID=printable(recording.patient_id),
        PatientAge=age,
        AgeUnits=_AGE_UNITS.get(unit),
        Gender=_SEXES.get(recording.sex or ""),
        HeightCM=None if recording.height is None else f"{recording.height:g}",
        WeightKG=None if recording.weight is None else f"{recording.weight:g}",
    )


def _add_test(demographics: Element, recording: Recording) -> None:
    """Dates are month first."""
    moment = recording.acquired_at
    _add(
        demographics,
        DataType="RESTING",
        AcquisitionDevice=printable(recording.device),
        AcquisitionTime=None if moment is None else f"{moment:%H:%M:%S}",
        AcquisitionDate=None if moment is None else f"{moment.month:02}-{moment.day:02}-{moment.year:04}",
    )


def _add_measurements(root: Element, measured: Measurements) -> None:
    """What the device measured, in the whole numbers of the format."""
    known = {field: round(value) for name, field in _MEASURED.items() if (value := getattr(measured, name)) is not None}
    if known:
        _add(SubElement(root, "RestingECGMeasurements"), **known)


def _add_statements(root: Element, recording: Recording) -> None:
    """A statement a line; that the heart was paced is one, where no other says it."""
    said = list(recording.statements)
    if recording.paced and not paced(said):
        said.append("PACED RHYTHM")
    if said:
        diagnosis = SubElement(root, "Diagnosis")
        _add(diagnosis, Modality="RESTING")
        for text in said:
            _add(SubElement(diagnosis, "DiagnosisStatement"), StmtFlag="ENDSLINE", StmtText=text)


def _median_beat(recording: Recording, stored: Stored) -> Stored | None:
    """Median over the beats that lie wholly in the recording; None if there are fewer than three."""
    rate = recording.sampling_rate
    starts = r_peaks(recording) - round(_BEFORE * rate)
    length = round(_BEAT * rate)
    whole = [start for start in starts if 0 <= start <= stored.samples.shape[1] - length]
    if len(whole) < 3:
        return None
    beats = np.stack([stored.samples[:, start : start + length] for start in whole])
    return Stored(samples=np.rint(np.median(beats, axis=0)).astype(np.int16), step=stored.step)


def _add_waveform(waveform: Element, kind: str, stored: Stored, recording: Recording) -> None:
    _add(
        waveform,
        WaveformType=kind,
        WaveformStartTime=0,
        NumberofLeads=len(INDEPENDENT_LEADS),
        SampleType="CONTINUOUS_SAMPLES",
        SampleBase=round(recording.sampling_rate),
        SampleExponent=0,
        **_filters(recording.filters),
    )
    for lead, row in zip(INDEPENDENT_LEADS, stored.samples, strict=True):
        _add_lead(SubElement(waveform, "LeadData"), lead, row, stored.step)


def _filters(filters: Filters) -> dict[str, object]:
    """The high-pass filter counts in hundredths of a hertz: 5 is 0.05 Hz, 16 is 0.16 Hz."""
    high_pass, low_pass, notch = filters.high_pass, filters.low_pass, filters.notch
    return {
        "HighPassFilter": None if high_pass is None else round(100 * high_pass),
        "LowPassFilter": None if low_pass is None else f"{low_pass:g}",
        "ACFilter": "NONE" if notch is None else f"{notch:g}",
    }


def _add_lead(data: Element, lead: str, row: NDArray[np.int16], step: float) -> None:
    """Little-endian samples in base64, with the CRC-32 (that of zip) of the bytes before encoding."""
    content = row.astype("<i2").tobytes()
    _add(
        data,
        LeadByteCountTotal=len(content),
        LeadTimeOffset=0,
        LeadSampleCountTotal=len(row),
        LeadAmplitudeUnitsPerBit=f"{step:.10g}",
        LeadAmplitudeUnits="MICROVOLTS",
        LeadHighLimit=2**15 - 1,
        LeadLowLimit=-(2**15),
        LeadID=lead,
        LeadOffsetFirstSample=0,
        FirstSampleBaseline=0,
        LeadSampleSize=2,
        LeadOff="FALSE",
        BaselineSway="FALSE",
        LeadDataCRC32=zlib.crc32(content),
        WaveFormData="\n" + base64.encodebytes(content).decode("ascii"),
    )
