"""Inflate: compressed bytes to what they hold, within a bound, and one file that came in gzip (RFC 1952)."""

from __future__ import annotations

import re
import zlib

from models.ecg import archive
from models.ecg.archive import MAX_INFLATED, MAX_RATIO
from models.ecg.errors import ChecksumMismatch, DecodeError, TruncatedFile, UnsafeFile

GZIP, ZLIB = 31, zlib.MAX_WBITS
"""Window bits: of a gzip, whose CRC-32 and length are checked, and of a bare zlib stream with its Adler-32."""

_SIGNATURE = b"\x1f\x8b"
_MAX_PARTS = 20
_SMALL = 2**16  # bytes that any stream may grow to: empty ones shrink well


def matches(data: bytes) -> bool:
    """Whether these are the bytes of a gzip."""
    return data.startswith(_SIGNATURE)


def unpack(data: bytes) -> bytes:
    """The one file in a gzip of one part or several, which follow each other (RFC 1952 section 2.2).

    Raises
    ------
    UnsafeFile
        If it inflates beyond the limits of a zip, or holds another gzip or zip.
    ChecksumMismatch, TruncatedFile, DecodeError
        If the CRC does not fit, the gzip ends early, or is broken.
    """
    parts: list[bytes] = []
    left, rest = MAX_INFLATED, data
    while rest:
        if len(parts) == _MAX_PARTS:
            raise UnsafeFile(f"the gzip has more than {_MAX_PARTS} parts")
        part, rest = inflate(rest, GZIP, left)
        parts.append(part)
        left -= len(part)
        rest = rest.lstrip(b"\0")  # tapes and block devices fill up with zeros
    content = b"".join(parts)
    if matches(content) or archive.matches(content):
        raise UnsafeFile("the gzip holds another archive: send the file itself, or one archive")
    return content


def inflate(data: bytes, window: int, most: int = MAX_INFLATED) -> tuple[bytes, bytes]:
    """What a stream holds, at most so many bytes, and what stands behind the stream.

    Raises
    ------
    UnsafeFile
        If it holds more, or grows more than 200-fold.
    ChecksumMismatch, TruncatedFile, DecodeError
        As `unpack`.
    """
    most = min(most, max(MAX_RATIO * len(data), _SMALL))
    stream = zlib.decompressobj(wbits=window)
    try:
        content = stream.decompress(data, most + 1)
    except zlib.error as error:
        wrong = ChecksumMismatch if re.search(r"incorrect (data|length) check", str(error)) else DecodeError
        raise wrong(f"the compressed data are damaged: {str(error)[:80]}") from error
    if len(content) > most:
        raise UnsafeFile(f"the compressed data inflate to more than {most >> 10} kB")
    if not stream.eof:
        raise TruncatedFile("the compressed data end too early")
    return content, stream.unused_data
