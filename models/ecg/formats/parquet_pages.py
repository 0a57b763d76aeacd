"""Parquet pages: how far those of a column inflate, by their own headers, which pyarrow believes without a bound.

A page begins with a struct ``PageHeader`` in Thrift's compact protocol (parquet.thrift of parquet-format; fields 2 and
3 are its bytes inflated and as they are stored). It holds structs, numbers and texts, but neither lists nor maps.
"""

from __future__ import annotations

from collections.abc import Iterable

from models.ecg.errors import DecodeError, UnsafeFile

MAX_PAGES = 10_000
"""Of all columns; pyarrow writes one for each megabyte."""

_INFLATED, _STORED = 2, 3
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _TEXT, _STRUCT = 0, 1, 2, 3, 4, 5, 6, 7, 8, 12
_MAX_DEPTH = 4


def inflated_size(data: bytes, columns: Iterable[tuple[int, int]]) -> int:
    """Bytes of all pages of columns, of which each is where it starts and how long it is.

    Raises
    ------
    UnsafeFile
        If there are more than `MAX_PAGES`.
    DecodeError
        If they are no pages, or do not fill their column.
    """
    size = pages = 0
    for start, length in columns:
        header = _Header(data, start)
        while header.position != start + length:
            size += _page(header, start + length)
            pages += 1
            if pages > MAX_PAGES:
                raise UnsafeFile(f"a Parquet file of more than {MAX_PAGES} pages is no ECG")
    return size


def _page(header: _Header, end: int) -> int:
    """Bytes that the next page inflates to; the header goes on behind it."""
    numbers = header.struct()
    inflated, stored = numbers.get(_INFLATED, -1), numbers.get(_STORED, -1)
    header.position += stored
    if min(inflated, stored) < 0 or header.position > end:
        raise DecodeError("the pages of the Parquet file are damaged")
    return inflated


class _Header:
    """Reads one struct after the other."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position

    def struct(self, depth: int = 0) -> dict[int, int]:
        """Its numbers of 32 bits, by their fields; of one that is there twice, the last, as Thrift has it."""
        numbers: dict[int, int] = {}
        field = 0
        while (head := self._byte()) & 15 != _STOP:
            field = (field + (head >> 4) if head >> 4 else _signed(self._varint())) & 0xFFFF
            kind = head & 15
            if kind == _I32:
                numbers[field] = _signed(self._varint() & 0xFFFFFFFF)
            else:
                self._skip(kind, depth)
        return numbers

    def _skip(self, kind: int, depth: int) -> None:
        if kind in (_I16, _I64):
            self._varint()
        elif kind == _STRUCT and depth < _MAX_DEPTH:
            self.struct(depth + 1)
        elif kind == _TEXT:
            length = self._varint()
            self.position += length
        elif kind in (_BYTE, _DOUBLE):
            self.position += 1 if kind == _BYTE else 8
        elif kind not in (_TRUE, _FALSE):
            raise DecodeError("the head of a page of the Parquet file is damaged")

    def _byte(self) -> int:
        if not 0 <= self.position < len(self.data):
            raise DecodeError("the Parquet file ends within the head of a page")
        self.position += 1
        return self.data[self.position - 1]

    def _varint(self) -> int:
        """Seven bits in each byte, the lowest first; the last has no eighth."""
        number = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise DecodeError("a number in the head of a page of the Parquet file has no end")


def _signed(number: int) -> int:
    """0, -1, 1, -2 … as Thrift counts them."""
    return number >> 1 ^ -(number & 1)
