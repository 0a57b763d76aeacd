"""Units: how people write the units of a table, as a factor to the one unit in which a cohort keeps each column."""

from __future__ import annotations

from models.phenotypes import PHENOTYPES
from training.manifest import CohortError

_PER_UNIT: dict[str, dict[str, float]] = {
    "mL": {"ml": 1.0, "l": 1000.0, "cm3": 1.0, "cm^3": 1.0, "cc": 1.0},
    "g": {"g": 1.0, "kg": 1000.0},
    "mm": {"mm": 1.0, "cm": 10.0},
    "%": {"%": 1.0, "1": 100.0},
    "L/min": {"l/min": 1.0, "ml/min": 0.001},
    "cm": {"cm": 1.0, "m": 100.0, "mm": 0.1},
    "kg": {"kg": 1.0, "g": 0.001},
    "a": {"a": 1.0, "y": 1.0, "years": 1.0, "months": 1 / 12},
}

OWN_UNIT: dict[str, str] = {
    "age": "a",
    "height": "cm",
    "weight": "kg",
    **{symbol: phenotype.unit for symbol, phenotype in PHENOTYPES.items()},
}
"""UCUM unit of every column that is a number, as `training.manifest` states it."""

UNITLESS = ("age",)
"""Columns that mean their own unit where a header names none: nobody counts a patient's age otherwise."""


class WrongUnit(CohortError):
    """A column without a unit, or in one that cannot become its own."""


def factor(column: str, unit: str) -> float:
    """How many of the column's own unit one of `unit` is.

    Parameters
    ----------
    column : a key of `OWN_UNIT`
    unit : as written in a header, in any case; "" where it names none

    Raises
    ------
    WrongUnit
        If it is missing, or of another kind: mL/m2 is no volume.
    """
    own = OWN_UNIT[column]
    if not unit and column in UNITLESS:
        return 1.0
    known = _PER_UNIT[own]
    if not unit:
        raise WrongUnit(f"column {column} names no unit: write it in the header, as in {column} [{own}]")
    if unit.lower() not in known:
        raise WrongUnit(f"column {column} is in [{unit}], which cannot become {own}: use one of {', '.join(known)}")
    return known[unit.lower()]
