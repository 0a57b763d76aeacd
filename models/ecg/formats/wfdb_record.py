"""WFDB (PhysioNet): a record of one header and its signal files, sent as one zip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import ChecksumMismatch, DecodeError, IncompleteRecording, TruncatedFile, UnsafeFile
from models.ecg.formats.wfdb_header import Header, Signal, is_header, parse
from models.ecg.formats.wfdb_samples import DIFFERENCES, STORAGE, Samples
from models.ecg.leads import MAX_SAMPLES, arrange, lead_name
from models.ecg.recording import Recording, Remark
from models.ecg.stated import Stated

matches = is_header

MAX_STORED = 24 * MAX_SAMPLES
"""Samples of all signals in one file."""


def read(data: bytes, stated: Stated) -> Recording:
    """Refuse a header without its signal file: there are no samples in it.

    Raises
    ------
    IncompleteRecording
        Always, unless the header itself is broken.
    """
    return read_files({"header": data}, stated)


def read_files(files: Mapping[str, bytes], stated: Stated) -> Recording:
    """Read the one record among the files of an archive; annotations and other files are left alone.

    Raises
    ------
    EcgError
        As `read_signals`; and if there are several records, or not the twelve leads.
    """
    headers = [content for content in files.values() if is_header(content)]
    if len(headers) != 1:
        raise DecodeError(f"the archive holds {len(headers)} WFDB headers, send one record at a time")
    header = parse(headers[0])
    labels = stated.agreed_leads(_descriptions(header), len(header.signals))
    scales = [_scale(signal, label, stated) for signal, label in zip(header.signals, labels, strict=True)]
    rate = stated.agreed_rate(_rate(header, labels))
    millivolts = map(_millivolts, read_signals(header, files), header.signals, scales)
    channels = zip(labels, _aligned(header, millivolts), strict=True)
    signal, derived, remarks = arrange(channels)
    comments = header.comments
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=comments.age,
        sex=comments.sex,
        height=comments.height,
        weight=comments.weight,
        acquired_at=header.started_at,
        device=comments.device,
        paced=comments.paced,
        statements=comments.statements,
        source_format="WFDB",
        derived=derived,
        remarks=remarks + _remarks(header),
    )


def parts_of(files: Mapping[str, bytes]) -> set[str]:
    """The headers, the signal files that they name, and annotation files: those have a record's name before the dot."""
    headers = {name: content for name, content in files.items() if is_header(content)}
    signals = {signal.file for content in headers.values() for signal in parse(content).signals}
    records = {PurePosixPath(name).stem for name in headers}
    return {*headers, *signals, *(name for name in files if PurePosixPath(name).stem in records)}


def _scale(signal: Signal, label: str, stated: Stated) -> float:
    """Millivolts in one step; a signal that is no lead may have a unit that is no voltage, and is left out."""
    return stated.agreed_unit(signal.unit) / signal.gain if lead_name(label) else 1.0


def _descriptions(header: Header) -> list[str] | None:
    """What the signals are; None if no signal is described."""
    found = [signal.description for signal in header.signals]
    return found if any(found) else None


def _rate(header: Header, labels: Sequence[str]) -> float | None:
    """Of the leads: their samples in a frame, times the frames in a second; the extra signals may have another."""
    frames = {signal.frame for signal in header.signals}
    if len(frames) > 1:
        frames = {signal.frame for signal, label in zip(header.signals, labels, strict=True) if lead_name(label)}
    if len(frames) > 1:
        raise DecodeError("the leads of the WFDB record are sampled at different rates: export them at one")
    return header.rate and header.rate * max(frames, default=1)


def _aligned(header: Header, rows: Iterable[NDArray[np.float64]]) -> Iterator[NDArray[np.float64]]:
    """Each signal from its skew on, as far as all of them go."""
    most = max(signal.skew for signal in header.signals)
    for signal, row in zip(header.signals, rows, strict=True):
        yield row[signal.skew * signal.frame : len(row) - (most - signal.skew) * signal.frame]


def _remarks(header: Header) -> tuple[Remark, ...]:
    most = max(signal.skew for signal in header.signals)
    if not most:
        return ()
    return (Remark(code="channel-skew", message=f"signals were shifted by up to {most} frames, as the header says"),)


