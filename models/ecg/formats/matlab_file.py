"""MAT file: bytes to named arrays of numbers and text (MathWorks, "MAT-File Format": level 5, and level 4 before it).

Structures, objects, sparse and complex matrices are passed over: no ECG met is one. A compressed element is inflated
within a bound, and no size that a file declares is believed before its bytes are there.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from models.ecg.archive import MAX_INFLATED
from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile
from models.ecg.inflate import ZLIB, inflate

MAX_ARRAYS = 100

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_WHOLE = range(1, 7)
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _CHAR = 1, 4
_LONGEST_SHAPE, _LONGEST_TEXT = 64, 4096  # bytes
_CLASSES = range(6, 16)  # double, single, and the whole numbers of 8 to 64 bits
_COMPLEX = 0x0800
_LEVEL_4_TYPES = ("f8", "f4", "i4", "i2", "u2", "u1")
_NAME = re.compile(rb"[A-Za-z]\w{0,62}\0")


@dataclass(frozen=True)
class _Bytes:
    """A stretch of a file, with the byte order of its numbers: ``<`` or ``>``."""

    data: bytes
    order: str

    def elements(self) -> Iterator[tuple[int, _Bytes]]:
        """Type and content of each element."""
        position, end = 0, len(self.data)
        while position + 8 <= end:
            kind, size = struct.unpack_from(f"{self.order}II", self.data, position)
            start = position + 8
            if kind >> 16:  # the short form: size and type share a word, and the content follows at once
                kind, size, start = kind & 0xFFFF, kind >> 16, position + 4
            if start + size > end or (start < position + 8 and size > 4):
                raise TruncatedFile("the MAT file ends within an array")
            yield kind, _Bytes(self.data[start : start + size], self.order)
            position = start + size
            position += 0 if kind == _COMPRESSED else -position % 8
        if any(self.data[position:]):
            raise TruncatedFile("the MAT file ends within the head of an array")

    def numbers(self, kind: int) -> NDArray[np.generic]:
        """What an element of numbers holds."""
        if kind not in _NUMBERS or len(self.data) % int(_NUMBERS[kind][1]):
            raise DecodeError(f"an element of type {kind} in the MAT file holds no whole numbers")
        return np.frombuffer(self.data, self.order + _NUMBERS[kind])


def is_level_5(data: bytes) -> bool:
    """Whether the version and the mark of the byte order stand at the end of the header."""
    return data[124:128] in (b"\x00\x01IM", b"\x01\x00MI")


def is_level_4(data: bytes) -> bool:
    """Whether these bytes can be the head of a matrix of level 4, which has no signature."""
    head = _level_4_head(data[:84])
    return head is not None and bool(_NAME.fullmatch(data[20 : 20 + head[4]]))


def arrays_of(data: bytes) -> dict[str, NDArray[np.generic]]:
    """Arrays of numbers and of text by name.

    Raises
    ------
    UnsafeFile
        If it inflates beyond the limits, or holds more arrays than an ECG needs.
    TruncatedFile, ChecksumMismatch, DecodeError
        If it ends within an array, or is broken.
    """
    return dict(_level_5(data) if is_level_5(data) else _level_4(data))


def _level_5(data: bytes) -> Iterator[tuple[str, NDArray[np.generic]]]:
    left = MAX_INFLATED
    whole = _Bytes(data[_HEADER:], "<" if data[126:128] == b"IM" else ">")
    for n, (kind, element) in enumerate(whole.elements()):
        if n == MAX_ARRAYS:
            raise UnsafeFile(f"a MAT file of more than {MAX_ARRAYS} arrays is no ECG")
        if kind == _COMPRESSED:
            content, _ = inflate(element.data, ZLIB, left)
            left -= len(content)
            yield from _named(islice(_Bytes(content, element.order).elements(), 1))
        else:
            yield from _named([(kind, element)])


def _named(elements: Iterable[tuple[int, _Bytes]]) -> Iterator[tuple[str, NDArray[np.generic]]]:
    for kind, element in elements:
        name, array = _matrix(element) if kind == _MATRIX else ("", None)
        if array is not None:
            yield name, array


def _matrix(element: _Bytes, *, inner: bool = False) -> tuple[str, NDArray[np.generic] | None]:
    """Name and content of one array; None for the kinds that are passed over, as cells within cells are."""
    parts = list(islice(element.elements(), MAX_ARRAYS))
    if len(parts) < 3 or len(parts[0][1].data) != 8 or len(parts[1][1].data) > _LONGEST_SHAPE:
        return "", None
    (flags,) = struct.unpack_from(f"{element.order}I", parts[0][1].data)
    if parts[1][0] not in _WHOLE:
        raise DecodeError("the dimensions of an array in the MAT file are no whole numbers")
    shape = [int(size) for size in parts[1][1].numbers(parts[1][0])]
    name = parts[2][1].data.decode("latin-1")[:63]
    if flags & 0xFF == _CELL:
        return name, None if inner else _texts(parts[3:])
    if flags & 0xFF == _CHAR and len(parts) > 3 and len(parts[3][1].data) > _LONGEST_TEXT:
        return name, None
    if len(parts) < 4 or flags & _COMPLEX or (flags & 0xFF != _CHAR and flags & 0xFF not in _CLASSES):
        return name, None
    return name, _shaped(parts[3], flags & 0xFF, shape)


def _shaped(part: tuple[int, _Bytes], kind: int, shape: list[int]) -> NDArray[np.generic]:
    """Numbers, column by column, in the type that they are stored in: it may be smaller than that of their class."""
    flat: NDArray[np.generic] = _letters(*part) if kind == _CHAR else part[1].numbers(part[0])
    if any(size < 0 for size in shape) or np.prod(shape, dtype=object) != flat.size:
        raise DecodeError(f"an array of the MAT file has {flat.size} elements, which shape {shape[:8]} does not")
    try:
        array = flat.reshape(shape, order="F")
    except ValueError as error:  # of no elements, and beyond all memory in its other dimensions; or too many of those
        raise DecodeError("an array of the MAT file has an impossible shape") from error
    if kind != _CHAR or array.ndim != 2:
        return array
    return np.array(["".join(row) for row in array.tolist()] if array.size else [])


def _letters(kind: int, element: _Bytes) -> NDArray[np.str_]:
    """Single letters; one that takes two of UTF-16 has an empty one behind it, as the dimensions count both."""
    encoding = _TEXTS.get(kind)
    if encoding is None:
        raise DecodeError(f"an element of type {kind} in the MAT file holds no text")
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if element.order == "<" else "-be"
    text = element.data.decode(encoding, errors="replace")
    letters = list(text)
    if encoding.startswith("utf-16"):
        letters = [part for letter in text for part in (letter, "")[: 1 + (letter > "\uffff")]]
    return np.array(letters, dtype="U1")


def _texts(cells: list[tuple[int, _Bytes]]) -> NDArray[np.generic] | None:
    """A cell array of texts; None if there is anything else in it."""
    arrays = [_matrix(cell, inner=True)[1] for kind, cell in cells if kind == _MATRIX]
    texts = [str(array[0]) for array in arrays if array is not None and array.dtype.kind == "U" and array.shape == (1,)]
    return np.array(texts) if texts and len(texts) == len(cells) else None


def _level_4_head(data: bytes) -> tuple[str, int, int, int, int] | None:
    """Type of the numbers ("" for text), rows, columns, bytes of a number and of the name; None if this is no head."""
    if len(data) < 20:
        return None
    order = "<" if data[3] == 0 else ">"
    kind, rows, columns, imaginary, name = struct.unpack_from(f"{order}5i", data)
    machine, reserved, precision, text = kind // 1000, kind // 100 % 10, kind // 10 % 10, kind % 10
    if (machine, reserved, imaginary) != ("<>".index(order), 0, 0) or precision > 5 or text > 1:
        return None
    if rows < 0 or columns < 0 or not 1 < name <= 64:
        return None
    stored = _LEVEL_4_TYPES[precision]
    return ("" if text else order) + stored, rows, columns, int(stored[1]), name


def _level_4(data: bytes) -> Iterator[tuple[str, NDArray[np.generic]]]:
    position = 0
    for _ in range(MAX_ARRAYS):
        if position == len(data):
            return
        head = _level_4_head(data[position : position + 20])
        if head is None:
            raise DecodeError("the MAT file of level 4 is broken, or holds a sparse or complex matrix")
        kind, rows, columns, width, length = head
        start = position + 20 + length
        end = start + rows * columns * width
        if end > len(data):
            raise TruncatedFile("the MAT file of level 4 ends within a matrix")
        if kind[0] in "<>":
            numbers = np.frombuffer(data[start:end], kind)
            yield data[position + 20 : start - 1].decode("latin-1"), numbers.reshape(rows, columns, order="F")
        position = end
    raise UnsafeFile(f"a MAT file of more than {MAX_ARRAYS} arrays is no ECG")
