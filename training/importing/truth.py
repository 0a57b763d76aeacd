"""Truth: the twelve phenotypes of a visit, from what a table states and what label maps measure, and contradictions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.phenotypes import PHENOTYPES, PREDICTED, derive

EJECTION_TOLERANCE = 2.0
"""Percentage points that a stated ejection fraction may differ from its volumes: whole millilitres of a ventricle of
50 mL (0.4 from EDV, 1.0 from ESV) and a whole percent (0.5) round to so much."""


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Which of two sources of a phenotype wins, and by what share of their mean they may differ at all."""

    winner: Literal["stated", "measured"] = "stated"
    tolerance: float = 0.10


Contradictions = dict[str, str]
"""Phenotype -> what is wrong with it."""


def truth(
    stated: Mapping[str, float], measured: Mapping[str, float], heart_rate: float | None, preference: Preference
) -> tuple[NDArray[np.float64], Contradictions]:
    """Phenotypes in the order of the catalogue, NaN where nobody knows them.

    Predicted phenotypes are as the winner has them, else as the other; derived ones follow from them, and are as
    stated only where they do not: a table's own LVEF never stands beside volumes that say something else.

    Parameters
    ----------
    stated, measured : symbol -> value in the unit of the catalogue; NaN is as good as missing
    heart_rate : beats per minute during the ECG, for cardiac output
    """
    stated, measured = _known(stated), _known(measured)
    wrong = dict(_contradictions(stated, measured, preference.tolerance))
    both = {**stated, **measured} if preference.winner == "measured" else {**measured, **stated}
    predicted = {symbol: np.asarray(both[symbol]) for symbol in PREDICTED if symbol in both}
    derived = {symbol: float(value) for symbol, value in derive(predicted, heart_rate).items()}
    wrong |= dict(_impossible({symbol: both[symbol] for symbol in predicted}, stated, derived))
    values = {**both, **derived}
    return np.array([values.get(symbol, math.nan) for symbol in PHENOTYPES]), wrong


def _known(values: Mapping[str, float]) -> dict[str, float]:
    return {symbol: value for symbol, value in values.items() if not math.isnan(value)}


def _contradictions(
    stated: Mapping[str, float], measured: Mapping[str, float], tolerance: float
) -> Iterator[tuple[str, str]]:
    """Values no heart has, and values on which the two sources disagree."""
    for symbol, value in (*measured.items(), *stated.items()):
        if not _plausible(symbol, value):
            unit, (low, high) = PHENOTYPES[symbol].unit, PHENOTYPES[symbol].plausible
            yield symbol, f"{value:.4g} {unit} lies outside {low:g} to {high:g} {unit}, which no heart has"
    for symbol in stated.keys() & measured.keys():
        both = stated[symbol], measured[symbol]
        apart = abs(both[0] - both[1]) / (sum(both) / 2)
        if apart > tolerance and all(_plausible(symbol, value) for value in both):
            unit = PHENOTYPES[symbol].unit
            yield symbol, f"{both[0]:.4g} {unit} stated and {both[1]:.4g} measured are {100 * apart:.0f} % apart"


def _plausible(symbol: str, value: float) -> bool:
    low, high = PHENOTYPES[symbol].plausible
    return low <= value <= high


def _impossible(
    predicted: Mapping[str, float], stated: Mapping[str, float], derived: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    """Ventricles that grow in systole, and stated ejection fractions that their volumes do not have."""
    for ventricle in ("LV", "RV"):
        edv, esv, ef = (f"{ventricle}{part}" for part in ("EDV", "ESV", "EF"))
        if esv in predicted and predicted[esv] >= predicted.get(edv, math.inf):
            yield (
                esv,
                f"{predicted[esv]:.4g} mL at end-systole is not less than {predicted[edv]:.4g} mL at end-diastole",
            )
        elif ef in stated and ef in derived and abs(stated[ef] - derived[ef]) > EJECTION_TOLERANCE:
            yield ef, f"the table states {stated[ef]:.1f} %, its volumes say {derived[ef]:.1f} %"
