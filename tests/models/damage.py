"""Damage as it happens to files: cut anywhere, or bytes that are not what they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from models.ecg import EcgError, Recording


def cuts(data: bytes) -> Iterator[bytes]:
    """Cut after 1 %, 2 %, … 99 %."""
    return (data[: len(data) * percent // 100] for percent in range(1, 100))


def corruptions(data: bytes, count: int = 25, seed: int = 0) -> Iterator[bytes]:
    """One byte replaced by another, half of the times among the first 2000."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        position = int(rng.integers(2000 if number % 2 else len(data)))
        other = (data[position] + int(rng.integers(1, 256))) % 256
        yield data[:position] + bytes([other]) + data[position + 1 :]


def outcome(read: Callable[[bytes], Recording], data: bytes) -> Recording | EcgError:
    """The recording, or why there is none; any other exception passes through."""
    try:
        return read(data)
    except EcgError as error:
        return error


def assert_cut_files_are_refused(read: Callable[[bytes], Recording], data: bytes) -> None:
    for cut in cuts(data):
        with pytest.raises(EcgError):
            read(cut)


def silent_changes(read: Callable[[bytes], Recording], data: bytes, damaged: Iterator[bytes]) -> int:
    """How many of the damaged files are read with other samples than the sound one."""
    sound = read(data).signal
    read_anyway = (found for each in damaged if isinstance(found := outcome(read, each), Recording))
    return sum(not np.array_equal(found.signal, sound) for found in read_anyway)
