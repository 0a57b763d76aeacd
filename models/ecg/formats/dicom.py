"""DICOM waveforms: 12-lead, General and Ambulatory ECG, and Hemodynamic with all leads (PS3.3 A.34 and C.10.9)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray
from pydicom import config
from pydicom.uid import UID

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
from models.ecg.formats import dicom_annotations
from models.ecg.formats.dicom_elements import Item
from models.ecg.formats.dicom_file import is_dicom, read_file
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
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)")
_TIME = re.compile(r"(\d\d):?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?([+-]\d{4})?")
_LARGEST = 1e9
"""Units in one step or at zero; beyond, the numbers are not those of an amplifier, and would overflow."""

_SOUND = {"", "OK"}  # of a channel's status; the others are a test, a loose electrode or doubt (C.10.9.1.4)


@dataclass(frozen=True)
class _Group:
    """Multiplex groups of one clock, most often one: labels (None where a channel has no source), rate and samples."""

    labels: tuple[str | None, ...]
    rate: float
    samples: int
    items: tuple[Item, ...]

    @property
    def channels(self) -> list[Item]:
        return [channel for item in self.items for channel in item.items("ChannelDefinitionSequence")]

    @property
    def original(self) -> bool:
        return all(item.text("WaveformOriginality") == "ORIGINAL" for item in self.items)

    def leads(self) -> set[str]:
        return {name for label in self.labels if label and (name := lead_name(label))}


def read(data: bytes, stated: Stated) -> Recording:
    """Read the first original group of channels that holds all leads.

    Groups that the device started together at one rate count as one; no real file with such groups was met.

    Raises
    ------
    EcgError
        If the file is no ECG, damaged, or does not hold twelve simultaneous leads.
    """
    dataset = read_file(data)
    _check_class(dataset)
    group = _choose([_group(item) for item in dataset.items("WaveformSequence")], stated)
    rate = stated.agreed_rate(group.rate)
    labels = stated.agreed_leads(_complete(group.labels), len(group.labels))
    voltages = (row for item in group.items for row in _voltages(item, group.samples, stated))
    signal, derived, remarks = arrange(zip(labels, voltages, strict=True))
    notes = dataset.items("WaveformAnnotationSequence")
    said = dicom_annotations.words(notes)
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=_age(dataset),
        sex=sex_of(dataset.text("PatientSex")),
        height=_height(dataset),
        weight=_within(dataset.stated("PatientWeight"), 650),
        patient_id=dataset.text("PatientID") or None,
        acquired_at=_acquired_at(dataset),
        device=" ".join(filter(None, map(dataset.text, ("Manufacturer", "ManufacturerModelName")))) or None,
        filters=_filters(group.channels),
        paced=dicom_annotations.paced(notes, said),
        measured=dicom_annotations.measured(notes),
        statements=said,
        source_format="DICOM",
        derived=derived,
        remarks=remarks + _remarks(dataset, group, labels),
    )


def _check_class(dataset: Item) -> None:
    sop_class = dataset.text("SOPClassUID")
    if sop_class not in _SOP_CLASSES:
        name = UID(sop_class, validation_mode=config.IGNORE).name or "an object without a class"
        raise UnsupportedFormat(f"this DICOM file is {name[:80]}, not a 12-lead or General ECG")
    if not dataset.items("WaveformSequence"):
        raise DecodeError("the DICOM file is an ECG object without waveforms")


def _group(item: Item) -> _Group:
    channels, announced = item.items("ChannelDefinitionSequence"), item.whole("NumberOfWaveformChannels")
    if not 0 < len(channels) == announced <= MAX_CHANNELS:
        raise DecodeError(f"{announced} DICOM channels announced, {len(channels)} described")
    rate = item.number("SamplingFrequency")
    if not rate or rate < 0:
        raise MissingMetadata("the DICOM group states no sampling frequency")
    return _Group(tuple(map(_label, channels)), rate, item.whole("NumberOfWaveformSamples"), (item,))


def _label(channel: Item) -> str | None:
    """The coded source first, as its meaning is free text; then the meaning, then the channel's own label."""
    source = (channel.items("ChannelSourceSequence") or [channel])[0]
    code, meaning = source.text("CodeValue"), source.text("CodeMeaning") or channel.text("ChannelLabel")
    if _LEAD_CODE.fullmatch(code):
        return f"{code} {meaning}"
    return code if lead_name(code) else meaning or code or None


