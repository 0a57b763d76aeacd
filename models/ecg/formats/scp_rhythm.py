"""SCP-ECG rhythm: sections 3 to 6 (EN 1064:2005 clauses 5.6 to 5.9, annex C) to the samples of each lead.

A lead is stored as differences, Huffman codes or neither. The beat of section 5 is added where it was subtracted, and
bimodal compression is undone: see `scp_beats`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, MissingLeads, MissingMetadata, TruncatedFile, UnsafeFile
from models.ecg.formats import scp_beats, scp_huffman
from models.ecg.formats.scp_huffman import Table, Values
from models.ecg.formats.scp_leads import label_of
from models.ecg.formats.scp_record import Section
from models.ecg.leads import MAX_LEADS, MAX_SAMPLES, lead_name
from models.ecg.recording import INDEPENDENT_LEADS

_SUBTRACTED, _ALL_AT_ONCE = 0x1, 0x4
_FIRST_WITHOUT_BIMODAL = 30  # protocol 3.0 reserves the byte
_UNREAD = 8  # bytes that may be left over behind the last code of a lead


@dataclass(frozen=True, eq=False, kw_only=True)
class Rhythm:
    """Labels of all leads, nanovolts of those that are among the twelve, hertz, and how many samples one stands for."""

    labels: tuple[str, ...]
    nanovolts: tuple[NDArray[np.float64], ...]
    rate: float
    decimation: int


@dataclass(frozen=True, kw_only=True)
class _Leads:
    """Section 3: what the leads are, and the first and last sample that they share, counted from 1."""

    labels: tuple[str, ...]
    wanted: tuple[int, ...]
    start: int
    end: int
    subtracted: bool

    @property
    def samples(self) -> int:
        return self.end - self.start + 1


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """Section 5 or 6: nanovolts of a step, microseconds of an interval, order of differences, bytes of each lead."""

    step: int
    interval: int
    order: int
    bimodal: bool
    leads: tuple[bytes, ...]


def read_rhythm(sections: dict[int, Section]) -> Rhythm:
    """The rhythm of all leads that are among the twelve.

    Raises
    ------
    MissingLeads
        If they were not recorded at once.
    MissingMetadata
        If there is no step or interval.
    DecodeError
        If a section is missing or contradicts another.
    """
    leads = _leads(_needed(sections, 3))
    encoded = _encoded(_needed(sections, 6), len(leads.labels))
    tables = scp_huffman.tables(sections[2].content) if 2 in sections else ()
    beat = _encoded(_needed(sections, 5), len(leads.labels)) if leads.subtracted or encoded.bimodal else encoded
    decimation = _decimation(encoded, beat)
    signals = _signals(encoded, leads, _places(sections, leads, decimation), tables)
    if leads.subtracted:
        beats = _beats(_needed(sections, 4), beat, leads, tables)
        signals = [signal + row for signal, row in zip(signals, beats, strict=True)]
    known, none = dict(zip(leads.wanted, signals, strict=True)), np.empty(0)
    nanovolts = tuple(known.get(index, none) for index in range(len(leads.labels)))
    return Rhythm(labels=leads.labels, nanovolts=nanovolts, rate=1e6 / beat.interval, decimation=decimation)


def _needed(sections: dict[int, Section], number: int) -> Section:
    if number not in sections:
        raise DecodeError(f"the SCP-ECG file has no section {number}, which its rhythm needs")
    return sections[number]


def _leads(section: Section) -> _Leads:
    count, flags = section.fields("BB")
    if count > MAX_LEADS:
        raise UnsafeFile(f"{count} leads are no ECG")
    rows = [section.fields("IIB", 2 + 9 * index) for index in range(count)]
    labels = tuple(label_of(number) or f"lead {number}" for *_, number in rows)
    wanted = tuple(index for index, label in enumerate(labels) if lead_name(label))
    if not wanted:
        raise MissingLeads("the SCP-ECG file has none of the twelve leads")
    if len({labels[index] for index in wanted}) < len(wanted):
        raise DecodeError("a lead of the SCP-ECG file is there twice")
    at_once = flags >> 3
    if not flags & _ALL_AT_ONCE and 0 < at_once < min(count, len(INDEPENDENT_LEADS)):
        raise MissingLeads(f"the SCP-ECG file says that only {at_once} of its leads were recorded at once")
    spans = {rows[index][:2] for index in wanted}
    if len(spans) > 1:
        raise MissingLeads("the leads of the SCP-ECG file begin or end at different samples: not recorded at once")
    ((start, end),) = spans
    if start < 1 or end < start:
        raise DecodeError(f"the leads of the SCP-ECG file go from sample {start} to {end}")
    if end - start >= MAX_SAMPLES:
        raise UnsafeFile(f"{end - start + 1} samples in a lead are more than any resting ECG has")
    return _Leads(labels=labels, wanted=wanted, start=start, end=end, subtracted=bool(flags & _SUBTRACTED))


def _encoded(section: Section, leads: int) -> _Encoded:
    step, interval, order, bimodal = section.fields("HHBB")
    if not step or not interval:
        raise MissingMetadata(f"section {section.number} of the SCP-ECG file states no step or no sampling interval")
    if order > 2:
        raise DecodeError(f"section {section.number} of the SCP-ECG file has differences of order {order}")
    lengths = section.fields(f"{leads}H", 6)
    start, rows = 6 + 2 * leads, []
    if start + sum(lengths) > len(section.content):
        raise TruncatedFile(f"section {section.number} of the SCP-ECG file is shorter than its leads")
    for length in lengths:
        rows.append(section.content[start : start + length])
        start += length
    return _Encoded(
        step=step,
        interval=interval,
        order=order,
        bimodal=section.number == 6 and bimodal == 1 and section.protocol < _FIRST_WITHOUT_BIMODAL,
        leads=tuple(rows),
    )


def _decimation(encoded: _Encoded, beat: _Encoded) -> int:
    """How many samples one of the rhythm stands for, outside of protected areas; the beat is never decimated."""
    decimation, rest = divmod(encoded.interval, beat.interval)
    if rest or (decimation > 1 and not encoded.bimodal):
        raise DecodeError("the reference beat and the rhythm of the SCP-ECG file differ in their sampling rates")
    return decimation


def _samples(encoded: _Encoded, lead: int, count: int, tables: tuple[Table, ...]) -> Values:
    """(count,) steps of one lead."""
    data = encoded.leads[lead]
    if tables:
        values, bits = scp_huffman.decode(data, count, tables)
        unread = len(data) - bits // 8
    else:
        unread = len(data) - 2 * count
        if unread < 0:
            raise TruncatedFile(f"a lead of the SCP-ECG file has {len(data) // 2} of its {count} samples")
        values = np.frombuffer(data, "<i2", count).astype(np.int64)
    if unread > _UNREAD:
        raise DecodeError(f"a lead of the SCP-ECG file has {unread} bytes more than its {count} samples take")
    return _summed(values, encoded.order)


def _summed(values: Values, order: int) -> Values:
    """Undo differences: the first sample, or of second differences the first two, are stored as they are (5.8.3)."""
    if order == 0 or len(values) < order:
        return values
    if order == 1:
        return np.cumsum(values)
    slopes = np.concatenate([values[1:2] - values[:1], values[2:]]).cumsum()
    return np.concatenate([values[:1], slopes]).cumsum()


def _places(sections: dict[int, Section], leads: _Leads, decimation: int) -> NDArray[np.float64]:
    """(samples,) where each sample lies among those that are stored."""
    if decimation == 1:
        return np.arange(leads.samples, dtype=np.float64)
    kept = scp_beats.protected(_needed(sections, 4), leads.start, leads.samples)
    return scp_beats.places(kept, decimation)


def _signals(
    encoded: _Encoded, leads: _Leads, places: NDArray[np.float64], tables: tuple[Table, ...]
) -> list[NDArray[np.float64]]:
    """Nanovolts of the leads that are wanted, with lines between the samples that are stored."""
    count = int(places[-1]) + 1
    stored = (_samples(encoded, lead, count, tables).astype(np.float64) * encoded.step for lead in leads.wanted)
    if count == leads.samples:
        return list(stored)
    return [np.interp(places, np.arange(count), row).astype(np.float64) for row in stored]


def _beats(section: Section, beat: _Encoded, leads: _Leads, tables: tuple[Table, ...]) -> Iterator[NDArray[np.float64]]:
    """Nanovolts of what was subtracted from each lead that is wanted."""
    length = scp_beats.length(section, beat.interval)
    within = scp_beats.subtracted(section, leads.start, leads.samples, length)
    for lead in leads.wanted:
        yield np.append(_samples(beat, lead, length, tables), 0)[within] * float(beat.step)
