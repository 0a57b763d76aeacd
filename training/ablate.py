"""Ablate: the method without each of its parts, at several shares of labels and seeds, and what that says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from training.ablation_report import write_ablation
from training.checkpoint import Checkpoint
from training.cohort import Cohort
from training.config import Recipe
from training.trials import Trial, figures, key_of, read_trials, write_trials

RESULTS = "trials.jsonl"

Train = Callable[[Cohort, Path, Recipe], Checkpoint]


def ablate(
    cohort: Cohort,
    folder: Path,
    arms: Callable[[float], Mapping[str, Recipe]],
    *,
    seeds: Sequence[int],
    fractions: Sequence[float],
    train: Train,
) -> list[str]:
    """Train every arm at every share of labels with every seed, and report: FOLDER/report.md, trials.jsonl, plots.

    Trainings that are in the file already are not repeated, so an interrupted ablation goes on where it stood. The
    split, and whose labels may be read, are those of the base recipe, the same for every seed: differences between arms
    are paired. The report tells of the trainings that this call asks for; others in the file stay there untold.

    Parameters
    ----------
    arms : share of labels -> name -> recipe, as `training.arms.arms` makes them of a base recipe
    train : cohort, folder, recipe -> checkpoint; stages of several arms that do the same are done once in that folder

    Returns
    -------
    What the numbers say, a sentence each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trials = read_trials(folder / RESULTS)
    asked = [
        (name, replace(recipe, seed=seed))
        for seed in seeds  # outermost, so that an interrupted ablation has every arm
        for labels in sorted(fractions, reverse=True)
        for name, recipe in arms(labels).items()
    ]
    for name, recipe in asked:
        trials = _with(trials, cohort, folder, name, recipe, train)
        write_trials(folder / RESULTS, trials)
    told = {(key_of(cohort.digest, recipe), name) for name, recipe in asked}
    return write_ablation([trial for trial in trials if (trial.key, trial.arm) in told], folder)


def _with(trials: list[Trial], cohort: Cohort, folder: Path, name: str, recipe: Recipe, train: Train) -> list[Trial]:
    """The trials with one more, unless it is among them; the same training under another name is copied."""
    key = key_of(cohort.digest, recipe)
    same = [trial for trial in trials if trial.key == key]
    if any(trial.arm == name for trial in same):
        return trials
    if same:
        return [*trials, replace(same[0], arm=name)]
    started = time.monotonic()
    measured = train(cohort, folder, recipe).evaluation.performance
    return [
        *trials,
        Trial(
            key=key,
            arm=name,
            labels=recipe.split.labels,
            seed=recipe.seed,
            seconds=time.monotonic() - started,
            r2=figures(measured, "r2"),
            mae=figures(measured, "mae"),
        ),
    ]
