"""Subgroups: the people of whom figures are reported apart: by disease, sex, age and heart rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.cohort import Cohort

Mask = NDArray[np.bool_]

SMALLEST = 30
"""Participants below which a group's figures would be noise."""


def subgroups(cohort: Cohort, rows: NDArray[np.intp]) -> dict[str, Mask]:
    """Name -> which of the rows belong to it; "all" and "normal" first, empty groups left out."""
    groups, sex = cohort.groups[rows], cohort.sex[rows]
    found = {"all": np.ones(len(rows), bool), "normal": groups == "normal", "women": sex == "F", "men": sex == "M"}
    found |= {str(name): groups == name for name in np.unique(groups) if name != "normal"}
    found |= thirds("age", "years", cohort.age[rows])
    found |= thirds("heart rate", "/min", cohort.heart_rate[rows])
    return {name: mask for name, mask in found.items() if mask.any()}


def thirds(name: str, unit: str, values: NDArray[np.float64]) -> dict[str, Mask]:
    """Three groups of about the same size, named by their limits; who has no value is in none of them."""
    known = np.isfinite(values)
    if not known.any():
        return {}
    low, high = np.round(np.quantile(values[known], (1 / 3, 2 / 3)))
    return {
        f"{name} below {low:g} {unit}": known & (values < low),
        f"{name} {low:g} to {high:g} {unit}": known & (values >= low) & (values < high),
        f"{name} from {high:g} {unit}": known & (values >= high),
    }
