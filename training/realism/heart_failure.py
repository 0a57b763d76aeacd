"""Heart failure: how much of LVEF the measurements of an ECG tell, beside what they tell in real patients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_predict

from training.realism.survey import Survey
from training.realism.tables import Row, Table, spearman

FEATURES = ("HR", "PR", "QRS", "QT", "QTc", "P", "QRS axis", "T axis")
"""What the MUSIC table holds of a resting ECG; no amplitudes, as there."""

FAILING = ("DCM", "MI", "LBBB", "RBBB", "LVH")
LOW_EF = 50.0

CLINIC = "heart-failure"
"""Setting of the simulator that stands for MUSIC."""

FEWEST = 50
"""Participants below which nothing is fitted."""


def heart_failure_table(survey: Survey, setting: str) -> Table:
    """QRS and LVEF, and a forest on intervals, axes, age and sex, as was done with MUSIC.

    Of a cohort from the setting "heart-failure" everybody counts, of others those who would be sent there.
    """
    ef = survey.phenotype("LVEF")[survey.measured]
    if setting == CLINIC:
        who, note = np.ones(len(ef), bool), f"{len(ef)} participants of a heart-failure clinic."
    else:
        who = np.isin(survey.groups[survey.measured], FAILING) & (ef < LOW_EF)
        note = f"{int(who.sum())} participants of {', '.join(FAILING)} with LVEF below {LOW_EF:g} %, of this cohort."
    title = "Heart failure"
    if who.sum() < FEWEST:
        return Table(title=title, rows=(), note=f"Not measured: {note} At least {FEWEST} are needed.")
    music = "MUSIC table, 992 patients with heart failure [M]"
    correlation = spearman(survey.feature("QRS")[who], ef[who])
    r2 = _cross_validated(_predictors(survey)[who], ef[who])
    return Table(
        title=title,
        rows=(
            Row(name="QRS–LVEF (Spearman)", value=correlation, low=-0.4, high=-0.2, source=music),
            Row(name="R² for LVEF from measurements", value=r2, low=0.09, high=0.25, source=music),
        ),
        note=note,
    )


def _predictors(survey: Survey) -> NDArray[np.float64]:
    measured = np.array([survey.feature(name) for name in FEATURES])
    people = [survey.age[survey.measured], (survey.sex[survey.measured] == "M").astype(np.float64)]
    table = np.vstack([measured, people]).T
    return np.where(np.isfinite(table), table, np.nanmedian(table, axis=0))  # P is missing in fibrillation


def _cross_validated(predictors: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    forest = RandomForestRegressor(200, min_samples_leaf=10, random_state=0)
    return float(r2_score(truth, cross_val_predict(forest, predictors, truth, cv=5)))
