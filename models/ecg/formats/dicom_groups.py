"""DICOM groups: channels sampled together, their labels and their voltages (PS3.3 C.10.9, multiplex groups)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
from models.ecg.formats.dicom_elements import Item
from models.ecg.leads import MAX_LEADS, MAX_SAMPLES, lead_name
from models.ecg.recording import INDEPENDENT_LEADS
from models.ecg.stated import Stated

_INTERPRETATIONS = {
    "SB": ("i1", 8),
    "UB": ("u1", 8),
    "SS": ("i2", 16),
    "US": ("u2", 16),
    "SL": ("i4", 32),
    "UL": ("u4", 32),
}
_LEAD_CODE = re.compile(r"(?:5\.6\.3-9-|2:)\d+")
_LARGEST = 1e9
"""Units in one step or at zero; beyond, the numbers are not those of an amplifier, and would overflow."""


@dataclass(frozen=True)
class Group:
    """Multiplex groups of one clock, most often one: labels (None where a channel has no source), rate and samples."""

    labels: tuple[str | None, ...]
    rate: float
    samples: int
    items: tuple[Item, ...]

    @property
    def channels(self) -> list[Item]:
        """Their definitions."""
        return [channel for item in self.items for channel in item.items("ChannelDefinitionSequence")]

    @property
    def original(self) -> bool:
        """Whether this is what was recorded, and no beat made of it."""
        return all(item.text("WaveformOriginality") == "ORIGINAL" for item in self.items)

    @property
    def named(self) -> list[str] | None:
        """The labels, or None if a channel has none."""
        labels = [label for label in self.labels if label]
        return labels if len(labels) == len(self.labels) else None

    def leads(self) -> set[str]:
        """The leads among the channels, as `models.ecg.leads.lead_name` knows them."""
        return {name for label in self.labels if label and (name := lead_name(label))}


def group_of(item: Item) -> Group:
    """One multiplex group.

    Raises
    ------
    DecodeError
        If it does not describe the channels that it announces.
    MissingMetadata
        If it states no rate.
    """
    channels, announced = item.items("ChannelDefinitionSequence"), item.whole("NumberOfWaveformChannels")
    if not 0 < len(channels) == announced <= MAX_LEADS:
        raise DecodeError(f"{announced} DICOM channels announced, {len(channels)} described")
    rate = item.number("SamplingFrequency")
    if not rate or rate < 0:
        raise MissingMetadata("the DICOM group states no sampling frequency")
    return Group(tuple(map(_label, channels)), rate, item.whole("NumberOfWaveformSamples"), (item,))


def choose(groups: list[Group], stated: Stated) -> Group:
    """The first group with all leads; where there is original rhythm, no derived beat stands in for it (C.10.9.1.1).

    Raises
    ------
    MissingLeads
        If the leads are not all there, or not recorded at once.
    TooShort
        If they are there one after the other, as on paper.
    """
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


def _joined(groups: list[Group]) -> list[Group]:
    """Groups of one rate and length that all state the same start (Multiplex Group Time Offset, C.10.9.1.2)."""
    together: dict[tuple[float, int, float], list[Group]] = {}
    for group in groups:
        offset = group.items[0].stated("MultiplexGroupTimeOffset")
        if offset is not None:
            together.setdefault((group.rate, group.samples, offset), []).append(group)
    return [
        Group(
            labels=tuple(label for member in members for label in member.labels),
            rate=rate,
            samples=samples,
            items=tuple(item for member in members for item in member.items),
        )
        for (rate, samples, _), members in together.items()
    ]


def voltages(item: Item, samples: int, stated: Stated) -> Iterator[NDArray[np.float64]]:
    """(samples,) mV of each channel: raw × sensitivity × correction + baseline, in the channel's unit (C.10.9.1.5).

    Raises
    ------
    MissingMetadata
        If a channel states no sensitivity, or neither it nor the request a unit.
    EcgError
        If the samples are fewer or more than announced, or of a kind that is not linear.
    """
    channels = item.items("ChannelDefinitionSequence")
    raw, padding = _raw(item, len(channels), samples)
    for channel, row in zip(channels, raw.T, strict=True):
        if stated.leads is None and lead_name(_label(channel) or "") is None:
            yield np.empty(0)  # a pressure or the like, which is left out, whatever its unit is
            continue
        step, baseline, unit = _scale(channel, stated)
        voltage = (row.astype(np.float64) * step + baseline) * unit
        if padding:  # padding 0 is written by devices whose zeros are samples: only another value marks a gap
            voltage[row == padding] = np.nan
        yield voltage


def _label(channel: Item) -> str | None:
    """The coded source first, as its meaning is free text; then the meaning, then the channel's own label."""
    source = (channel.items("ChannelSourceSequence") or [channel])[0]
    code, meaning = source.text("CodeValue"), source.text("CodeMeaning") or channel.text("ChannelLabel")
    if _LEAD_CODE.fullmatch(code):
        return f"{code} {meaning}"
    return code if lead_name(code) else meaning or code or None


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
