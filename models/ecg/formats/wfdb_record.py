"""WFDB (PhysioNet): a record of one header and its signal files, sent as one zip."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import ChecksumMismatch, DecodeError, IncompleteRecording, TruncatedFile, UnsafeFile
from models.ecg.formats.wfdb_header import Header, Signal, is_header, parse
from models.ecg.formats.wfdb_samples import DIFFERENCES, STORAGE, Samples
from models.ecg.leads import MAX_SAMPLES, arrange
from models.ecg.patient import age_in_years, sex_of
from models.ecg.recording import Recording
from models.ecg.stated import Stated

matches = is_header


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
    rate = stated.agreed_rate(header.rate)
    scales = [stated.agreed_unit(signal.unit) / signal.gain for signal in header.signals]
    labels = stated.agreed_leads([signal.description for signal in header.signals], len(header.signals))
    channels = [
        (label, _millivolts(samples, signal, scale))
        for label, samples, signal, scale in zip(
            labels, read_signals(header, files), header.signals, scales, strict=True
        )
    ]
    signal, derived, remarks = arrange(channels)
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=age_in_years(header.comments.get("age")),
        sex=sex_of(header.comments.get("sex")),
        acquired_at=header.started_at,
        source_format="WFDB",
        derived=derived,
        remarks=remarks,
    )


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
    for name, group in groupby(header.signals, key=lambda signal: signal.file):
        if name not in files:
            raise IncompleteRecording(f"signal file {name[:80]!r} is missing: send header and signal file in one zip")
        signals += _unpack(files[name], tuple(group), header.samples)
    if len({len(samples) for samples in signals}) != 1:
        raise DecodeError("the signal files of the WFDB record differ in length")
    for signal, samples in zip(header.signals, signals, strict=True):
        _check(signal, samples)
    return signals


def _unpack(content: bytes, group: tuple[Signal, ...], announced: int | None) -> list[Samples]:
    """Samples of the signals that share one file, stored in turn."""
    first = group[0]
    if any((signal.storage, signal.offset) != (first.storage, first.offset) for signal in group):
        raise DecodeError(f"the signals in {first.file[:80]!r} differ in storage format")
    storage = STORAGE[first.storage]
    stored = storage.samples_in(max(len(content) - first.offset, 0)) // len(group)
    length = announced or stored
    if length > MAX_SAMPLES:
        raise UnsafeFile(f"{first.file[:80]!r} holds {length} samples of each signal, more than any resting ECG")
    if length == 0 or stored < length:
        raise TruncatedFile(f"{first.file[:80]!r} holds {stored} samples of each signal, the header announces {length}")
    end = first.offset + storage.bytes_of(length * len(group))
    flat = storage.samples(content[first.offset : end])[: length * len(group)]
    columns = flat.reshape(length, len(group)).T
    if first.storage != DIFFERENCES:
        return list(columns)
    return [np.cumsum(column) + (signal.initial or 0) for signal, column in zip(group, columns, strict=True)]


def _check(signal: Signal, samples: Samples) -> None:
    """Compare with the initial value and the 16-bit checksum, which writers give signed or unsigned."""
    starts_with_difference = signal.storage == DIFFERENCES
    if signal.initial is not None and not starts_with_difference and samples[0] != signal.initial:
        raise ChecksumMismatch(
            f"{signal.description[:40]}: first sample {samples[0]}, the header says {signal.initial}"
        )
    if signal.checksum is not None and (int(samples.sum()) - signal.checksum) % 65536:
        raise ChecksumMismatch(f"{signal.description[:40]}: the 16-bit sum of the samples is not {signal.checksum}")


def _millivolts(samples: Samples, signal: Signal, scale: float) -> NDArray[np.float64]:
    """(sample − baseline) / gain in millivolts; the value that means "missing" becomes NaN."""
    voltage = (samples - signal.baseline).astype(np.float64) * scale
    voltage[samples == STORAGE[signal.storage].missing] = np.nan
    return voltage
