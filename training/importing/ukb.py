"""UK Biobank: bulk ECGs (field 20205) and short-axis cines (20209) as they are downloaded, and a table of fields."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.ecg.patient import sex_of
from models.ecg.recording import Sex
from models.phenotypes import PHENOTYPES
from training.importing.table import WrongTable, numbers_of, read_csv
from training.importing.visit import Visit

IMAGING_VISITS = (2, 3)
"""Instances of UK Biobank at which hearts were imaged: the first imaging visit and the repeat."""

FIELDS: dict[int, str] = {
    24100: "LVEDV",
    24101: "LVESV",
    24102: "LVSV",
    24103: "LVEF",
    24104: "CO",
    24105: "LVM",
    24106: "RVEDV",
    24107: "RVESV",
    24108: "RVSV",
    24109: "RVEF",
    24140: "LVWT",
    21003: "age",
    50: "height",
    21002: "weight",
}
"""Fields of Bai et al. (Nat Med 2020;26:1654) and of the assessment centre, as UK Biobank numbers them; each has
the unit that a cohort has too: mL, %, L/min, g, mm; years, cm, kg."""

_SEX = 31
_SEXES: dict[str, Sex] = {"0": "F", "1": "M"}
_ECG, _CINE = "20205", "20209"
_BULK = re.compile(r"(\d+)_(20205|20209)_(\d)_0\.(?:xml|zip)")
_COLUMN = re.compile(r"(?:participant\.)?p?(\d+)(?:[-_]i?(\d+))?(?:[._]a?0)?")
"""Names of columns as the tools of UK Biobank write them: 24100-2.0, and p24100_i2 on its research platform."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Visits that have both, and the ids of those that have only one of ECG and cine, which are nobody's fault."""

    visits: list[Visit]
    unpaired: list[str]


def visits_of(bulk: Path, table: Path) -> Found:
    """Pair the bulk files of a folder, at any depth, by participant and visit.

    Parameters
    ----------
    bulk : holds ``<eid>_20205_<instance>_0.xml`` and ``<eid>_20209_<instance>_0.zip``
    table : a CSV with column ``eid`` and columns of fields, named as in `_COLUMN`; columns of other fields are ignored

    Raises
    ------
    WrongTable
        If the table cannot be read, names a participant twice, or has none of the fields; or if no file is found.
    """
    files = _bulk_files(bulk)
    if not files:
        raise WrongTable(f"{bulk} holds no file named <eid>_{_ECG}_<instance>_0.xml or <eid>_{_CINE}_<instance>_0.zip")
    stated = _fields(table)
    paired = {key: found for key, found in files.items() if found.keys() == {_ECG, _CINE}}
    visits = [_visit(eid, instance, found, stated.get(eid, {})) for (eid, instance), found in paired.items()]
    unpaired = [f"{eid}-{instance}" for eid, instance in files if (eid, instance) not in paired]
    return Found(visits=visits, unpaired=unpaired)


def _bulk_files(bulk: Path) -> dict[tuple[str, int], dict[str, Path]]:
    """(eid, instance) -> field -> file, of the imaging visits, in order."""
    files: dict[tuple[str, int], dict[str, Path]] = {}
    for path in sorted(bulk.rglob("*_2020[59]_?_0.*")):
        found = _BULK.fullmatch(path.name)
        if found and int(found[3]) in IMAGING_VISITS:
            files.setdefault((found[1], int(found[3])), {})[found[2]] = path
    return dict(sorted(files.items()))


def _fields(table: Path) -> dict[str, dict[tuple[int, int], str]]:
    """Eid -> (field, instance) -> cell."""
    header, lines = read_csv(table)
    if "eid" not in header:
        raise WrongTable(f"{table} has no column eid")
    columns = {place: key for place, cell in enumerate(header) if (key := _field(cell)) is not None}
    if not {(field, visit) for field in FIELDS for visit in IMAGING_VISITS}.intersection(columns.values()):
        raise WrongTable(f"{table} has no column of a known field at an imaging visit, such as 24100-2.0 or p24100_i2")
    rows: dict[str, dict[tuple[int, int], str]] = {}
    for line, cells in lines:
        eid = cells[header.index("eid")]
        if eid in rows:
            raise WrongTable(f"line {line} of {table} names participant {eid} for the second time")
        rows[eid] = {key: cells[place] for place, key in columns.items()}
    return rows


def _field(cell: str) -> tuple[int, int] | None:
    """Field and instance of a column; None for any other column."""
    found = _COLUMN.fullmatch(cell)
    return None if found is None else (int(found[1]), int(found[2] or 0))


def _visit(eid: str, instance: int, files: Mapping[str, Path], cells: Mapping[tuple[int, int], str]) -> Visit:
    own = {name: cells[field, instance] for field, name in FIELDS.items() if (field, instance) in cells}
    numbers, wrong = numbers_of(own, lambda _name: 1.0)
    coded = cells.get((_SEX, 0), "")
    sex = _SEXES.get(coded) or sex_of(coded) or ""  # decoded tables say Female and Male
    if coded and not sex:
        wrong["sex"] = f"field {_SEX} is {coded[:20]!r}, neither 0 nor 1"
    return Visit(
        participant=eid,
        occasion=str(instance),
        ecg=files[_ECG],
        images={"cmr": files[_CINE]},
        stated={name: value for name, value in numbers.items() if name in PHENOTYPES},
        sex=sex,
        age=numbers.get("age", math.nan),
        height=numbers.get("height", math.nan),
        weight=numbers.get("weight", math.nan),
        wrong=wrong,
    )
