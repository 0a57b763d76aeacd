"""EDF, EDF+ and BDF: signals in records of equal length, 16 or 24 bits a sample (`edf_header` names the standards).

The annotations of EDF+ are what somebody wrote about the ECG. The format has no checksum: a changed sample is read as
it is. Real BDF+ and discontinuous files of an ECG were not found; their reading is tested on constructed files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, MissingMetadata, MissingSamples, TruncatedFile, UnsafeFile
from models.ecg.formats.edf_header import ANNOTATIONS, Header, Signal, day_of, is_edf, parse
from models.ecg.leads import MAX_SAMPLES, arrange, lead_name
from models.ecg.patient import age_between, age_in_years, height_of, sex_of, weight_of
from models.ecg.recording import Filters, Recording
from models.ecg.stated import Stated
from models.ecg.statements import kept, paced

MAX_ANNOTATIONS = 4 * 2**20
"""Bytes of all annotations; those of a night of sleep take less."""

_TEXT = b"\x14"  # stands before and behind each text of an annotation (EDF+ 2.2.2)
_ONSET = re.compile(rb"([-+]\d{1,9}(?:\.\d{0,9})?)(?:\x15[\d.]*)?\x14")
_FILTER = re.compile(r"\b(HP|LP|N)\s*:\s*(\d{1,5}(?:[.,]\d{1,5})?)\s*(?:Hz)?(?![\w.])", re.IGNORECASE)
_BODY = re.compile(r"\b(age|height|weight)=(\S{1,20})", re.IGNORECASE)

matches = is_edf


def read(data: bytes, stated: Stated) -> Recording:
    """Read the signals that are leads; others, whatever their rate, are left out.

    Raises
    ------
    TruncatedFile
        If the file is shorter than its header says, or ends within a record.
    MissingSamples
        If there are gaps between the records (EDF+D).
    EcgError
        If the header is broken, or the file does not hold the twelve leads at one rate and in units of voltage.
    """
    header = parse(data)
    spans = _spans(header)
    records = _records(data, header)
    notes = [records[:, span] for signal, span in spans if signal.label in ANNOTATIONS]
    channels = [(signal, span) for signal, span in spans if signal.label not in ANNOTATIONS]
    labels = stated.agreed_leads([signal.label for signal, _ in channels], len(channels))
    named = [
        (signal, span if lead_name(label) else None) for (signal, span), label in zip(channels, labels, strict=True)
    ]
    leads = [signal for signal, span in named if span]
    rate = stated.agreed_rate(_rate(header, leads, len(records)))
    if header.kind.endswith("+D"):
        _check_onsets([_onset(row.tobytes()) for row in notes[0]] if notes else [], header.duration, 1 / rate)
    signal, derived, remarks = arrange(_leads(records, named, labels, stated))
    acquired_at = _acquired_at(header, notes)
    written = kept(_texts(notes))
    body = {name.lower(): value for name, value in _BODY.findall(header.patient.get("more", ""))}
    return Recording(
        signal=signal,
        sampling_rate=rate,
        age=_age(header, acquired_at, body),
        sex=sex_of(header.patient.get("sex")),
        height=height_of(body.get("height")),
        weight=weight_of(body.get("weight")),
        patient_id=header.patient.get("code"),
        acquired_at=acquired_at,
        device=header.recording.get("device", "").replace("_", " ").strip() or None,
        filters=_filters(leads),
        paced=paced(written),
        statements=written,
        source_format="BDF" if header.bytes_per_sample == 3 else "EDF",
        derived=derived,
        remarks=remarks,
    )


def _spans(header: Header) -> list[tuple[Signal, slice]]:
    """Each signal with the bytes that it has in every record."""
    if not all(signal.samples > 0 for signal in header.signals):
        raise DecodeError("a signal of the EDF file has no samples in a record")
    sizes = [header.bytes_per_sample * signal.samples for signal in header.signals]
    return [
        (signal, slice(end - size, end))
        for signal, size, end in zip(header.signals, sizes, accumulate(sizes), strict=True)
    ]


def _records(data: bytes, header: Header) -> NDArray[np.uint8]:
    """(records, bytes) as many as the header announces, no more and no less; if it leaves them open, whole ones."""
    size = header.bytes_per_sample * sum(signal.samples for signal in header.signals)
    present, rest = divmod(len(data) - header.size, size)
    announced = present if header.records is None else header.records
    if announced > present or (rest and header.records is None):
        raise TruncatedFile(f"the EDF file ends within record {present + 1} of {header.records or 'an open number'}")
    if rest or announced < present or announced <= 0:
        raise DecodeError(f"the EDF header announces {announced} records, the file holds {present} and {rest} bytes")
    return np.frombuffer(data, np.uint8, offset=header.size).reshape(present, size)


def _rate(header: Header, leads: list[Signal], records: int) -> float | None:
    """Hertz, the same for all leads; None where the header gives a record no duration."""
    per_record = {signal.samples for signal in leads}
    if len(per_record) > 1:
        raise DecodeError("the leads of the EDF file have different sampling rates: export them at one")
    if any(samples * records > MAX_SAMPLES for samples in per_record):
        raise UnsafeFile(f"the EDF file has more than {MAX_SAMPLES} samples a lead, more than any resting ECG")
    if header.duration < 0:
        raise DecodeError(f"a record of {header.duration:g} s is impossible")
    if not (per_record and header.duration):
        return None
    return float(per_record.pop() / Fraction(repr(header.duration)))  # 4999 in 9.998 s are 500 Hz to the last bit


def _leads(
    records: NDArray[np.uint8], channels: list[tuple[Signal, slice | None]], labels: tuple[str, ...], stated: Stated
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Millivolts of each lead; of other channels, which have no span, only their label."""
    for (signal, span), label in zip(channels, labels, strict=True):
        yield label, _millivolts(records[:, span], signal, stated) if span else np.empty(0)


