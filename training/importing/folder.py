"""Folder: files of a hospital, paired by a table that names the ECG and the cardiac MR of each visit."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from models.phenotypes import PHENOTYPES
from training.importing.table import Row, WrongTable, read_table
from training.importing.visit import Visit


def visits_of(table: Path) -> list[Visit]:
    """The visits that a table names; its paths are relative to it.

    Raises
    ------
    WrongTable, WrongUnit
        As `training.importing.table.read_table`; and if a visit stands there twice.
    """
    visits = [_visit(row, table.parent) for row in read_table(table)]
    twice = [name for name, count in Counter(visit.id for visit in visits).items() if count > 1 and name]
    if twice:
        raise WrongTable(f"{table} has {twice[0]!r} twice: visits of one participant need different names in 'visit'")
    return visits


def _visit(row: Row, root: Path) -> Visit:
    files = {name: root / path for name, path in row.files.items()}
    return Visit(
        participant=row.words["participant"],
        occasion=row.words["visit"],
        ecg=files.pop("ecg", root),
        images=files,
        stated={symbol: row.numbers[symbol] for symbol in PHENOTYPES if symbol in row.numbers},
        sex=row.sex,
        group=row.words["group"],
        rhythm=row.words["rhythm"],
        age=row.numbers.get("age", math.nan),
        height=row.numbers.get("height", math.nan),
        weight=row.numbers.get("weight", math.nan),
        wrong={**row.wrong, **_missing(row)},
    )


def _missing(row: Row) -> dict[str, str]:
    """What a visit lacks to be one."""
    wrong = {} if "ecg" in row.files else {"ecg": "the table names no ECG"}
    images = row.files.keys() & {"cmr", "ed", "es"}
    if images not in ({"cmr"}, {"ed", "es"}):
        wrong["cmr"] = "the table names neither a cine (cmr) nor both volumes (ed and es), or names both kinds"
    return wrong