def _complete(labels: Sequence[str | None]) -> list[str] | None:
    """The labels, or None if a channel has none."""
    named = [label for label in labels if label]
    return named if len(named) == len(labels) else None


def _choose(groups: list[_Group], stated: Stated) -> _Group:
    """The first group with all leads; where there is original rhythm, no derived beat stands in for it (C.10.9.1.1)."""
    groups = [group for group in groups if group.original] or groups
    for group in [*groups, *_joined(groups)]:
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


def _joined(groups: list[_Group]) -> list[_Group]:
    """Groups of one rate and length that all state the same start (Multiplex Group Time Offset, C.10.9.1.2)."""
    together: dict[tuple[float, int, float], list[_Group]] = {}
    for group in groups:
        offset = group.items[0].stated("MultiplexGroupTimeOffset")
        if offset is not None:
            together.setdefault((group.rate, group.samples, offset), []).append(group)
    return [
        _Group(
            labels=tuple(label for member in members for label in member.labels),
            rate=rate,
            samples=samples,
            items=tuple(item for member in members for item in member.items),
        )
        for (rate, samples, _), members in together.items()
    ]


def _voltages(item: Item, samples: int, stated: Stated) -> Iterator[NDArray[np.float64]]:
    """(samples,) mV of each channel: raw × sensitivity × correction + baseline, in the channel's unit (C.10.9.1.5)."""
    channels = item.items("ChannelDefinitionSequence")
    raw, padding = _raw(item, len(channels), samples)
    for channel, row in zip(channels, raw.T, strict=True):
        step, baseline, unit = _scale(channel, stated)
        voltage = (row.astype(np.float64) * step + baseline) * unit
        if padding:  # padding 0 is written by devices whose zeros are samples: only another value marks a gap
            voltage[row == padding] = np.nan
        yield voltage


def _scale(channel: Item, stated: Stated) -> tuple[float, float, float]:
    """Units in one step, units at zero, millivolts in one unit."""
    sensitivity, correction = channel.number("ChannelSensitivity"), channel.number("ChannelSensitivityCorrectionFactor")
    if sensitivity is None:
        raise MissingMetadata("a DICOM channel states no sensitivity")
    units = channel.items("ChannelSensitivityUnitsSequence")
    step = sensitivity * (1.0 if correction is None else correction)
    baseline = channel.number("ChannelBaseline") or 0.0
    if max(abs(step), abs(baseline)) > _LARGEST:
        raise DecodeError(f"a sensitivity of {step:g} or a baseline of {baseline:g} is no ECG's")
    return step, baseline, stated.agreed_unit(units[0].text("CodeValue") if units else None)


def _raw(item: Item, channels: int, samples: int) -> tuple[NDArray[np.integer], int]:
    """(samples, channels) as stored, side by side as in the file, and the padding value; 0 for none."""
    interpretation = item.text("WaveformSampleInterpretation")
    if interpretation not in _INTERPRETATIONS:
        raise UnsupportedFormat(f"DICOM sample interpretation {interpretation[:8]!r}")
    code, bits = _INTERPRETATIONS[interpretation]
    if item.whole("WaveformBitsAllocated") != bits:
        raise DecodeError(f"{item.whole('WaveformBitsAllocated')} bits allocated for samples of type {interpretation}")
    dtype = np.dtype(code).newbyteorder(item.order)
    content, count = item.values.get("WaveformData", b""), channels * samples
    if MAX_SAMPLES < samples <= len(content):
        raise UnsafeFile(f"{samples} samples in a channel are more than any resting ECG has")
    if count == 0 or len(content) < count * dtype.itemsize:
        raise TruncatedFile(f"the DICOM waveform is shorter than the {samples} samples announced")
    if len(content) - count * dtype.itemsize > 1:  # one byte makes the length even (PS3.5 section 7.1)
        raise DecodeError(f"the DICOM waveform is longer than the {samples} samples announced")
    padding = item.values.get("WaveformPaddingValue", b"")
    known = len(padding) >= dtype.itemsize
    return (
        np.frombuffer(content, dtype, count).reshape(samples, channels),
        int(np.frombuffer(padding, dtype, 1)[0]) if known else 0,
    )


