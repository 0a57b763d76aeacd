"""DICOM waveforms: 12-lead, General and Ambulatory ECG, and Hemodynamic with all leads (PS3.3 A.34 and C.10.9)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from models.ecg import statements
from models.ecg.checks import SHORTEST
from models.ecg.errors import (
    DecodeError,
    MissingLeads,
    MissingMetadata,
    TooShort,
    TruncatedFile,
    UnsafeFile,
    UnsupportedFormat,
)
from models.ecg.formats.dicom_file import is_dicom, parsing, read_file
from models.ecg.leads import MAX_SAMPLES, arrange, lead_name
from models.ecg.patient import age_between, age_in_years, sex_of
from models.ecg.recording import INDEPENDENT_LEADS, Filters, Recording, Remark
from models.ecg.stated import Stated

matches = is_dicom

MAX_CHANNELS = 64

_STORAGE = "1.2.840.10008.5.1.4.1.1.9."
_HEMODYNAMIC = f"{_STORAGE}2.1"
_SOP_CLASSES = {f"{_STORAGE}1.{n}" for n in (1, 2, 3, 4)} | {_HEMODYNAMIC}
_INTERPRETATIONS = {
    "SB": ("i1", 8),
    "UB": ("u1", 8),
    "SS": ("i2", 16),
    "US": ("u2", 16),
    "SL": ("i4", 32),
    "UL": ("u4", 32),
}
_LEAD_CODE = re.compile(r"(?:5\.6\.3-9-|2:)\d+")
_DATE_TIME = re.compile(r"(\d{14})(?:\.(\d{1,6}))?([+-]\d{4})?")


@dataclass(frozen=True)
class _Group:
    """One multiplex group: labels (None where a channel has no source), rate, and how to get the voltages."""

    labels: tuple[str | None, ...]
    rate: float
    samples: int
    item: Dataset

    def leads(self) -> set[str]:
        return {name for label in self.labels if label and (name := lead_name(label))}


def read(data: bytes, stated: Stated) -> Recording:
    """Read the first original group of channels that holds all leads.

    Raises
    ------
    EcgError
        If the file is no ECG, damaged, or does not hold twelve simultaneous leads.
    """
    with parsing():
        dataset, little_endian = read_file(data)
        _check_class(dataset)
        group = _choose([_group(item) for item in dataset.WaveformSequence], stated)
        rate = stated.agreed_rate(group.rate)
        labels = stated.agreed_leads(_complete(group.labels), len(group.labels))
        signal, derived, remarks = arrange(zip(labels, _voltages(group, little_endian, stated), strict=True))
        said = _statements(dataset)
        return Recording(
            signal=signal,
            sampling_rate=rate,
            age=_age(dataset),
            sex=sex_of(_text(dataset, "PatientSex")),
            patient_id=_text(dataset, "PatientID") or None,
            acquired_at=_acquired_at(dataset),
            device=" ".join(filter(None, (_text(dataset, "Manufacturer"), _text(dataset, "ManufacturerModelName"))))
            or None,
            filters=_filters(group.item.ChannelDefinitionSequence),
            paced=statements.paced(said),
            statements=said,
            source_format="DICOM",
            derived=derived,
            remarks=remarks + _remarks(dataset, group),
        )


def _text(dataset: Dataset, keyword: str) -> str:
    """An element as text; "" where it is missing or empty."""
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip()


def _number(dataset: Dataset, keyword: str, default: float) -> float:
    value = dataset.get(keyword)
    number = default if value in (None, "") else float(value)
    if not np.isfinite(number):
        raise DecodeError(f"the DICOM element {keyword} is not finite")
    return number


def _check_class(dataset: Dataset) -> None:
    sop_class = dataset.get("SOPClassUID")
    if sop_class not in _SOP_CLASSES:
        name = getattr(sop_class, "name", "an object without a class")
        raise UnsupportedFormat(f"this DICOM file is {str(name)[:80]}, not a 12-lead or General ECG")
    if not dataset.get("WaveformSequence"):
        raise DecodeError("the DICOM file is an ECG object without waveforms")


def _group(item: Dataset) -> _Group:
    channels = item.ChannelDefinitionSequence
    if not 0 < len(channels) == item.NumberOfWaveformChannels <= MAX_CHANNELS:
        raise DecodeError(f"{item.NumberOfWaveformChannels} DICOM channels announced, {len(channels)} described")
    rate = _number(item, "SamplingFrequency", 0.0)
    if rate <= 0:
        raise MissingMetadata("the DICOM group states no sampling frequency")
    return _Group(tuple(_label(channel) for channel in channels), rate, int(item.NumberOfWaveformSamples), item)


def _label(channel: Dataset) -> str | None:
    """The coded source first, as its meaning is free text; then the meaning, then the channel's own label."""
    source = channel.get("ChannelSourceSequence")
    code = _text(source[0], "CodeValue") if source else ""
    meaning = (_text(source[0], "CodeMeaning") if source else "") or _text(channel, "ChannelLabel")
    if _LEAD_CODE.fullmatch(code):
        return f"{code} {meaning}"
    return code if lead_name(code) else meaning or code or None


