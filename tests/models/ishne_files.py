"""ISHNE files as the tests write them, field by field after the tables of the paper that defines the format."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.models.scp_files import crc

TWELVE = (5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)


def ishne(
    signal: NDArray[np.float64],
    *,
    codes: Sequence[int] = TWELVE,
    step: int = 1000,
    rate: int = 500,
    count: int | None = None,
    comments: bytes = b"",
    sex: int = 2,
    birth: tuple[int, int, int] = (8, 11, 1950),
    day: tuple[int, int, int] = (7, 11, 2016),
    start: tuple[int, int, int] = (9, 5, 3),
    pacemaker: int = 0,
    recorder: bytes = b"digital",
    swapped: bool = False,
) -> bytes:
    """(leads, samples) microvolts as steps of so many nanovolts."""
    steps = np.rint(1e3 * signal / step).astype("<i2")
    unused = [-9] * (12 - len(codes))
    header = struct.pack("<ii", len(comments), signal.shape[1] if count is None else count)
    header += struct.pack("<iih", 522, 522 + len(comments), 1)
    header += b"Jane".ljust(40, b"\0") + b"Doe".ljust(40, b"\0") + b"P-17".ljust(20, b"\0")
    header += struct.pack("<hh", sex, 0) + b"".join(struct.pack("<3h", *part) for part in (birth, day, day, start))
    header += struct.pack("<h", len(codes)) + struct.pack("<12h", *codes, *unused) + struct.pack("<12h", *[1] * 12)
    header += struct.pack("<12h", *[step] * len(codes), *unused)
    header += struct.pack("<h", pacemaker) + recorder.ljust(40, b"\0") + struct.pack("<h", rate)
    header = header.ljust(512, b"\0") + comments
    return b"ISHNE1.0" + struct.pack(">H" if swapped else "<H", crc(header)) + header + steps.T.tobytes()
