"""SCP-ECG beats: section 4 (EN 1064:2005 clause 5.7), where beats were subtracted and which samples were all kept.

No public file has either: this follows our reading of the standard. Of subtracted beats, ECGDataKit reads our own files
alike. *Bimodal compression* keeps one sample for each few outside of the protected areas, and they are joined by
straight lines: the value of a group of d stands at its sample d // 2, the ends are held, and samples that fill no group
are kept as they are (as ECGToolkit and biosig describe it, of which the latter smooths the lines further); no other
reader was at hand for it. Bimodal files of early versions, without protected areas, are refused.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, UnsafeFile
from models.ecg.formats.scp_huffman import Values
from models.ecg.formats.scp_record import Section

MAX_BEATS = 5000
"""Of 8 min, which `MAX_SAMPLES` lets through at 1000 Hz, and 600 a minute."""

_HEAD = 6  # milliseconds of the reference beat, its fiducial, number of beats
_ZONE, _AREA = "HIII", "II"  # type, first, fiducial, last sample; first and last sample, all counted from 1
_ZONE_SIZE, _AREA_SIZE = struct.calcsize(f"<{_ZONE}"), struct.calcsize(f"<{_AREA}")
_REFERENCE = 0  # type of the beats that the reference beat stands for


def count(section: Section) -> int:
    """Number of beats.

    Raises
    ------
    UnsafeFile
        If a resting ECG has no so many.
    """
    beats = section.fields("HHH")[2]
    if beats > MAX_BEATS:
        raise UnsafeFile(f"{beats} beats are no resting ECG")
    return beats


def protected(section: Section, start: int, samples: int) -> NDArray[np.bool_]:
    """(samples,) whether a sample was kept by itself, from sample `start` on."""
    kept, beats = np.zeros(samples, bool), count(section)
    for index in range(beats):
        first, last = section.fields(_AREA, _HEAD + beats * _ZONE_SIZE + index * _AREA_SIZE)
        kept[max(first - start, 0) : max(last - start + 1, 0)] = True
    return kept


def places(kept: NDArray[np.bool_], decimation: int) -> NDArray[np.float64]:
    """(samples,) where each sample lies among those that are stored."""
    parts, stored = [], 0
    for run in np.split(kept, np.flatnonzero(np.diff(kept)) + 1):
        groups, rest = (0, len(run)) if run[0] else divmod(len(run), decimation)
        grouped = (np.arange(groups * decimation) - decimation // 2) / decimation
        parts += [stored + np.clip(grouped, 0, max(groups - 1, 0)), stored + groups + np.arange(rest)]
        stored += groups + rest
    return np.concatenate(parts)


def length(section: Section, interval: int) -> int:
    """Samples of the reference beat, of so many microseconds; its length is stated in milliseconds."""
    samples = section.fields("HHH")[0] * 1000 // interval
    if not samples:
        raise DecodeError("section 4 of the SCP-ECG file states no length of its reference beat")
    return samples


def subtracted(section: Section, start: int, samples: int, length: int) -> Values:
    """(samples,) which sample of the reference beat was subtracted, aligned by the fiducials; `length` for none.

    Raises
    ------
    DecodeError
        If two beats were subtracted from one sample.
    """
    within = np.full(samples, length)
    fiducial = section.fields("HHH")[1]
    for index in range(count(section)):
        kind, first, centre, last = section.fields(_ZONE, _HEAD + index * _ZONE_SIZE)
        if kind == _REFERENCE:
            zone = np.arange(max(first, start), min(last, start + samples - 1) + 1)
            if (within[zone - start] < length).any():
                raise DecodeError("reference beats overlap in the SCP-ECG file")
            at = zone - centre + fiducial - 1
            within[zone - start] = np.where((at >= 0) & (at < length), at, length)
    return within
