"""NumPy: one array (``.npy``) of leads and samples, or several by name in a zip (``.npz``); never a pickle.

An array has neither rate nor unit nor names: they come with the request, or as the arrays ``fs``, ``unit`` and
``leads`` beside ``ecg`` or ``signal``. The layout is that of NEP 1 (``numpy.lib.format``).
"""

from __future__ import annotations

import ast
import math
import re
import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile
from models.ecg.formats.named_arrays import read_arrays, rows_of
from models.ecg.formats.table import Table, recording_of
from models.ecg.recording import Recording
from models.ecg.stated import Stated

_SIGNATURE = b"\x93NUMPY"
_MAX_HEADER = 4096
_TYPE = re.compile(r"[<>|=]?(?:f[248]|[iu][1248]|U[1-9]\d{0,2})")
_LETTERS = 0x110000  # of Unicode


def matches(data: bytes) -> bool:
    """Whether these are the bytes of one array."""
    return data.startswith(_SIGNATURE)


def read(data: bytes, stated: Stated) -> Recording:
    """Read one array, whose rate, unit and leads the request must state.

    Raises
    ------
    UnsafeFile
        If it holds Python objects, or is larger than any ECG.
    TruncatedFile
        If the file is shorter than its header says.
    EcgError
        If it is broken, no matrix of leads and samples, or somebody must still say rate, unit or leads.
    """
    return recording_of(Table(rows=rows_of(array_of(data)), labels=None, said={}), stated, "NumPy")


def read_files(files: Mapping[str, bytes], stated: Stated) -> Recording:
    """Read the arrays of an archive, by their names without ``.npy``; other files are left alone; raises as `read`."""
    arrays = {name.removesuffix(".npy"): array_of(data) for name, data in files.items() if matches(data)}
    return read_arrays(arrays, stated, "NumPy")


def array_of(data: bytes) -> NDArray[np.generic]:
    """The array in a file, without a copy; raises as `read`."""
    (kind, fortran, shape), start = _header(data)
    if not _TYPE.fullmatch(kind):
        raise UnsafeFile(f"an array of {kind[:40]!r} is no ECG: save numbers, without pickle")
    dtype = np.dtype(kind)
    count = math.prod(shape)
    if count * dtype.itemsize > len(data) - start:
        raise TruncatedFile(f"the array of shape {shape} has {len(data) - start} of its {count * dtype.itemsize} bytes")
    if count * dtype.itemsize < len(data) - start:
        raise DecodeError(f"the file holds more than its array of shape {shape}")
    flat = np.frombuffer(data, dtype, offset=start)
    if dtype.kind == "U":
        _check_letters(flat.view(np.dtype("u4").newbyteorder(dtype.byteorder)))
    try:
        return flat.reshape(shape, order="F" if fortran else "C")
    except ValueError as error:  # of no elements, and beyond all memory in its other dimensions
        raise DecodeError("the NumPy array has an impossible shape") from error


def _check_letters(codes: NDArray[np.uint32]) -> None:
    """Refuse text of more than letters: NumPy makes it a str without a look, and Python fails on that."""
    if ((codes >= _LETTERS) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():
        raise DecodeError("the NumPy array holds text that is none")


def _header(data: bytes) -> tuple[tuple[str, bool, tuple[int, ...]], int]:
    """Type, order and shape, and where the numbers start."""
    width = 2 if data[6:7] == b"\x01" else 4
    if len(data) < 8 + width:
        raise TruncatedFile("the NumPy array ends within its header")
    (length,) = struct.unpack_from("<H" if width == 2 else "<I", data, 8)
    start = 8 + width + length
    if data[6] not in (1, 2, 3) or length > _MAX_HEADER:
        raise DecodeError(f"a NumPy array of version {data[6]} with a header of {length} bytes is not read here")
    if start > len(data):
        raise TruncatedFile("the NumPy array ends within its header")
    return _checked(data[8 + width : start].decode("latin-1")), start


def _checked(text: str) -> tuple[str, bool, tuple[int, ...]]:
    try:
        header = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:  # the last two: nesting beyond the parser
        raise DecodeError("the header of the NumPy array cannot be read") from error
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise DecodeError("the header of the NumPy array is not one of descr, fortran_order and shape")
    shape = header["shape"]
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape) or len(shape) > 8:
        raise DecodeError("the NumPy array has an impossible shape")
    return str(header["descr"]), bool(header["fortran_order"]), shape
