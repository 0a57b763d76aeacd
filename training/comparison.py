"""Comparison: means over seeds and differences paired by seed, each with its interval, and what they say in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from models.phenotypes import PHENOTYPES
from training.arms import BOTH, ED, ES, LONG_SCRATCH, MASKED, SCRATCH, UNTAUGHT
from training.trials import GROUPS, Trial

LEVEL = 0.95

FUNCTIONAL = ("LVEF", "RVEF", "LVESV", "RVESV")
STRUCTURAL = ("LVEDV", "RVEDV", "LVM", "LVWT")
"""What cannot be known without the end of ventricular systole, and what is seen at the end of diastole alone
(`training.teacher.SHOWN_BY`). In neither: the left atrium, which is largest at end-systole but no function of a
ventricle, and stroke volumes, which follow the size of the heart as much as its function."""

OTHERS = (SCRATCH, LONG_SCRATCH, MASKED)
"""Arms without any scan."""

WHO = dict(zip(GROUPS, ("everybody", "normals"), strict=True))

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
            return f"{self.value:+.3f} (one seed)"
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


@dataclass(frozen=True, kw_only=True)
class Line:
    """One comparison at every share of labels, in everybody and in normals.

    Attributes
    ----------
    cells : (share of labels, group) -> difference of mean R²; without seeds where an arm is missing
    """

    title: str
    cells: Mapping[tuple[float, str], Mean]

    @property
    def known(self) -> bool:
        """Whether it could be made anywhere."""
        return any(mean.seeds for mean in self.cells.values())


def lines(found: Comparison) -> list[Line]:
    """The comparisons that the method is judged by; those of which an arm is missing everywhere are left out."""
    against: list[tuple[str, Callable[..., Mean]]] = [
        (f"{arm}, against {over}", partial(found.gain, arm, over, symbols=EVERY))
        for arm in (UNTAUGHT, BOTH)
        for over in OTHERS
    ]
    second = "gain from the second phase"
    phases: list[tuple[str, Callable[..., Mean]]] = [
        (f"{second}, functional", partial(found.second_phase, symbols=FUNCTIONAL)),
        (f"{second}, structural", partial(found.second_phase, symbols=STRUCTURAL)),
        (f"{second}, functional less structural", found.functional_gain),
    ]
    places = [(labels, group) for labels in found.fractions for group in GROUPS]
    every = [
        Line(title=title, cells={(labels, group): measure(labels=labels, group=group) for labels, group in places})
        for title, measure in (*against, *phases)
    ]
    return [line for line in every if line.known]


def sentences(found: Comparison) -> list[str]:
    """The verdicts: the fair arm at each share of labels, then the published one, then functional phenotypes."""
    told, shares = [], {f"at {labels:.0%}": labels for labels in found.fractions}
    for labels in found.fractions:
        gains = {over: partial(found.gain, UNTAUGHT, over, labels, symbols=EVERY) for over in OTHERS}
        told += _verdict(f"At {labels:.0%} of the labels {UNTAUGHT}, beats", gains)
    for over in (SCRATCH, MASKED):
        gains = {where: partial(found.gain, BOTH, over, labels, symbols=EVERY) for where, labels in shares.items()}
        told += _verdict(f"{BOTH} as published, CMR encoders reading every label, beats {over}", gains)
    extra = {where: partial(found.functional_gain, labels) for where, labels in shares.items()}
    return told + _verdict("Functional phenotypes gain more from the second phase than structural ones", extra)


def _verdict(title: str, measures: Mapping[str, Callable[..., Mean]]) -> list[str]:
    """One sentence, or none where nothing could be compared; each measure is asked for everybody and for normals."""
    parts = []
    for where, measure in measures.items():
        means = {who: measure(group=group) for group, who in WHO.items()}
        known = [f"{mean.verdict} in {who} ({mean.value:+.2f})" for who, mean in means.items() if mean.seeds]
        parts += [f"{where}: {', '.join(known)}"] if known else []
    return [f"{title} {'; '.join(parts)}"] if parts else []
