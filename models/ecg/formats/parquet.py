"""Parquet: a table of one column a lead, read by pyarrow where the extra ``parquet`` is installed.

Rate and unit come from the key-value metadata of the file (``fs``, ``sampling_rate``, ``unit``), from the names of the
columns, from a column of time, or with the request. The footer is checked before a column is read; a page that
declares more than the footer does is left to the limits of the process that reads.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile, UnsupportedFormat
from models.ecg.formats.table import Table, bare, recording_of
from models.ecg.leads import MAX_LEADS, MAX_SAMPLES, lead_name
from models.ecg.recording import Recording
from models.ecg.stated import Stated

MAX_INFLATED = 64 * 2**20

_SIGNATURE = b"PAR1"
_MAX_FOOTER = 2**20  # bytes of one string, or entries of one list, in the footer
_MAX_DEPTH = 16
_LONGEST = 1000
_NUMBERS = {"halffloat", "float", "double"} | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_INDEX = "__index_level_"  # how pandas names the column of its row numbers


def matches(data: bytes) -> bool:
    """Whether it begins with the signature."""
    return data.startswith(_SIGNATURE)


def read(data: bytes, stated: Stated) -> Recording:
    """Read the columns that hold numbers.

    Raises
    ------
    UnsupportedFormat
        If pyarrow is not installed, which reads this format.
    TruncatedFile
        If the end of the file is missing.
    UnsafeFile
        If it has more rows, columns or bytes than any ECG.
    EcgError
        If it is broken, does not hold the twelve leads, or nobody says rate or unit.
    """
    if len(data) < 12 or not data.endswith(_SIGNATURE):
        raise TruncatedFile("the Parquet file ends before its footer")
    table = _table(data)
    named = [
        (name, _numbers(column))
        for name, column in zip(table.column_names, table.columns, strict=True)
        if not name.startswith(_INDEX) and _is_number(name, column)
    ]
    if not named:
        raise DecodeError("the Parquet file has no column of numbers")
    rows, labels = np.stack([row for _, row in named]), tuple(name for name, _ in named)
    return recording_of(Table(rows=rows, labels=labels, said=_words(table.schema.metadata or {})), stated, "Parquet")


def _table(data: bytes) -> Any:  # a pyarrow.Table, which has no types
    try:
        import pyarrow as pa  # noqa: PLC0415  # optional, and slow to import
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise UnsupportedFormat(
            "Parquet is read only where its extra is installed (pip install 'ecg2cmr[parquet]'): send CSV or JSON"
        ) from error
    limits = {
        "thrift_string_size_limit": _MAX_FOOTER,
        "thrift_container_size_limit": _MAX_FOOTER,
        "schema_depth_limit": _MAX_DEPTH,
    }
    try:
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True, **limits)
        _check_sizes(file.metadata)
        return file.read(use_threads=False)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DecodeError("the Parquet file is damaged") from error


def _check_sizes(footer: Any) -> None:  # a pyarrow.parquet.FileMetaData, which has no types
    inflated = sum(footer.row_group(n).total_byte_size for n in range(footer.num_row_groups))
    cells = footer.num_rows * footer.num_columns
    if footer.num_columns > MAX_LEADS or footer.num_rows > MAX_SAMPLES or max(8 * cells, inflated) > MAX_INFLATED:
        raise UnsafeFile(
            f"a table of {footer.num_rows} rows and {footer.num_columns} columns, {inflated} bytes, is no ECG"
        )


def _is_number(name: str, column: Any) -> bool:  # a pyarrow.ChunkedArray, which has no types
    """Whether a column holds numbers; one of something else is left out, unless it has the name of a lead."""
    number = str(column.type) in _NUMBERS
    if not number and lead_name(bare(name)):
        raise DecodeError(f"column {name[:40]!r} of the Parquet file holds {str(column.type)[:40]}, not numbers")
    return number


def _numbers(column: Any) -> NDArray[np.float64]:  # a pyarrow.ChunkedArray, which has no types
    """NaN where a cell is empty."""
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _words(metadata: dict[bytes, bytes]) -> dict[str, str]:
    """The metadata that are short texts: those of pandas and Arrow are long."""
    short = {key: value for key, value in metadata.items() if len(value) <= _LONGEST}
    return {key.decode(errors="replace").lower(): value.decode(errors="replace") for key, value in short.items()}
