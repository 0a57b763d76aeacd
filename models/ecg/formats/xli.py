"""XLI: Philips' compression of ECG samples: second differences, split into bytes, packed by LZW with codes of 10 bits.

No specification is published; the layout is that of sierra-ecg-tools (MIT), whose readers agree on it, and of real
files. Lead after lead::

    uint32  bytes of the packed samples        int16  1                int16  first residual
    codes of 10 bits, most significant bit first; the last one is 1023; zeros fill the byte, or one byte more

Unpacked, all high bytes stand before all low bytes; together they are a first and a second sample, and then one
residual for each further sample, delayed by one: sample i is 2·s[i−1] − s[i−2] − (w[i−1] − 64).
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile
from models.ecg.leads import MAX_LEADS

_HEADER = struct.Struct("<Ihh")
_CODE_BITS = 10
_FIRST_FREE, _END = 256, 1023
_RESIDUAL_ZERO = 64
_SINGLES = [bytes([code]) for code in range(_FIRST_FREE)]


def unpack(data: bytes, leads: int, samples: int) -> NDArray[np.float64]:
    """Samples of the first leads, in steps.

    Parameters
    ----------
    data : bytes
        Lead after lead; devices pack their unused channels, too, which are left out.
    leads, samples : int
        How many leads, and how many samples in each, at least 2; nothing is unpacked beyond them.

    Returns
    -------
    ndarray, (leads, samples)

    Raises
    ------
    TruncatedFile
        If there are fewer leads, or a lead ends before its samples.
    DecodeError
        If a lead is damaged: unknown codes, more samples, or samples beyond 16 bits.
    """
    packed = _leads(data)
    if len(packed) < leads:
        raise TruncatedFile(f"the XLI data holds {len(packed)} leads, not {leads}")
    return np.stack([_samples(content, residual, samples) for content, residual in packed[:leads]])


def _leads(data: bytes) -> list[tuple[bytes, int]]:
    """Packed samples and first residual of each lead."""
    leads: list[tuple[bytes, int]] = []
    position = 0
    while position < len(data):
        if position + _HEADER.size > len(data):
            raise TruncatedFile(f"the XLI data ends in the header of its lead {len(leads) + 1}")
        size, version, residual = _HEADER.unpack_from(data, position)
        position += _HEADER.size + size
        if position > len(data):
            raise TruncatedFile(f"the XLI data ends in its lead {len(leads) + 1}")
        if version != 1:
            raise DecodeError(f"lead {len(leads) + 1} of the XLI data is damaged, or of a version {version}")
        leads.append((data[position - size : position], residual))
        if len(leads) > MAX_LEADS:
            raise UnsafeFile(f"the XLI data has more than {MAX_LEADS} leads, which is no ECG")
    return leads


def _samples(packed: bytes, residual: int, samples: int) -> NDArray[np.float64]:
    if len(packed) > 2 * samples * _CODE_BITS // 8 + 3:  # each code is one byte at least
        raise DecodeError(f"a lead of the XLI data holds more than its {samples} samples")
    steps = _integrated(_words(_bytes(packed, 2 * samples)), residual)
    if np.abs(steps).max() > 2**15:
        raise DecodeError("the XLI data is damaged: its differences lead beyond 16 bits")
    return steps.astype(np.float64)


def _codes(packed: bytes) -> NDArray[np.int64]:
    """The codes before the end, of which five bytes hold four."""
    padded = np.frombuffer(packed + bytes(-len(packed) % 5), np.uint8).astype(np.int64).reshape(-1, 5)
    a, b, c, d, e = padded.T
    four = (a << 2 | b >> 6, (b & 63) << 4 | c >> 4, (c & 15) << 6 | d >> 2, (d & 3) << 8 | e)
    codes = np.stack(four, axis=1).ravel()
    ends = np.flatnonzero(codes == _END)
    if ends.size == 0:
        raise TruncatedFile("a lead of the XLI data has no end")
    if codes[ends[0] + 1 :].any():
        raise DecodeError("a lead of the XLI data is damaged: there is something behind its end")
    return codes[: ends[0]]


def _bytes(packed: bytes, expected: int) -> NDArray[np.uint8]:
    """LZW (Welch, Computer 1984;17(6):8): each code names a string; each adds the string before and its own start.

    The table is full after 767 codes, from where on the strings are only looked up.
    """
    codes = _codes(packed)
    growing, rest = codes[: _END - _FIRST_FREE + 1].tolist(), codes[_END - _FIRST_FREE + 1 :]
    table, strings = _SINGLES.copy(), []
    previous = b""
    for code in growing:
        if code > len(table) - (not previous):
            raise DecodeError(f"the XLI data is damaged: code {code} comes before it is defined")
        string = table[code] if code < len(table) else previous + previous[:1]
        if previous and len(table) < _END:
            table.append(previous + string[:1])
        strings.append(string)
        previous = string
    lengths = np.fromiter(map(len, table), np.int64, len(table))
    unpacked = sum(map(len, strings)) + int(lengths[rest].sum())
    if unpacked != expected:
        wrong = TruncatedFile if unpacked < expected else DecodeError
        raise wrong(f"a lead of the XLI data has {unpacked} bytes, not {expected}")
    strings += map(table.__getitem__, rest.tolist())
    return np.frombuffer(b"".join(strings), np.uint8)


def _words(content: NDArray[np.uint8]) -> NDArray[np.int64]:
    """16-bit words, whose high bytes all stand before their low bytes."""
    high, low = content.reshape(2, -1).astype(np.uint16)
    return (high << 8 | low).view(np.int16).astype(np.int64)


def _integrated(words: NDArray[np.int64], residual: int) -> NDArray[np.int64]:
    """Samples from two samples and the residuals of their second differences."""
    slopes = np.concatenate([words[1:2] - words[:1], [-residual], _RESIDUAL_ZERO - words[2:-1]])[: len(words) - 1]
    return np.cumsum(np.concatenate([words[:1], np.cumsum(slopes)]))