def _complete(labels: Sequence[str | None]) -> list[str] | None:
    """The labels, or None if a channel has none."""
    named = [label for label in labels if label]
    return named if len(named) == len(labels) else None


def _choose(groups: list[_Group], stated: Stated) -> _Group:
    """The first group with all leads; where there is original rhythm, no derived beat stands in for it (C.10.9.1.1)."""
    groups = [group for group in groups if _text(group.item, "WaveformOriginality") == "ORIGINAL"] or groups
    for group in groups:
        if group.leads().issuperset(INDEPENDENT_LEADS):
            return group
    if stated.leads is not None or not any(any(group.labels) for group in groups):
        return groups[0]  # its leads are the sender's to name
    together = set[str]().union(*(group.leads() for group in groups))
    missing = [lead for lead in INDEPENDENT_LEADS if lead not in together]
    if missing:
        raise MissingLeads(f"no {', '.join(missing)} in any group of the DICOM file")
    shortest = min(group.samples / group.rate for group in groups)
    reason = f"the leads are spread over {len(groups)} groups of {shortest:.1f} s or more, not recorded at once"
    raise TooShort(reason) if shortest < SHORTEST else MissingLeads(reason)


def _voltages(group: _Group, little_endian: bool, stated: Stated) -> list[NDArray[np.float64]]:
    """Millivolts of every channel: raw × sensitivity × correction + baseline, in the channel's unit (C.10.9.1.5)."""
    raw, padding = _raw(group, little_endian)
    voltages = []
    for channel, row in zip(group.item.ChannelDefinitionSequence, raw, strict=True):
        if channel.get("ChannelSensitivity") is None:
            raise MissingMetadata("a DICOM channel states no sensitivity")
        units = channel.get("ChannelSensitivityUnitsSequence")
        scale = stated.agreed_unit(_text(units[0], "CodeValue") if units else None)
        step = _number(channel, "ChannelSensitivity", 1.0) * _number(channel, "ChannelSensitivityCorrectionFactor", 1.0)
        voltage = (row * step + _number(channel, "ChannelBaseline", 0.0)) * scale
        # Padding 0 is written by devices whose zeros are samples: only another value marks a gap.
        voltages.append(np.where(row == padding, np.nan, voltage) if padding else voltage)
    return voltages


