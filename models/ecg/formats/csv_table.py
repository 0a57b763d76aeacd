"""CSV, TSV and their like: one column a lead and a header row of their names, or one row a lead that begins with it.

Comment lines before the table say the rest: ``# fs=500``, ``# unit=uV``, ``# age=61``, ``# device=…``,
``# statement=…`` (as `models.ecg.writers.csv_table` writes them).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile
from models.ecg.formats.table import MAX_CELLS, Table, bare, by_lead, recording_of
from models.ecg.leads import MAX_LEADS, MAX_SAMPLES, lead_name
from models.ecg.recording import Recording, Remark
from models.ecg.stated import Stated

_MAX_PREFACE = 400  # comment lines before the table
_MAX_GAPS = MAX_SAMPLES  # cells without a number
_LINE = 4096  # bytes that are looked at of each of them

_UTF8, _UTF16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_COMMENT = re.compile(r"\s*(\w+(?: \w+)*) ?(?:[=:]| (?=\d))\s*(\S.*)")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?|nan|NaN|")
_QUOTED_COMMA = re.compile(rb'"([-+]?\d{1,12}),(\d{1,12})"')
_EMPTY_CELL = rb"(?:(?<=[%b\n])|^)%b*(?:(?:N/?A|null|None)%b*)?(?=[%b\r\n]|$)"


@dataclass(frozen=True)
class _Preface:
    """What stands before the numbers: comments, separator, labels (None without a header row), where they start."""

    said: dict[str, str]
    statements: tuple[str, ...]
    separator: str
    cells: tuple[str, ...]
    start: int
    following: int
    twice: str | None
    """What the comments say twice, and differently."""

    @property
    def numbers(self) -> bool:
        """Whether the first row holds numbers, perhaps behind a label."""
        return all(_NUMBER.fullmatch(cell) for cell in self.cells[1:])

    @property
    def sideways(self) -> bool:
        """Whether each row begins with the label of a lead."""
        return self.numbers and not _NUMBER.fullmatch(self.cells[0])


def matches(data: bytes) -> bool:
    """Whether this is text with names of leads, or with numbers, in at least two columns."""
    preface = _preface(_utf8(data[: _MAX_PREFACE * _LINE]))
    return preface is not None and (preface.numbers or any(lead_name(bare(cell)) for cell in preface.cells))


def read(data: bytes, stated: Stated) -> Recording:
    """Read the table; nothing that it does not say is guessed.

    Raises
    ------
    MissingMetadata
        If rate, unit or lead names are stated neither in the file nor with the request.
    EcgError
        If the table is broken, too large, or does not hold the twelve leads.
    """
    text = _utf8(data)
    preface = _preface(text)
    if preface is None:
        raise DecodeError("no table of numbers was found")
    if preface.twice is not None:
        raise DecodeError(f"the table says {preface.twice[:40]!r} twice, and differently")
    labels, rows = _rows(text, preface) if preface.sideways else _columns(text, preface)
    _check_length(rows.shape[1], preface.said.get("samples", ""))
    table = Table(
        rows=rows, labels=labels, said=preface.said, statements=preface.statements, remarks=_remarks(text, preface.said)
    )
    return recording_of(table, stated, "CSV")


def _check_length(samples: int, announced: str) -> None:
    """A table need not say how long it is; ours do."""
    if announced.isdecimal() and int(announced[:12]) != samples:
        wrong = TruncatedFile if int(announced[:12]) > samples else DecodeError
        raise wrong(f"the table has {samples} of the {announced[:12]} samples that it announces")


def _remarks(text: bytes, said: dict[str, str]) -> tuple[Remark, ...]:
    if "samples" in said or text.endswith((b"\n", b"\r")):
        return ()
    message = "the last line has no end: if the table was cut there, its last number is another"
    return (Remark(code="open-end", message=message),)


def _utf8(data: bytes) -> bytes:
    """The text without a mark of its byte order; UTF-16, as spreadsheets save "Unicode text", only with one."""
    if data.startswith(_UTF16):
        return data[: len(data) & ~1].decode("utf-16", errors="replace").encode(errors="replace")
    return data.removeprefix(_UTF8)


def _preface(text: bytes) -> _Preface | None:
    """Comments and first row; None if no row of at least two cells follows, or this is no text."""
    if b"\0" in text[:_LINE]:
        return None
    said: dict[str, str] = {}
    statements: list[str] = []
    twice: str | None = None
    position = 0
    for _ in range(_MAX_PREFACE):
        end = text.find(b"\n", position)
        end = len(text) if end < 0 else end
        line = text[position : min(end, position + _LINE)].decode(errors="replace").strip("\r\ufeff")
        if line.strip() and not line.startswith("#"):
            row = _first_row(line, said, tuple(statements), position, end + 1)
            return row and replace(row, twice=twice)
        if found := _COMMENT.fullmatch(line.lstrip("#").rstrip()):
            key = found[1].lower().replace(" ", "_")
            if key == "statement":
                statements.append(found[2])
            elif said.setdefault(key, found[2]) != found[2]:
                twice = key
        if end >= len(text):
            break
        position = end + 1
    return None


def _first_row(
    line: str, said: dict[str, str], statements: tuple[str, ...], position: int, following: int
) -> _Preface | None:
    separator = next((mark for mark in "\t;," if mark in line), None)  # a comma beside one of the others is decimal
    if separator is None:
        return None
    if len(line) >= _LINE - 1:
        line = line[: line.rindex(separator)]  # the rest of a long row would be half a cell
    cells = tuple(cell.strip().strip('"') for cell in line.split(separator))
    return _Preface(said, statements, separator, cells, position, following, None)


def _columns(text: bytes, preface: _Preface) -> tuple[tuple[str, ...] | None, NDArray[np.float64]]:
    """Labels and (leads, samples) of a table with one row a sample; without labels either way round."""
    if preface.numbers:
        return None, by_lead(_numbers(text[preface.start :], preface.separator))
    if len(preface.cells) > MAX_LEADS:
        raise UnsafeFile(f"a table of more than {MAX_LEADS} columns is no ECG")
    table = _numbers(text[preface.following :], preface.separator)
    if table.shape[1] != len(preface.cells):
        raise DecodeError(f"the header names {len(preface.cells)} columns, the table has {table.shape[1]}")
    return preface.cells, table.T


def _rows(text: bytes, preface: _Preface) -> tuple[tuple[str, ...] | None, NDArray[np.float64]]:
    """Labels and (leads, samples) of a table with one row a lead."""
    separator = preface.separator.encode()
    lines = [line.partition(separator) for line in text[preface.start :].split(b"\n", MAX_LEADS + 1) if line.strip()]
    if len(lines) > MAX_LEADS:
        raise UnsafeFile(f"a table of more than {MAX_LEADS} leads is no ECG")
    table = _numbers(b"\n".join(cells for _, _, cells in lines), preface.separator)
    return tuple(label.decode(errors="replace").strip().strip('"') for label, _, _ in lines), table


def _numbers(body: bytes, separator: str) -> NDArray[np.float64]:
    """(rows, columns); an empty cell is NaN."""
    if not body.strip():
        raise TruncatedFile("the table ends behind its header")
    mark = separator.encode()
    across = body.partition(b"\n")[0].count(mark) + 1
    down = body.count(b"\n") + 1
    if max(across, down) > MAX_SAMPLES or across * down > MAX_CELLS:
        raise UnsafeFile(f"a table of {down} rows and {across} columns is no ECG")
    if b'"' in body:
        body = (_QUOTED_COMMA.sub(rb"\1.\2", body) if mark == b"," else body).replace(b'"', b"")
    if mark != b"," and b"," in body:
        body = body.replace(b",", b".")  # the decimal comma that goes with a semicolon or tab
    try:
        return _parse(body, separator)
    except ValueError:
        blank = b" " if mark == b"\t" else rb"[ \t]"
        empty = _EMPTY_CELL % (mark, blank, blank, mark)
        filled, gaps = re.subn(empty, b"nan", body.strip(b"\r\n"), count=_MAX_GAPS)
        if gaps == _MAX_GAPS:
            raise UnsafeFile(f"a table of {gaps} empty cells is no ECG") from None
        try:
            return _parse(filled, separator)
        except ValueError as error:
            raise DecodeError("a cell of the table is no number, or its rows differ in length") from error


def _parse(body: bytes, separator: str) -> NDArray[np.float64]:
    table: NDArray[np.float64] = np.loadtxt(
        io.BytesIO(body), delimiter=separator, ndmin=2, comments=None, encoding="ascii"
    )
    return table
