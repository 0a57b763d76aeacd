"""MUSE XML: the ``RestingECG`` that GE's MUSE exports, after its ``restecg.dtd``.

::

    <!DOCTYPE RestingECG SYSTEM "restecg.dtd">
    <RestingECG>
      <PatientDemographics><PatientAge/><AgeUnits/><Gender/> …
      <TestDemographics><AcquisitionDevice/><AcquisitionTime/><AcquisitionDate>03-25-1996 …   month first
      <RestingECGMeasurements/> as edited, <OriginalRestingECGMeasurements/> as computed
      <Diagnosis><DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText/> …
      <Waveform><WaveformType>Median …    one averaged beat, first
      <Waveform><WaveformType>Rhythm</WaveformType><SampleBase>500</SampleBase><SampleExponent>0</SampleExponent>
        <LeadData><LeadAmplitudeUnitsPerBit>4.88</LeadAmplitudeUnitsPerBit> … <LeadDataCRC32/><WaveFormData/> …

Samples are base64 of 16-bit words; ``LeadDataCRC32`` is that of zip over their bytes, in all leads of seven real files.
Only the rhythm is read. No real file was met with pacemaker spikes, a lead that was off, several rhythms, or offsets.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from models.ecg import statements
from models.ecg.errors import ChecksumMismatch, DecodeError, MissingMetadata, UnsafeFile, UnsupportedFormat
from models.ecg.formats.base64_samples import decode_base64, words
from models.ecg.formats.device_values import centimetres, degrees, hertz, kilograms, milliseconds, per_minute
from models.ecg.formats.number_list import check_length
from models.ecg.formats.xml_document import number_at, number_of, parse, root_name, text_at
from models.ecg.leads import MAX_LEADS, arrange
from models.ecg.measurements import UNMEASURED, Measurements
from models.ecg.patient import age_between, age_in_years, sex_of
from models.ecg.recording import Filters, Recording, Remark
from models.ecg.stated import Stated

_ROOT = "RestingECG"
_OFFSETS = ("LeadTimeOffset", "LeadOffsetFirstSample", "FirstSampleBaseline")
_CRC = re.compile(r"-?\d{1,10}")
_DAY = re.compile(r"(\d{1,2})[-/](\d{1,2})[-/](\d{4})")
_CLOSE = 0.15  # of the interval that the ventricular rate gives; the readings to choose from are twice as far apart


def matches(data: bytes) -> bool:
    """Whether the root element is that of MUSE."""
    return root_name(data) == _ROOT


def read(data: bytes, stated: Stated) -> Recording:
    """Read the rhythm of all leads.

    Raises
    ------
    MissingMetadata
        If rate, step or unit are not stated, or there is no rhythm.
    ChecksumMismatch
        If a lead is not what MUSE wrote.
    EcgError
        If the XML is broken or unsafe, or does not hold the twelve leads.
    """
    document = parse(data)
    rhythms = [each for each in document.findall("Waveform") if text_at(each, "WaveformType").lower() == "rhythm"]
    if not rhythms:
        raise MissingMetadata("the MUSE file holds no rhythm: export the ECG with its waveforms")
    rhythm = rhythms[0]
    rows = rhythm.findall("LeadData")
    if len(rows) > MAX_LEADS:
        raise UnsafeFile(f"{len(rows)} leads are no ECG")
    rate = stated.agreed_rate(_rate(rhythm))
    labels = stated.agreed_leads([text_at(row, "LeadID") for row in rows], len(rows))
    channels = ((label, _samples(label, row) * _step(row, stated)) for label, row in zip(labels, rows, strict=True))
    signal, derived, remarks = arrange(channels)
    said = _statements(document)
    acquired_at = _acquired_at(document)
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=_age(document, acquired_at),
        sex=sex_of(text_at(document, "PatientDemographics/Gender")),
        height=_first(centimetres, document, {"HeightCM": "cm", "HeightIN": "in"}),
        weight=_first(kilograms, document, {"WeightKG": "kg", "WeightLBS": "lb"}),
        patient_id=text_at(document, "PatientDemographics/PatientID") or None,
        acquired_at=acquired_at,
        device=text_at(document, "TestDemographics/AcquisitionDevice")[:128] or None,
        filters=_filters(rhythm),
        paced=_has_spikes(rhythm) or statements.paced(said),
        measured=_measured(document, rate),
        statements=said,
        source_format="MUSE XML",
        derived=derived,
        remarks=remarks + tuple(_remarks(rhythms, labels)),
    )


def _rate(rhythm: Element) -> float | None:
    """``SampleBase`` times ten to the ``SampleExponent``."""
    base, exponent = number_at(rhythm, "SampleBase"), number_at(rhythm, "SampleExponent") or 0.0
    if exponent not in range(-6, 7):
        raise DecodeError(f"the SampleExponent {exponent:g} of the MUSE file is impossible")
    return None if base is None else float(base * 10**exponent)


def _samples(label: str, row: Element) -> NDArray[np.float64]:
    """The steps of one lead, compared with all that the file says about them."""
    what = f"lead {label[:40]!r} of the MUSE file"
    if number_at(row, "LeadSampleSize") not in (None, 2):
        raise UnsupportedFormat(f"{what} has samples of {text_at(row, 'LeadSampleSize')} bytes, not of 2")
    moved = [name for name in _OFFSETS if number_at(row, name)]
    if moved:
        raise UnsupportedFormat(f"{what} states {', '.join(moved)}, whose meaning is not published")
    content = decode_base64(text_at(row, "WaveFormData"), what)
    steps = words(content, what)
    check_length(len(steps), number_at(row, "LeadSampleCountTotal"), what)
    _check_sum(content, row, what)
    return steps


def _check_sum(content: bytes, row: Element, what: str) -> None:
    announced = text_at(row, "LeadDataCRC32")
    if announced and not _CRC.fullmatch(announced):
        raise DecodeError(f"{what} has the checksum {announced[:40]!r}, which is no number")
    if announced and int(announced) % 2**32 != zlib.crc32(content):
        raise ChecksumMismatch(f"{what} is not what MUSE wrote: its LeadDataCRC32 does not fit")
    if number_at(row, "LeadByteCountTotal") not in (None, len(content)):
        raise DecodeError(f"{what} has {len(content)} bytes, not {text_at(row, 'LeadByteCountTotal')[:40]}")


def _step(row: Element, stated: Stated) -> float:
    """Millivolts in one step; some installations write a decimal comma."""
    size = number_of(text_at(row, "LeadAmplitudeUnitsPerBit").replace(",", "."), "LeadAmplitudeUnitsPerBit")
    if not size or size < 0:
        raise MissingMetadata("the MUSE file does not say how much one step is (LeadAmplitudeUnitsPerBit)")
    return size * stated.agreed_unit(text_at(row, "LeadAmplitudeUnits") or None)


def _day(text: str) -> date | None:
    """A date, month first; None if it is missing or impossible."""
    found = _DAY.fullmatch(text)
    try:
        return date(int(found[3]), int(found[1]), int(found[2])) if found else None
    except ValueError:
        return None


def _acquired_at(document: Element) -> datetime | None:
    """Day, with the time of day where it is there."""
    day = _day(text_at(document, "TestDemographics/AcquisitionDate"))
    text = text_at(document, "TestDemographics/AcquisitionTime")
    try:
        clock = time.fromisoformat(text) if re.fullmatch(r"\d\d:\d\d(:\d\d)?", text) else time()
    except ValueError:
        clock = time()
    return None if day is None else datetime.combine(day, clock)


def _age(document: Element, then: datetime | None) -> float | None:
    """As stated, else between birth and recording."""
    patient = "PatientDemographics"
    stated = age_in_years(f"{text_at(document, f'{patient}/PatientAge')} {text_at(document, f'{patient}/AgeUnits')}")
    birth = _day(text_at(document, f"{patient}/DateofBirth"))
    return stated if stated is not None or birth is None or then is None else age_between(birth, then.date())


def _first(convert: Callable[[str, str], float | None], document: Element, fields: dict[str, str]) -> float | None:
    """The first of the fields that holds a possible value."""
    values = (convert(text_at(document, f"PatientDemographics/{name}"), unit) for name, unit in fields.items())
    return next((value for value in values if value is not None), None)


def _filters(rhythm: Element) -> Filters:
    """The high-pass filter counts in hundredths of a hertz: 5 is 0.05 Hz, 16 is 0.16 Hz."""
    high_pass = hertz(text_at(rhythm, "HighPassFilter"))
    return Filters(
        high_pass=None if high_pass is None else high_pass / 100,
        low_pass=hertz(text_at(rhythm, "LowPassFilter")),
        notch=hertz(text_at(rhythm, "ACFilter")),
    )


def _has_spikes(rhythm: Element) -> bool | None:
    """True if the device marked pacemaker spikes; their absence is no answer."""
    marked = ("".join(spikes.itertext()) for spikes in rhythm.findall("PaceSpikes"))
    return True if any(re.search(r"[1-9A-Za-z]", text) for text in marked) else None


def _measured(document: Element, rate: float) -> Measurements:
    """As edited; as computed only where nobody edited them."""
    found = [document.find(name) for name in ("RestingECGMeasurements", "OriginalRestingECGMeasurements")]
    block = next((each for each in found if each is not None), None)
    if block is None:
        return UNMEASURED
    heart_rate = per_minute(text_at(block, "VentricularRate"))
    return Measurements(
        heart_rate=heart_rate,
        rr_interval=_rr_interval(milliseconds(text_at(document, "QRSTimesTypes/GlobalRR")), heart_rate, rate),
        pr_interval=milliseconds(text_at(block, "PRInterval")),
        qrs_duration=milliseconds(text_at(block, "QRSDuration")),
        qt_interval=milliseconds(text_at(block, "QTInterval")),
        qtc=milliseconds(text_at(block, "QTCorrected")),
        qtc_fridericia=milliseconds(text_at(block, "QTcFrederica")),
        p_axis=degrees(text_at(block, "PAxis")),
        qrs_axis=degrees(text_at(block, "RAxis")),
        t_axis=degrees(text_at(block, "TAxis")),
    )


def _rr_interval(stored: float | None, heart_rate: float | None, rate: float) -> float | None:
    """Milliseconds in new files, samples of this rate or of 500 Hz in old ones: that which the heart rate confirms."""
    if stored is None or heart_rate is None:
        return None
    expected = 60_000 / heart_rate
    readings = {stored * factor for factor in (1.0, 1000 / rate, 1000 / 500)}
    fitting = [reading for reading in readings if abs(reading - expected) <= _CLOSE * expected]
    return fitting[0] if len(fitting) == 1 else None


def _statements(document: Element) -> tuple[str, ...]:
    """One for each line, as edited; as computed only where nobody edited them."""
    found = [document.find(name) for name in ("Diagnosis", "OriginalDiagnosis")]
    diagnosis = next((each for each in found if each is not None), None)
    return () if diagnosis is None else statements.kept(_lines(diagnosis.findall("DiagnosisStatement")))


def _lines(parts: list[Element]) -> Iterator[str]:
    """Statements come in parts; the last one of each line has the flag ENDSLINE, or all stand alone."""
    ends = [any((flag.text or "").strip() == "ENDSLINE" for flag in part.findall("StmtFlag")) for part in parts]
    line: list[str] = []
    for part, is_end in zip(parts, ends, strict=True):
        line.append(text_at(part, "StmtText"))
        if is_end or not any(ends):
            yield " ".join(line)
            line = []
    yield " ".join(line)


def _remarks(rhythms: list[Element], labels: tuple[str, ...]) -> Iterator[Remark]:
    rows = zip(labels, rhythms[0].findall("LeadData"), strict=True)
    off = tuple(label[:40] for label, row in rows if text_at(row, "LeadOff").upper() == "TRUE")
    if off:
        yield Remark(code="lead-off", leads=off, message=f"the device found electrodes off in {', '.join(off)}")
    if len(rhythms) > 1:
        yield Remark(code="several-rhythms", message=f"the first of {len(rhythms)} rhythms was read")