def read_signals(header: Header, files: Mapping[str, bytes]) -> list[Samples]:
    """Integer samples of every signal, checked against the initial values and checksums of the header.

    Parameters
    ----------
    files : mapping from base names to bytes
        Only these are looked into; no name from a header is ever opened.

    Raises
    ------
    IncompleteRecording
        If a signal file is not there.
    TruncatedFile
        If one is shorter than announced.
    ChecksumMismatch
        If the samples are not those that the header was written for.
    """
    signals: list[Samples] = []
    names = [name for name, _ in groupby(header.signals, key=lambda signal: signal.file)]
    if len(set(names)) != len(names):
        raise DecodeError("signals of one file do not follow each other in the WFDB header")
    for name, group in groupby(header.signals, key=lambda signal: signal.file):
        if name not in files:
            raise IncompleteRecording(f"signal file {name[:80]!r} is missing: send header and signal file in one zip")
        signals += _unpack(files[name], tuple(group), header.samples)
    frames = {len(samples) // signal.frame for signal, samples in zip(header.signals, signals, strict=True)}
    if len(frames) != 1:
        raise DecodeError("the signal files of the WFDB record differ in length")
    if max(signal.skew for signal in header.signals) >= max(frames):
        raise DecodeError("a WFDB signal is skewed by more than its length")
    for signal, samples in zip(header.signals, signals, strict=True):
        _check(signal, samples)
    return signals


def _unpack(content: bytes, group: tuple[Signal, ...], announced: int | None) -> list[Samples]:
    """Samples of the signals that share one file, stored frame by frame."""
    first, frame = group[0], sum(signal.frame for signal in group)
    if any((signal.storage, signal.offset) != (first.storage, first.offset) for signal in group):
        raise DecodeError(f"the signals in {first.file[:80]!r} differ in storage format")
    storage = STORAGE[first.storage]
    stored, rest = divmod(storage.samples_in(max(len(content) - first.offset, 0)), frame)
    length = announced or stored
    if length * max(signal.frame for signal in group) > MAX_SAMPLES or length * frame > MAX_STORED:
        raise UnsafeFile(f"{first.file[:80]!r} holds {length} frames of {frame} samples, more than any resting ECG")
    if length == 0 or stored < length or (announced is None and rest > len(storage.group) - 2):
        raise TruncatedFile(f"{first.file[:80]!r} holds {stored} samples of each signal, the header announces {length}")
    end = first.offset + storage.bytes_of(length * frame)
    if len(content) - end >= storage.group[-1] and any(signal.checksum is None for signal in group):
        raise DecodeError(f"{first.file[:80]!r} holds more than the {length} samples announced, and no checksum")
    frames = storage.samples(content[first.offset : end])[: length * frame].reshape(length, frame)
    return [_column(frames, group, number) for number in range(len(group))]


def _column(frames: Samples, group: tuple[Signal, ...], number: int) -> Samples:
    """All samples of one signal of a group."""
    signal, start = group[number], sum(before.frame for before in group[:number])
    stored = frames[:, start : start + signal.frame].ravel()
    return np.cumsum(stored, dtype=np.int64) + (signal.initial or 0) if signal.storage == DIFFERENCES else stored


def _check(signal: Signal, samples: Samples) -> None:
    """Compare with the initial value and the 16-bit checksum, which writers give signed or unsigned."""
    starts_with_difference = signal.storage == DIFFERENCES
    if signal.initial is not None and not starts_with_difference and samples[0] != signal.initial:
        raise ChecksumMismatch(
            f"{signal.description[:40]}: first sample {samples[0]}, the header says {signal.initial}"
        )
    if signal.checksum is not None and (int(samples.sum(dtype=np.int64)) - signal.checksum) % 65536:
        raise ChecksumMismatch(f"{signal.description[:40]}: the 16-bit sum of the samples is not {signal.checksum}")


def _millivolts(samples: Samples, signal: Signal, scale: float) -> NDArray[np.float64]:
    """(sample − baseline) / gain in millivolts; the value that means "missing" becomes NaN."""
    voltage = samples.astype(np.float64)
    voltage -= signal.baseline
    voltage *= scale
    missing = STORAGE[signal.storage].missing
    if missing is not None and samples.min() == missing:
        voltage[samples == missing] = np.nan
    return voltage
