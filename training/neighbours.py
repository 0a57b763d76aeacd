"""Neighbours: how alike the hearts of the nearest are, when ECGs are searched by their embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Floats = NDArray[np.float64]

NEAREST = 10


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """How alike the nearest are: RMS difference of their standardised log phenotypes.

    Attributes
    ----------
    nearest : how many are looked at
    embedding : of the nearest by cosine of the ECG embedding
    people : of the nearest in age, sex and heart rate
    chance : of anybody
    best : of the nearest by phenotypes themselves, which no retrieval can beat
    """

    nearest: int
    embedding: float
    people: float
    chance: float
    best: float


def neighbours(
    embedding: Floats, people: Floats, logarithms: Floats, participants: NDArray[np.generic], nearest: int = NEAREST
) -> Neighbours | None:
    """How alike the phenotypes of the nearest are; another visit of the same participant is nobody's neighbour.

    Parameters
    ----------
    embedding : (n, d)
    people : (n, 3) age, sex as ±1, heart rate
    logarithms : (n, phenotypes); who lacks one is left out

    Returns
    -------
    None where so few are known that everybody is a neighbour, or there is no embedding.
    """
    known = np.isfinite(logarithms).all(axis=1) & np.isfinite(people).all(axis=1)
    if known.sum() <= 2 * nearest or not embedding.shape[1]:
        return None
    own = participants[known][:, None] == participants[known][None, :]
    phenotypes = _standardised(logarithms[known])
    alike = cdist(phenotypes, phenotypes) / np.sqrt(phenotypes.shape[1])
    persons = _standardised(people[known])

    def of(distance: Floats) -> float:
        chosen = np.argsort(np.where(own, np.inf, distance), axis=1, kind="stable")[:, :nearest]
        return float(np.take_along_axis(alike, chosen, axis=1).mean())

    return Neighbours(
        nearest=nearest,
        embedding=of(cdist(embedding[known], embedding[known], "cosine")),
        people=of(cdist(persons, persons)),
        chance=float(alike[~own].mean()),
        best=of(alike),
    )


def _standardised(columns: Floats) -> Floats:
    spread = columns.std(axis=0)
    scaled: Floats = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scaled
