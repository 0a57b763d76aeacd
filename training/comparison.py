"""Comparison: means over seeds and differences paired by seed, each with its interval, and what they say in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from models.phenotypes import PHENOTYPES
from training.arms import BOTH, ED, ES, LONG_SCRATCH, MASKED, SCRATCH, UNTAUGHT
from training.trials import Trial

LEVEL = 0.95

FUNCTIONAL = ("LVEF", "RVEF", "LVESV", "RVESV")
STRUCTURAL = ("LVEDV", "RVEDV", "LVM", "LVWT")
"""What cannot be known without the end of ventricular systole, and what is seen at the end of diastole alone
(`training.teacher.SHOWN_BY`). In neither: the left atrium, which is largest at end-systole but no function of a
ventricle, and stroke volumes, which follow the size of the heart as much as its function."""

EVERY = tuple(symbol for symbol in PHENOTYPES if symbol != "CO")
"""Cardiac output depends on the heart rate, which an ECG simply states."""


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over seeds and its interval by Student's t.

    Attributes
    ----------
    low, high : infinite where there are fewer than two seeds
    """

    value: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> str:
        """Whether it is above zero."""
        if self.low > 0:
            return "yes"
        return "no" if self.high < 0 else "undecided"

    def __str__(self) -> str:
        if self.seeds < 2:
            return f"{self.value:+.3f} (one seed, no interval)"
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def mean_of(values: Iterable[float]) -> Mean:
    """Of the seeds in which the value exists."""
    known = np.array([value for value in values if math.isfinite(value)])
    if len(known) < 2:
        value = float(known[0]) if len(known) else math.nan
        return Mean(value=value, low=-math.inf, high=math.inf, seeds=len(known))
    middle, error = float(known.mean()), float(stats.sem(known))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(known) - 1)) * error
    return Mean(value=middle, low=middle - reach, high=middle + reach, seeds=len(known))


@dataclass(frozen=True, eq=False)
class Comparison:
    """All trials of an ablation, as they are asked for."""

    trials: Sequence[Trial]

    @property
    def fractions(self) -> list[float]:
        """Shares of labels, the smallest first."""
        return sorted({trial.labels for trial in self.trials})

    @property
    def arms(self) -> list[str]:
        """In the order of the first trial of each."""
        return list(dict.fromkeys(trial.arm for trial in self.trials))

    def scores(self, arm: str, labels: float, group: str, symbols: Sequence[str]) -> dict[int, float]:
        """Seed -> mean R² over some phenotypes."""
        return {
            trial.seed: trial.score(group, symbols)
            for trial in self.trials
            if (trial.arm, trial.labels) == (arm, labels)
        }

    def mean(self, arm: str, labels: float, group: str, symbols: Sequence[str]) -> Mean:
        """Over seeds."""
        return mean_of(self.scores(arm, labels, group, symbols).values())

    def gain(self, arm: str, over: str, labels: float, group: str, symbols: Sequence[str]) -> Mean:
        """How much more one arm reaches than another, paired by seed."""
        mine, other = (self.scores(one, labels, group, symbols) for one in (arm, over))
        return mean_of(mine[seed] - other[seed] for seed in mine if seed in other)

    def functional_gain(self, labels: float, group: str) -> Mean:
        """By how much more functional phenotypes gain from the second phase than structural ones, paired by seed.

        The gain is that of both phases over the mean of the arms with one.
        """
        seeds = [self.scores(arm, labels, group, EVERY).keys() for arm in (BOTH, ED, ES)]
        gains = [self._second_phase(labels, group, symbols) for symbols in (FUNCTIONAL, STRUCTURAL)]
        return mean_of(gains[0][seed] - gains[1][seed] for seed in set.intersection(*map(set, seeds)))

    def second_phase(self, labels: float, group: str, symbols: Sequence[str]) -> Mean:
        """The gain of both phases over the mean of the arms with one."""
        return mean_of(self._second_phase(labels, group, symbols).values())

    def _second_phase(self, labels: float, group: str, symbols: Sequence[str]) -> dict[int, float]:
        both, ed, es = (self.scores(arm, labels, group, symbols) for arm in (BOTH, ED, ES))
        return {seed: both[seed] - (ed[seed] + es[seed]) / 2 for seed in both if seed in ed and seed in es}


def sentences(found: Comparison) -> list[str]:
    """What the numbers say, at every share of labels, in everybody and in normals; nothing where an arm is missing."""
    lines = []
    for labels in found.fractions:
        for group in ("all", "normal"):
            where = f"at {labels:.0%} of the labels, {'everybody' if group == 'all' else 'normals only'}"
            for arm in (BOTH, UNTAUGHT):
                lines += _against_others(found, arm, labels, group, where)
            extra = found.functional_gain(labels, group)
            if extra.seeds:
                parts = [f"{found.second_phase(labels, group, symbols)}" for symbols in (FUNCTIONAL, STRUCTURAL)]
                lines.append(
                    f"Functional phenotypes gain more from the second phase than structural ones {where}: "
                    f"{extra.verdict}, R² {extra}; functional {parts[0]}, structural {parts[1]}"
                )
    return lines


def _against_others(found: Comparison, arm: str, labels: float, group: str, where: str) -> list[str]:
    """An arm against those without any scan; it is said where its CMR encoders knew more labels than the others."""
    gains = {over: found.gain(arm, over, labels, group, EVERY) for over in (SCRATCH, LONG_SCRATCH, MASKED)}
    unfair = "; its CMR encoders read every label" if arm == BOTH and labels < 1 else ""
    return [
        f"{arm} beats {over} {where}: {gain.verdict}, mean R² {gain}{unfair}"
        for over, gain in gains.items()
        if gain.seeds
    ]
