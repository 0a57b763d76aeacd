"""SCP-ECG Huffman codes (EN 1064:2005 clause 5.5 and annex C): section 2 to tables, bits of a lead to whole numbers.

A stream is read without a loop over its samples. What code stands at a bit is looked up for every bit at once, which
says where the next code begins; the chain of beginnings from the first bit on is then followed by doubling: 64 steps
at a time, and the beginnings between from the jumps of 32, 16, … 1. A table that a code switches to is one more copy
of the bits, so that switching is a step like any other.

No public file has tables of its own or switches between them: these follow our reading of the standard, by which the
bits behind a prefix are a signed number that is added to the base value; ECGDataKit reads our own such files alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile

DEFAULT = 19999
"""The number of tables by which section 2 means the default table."""

MAX_TABLES = 32
MAX_STATES = 2**20 + 2**10
"""Bits times tables: twice the 65,535 bytes that one lead may have, and a hundred times those of 10 s."""

_JUMPS = 6
_CODE = np.dtype([("prefix", "u1"), ("total", "u1"), ("data", "u1"), ("value", "<i2"), ("bits", "<u4")])
_LONGEST_NUMBER, _SHORT = 16, 16
_NO_CODE = -1

Values = NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """Codes in the order of their bits.

    Attributes
    ----------
    begins : (codes,) uint32
        The prefix, its first bit the highest of 32.
    prefix, total : (codes,) int64
        Bits of the prefix, and with the number behind it.
    value : (codes,) int64
        What the number is added to; or, of a code that switches, the index of the next table.
    switches : (codes,) bool
    """

    begins: NDArray[np.uint32]
    prefix: Values
    total: Values
    value: Values
    switches: NDArray[np.bool_]

    def find(self, heads: NDArray[np.uint32]) -> NDArray[np.intp]:
        """Index of the code that each 32 bits begin with; −1 where there is none."""
        found = np.maximum(np.searchsorted(self.begins, heads, side="right") - 1, 0)
        ends = self.begins[found].astype(np.int64) + (1 << (32 - self.prefix[found]))
        return np.where((heads >= self.begins[found]) & (heads < ends), found, _NO_CODE)

    def at(self, windows: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Index of the code at each window of 64 bits, by a table of all prefixes where they are short."""
        longest = int(self.prefix.max())
        if longest > _SHORT:
            return self.find((windows >> np.uint64(32)).astype(np.uint32))
        return np.take(self._by_prefix, windows >> np.uint64(64 - longest))

    @cached_property
    def _by_prefix(self) -> NDArray[np.intp]:
        """Index of the code that every number of as many bits as the longest prefix begins with."""
        longest = int(self.prefix.max())
        return self.find(np.arange(1 << longest, dtype=np.uint32) << np.uint32(32 - longest))


def tables(content: bytes) -> tuple[Table, ...]:
    """The tables of section 2.

    Raises
    ------
    DecodeError
        If there is none, or two codes begin alike, or a code is longer than a sample needs.
    UnsafeFile
        If there are more than any device has.
    """
    count = int.from_bytes(content[:2], "little")
    if count == DEFAULT:
        return (_default(),)
    if not 0 < count <= MAX_TABLES:
        wrong = UnsafeFile if count else DecodeError
        raise wrong(f"section 2 of the SCP-ECG file has {count} Huffman tables")
    found, position = [], 2
    for number in range(1, count + 1):
        codes = int.from_bytes(content[position : position + 2], "little")
        end = position + 2 + codes * _CODE.itemsize
        if not codes or end > len(content):
            raise DecodeError(f"section 2 of the SCP-ECG file ends within Huffman table {number}")
        found.append(_table(np.frombuffer(content, _CODE, codes, position + 2), count))
        position = end
    return tuple(found)


def _table(codes: NDArray[np.void], count: int) -> Table:
    """A table from its code structures (clause 5.5.3); the first bit of a prefix is the lowest that is stored."""
    prefix, total = codes["prefix"].astype(np.int64), codes["total"].astype(np.int64)
    if ((prefix < 1) | (prefix > 32) | (total < prefix) | (total > prefix + _LONGEST_NUMBER)).any():
        raise DecodeError("a Huffman code of the SCP-ECG file has an impossible length")
    switches, value = codes["data"] == 0, codes["value"].astype(np.int64)
    if (switches & ((value < 1) | (value > count))).any():
        raise DecodeError("a Huffman code of the SCP-ECG file switches to a table that is not there")
    begins = _reversed(codes["bits"]) >> (32 - prefix) << (32 - prefix)
    order = np.argsort(begins, kind="stable")
    if (np.diff(begins[order]) < 1 << (32 - prefix[order][:-1])).any():
        raise DecodeError("two Huffman codes of the SCP-ECG file begin with the same bits")
    return Table(
        begins=begins[order].astype(np.uint32),
        prefix=prefix[order],
        total=np.where(switches, prefix, total)[order],
        value=np.where(switches, value - 1, value)[order],
        switches=switches[order],
    )