def _millivolts(raw: NDArray[np.uint8], signal: Signal, stated: Stated) -> NDArray[np.float64]:
    (low, high), (lowest, highest) = signal.physical, signal.digital
    if low == high or lowest >= highest:
        raise MissingMetadata(f"signal {signal.label!r} of the EDF file has no range: {low} to {high}")
    unit = stated.agreed_unit(signal.unit or None)
    gain = (high - low) / (highest - lowest)
    return (gain * unit) * (_integers(raw, raw.shape[1] // signal.samples) - (lowest - low / gain))


def _integers(raw: NDArray[np.uint8], width: int) -> NDArray[np.float64]:
    """Signed little-endian numbers of so many bytes, all records behind each other."""
    if width == 2:
        return np.ascontiguousarray(raw).view("<i2").ravel().astype(np.float64)
    high = np.zeros((raw.size // 3, 4), np.uint8)
    high[:, 1:] = raw.reshape(-1, 3)
    return (high.view("<i4").ravel() >> 8).astype(np.float64)


def _onset(note: bytes) -> float | None:
    """Seconds from the start of the file to that of a record, from the first annotation of the record."""
    found = _ONSET.match(note)
    return float(found[1]) if found else None


def _check_onsets(onsets: list[float | None], duration: float, interval: float) -> None:
    """Refuse gaps: each record starts where the one before it ends, within half an interval between samples."""
    if not onsets or None in onsets:
        raise MissingSamples("the EDF file is discontinuous (EDF+D), and does not say when its records start")
    steps = np.diff(np.array(onsets, dtype=np.float64))
    late = np.flatnonzero(np.abs(steps - duration) > interval / 2)
    if len(late):
        raise MissingSamples(f"the EDF file has {len(late)} gaps, the first behind record {late[0] + 1} (EDF+D)")


def _texts(notes: list[NDArray[np.uint8]]) -> Iterator[str]:
    """What is written in the annotations, without the empty ones that only keep the time."""
    if sum(note.size for note in notes) > MAX_ANNOTATIONS:
        raise UnsafeFile(f"the EDF file has more than {MAX_ANNOTATIONS >> 20} MB of annotations")
    for note in notes:
        for annotation in re.findall(rb"[^\0]+", note.tobytes()):
            if found := _ONSET.match(annotation):
                yield from (text.decode(errors="replace") for text in annotation[found.end() :].split(_TEXT))


def _acquired_at(header: Header, notes: list[NDArray[np.uint8]]) -> datetime | None:
    """The start in the header, and the part of a second that the first annotation adds (EDF+ 2.2.4)."""
    onset = (_onset(notes[0][0].tobytes()) if notes else None) or 0.0
    try:
        return header.start and header.start + timedelta(seconds=onset)
    except OverflowError:
        return None


def _age(header: Header, then: datetime | None, body: dict[str, str]) -> float | None:
    """Between birth and recording, else as an additional subfield says."""
    birth = day_of(header.patient.get("birth"))
    known = age_between(birth, then.date()) if birth and then else None
    return age_in_years(body.get("age")) if known is None else known


def _filters(leads: list[Signal]) -> Filters:
    """What is said of all leads, as in ``HP:0.05Hz LP:150Hz N:50Hz`` (EDF+ 2.1.3.4); 0 and DC are no filter."""
    said = {signal.prefilter for signal in leads}
    found = dict(_FILTER.findall(said.pop().upper())) if len(said) == 1 else {}
    high_pass, low_pass, notch = (float(found.get(key, "0").replace(",", ".")) or None for key in ("HP", "LP", "N"))
    return Filters(high_pass=high_pass, low_pass=low_pass, notch=notch)
