"""WFDB storage formats: bytes of a signal file to integer samples (WFDB Applications Guide, signal(5))."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.signedinteger]


@dataclass(frozen=True)
class Storage:
    """One storage format.

    Attributes
    ----------
    unpack : callable
        (bytes,) uint8, a whole number of groups, to samples in their order of storage.
    group : tuple of int
        Bytes that the first n samples of a group take, n = 0, 1, …; the last is the size of the whole group.
    missing : int or None
        The value that means "no sample here".
    """

    unpack: Callable[[NDArray[np.uint8]], Samples]
    group: tuple[int, ...]
    missing: int | None

    def bytes_of(self, samples: int) -> int:
        """Bytes that so many samples take."""
        whole, rest = divmod(samples, len(self.group) - 1)
        return whole * self.group[-1] + self.group[rest]

    def samples_in(self, size: int) -> int:
        """Samples that so many bytes hold."""
        whole, rest = divmod(size, self.group[-1])
        return whole * (len(self.group) - 1) + max(n for n, taken in enumerate(self.group[:-1]) if taken <= rest)

    def samples(self, data: bytes) -> Samples:
        """All samples in the bytes, and what fills up the last group."""
        padding = -len(data) % self.group[-1]
        return self.unpack(np.frombuffer(data + bytes(padding) if padding else data, np.uint8))


def _plain(dtype: str) -> Callable[[NDArray[np.uint8]], Samples]:
    return lambda raw: raw.view(dtype)


def _offset(dtype: str, zero: int) -> Callable[[NDArray[np.uint8]], Samples]:
    return lambda raw: raw.view(dtype).astype(np.int32) - zero


def _signed(value: NDArray[np.int32], bits: int) -> Samples:
    """Two's complement of so many low bits."""
    half = 1 << (bits - 1)
    return ((value & (2 * half - 1)) ^ half) - half


def _unpack_24(raw: NDArray[np.uint8]) -> Samples:
    low, middle, high = raw.astype(np.int32).reshape(-1, 3).T
    return _signed(low | middle << 8 | high << 16, 24)


def _unpack_212(raw: NDArray[np.uint8]) -> Samples:
    """Two samples of 12 bits in three bytes; the middle byte holds the high bits of both."""
    first, both, second = raw.astype(np.int32).reshape(-1, 3).T
    pair = np.stack([first | (both & 0x0F) << 8, second | (both & 0xF0) << 4], axis=1)
    return _signed(pair.ravel(), 12)


def _unpack_310(raw: NDArray[np.uint8]) -> Samples:
    """Three samples of 10 bits in two words: bits 1 to 10 of each, then bits 11 to 15 of both together."""
    one, two = raw.view("<u2").astype(np.int32).reshape(-1, 2).T
    return _signed(np.stack([one >> 1, two >> 1, one >> 11 | two >> 11 << 5], axis=1).ravel(), 10)


def _unpack_311(raw: NDArray[np.uint8]) -> Samples:
    """Three samples of 10 bits in the low 30 bits of four bytes."""
    word = raw.view("<u4").astype(np.int32)
    return _signed(np.stack([word, word >> 10, word >> 20], axis=1).ravel(), 10)


DIFFERENCES = 8
"""The format that stores the change from sample to sample; the header's initial value is where it starts from."""

STORAGE: Mapping[int, Storage] = {
    8: Storage(_plain("i1"), (0, 1), None),
    16: Storage(_plain("<i2"), (0, 2), -(1 << 15)),
    24: Storage(_unpack_24, (0, 3), -(1 << 23)),
    32: Storage(_plain("<i4"), (0, 4), -(1 << 31)),
    61: Storage(_plain(">i2"), (0, 2), -(1 << 15)),
    80: Storage(_offset("u1", 128), (0, 1), -(1 << 7)),
    160: Storage(_offset("<u2", 1 << 15), (0, 2), -(1 << 15)),
    212: Storage(_unpack_212, (0, 2, 3), -(1 << 11)),
    310: Storage(_unpack_310, (0, 2, 4, 4), -(1 << 9)),
    311: Storage(_unpack_311, (0, 2, 3, 4), -(1 << 9)),
}