def _raw(group: _Group, little_endian: bool) -> tuple[NDArray[np.float64], int]:
    """(channels, samples) as stored, and the padding value; channels of one sample stand side by side in the file."""
    item = group.item
    interpretation = _text(item, "WaveformSampleInterpretation")
    if interpretation not in _INTERPRETATIONS:
        raise UnsupportedFormat(f"DICOM sample interpretation {interpretation[:8]!r}")
    code, bits = _INTERPRETATIONS[interpretation]
    if item.WaveformBitsAllocated != bits:
        raise DecodeError(f"{item.WaveformBitsAllocated} bits allocated for DICOM samples of type {interpretation}")
    dtype = np.dtype(code).newbyteorder("<" if little_endian else ">")
    count = len(group.labels) * group.samples
    if MAX_SAMPLES < group.samples <= len(item.WaveformData):
        raise UnsafeFile(f"{group.samples} samples in a channel are more than any resting ECG has")
    content = item.WaveformData
    if not isinstance(content, bytes) or count == 0 or len(content) < count * dtype.itemsize:
        raise TruncatedFile(f"the DICOM waveform is shorter than the {group.samples} samples announced")
    if len(content) - count * dtype.itemsize > 1:  # one byte makes the length even (PS3.5 section 7.1)
        raise DecodeError(f"the DICOM waveform is longer than the {group.samples} samples announced")
    samples = np.frombuffer(content, dtype, count).reshape(group.samples, -1).T.astype(np.float64)
    padding = item.get("WaveformPaddingValue")
    known = isinstance(padding, bytes) and len(padding) >= dtype.itemsize
    return samples, int(np.frombuffer(padding, dtype, 1)[0]) if known else 0


def _age(dataset: Dataset) -> float | None:
    stated = age_in_years(_text(dataset, "PatientAge"))
    birth, then = _text(dataset, "PatientBirthDate"), _acquired_at(dataset)
    if stated is not None or then is None or not re.fullmatch(r"\d{8}", birth):
        return stated
    return age_between(_moment(f"{birth}000000").date(), then.date())


def _acquired_at(dataset: Dataset) -> datetime | None:
    """Acquisition DateTime with its zone, else the zone of the object, else none."""
    found = _DATE_TIME.fullmatch(_text(dataset, "AcquisitionDateTime"))
    if not found:
        return None
    moment = _moment(found[1]).replace(microsecond=int((found[2] or "0").ljust(6, "0")))
    zone = found[3] or _text(dataset, "TimezoneOffsetFromUTC")
    if not re.fullmatch(r"[+-]\d{4}", zone):
        return moment
    minutes = int(zone[1:3]) * 60 + int(zone[3:])
    return moment.replace(tzinfo=timezone(timedelta(minutes=-minutes if zone[0] == "-" else minutes)))


def _moment(digits: str) -> datetime:
    return datetime.strptime(digits, "%Y%m%d%H%M%S")


def _filters(channels: Sequence[Dataset]) -> Filters:
    """The narrowest band of any channel: what is left of all of them."""

    def stated(keyword: str) -> list[float]:
        return [value for channel in channels if (value := _number(channel, keyword, 0.0)) > 0]

    low, high, notch = stated("FilterLowFrequency"), stated("FilterHighFrequency"), stated("NotchFilterFrequency")
    return Filters(
        high_pass=max(low, default=None), low_pass=min(high, default=None), notch=notch[0] if notch else None
    )


def _statements(dataset: Dataset) -> tuple[str, ...]:
    notes = dataset.get("WaveformAnnotationSequence") or ()
    return statements.kept(_text(note, "UnformattedTextValue") for note in notes)


def _remarks(dataset: Dataset, group: _Group) -> tuple[Remark, ...]:
    remarks = []
    if dataset.SOPClassUID == _HEMODYNAMIC:
        remarks.append(Remark(code="hemodynamic", message="stored as a haemodynamic waveform, not as a resting ECG"))
    if _text(group.item, "WaveformOriginality") != "ORIGINAL":
        remarks.append(
            Remark(code="not-original", message="the device marks this waveform as derived, not as recorded")
        )
    skewed = ("ChannelTimeSkew", "ChannelSampleSkew")
    if any(_number(channel, skew, 0.0) for channel in group.item.ChannelDefinitionSequence for skew in skewed):
        remarks.append(Remark(code="channel-skew", message="the channels were not sampled at the same instants"))
    return tuple(remarks)