def _within(number: float | None, most: float) -> float | None:
    """A number above zero and up to `most`."""
    return number if number is not None and 0 < number <= most else None


def _height(dataset: Item) -> float | None:
    """Centimetres of a size in metres; a size in centimetres, which some write, is none (PS3.3 C.7.2.2)."""
    metres = _within(dataset.stated("PatientSize"), 2.8)
    return None if metres is None else round(100 * metres, 6)


def _age(dataset: Item) -> float | None:
    """As stated, else between birth and recording."""
    stated = age_in_years(dataset.text("PatientAge"))
    birth, then = _moment(dataset.text("PatientBirthDate"), "0000", ""), _acquired_at(dataset)
    return stated if stated is not None or birth is None or then is None else age_between(birth.date(), then.date())


def _acquired_at(dataset: Item) -> datetime | None:
    """When the acquisition started, else the study; with the zone of the moment, else that of the object, else none."""
    moment = dataset.text("AcquisitionDateTime")
    acquired = dataset.text("AcquisitionDate"), dataset.text("AcquisitionTime")
    study = dataset.text("StudyDate"), dataset.text("StudyTime")
    zone = dataset.text("TimezoneOffsetFromUTC")
    moments = (_moment(day, time, zone) for day, time in ((moment[:8], moment[8:]), acquired, study))
    return next((moment for moment in moments if moment), None)


def _moment(day: str, time: str, zone: str) -> datetime | None:
    """A date with a time of day (VR DA and TM, also as ACR-NEMA wrote them); None if there is none."""
    days, clock = _DATE.fullmatch(day), _TIME.fullmatch(time)
    if not (days and clock):
        return None
    year, month, day_of_month = map(int, days.groups())
    hour, minute, second = (int(part or 0) for part in clock.groups()[:3])
    microsecond = int((clock[4] or "0").ljust(6, "0"))
    try:  # no calendar has every day, and no zone is a day away
        return datetime(year, month, day_of_month, hour, minute, second, microsecond, _zone(clock[5] or zone))
    except ValueError:
        return None


def _zone(offset: str) -> timezone | None:
    if not re.fullmatch(r"[+-]\d{4}", offset):
        return None
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def _filters(channels: Sequence[Item]) -> Filters:
    """The narrowest band of any channel: what is left of all of them."""

    def stated(keyword: str) -> list[float]:
        return [value for channel in channels if (value := channel.stated(keyword)) and value > 0]

    low, high, notch = stated("FilterLowFrequency"), stated("FilterHighFrequency"), stated("NotchFilterFrequency")
    return Filters(
        high_pass=max(low, default=None), low_pass=min(high, default=None), notch=notch[0] if notch else None
    )


def _remarks(dataset: Item, group: _Group, labels: Sequence[str]) -> tuple[Remark, ...]:
    remarks = []
    if dataset.text("SOPClassUID") == _HEMODYNAMIC:
        remarks.append(Remark(code="hemodynamic", message="stored as a haemodynamic waveform, not as a resting ECG"))
    if not group.original:
        remarks.append(
            Remark(code="not-original", message="the device marks this waveform as derived, not as recorded")
        )
    skewed = ("ChannelTimeSkew", "ChannelSampleSkew")
    if any(channel.stated(skew) for channel in group.channels for skew in skewed):
        remarks.append(Remark(code="channel-skew", message="the channels were not sampled at the same instants"))
    notes = ((label, note) for label, channel in zip(labels, group.channels, strict=True) for note in _doubts(channel))
    remarks += [Remark(code="channel-note", leads=(label[:40],), message=note) for label, note in notes]
    return tuple(remarks)


def _doubts(channel: Item) -> list[str]:
    """What the device says of a channel beyond its source: modifiers, and a status that is not sound."""
    modifiers = [item.text("CodeMeaning")[:80] for item in channel.items("ChannelSourceModifiersSequence")]
    status = channel.text("ChannelStatus")
    return [f"the source of the channel is modified: {meaning}" for meaning in modifiers] + (
        [] if status in _SOUND else [f"the device calls the channel {status[:80]}"]
    )
