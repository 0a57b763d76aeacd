"""Table: a CSV of visits, one a row, its columns checked and its numbers in the units of a cohort."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.ecg.patient import sex_of
from models.ecg.recording import Sex
from training.importing.units import OWN_UNIT, factor
from training.manifest import CohortError

FILES = ("ecg", "cmr", "ed", "es", "labels", "ed_labels", "es_labels")
"""Columns of paths, relative to the table."""

WORDS = ("participant", "visit", "sex", "group", "rhythm")

_HEADER = re.compile(r"(\w+)\s*(?:\[\s*([^\]]*?)\s*\])?")
_NO_VALUE = {"", "na", "nan", "null"}


class WrongTable(CohortError):
    """A table that cannot be read as one of visits; nothing is imported."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One visit of one participant, as the table states it.

    Attributes
    ----------
    line : of the file, for messages
    words : of `WORDS`; "" where the cell is empty
    sex : F or M; "" where the cell is empty
    files : of `FILES`, without those whose cell is empty
    numbers : of `OWN_UNIT`, in those units, without those whose cell is empty
    wrong : column -> what is wrong with its cell
    """

    line: int
    words: Mapping[str, str]
    sex: Sex | Literal[""]
    files: Mapping[str, str]
    numbers: Mapping[str, float]
    wrong: Mapping[str, str]


def read_table(path: Path) -> list[Row]:
    """Read a table of visits: UTF-8, a header, commas or semicolons.

    Raises
    ------
    WrongTable
        If it is no such table, or a column is unknown, there twice or missing.
    WrongUnit
        If a number has no unit in its header, or one that cannot be converted.
    """
    header, lines = read_csv(path)
    columns = [_column(cell) for cell in header]
    _check_columns(path, [name for name, _ in columns])
    factors = {name: factor(name, unit) for name, unit in columns if name in OWN_UNIT}
    return [_row(line, dict(zip((name for name, _ in columns), cells, strict=True)), factors) for line, cells in lines]


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and of every line that is not empty its number and its cells, stripped.

    Raises
    ------
    WrongTable
        If the file is missing, no UTF-8, empty, or a line has more or fewer cells than the header.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongTable(f"{path} cannot be read as a UTF-8 table: {_reason(error)}") from error
    reader = csv.reader(text.splitlines(), delimiter=";" if ";" in text.partition("\n")[0] else ",")
    lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    if len(lines) < 2:
        raise WrongTable(f"{path} has no line below its header")
    (_, header), *rest = lines
    ragged = next((line for line, cells in rest if len(cells) != len(header)), None)
    if ragged is not None:
        raise WrongTable(f"line {ragged} of {path} has not the {len(header)} cells of the header")
    return header, rest


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "no such file") if isinstance(error, OSError) else "it is in another encoding"


def _column(cell: str) -> tuple[str, str]:
    """Name and unit of a header cell, ``LVEDV [mL]``; names of phenotypes and files in any case."""
    found = _HEADER.fullmatch(cell)
    if found is None:
        return cell, ""
    own = {name.lower(): name for name in (*WORDS, *FILES, *OWN_UNIT)}
    return own.get(found[1].lower(), found[1]), found[2] or ""


def _check_columns(path: Path, names: list[str]) -> None:
    known = {*WORDS, *FILES, *OWN_UNIT}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise WrongTable(
            f"{path} has columns nobody knows: {', '.join(unknown)}; drop them, or name them as one of "
            f"{', '.join((*WORDS, *FILES, *OWN_UNIT))}"
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise WrongTable(f"{path} has column {', '.join(twice)} twice")
    missing = [name for name in ("participant", "ecg") if name not in names]
    if missing:
        raise WrongTable(f"{path} has no column {' and no '.join(missing)}")


def _row(line: int, cells: Mapping[str, str], factors: Mapping[str, float]) -> Row:
    numbers, wrong = numbers_of({name: cells[name] for name in factors}, factors.__getitem__)
    words = {name: cells.get(name, "") for name in WORDS}
    sex = sex_of(words["sex"]) or ""
    if words["sex"] and not sex:
        wrong["sex"] = f"{words['sex'][:20]!r} is neither F nor M"
    if not words["participant"]:
        wrong["participant"] = f"line {line} names nobody"
    files = {name: cells[name] for name in FILES if cells.get(name)}
    return Row(line=line, words=words, sex=sex, files=files, numbers=numbers, wrong=wrong)


def numbers_of(cells: Mapping[str, str], per_unit: Callable[[str], float]) -> tuple[dict[str, float], dict[str, str]]:
    """Column -> value in its own unit, without empty cells; and column -> what is wrong with those that are none."""
    numbers: dict[str, float] = {}
    wrong: dict[str, str] = {}
    for name, cell in cells.items():
        if cell.lower() in _NO_VALUE:
            continue
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            numbers[name] = value * per_unit(name)
        else:
            wrong[name] = f"{cell[:20]!r} is no number"
    return numbers, wrong
