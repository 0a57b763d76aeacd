"""Conditions: the probability of each, calibrated on one split and judged on another, beside a plain regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from models.bundle import ConditionModel
from models.conditions import CONDITIONS, Condition
from models.ecg.recording import Sex
from models.phenotypes import PHENOTYPES, PREDICTED
from training.evaluate import Floats, Predictions

Mask = NDArray[np.bool_]

FEWEST = 10
"""Participants with a condition, and without it, that two coefficients are fitted to or judged on (ten events for each
variable: Peduzzi et al., J Clin Epidemiol 1996;49:1373)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """The participants of one split of whom the truth about a condition is known.

    Attributes
    ----------
    rows : (n,) of the split
    score : (n,) as `Condition.score` gives it
    happened : (n,)
    """

    rows: NDArray[np.intp]
    score: Floats
    happened: Mask

    @property
    def enough(self) -> bool:
        """Whether both kinds are there often enough to fit or judge anything."""
        return int(min(self.happened.sum(), (~self.happened).sum())) >= FEWEST


def scored(condition: Condition, people: Predictions, sex: Sequence[str], correlation: Floats) -> Scored:
    """The score of a condition and whether it holds, for everybody of whom both can be said.

    Parameters
    ----------
    sex : "F", "M" or "" of each participant
    correlation : of the log errors, as the manifest's intervals state it
    """
    rows, scores, happened = [], [], []
    for row, (mean, sd, _) in enumerate(people):
        known: Sex | None = "F" if sex[row] == "F" else "M" if sex[row] == "M" else None
        score = condition.score(PREDICTED, mean, sd, correlation, known)
        holds = condition.holds(dict(zip(PHENOTYPES, people.truth[row], strict=True)), known)
        if score is not None and holds is not None:
            rows.append(row)
            scores.append(score)
            happened.append(holds)
    return Scored(rows=np.array(rows, np.intp), score=np.array(scores), happened=np.array(happened, bool))


def platt(score: Floats, happened: Mask) -> tuple[float, float]:
    """Slope and intercept of the logistic regression on one score (Platt, Advances in Large Margin Classifiers, 1999).

    Platt's own targets keep a probability away from 0 and 1: (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2), here as weights of
    both outcomes for every participant.
    """
    positives, negatives = int(happened.sum()), int((~happened).sum())
    target = np.where(happened, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    doubled, outcome = np.tile(score, 2)[:, None], np.repeat([True, False], len(score))
    fitted = LogisticRegression(C=np.inf).fit(doubled, outcome, np.concatenate((target, 1 - target)))
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def condition_models(
    calibration: Predictions,
    test: Predictions,
    sexes: tuple[Sequence[str], Sequence[str]],
    correlation: Floats,
) -> list[ConditionModel]:
    """Every condition of the catalogue that both splits can judge: fitted on the first, measured on the second.

    One that is too rare, or whose score ranks the wrong way, is left out: an uncalibrated probability is none.

    Parameters
    ----------
    sexes : "F", "M" or "" of each participant of the two splits
    correlation : of the log errors, as the manifest's intervals state it
    """
    found = []
    for condition in CONDITIONS.values():
        fitting = scored(condition, calibration, sexes[0], correlation)
        judging = scored(condition, test, sexes[1], correlation)
        if fitting.enough and judging.enough:
            slope, intercept = platt(fitting.score, fitting.happened)
            if slope > 0:
                found.append(measured(condition.code, slope, intercept, judging))
    return found


def measured(code: str, slope: float, intercept: float, judging: Scored) -> ConditionModel:
    """A calibrated condition with its figures on participants that did not calibrate it."""
    probability, happened = expit(slope * judging.score + intercept), judging.happened
    again_slope, again_intercept = recalibration(probability, happened)
    return ConditionModel(
        code=code,
        slope=slope,
        intercept=intercept,
        n=len(happened),
        positives=int(happened.sum()),
        prevalence=float(happened.mean()),
        auroc=float(roc_auc_score(happened, probability)),
        brier=float(brier_score_loss(happened, probability)),
        calibration_slope=again_slope,
        calibration_intercept=again_intercept,
    )


def recalibration(probability: Floats, happened: Mask) -> tuple[float, float]:
    """Slope and intercept of a logistic regression on the logit: 1 and 0 where probabilities mean what they say.

    (Cox, Biometrika 1958;45:562.)
    """
    tiny = np.finfo(np.float64).eps
    fitted = LogisticRegression(C=np.inf).fit(logit(np.clip(probability, tiny, 1 - tiny))[:, None], happened)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
