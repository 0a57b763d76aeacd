"""DICOM waveforms: 12-lead, General and Ambulatory ECG, and Hemodynamic with all leads (PS3.3 A.34 and C.10.9)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from pydicom import config
from pydicom.uid import UID

from models.ecg.errors import (
    DecodeError,
    UnsupportedFormat,
)
from models.ecg.formats import dicom_annotations
from models.ecg.formats.dicom_elements import Item
from models.ecg.formats.dicom_file import is_dicom, read_file
from models.ecg.formats.dicom_groups import Group, choose, group_of, voltages
from models.ecg.leads import arrange
from models.ecg.patient import age_between, age_in_years, sex_of
from models.ecg.recording import HEAVIEST, Filters, Recording, Remark
from models.ecg.stated import Stated

matches = is_dicom

_STORAGE = "1.2.840.10008.5.1.4.1.1.9."
_HEMODYNAMIC = f"{_STORAGE}2.1"
_SOP_CLASSES = {f"{_STORAGE}1.{n}" for n in (1, 2, 3, 4)} | {_HEMODYNAMIC}
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)")
_TIME = re.compile(r"(\d\d):?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?([+-]\d{4})?")
_SOUND = {"", "OK"}  # of a channel's status; the others are a test, a loose electrode or doubt (C.10.9.1.4)


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
    group = choose([group_of(item) for item in dataset.items("WaveformSequence")], stated)
    rate = stated.agreed_rate(group.rate)
    labels = stated.agreed_leads(group.named, len(group.labels))
    rows = (row for item in group.items for row in voltages(item, group.samples, stated))
    signal, derived, remarks = arrange(zip(labels, rows, strict=True))
    notes = dataset.items("WaveformAnnotationSequence")
    said = dicom_annotations.words(notes)
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=_age(dataset),
        sex=sex_of(dataset.text("PatientSex")),
        height=_height(dataset),
        weight=_within(dataset.stated("PatientWeight"), HEAVIEST),
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


def _remarks(dataset: Item, group: Group, labels: Sequence[str]) -> tuple[Remark, ...]:
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
