"""SCP-ECG rhythm: sections 3 to 6 (EN 1064:2005 clauses 5.6 to 5.9, annex C) to the samples of each lead.

A lead is stored as differences, Huffman codes or neither. Two further compressions are undone here by our reading of
the standard, as no public file has them: *reference beat subtraction* adds the beat of section 5 to each zone of
section 4; *bimodal compression* stores one sample for each few outside of the protected areas, and they are joined by
straight lines: the value of a group of d stands at its sample d // 2, ends are held, and samples that fill no group
are stored as they are (as ECGToolkit, Apache-2.0, and biosig understand it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, MissingLeads, MissingMetadata, TruncatedFile, UnsafeFile
from models.ecg.formats import scp_huffman
from models.ecg.formats.scp_huffman import Table, Values
from models.ecg.formats.scp_record import Section
from models.ecg.leads import MAX_SAMPLES, lead_name
from models.ecg.recording import INDEPENDENT_LEADS

MAX_LEADS = 64
MAX_BEATS = 5000
"""Of 8 min, which `MAX_SAMPLES` lets through at 1000 Hz, and 600 a minute."""

_SUBTRACTED, _ALL_AT_ONCE = 0x1, 0x4
_FIRST_WITHOUT_BIMODAL = 30  # protocol 3.0 reserves the byte
_UNREAD = 8  # bytes that may be left over behind the last code of a lead
_ZONE = np.dtype([("type", "<u2"), ("start", "<u4"), ("fiducial", "<u4"), ("end", "<u4")])
_AREA = np.dtype([("start", "<u4"), ("end", "<u4")])
_EXTRA = {9: "V7", 10: "V2R", 11: "V3R", 12: "V4R", 13: "V5R", 14: "V6R", 15: "V7R", 16: "X", 17: "Y", 18: "Z"}
_EXTRA |= {66: "V8", 67: "V9", 68: "V8R", 69: "V9R"}


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


def label_of(code: int) -> str:
    """Name of a lead beyond the twelve, else its code (table of clause 5.6), which `lead_name` knows."""
    return _EXTRA.get(code, f"5.6.3-9-{code}")


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
    decimation, rest = divmod(encoded.interval, beat.interval)
    if rest or (decimation > 1 and not encoded.bimodal):
        raise DecodeError("the reference beat and the rhythm of the SCP-ECG file differ in their sampling rates")
    places = _places(_protected(sections, leads, decimation), decimation)
    stored = [_samples(encoded, lead, int(places[-1]) + 1, tables) for lead in leads.wanted]
    signals = [encoded.step * (row.astype(np.float64) if decimation == 1 else _spread(row, places)) for row in stored]
    if leads.subtracted:
        signals = _with_beats(signals, sections, leads, beat, tables)
    everything = dict(zip(leads.wanted, signals, strict=True))
    none = np.empty(0)
    return Rhythm(
        labels=leads.labels,
        nanovolts=tuple(everything.get(index, none) for index in range(len(leads.labels))),
        rate=1e6 / beat.interval,
        decimation=decimation,
    )


def _needed(sections: dict[int, Section], number: int) -> Section:
    if number not in sections:
        raise DecodeError(f"the SCP-ECG file has no section {number}, which its rhythm needs")
    return sections[number]


def _leads(section: Section) -> _Leads:
    count, flags = section.fields("BB")
    if count > MAX_LEADS:
        raise UnsafeFile(f"{count} leads are no ECG")
    rows = [section.fields("IIB", 2 + 9 * index) for index in range(count)]
    labels = tuple(label_of(code) for *_, code in rows)
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


def _zones(sections: dict[int, Section]) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Subtraction zones and protected areas of each beat; the latter may be left out."""
    section = _needed(sections, 4)
    beats = section.fields("HHH")[2]
    if beats > MAX_BEATS:
        raise UnsafeFile(f"{beats} beats are no resting ECG")
    zones = section.content[6 : 6 + beats * _ZONE.itemsize]
    areas = section.content[6 + len(zones) : 6 + len(zones) + beats * _AREA.itemsize]
    if len(zones) < beats * _ZONE.itemsize:
        raise DecodeError(f"section 4 of the SCP-ECG file is too short for {beats} beats")
    whole = len(areas) == beats * _AREA.itemsize
    return np.frombuffer(zones, _ZONE), np.frombuffer(areas if whole else b"", _AREA)


def _protected(sections: dict[int, Section], leads: _Leads, decimation: int) -> NDArray[np.bool_]:
    """(samples,) whether a sample is stored by itself."""
    if decimation == 1:
        return np.ones(leads.samples, bool)
    protected = np.zeros(leads.samples, bool)
    for start, end in _zones(sections)[1].tolist():
        protected[max(start - leads.start, 0) : max(end - leads.start + 1, 0)] = True
    return protected


def _places(protected: NDArray[np.bool_], decimation: int) -> NDArray[np.float64]:
    """(samples,) where each sample lies among those that are stored."""
    edges = np.flatnonzero(np.diff(protected)) + 1
    places, stored = [], 0
    for run in np.split(protected, edges):
        groups, rest = (0, len(run)) if run[0] else divmod(len(run), decimation)
        grouped = (np.arange(groups * decimation) - decimation // 2) / decimation
        places += [stored + np.clip(grouped, 0, max(groups - 1, 0)), stored + groups + np.arange(rest)]
        stored += groups + rest
    return np.concatenate(places)


def _spread(stored: Values, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lines between the samples that are stored."""
    return np.asarray(np.interp(places, np.arange(len(stored)), stored), np.float64)


def _with_beats(
    signals: list[NDArray[np.float64]],
    sections: dict[int, Section],
    leads: _Leads,
    beat: _Encoded,
    tables: tuple[Table, ...],
) -> list[NDArray[np.float64]]:
    """Add the reference beat where it was subtracted: from beats of its own type, aligned by their fiducials."""
    length_ms, fiducial, _ = _needed(sections, 4).fields("HHH")
    samples = length_ms * 1000 // beat.interval
    if not samples:
        raise DecodeError("section 4 of the SCP-ECG file states no length of its reference beat")
    within = np.full(leads.samples, samples)  # index into the beat, behind which stands a zero
    for kind, start, centre, end in _zones(sections)[0].tolist():
        if kind == 0:
            zone = np.arange(max(start, leads.start), min(end, leads.end) + 1)
            index = zone - centre + fiducial - 1
            if (within[zone - leads.start] < samples).any():
                raise DecodeError("reference beats overlap in the SCP-ECG file")
            within[zone - leads.start] = np.where((index >= 0) & (index < samples), index, samples)
    beats = (np.append(_samples(beat, lead, samples, tables), 0) * float(beat.step) for lead in leads.wanted)
    return [signal + whole[within] for signal, whole in zip(signals, beats, strict=True)]
