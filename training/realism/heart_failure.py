"""Heart failure: how much of LVEF the measurements of an ECG tell, beside what they tell in real patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_predict

from training.processes import pool
from training.realism.features import features
from training.realism.median_beat import NoMedianBeat
from training.realism.tables import Row, Table, spearman
from training.simulate import heart_of, record_ecg
from training.simulate.published import MUSIC, MUSIC_MEASUREMENT_R2, MUSIC_SHARE_OF_LVEF, MUSIC_SPEARMAN
from training.simulate.setting import HEART_FAILURE

Array = NDArray[np.float64]

FEATURES = ("HR", "PR", "QRS", "QT", "QTc", "P", "QRS axis", "T axis")
"""What the MUSIC table holds of a resting ECG; no amplitudes, as there."""

FIRST_SEED = 2**62
"""The patients of the clinic are in no cohort: those count their seeds in millions."""

_SOURCE = "MUSIC table, 992 patients with heart failure [M]"


@dataclass(frozen=True, eq=False, kw_only=True)
class Clinic:
    """Simulated patients with heart failure, one row each.

    Attributes
    ----------
    predictors : (n, 10)
        `FEATURES`, age, male sex; NaN where a wave is missing.
    lvef : (n,) per cent
    """

    predictors: Array
    lvef: Array

    @property
    def qrs(self) -> Array:
        """Duration of the QRS complex, ms."""
        return np.asarray(self.predictors[:, FEATURES.index("QRS")])


def visit_clinic(patients: int, processes: int, progress: Progress) -> Clinic:
    """Simulate patients of the setting "heart-failure", without their scans, and measure their ECGs."""
    task = progress.add_task("heart-failure clinic", total=patients, note="")
    rows = []
    with pool(processes) as workers:
        for row in workers.map(_patient, range(FIRST_SEED, FIRST_SEED + patients), chunksize=5):
            progress.advance(task)
            rows += [] if row is None else [row]
    table = np.array(rows)
    return Clinic(predictors=table[:, :-1], lvef=table[:, -1])


def _patient(seed: int) -> list[float] | None:
    """Predictors and LVEF; None where no beat repeats."""
    heart = heart_of(seed, HEART_FAILURE)
    try:
        found = features(record_ecg(heart))
    except NoMedianBeat:
        return None
    person = heart.subject.person
    lvef = 100 * heart.subject.volumes.lv_ejected
    return [*(found[name] for name in FEATURES), person.age, float(person.sex == "M"), lvef]


def heart_failure_table(clinic: Clinic) -> Table:
    """QRS and LVEF, and a forest on intervals, axes, age and sex, as was done with MUSIC."""
    lvef, qrs, published = clinic.lvef, clinic.qrs, MUSIC["LVEF"]
    correlation, r2 = MUSIC_SPEARMAN["QRS", "LVEF"], MUSIC_MEASUREMENT_R2["LVEF"]
    low = 100 * MUSIC_SHARE_OF_LVEF[35.0]
    rows = (
        Row(name="QRS–LVEF (Spearman)", value=spearman(qrs, lvef), low=correlation - 0.1, high=correlation + 0.1),
        Row(name="R² for LVEF from measurements", value=_cross_validated(clinic), low=r2 - 0.08, high=r2 + 0.08),
        Row(name="LVEF: mean", value=float(lvef.mean()), low=published.mean - 3, high=published.mean + 3, unit="%"),
        Row(name="LVEF: SD", value=float(lvef.std()), low=0.85 * published.sd, high=1.15 * published.sd, unit="%"),
        Row(name="LVEF at most 35 %", value=100 * float((lvef <= 35).mean()), low=low - 8, high=low + 8, unit="%"),
        Row(name="QRS: mean (MUSIC 125.5)", value=float(qrs.mean()), low=None, high=None, unit="ms"),
        Row(name="QRS: SD (MUSIC 35.1)", value=float(qrs.std()), low=None, high=None, unit="ms"),
    )
    note = f"{len(lvef)} patients of the setting heart-failure beside the {_SOURCE}."
    return Table(title="Heart failure", rows=rows, note=note)


def _cross_validated(clinic: Clinic) -> float:
    """Out-of-fold R² of a forest; a wave that is missing takes the median (P in fibrillation)."""
    table = np.where(np.isfinite(clinic.predictors), clinic.predictors, np.nanmedian(clinic.predictors, axis=0))
    forest = RandomForestRegressor(200, min_samples_leaf=10, random_state=0)
    return float(r2_score(clinic.lvef, cross_val_predict(forest, table, clinic.lvef, cv=5)))
