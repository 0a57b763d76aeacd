"""MFER files as the tests write them: definitions of a tag, a length and a value, and frames of interleaved blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TWELVE = (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8)
Order = Literal["little", "big"]


def definition(tag: int, value: bytes = b"", *, wide: int = 0) -> bytes:
    """A definition, its length in as many bytes as asked for, or in as few as it takes."""
    if wide or len(value) > 127:
        wide = wide or 4
        return bytes((tag, 0x80 | wide)) + len(value).to_bytes(wide, "big") + value
    return bytes((tag, len(value))) + value


def attributes(channel: int, *definitions: bytes, is_open: bool = False) -> bytes:
    """Definitions of one channel; its number seven bits a byte."""
    number = bytes((channel,)) if channel < 128 else bytes((0x80 | channel >> 7, channel & 0x7F))
    content = b"".join(definitions)
    return b"\x3f" + number + (b"\x80" + content + b"\0\0" if is_open else definition(0x3F, content)[1:])


def whole(number: int, order: Order, size: int = 4) -> bytes:
    return number.to_bytes(size, order, signed=number < 0)


def quantity(unit: int, exponent: int, mantissa: int, order: Order) -> bytes:
    return bytes((unit,)) + exponent.to_bytes(1, "big", signed=True) + whole(mantissa, order, 2)


def waves(rows: NDArray[np.generic], block: int, dtype: str, order: Order) -> bytes:
    """(channels, samples) as a block of each channel in turn."""
    typed = rows.astype(("<" if order == "little" else ">") + dtype)
    parts = [row[start : start + block].tobytes() for start in range(0, rows.shape[1], block) for row in typed]
    return definition(0x1E, b"".join(parts))


def mfer(
    steps: NDArray[np.generic],
    *,
    order: Order = "little",
    codes: Sequence[int] = TWELVE,
    dtype: str = "i2",
    type_code: int = 0,
    block: int = 100,
    sequences: int | None = -1,
    interval: bytes | None = None,
    sensitivity: bytes | None = None,
    common: bytes = b"",
    own: bytes = b"",
    before: bytes = b"",
    behind: bytes = b"",
    is_open: bool = False,
    preamble: bool = True,
) -> bytes:
    """(leads, samples) microvolts as one frame between further definitions."""
    frames = steps.shape[1] // block if sequences == -1 else sequences
    interval = quantity(1, -3, 2, order) if interval is None else interval
    sensitivity = quantity(0, -6, 1, order) if sensitivity is None else sensitivity
    leads = (attributes(n, definition(0x09, whole(code, order, 2)), is_open=is_open) for n, code in enumerate(codes))
    parts = [
        definition(0x40, b"MFR 12-lead resting ECG".ljust(32)) if preamble else b"",
        definition(0x01, b"\1" if order == "little" else b"\0"),
        definition(0x02, b"\0\1\5"),
        before,
        definition(0x0B, interval) if interval else b"",
        definition(0x0C, sensitivity) if sensitivity else b"",
        definition(0x04, whole(block, order)),
        definition(0x05, bytes((len(codes),))),
        b"" if frames is None else definition(0x06, whole(frames, order)),
        definition(0x0A, bytes((type_code,))),
        common,
        *leads,
        own,
        waves(steps, block, dtype, order),
        behind,
        b"\x80",
    ]
    return b"".join(parts)
