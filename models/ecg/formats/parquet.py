"""Parquet: a table of one column a lead, read by pyarrow where the extra ``parquet`` is installed.

Rate and unit come from the key-value metadata of the file (``fs``, ``sampling_rate``, ``unit``), from the names of the
columns, from a column of time, or with the request. The footer and the heads of all pages are checked before a column
is read, and only columns of numbers are: a text may stand in a page once and in each of its rows.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile, UnsupportedFormat
from models.ecg.formats.parquet_pages import inflated_size
from models.ecg.formats.table import Table, bare, recording_of
from models.ecg.leads import MAX_LEADS, MAX_SAMPLES, lead_name
from models.ecg.recording import Recording
from models.ecg.stated import Stated

MAX_INFLATED = 64 * 2**20

_SIGNATURE = b"PAR1"
_MAX_FOOTER = 2**20  # bytes of one string, or entries of one list, in the footer
_MAX_DEPTH = 16
_MAX_GROUPS = 1000
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
        if not name.startswith(_INDEX)
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
        _check_sizes(file.metadata, data)
        return file.read(columns=_numeric(file.schema_arrow), use_threads=False)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DecodeError("the Parquet file is damaged") from error


def _check_sizes(footer: Any, data: bytes) -> None:  # a pyarrow.parquet.FileMetaData, which has no types
    shape = f"{footer.num_rows} rows and {footer.num_columns} columns in {footer.num_row_groups} groups"
    cells = footer.num_rows * footer.num_columns
    if footer.num_columns > MAX_LEADS or footer.num_rows > MAX_SAMPLES or footer.num_row_groups > _MAX_GROUPS:
        raise UnsafeFile(f"a table of {shape} is no ECG")
    groups = [footer.row_group(n) for n in range(footer.num_row_groups)]
    inflated = inflated_size(data, (_span(group.column(n)) for group in groups for n in range(group.num_columns)))
    if max(8 * cells, inflated) > MAX_INFLATED:
        raise UnsafeFile(f"a table of {shape}, {inflated} bytes, is no ECG")


def _span(column: Any) -> tuple[int, int]:  # a pyarrow.parquet.ColumnChunkMetaData, which has no types
    """Where the pages of a column start, the dictionary before them, and how long they are."""
    start = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset:
        start = min(start, column.dictionary_page_offset)
    return start, column.total_compressed_size


def _numeric(schema: Any) -> list[str]:  # a pyarrow.Schema, which has no types
    """Names of the columns of numbers; one of something else is left out, unless it has the name of a lead."""
    others = {field.name: str(field.type)[:40] for field in schema if str(field.type) not in _NUMBERS}
    for name in filter(lambda name: lead_name(bare(name)), others):
        raise DecodeError(f"column {name[:40]!r} of the Parquet file holds {others[name]}, not numbers")
    names = [field.name for field in schema if field.name not in others]
    if any(field.type.num_fields for field in schema) and any("." in name for name in names):
        raise UnsafeFile("a point in the name of a column would lead into another column of the Parquet file")
    return names


def _numbers(column: Any) -> NDArray[np.float64]:  # a pyarrow.ChunkedArray, which has no types
    """NaN where a cell is empty."""
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _words(metadata: dict[bytes, bytes]) -> dict[str, str]:
    """The metadata that are short texts: those of pandas and Arrow are long."""
    short = {key: value for key, value in metadata.items() if len(value) <= _LONGEST}
    return {key.decode(errors="replace").lower(): value.decode(errors="replace") for key, value in short.items()}