def _reversed(words: NDArray[np.uint32]) -> Values:
    """32 bits in the opposite order."""
    bits = np.unpackbits(words.astype("<u4").view(np.uint8).reshape(-1, 4), axis=1, bitorder="little")
    return np.packbits(bits, axis=1).view(">u4").ravel().astype(np.int64)


@cache
def _default() -> Table:
    """0; ±1 to ±8 as that many ones, a zero and the sign; ten bits before numbers of 8 and 16 bits (annex C)."""
    rows = [(1, 1, 1, 0, 0b0)]
    for size in range(1, 9):
        ones = (1 << size) - 1
        rows += [(size + 2, size + 2, 1, size, ones), (size + 2, size + 2, 1, -size, ones | 1 << (size + 1))]
    rows += [(10, 18, 1, 0, 0b0111111111), (10, 26, 1, 0, 0b1111111111)]
    return _table(np.array(rows, _CODE), 1)


def decode(data: bytes, count: int, tables: tuple[Table, ...]) -> tuple[Values, int]:
    """So many numbers from the bits of a lead, the highest bit of each byte first; and the bits that they took.

    Raises
    ------
    TruncatedFile
        If the bits end before.
    DecodeError
        If there is no code for some bits.
    UnsafeFile
        If there are more bits and tables than a resting ECG has.
    """
    bits = 8 * len(data)
    if count > bits:
        raise TruncatedFile(f"a lead of the SCP-ECG file has {bits} bits for {count} samples")
    size = bits + 2  # a state for the end, and one for broken bits, which nothing leaves
    if len(tables) * size > MAX_STATES:
        raise UnsafeFile(f"{len(tables)} Huffman tables for a lead of {len(data)} bytes are no resting ECG")
    windows = _windows(data)
    codes = np.stack([table.at(windows) for table in tables])
    start, following = _steps(codes, tables, size)
    states = _chain(start, following, count)
    last = int(following[states[-1]]) % size
    table, position = np.divmod(states, size)
    if last > bits or (position >= bits).any():
        known = int((position < bits).sum())
        wrong = TruncatedFile if bits in position else DecodeError
        raise wrong(f"the Huffman codes of a lead of the SCP-ECG file end at sample {known} of {count}")
    return _values(windows[position], codes[table, position], table, tables), last


def _windows(data: bytes) -> NDArray[np.uint64]:
    """(8 × bytes,) the bits from each bit on; 57 of the 64 are of the file or beyond its end."""
    words = np.ndarray((len(data),), ">u8", buffer=data + bytes(8), strides=(1,)).astype(np.uint64)
    return (words[:, None] << np.arange(8, dtype=np.uint64)).ravel()


def _steps(codes: NDArray[np.intp], tables: tuple[Table, ...], size: int) -> tuple[int, NDArray[np.int32]]:
    """The state of the first number, and for each state that of the number behind it.

    A state is a bit in one of the copies: table × size + bit.
    """
    bits = size - 2
    following = np.full((len(tables), size), bits + 1, np.int32)
    silent = np.zeros((len(tables), size), bool)
    for number, (table, code) in enumerate(zip(tables, codes, strict=True)):
        after = np.arange(bits) + table.total[code]
        after[(code == _NO_CODE) | (after > bits)] = bits + 1
        switches = table.switches[code] & (after <= bits)
        following[number, :bits] = after + size * np.where(switches, table.value[code], number)
        silent[number, :bits] = switches
    flat = following.ravel()
    if not silent.any():
        return 0, flat
    settled = np.where(silent.ravel(), flat, np.arange(len(flat), dtype=np.int32))
    while (settled != (further := settled[settled])).any():  # one round for each doubling of switches in a row
        settled = further
    return int(settled[0]), settled[flat]


def _chain(start: int, following: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """(count,) states from the first on."""
    jumps = [following]
    for _ in range(_JUMPS):
        jumps.append(jumps[-1][jumps[-1]])
    longest = jumps.pop()
    states = np.empty(-(-count >> _JUMPS), np.int32)
    for index in range(len(states)):
        states[index], start = start, longest[start]
    for jump in reversed(jumps):
        states = np.stack([states, jump[states]], axis=-1).ravel()
    return states[:count]


def _values(
    windows: NDArray[np.uint64], codes: NDArray[np.intp], table: NDArray[np.int32], tables: tuple[Table, ...]
) -> Values:
    """Base value of each code plus the signed number behind its prefix."""
    values = np.empty(len(codes), np.int64)
    for number, known in enumerate(tables):
        here = table == number
        code = codes[here]
        extra = known.total[code] - known.prefix[code]
        tail = (windows[here] << known.prefix[code].astype(np.uint64)).view(np.int64)
        values[here] = known.value[code] + np.where(extra > 0, tail >> np.minimum(64 - extra, 63), 0)
    return values
