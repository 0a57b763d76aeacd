"""MFER definitions: the tags, lengths and values of a file in their order (ISO/TS 11073-92001:2007, clause 4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile

MAX_DEFINITIONS = 50_000
MAX_DEPTH = 8

_BYTE_ORDER, _ATTRIBUTES, _SET, _END = 0x01, 0x3F, 0x67, 0x80
_INDEFINITE = 0x80
_PADDING = re.compile(rb"\0+")


@dataclass(frozen=True)
class Definition:
    """A tag and its value, in the byte order that held there.

    Attributes
    ----------
    channel : int or None
        Whose attribute it is, from 0; None for all of the file.
    little : bool
        Whether numbers begin with their lowest byte; the format's default is the highest.
    """

    tag: int
    value: bytes
    channel: int | None
    little: bool

    def number(self, start: int = 0, stop: int | None = None, *, signed: bool = False) -> int:
        """Some bytes of the value as a whole number; 0 where there are none."""
        return int.from_bytes(self.value[start:stop], "little" if self.little else "big", signed=signed)


def definitions(data: bytes) -> Iterator[Definition]:
    """The definitions of a file up to its end mark, those within groups in their place.

    Raises
    ------
    TruncatedFile
        If a definition is longer than what is left.
    UnsafeFile
        If there are more of them, or deeper ones, than an ECG needs.
    DecodeError
        If a length or a byte order cannot be.
    """
    return _Reader(data).group(len(data), 0, None)


class _Reader:
    """A place in a file, and the byte order that holds there."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = self.count = 0
        self.little = False

    def group(self, end: int, depth: int, channel: int | None, *, is_open: bool = False) -> Iterator[Definition]:
        """Up to `end`; or, where the group is open, up to two zeros before it."""
        if depth > MAX_DEPTH:
            raise UnsafeFile(f"the MFER file nests its definitions deeper than {MAX_DEPTH} levels")
        while self.position < end:
            if is_open and self.data.startswith(b"\0\0", self.position, end):
                self.position += 2
                return
            if padding := _PADDING.match(self.data, self.position, end):
                self.position = padding.end()
                continue
            tag = self._byte(end)
            if tag == _END:
                self.position = len(self.data)
                return
            yield from self._definition(tag, end, depth, channel)
        if is_open:
            raise TruncatedFile("the MFER file ends within a group of definitions")

    def _definition(self, tag: int, end: int, depth: int, channel: int | None) -> Iterator[Definition]:
        self.count += 1
        if self.count > MAX_DEFINITIONS:
            raise UnsafeFile(f"the MFER file has more than {MAX_DEFINITIONS} definitions")
        if tag == _ATTRIBUTES:
            channel = self._channel(end)
        length = self._length(end)
        stop = end if length is None else self.position + length
        if stop > end:
            raise TruncatedFile(f"the MFER file ends within the {length} bytes of tag {tag:02X}")
        if tag in (_ATTRIBUTES, _SET):
            yield from self.group(stop, depth + 1, channel, is_open=length is None)
            return
        if length is None:
            raise DecodeError(f"tag {tag:02X} of the MFER file states no length")
        value = self.data[self.position : stop]
        if tag == _BYTE_ORDER:
            self.little = self._order(value)
        yield Definition(tag, value, channel, self.little)
        self.position = stop

    def _byte(self, end: int) -> int:
        if self.position >= end:
            raise TruncatedFile("the MFER file ends within a definition")
        self.position += 1
        return self.data[self.position - 1]

    def _channel(self, end: int) -> int:
        """Seven bits a byte, the highest bit set in all but the last."""
        channel, more = 0, 0x80
        while more:
            part = self._byte(end)
            channel, more = channel << 7 | part & 0x7F, part & 0x80
            if channel >> 32:
                raise DecodeError("the MFER file numbers a channel beyond all that an ECG has")
        return channel

    def _length(self, end: int) -> int | None:
        """One byte up to 127; else how many bytes the length has, and these; None where it is left open."""
        first = self._byte(end)
        if first <= _INDEFINITE:
            return None if first == _INDEFINITE else first
        if first & 0x7F > 4:
            raise DecodeError(f"the MFER file has a length of {first & 0x7F} bytes, and the format 4 at most")
        return int.from_bytes(bytes(self._byte(end) for _ in range(first & 0x7F)), "big")

    def _order(self, value: bytes) -> bool:
        if value not in (b"", b"\0", b"\1"):
            raise DecodeError("the MFER file has a byte order that is neither big nor little endian")
        return value == b"\1"
