"""Cohort commands: what is wrong with a cohort, and who is in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from models.phenotypes import PHENOTYPES
from training.check import check, summary, write_report
from training.cohort import Cohort, load
from training.config import Recipe
from training.manifest import UNITS
from training.terminal import progress_bars, refusals

app = typer.Typer(help=__doc__, no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder of a cohort, from whatever source.")]
SHOWN = 20
"""Faults that are printed; the files have all."""


@app.command(name="check")
def check_command(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="Where check.json and check.txt go; FOLDER if not said.")] = None,
    min_duration: Annotated[float, typer.Option(help="Seconds below which an ECG is too short.")] = Recipe.min_duration,
) -> None:
    """Name everything that is wrong, by participant and column: check.json, check.txt. Exit code 1 if anything is.

    Training leaves out what is named here, or refuses the cohort: `faults` under [split] of the recipe.

    Example: python -m training cohort check data/cohort
    """
    with refusals(), progress_bars() as progress:
        faults = check(folder, progress, min_duration)
        table, text = write_report(folder if out is None else out, faults)
    for fault in faults[:SHOWN]:
        typer.echo(str(fault))
    typer.echo(f"{len(faults)} faults ({'; '.join(summary(faults)) or 'nothing is wrong'}): {text}, {table}")
    if faults:
        raise typer.Exit(1)


@app.command()
def describe(folder: Folder) -> None:
    """Tell who is in a cohort: visits by group and sex, which labels are known, in which units, and who made it.

    Example: python -m training cohort describe data/cohort
    """
    with refusals():
        cohort = load(folder)
    for line in description(cohort):
        typer.echo(line)


def description(cohort: Cohort) -> list[str]:
    """A cohort in lines of text."""
    manifest = cohort.manifest
    made = ", ".join(f"{name} {value}" for name, value in manifest.made.items())
    cine = "no cine" if manifest.cine is None else f"cine of {' x '.join(map(str, manifest.cine))}"
    return [
        f"source: {manifest.source}" + (f" ({made})" if made else ""),
        f"{len(cohort)} visits of {len(np.unique(cohort.participants))} participants in {len(cohort.shards)} shards; "
        f"{len(manifest.left_out)} left out by the source",
        f"volumes: {', '.join(manifest.anchors)}, {' x '.join(map(str, manifest.shape))} voxels of "
        f"{' x '.join(f'{step:g}' for step in manifest.spacing)} mm; {cine}",
        f"groups: {_counts(cohort.groups.tolist())}",
        f"sex: {_counts(cohort.sex.tolist())}",
        f"rhythms: {_counts(cohort.rhythms.tolist())}",
        f"ECGs: {_counts([f'{rate:g} Hz' for rate in cohort.sampling_rate])}",
        *(_column(name, getattr(cohort, name)) for name in ("age", "height", "weight", "heart_rate")),
        *(_column(symbol, cohort.column(symbol)) for symbol in PHENOTYPES),
        f"split: {'dealt by a digest of the name' if manifest.split is None else manifest.split}",
        f"digest: {cohort.digest}",
    ]


def _counts(values: list[str]) -> str:
    return ", ".join(f"{count} {value or 'unknown'}" for value, count in Counter(values).most_common())


def _column(name: str, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return f"{name}: unknown"
    low, middle, high = np.quantile(known, (0.05, 0.5, 0.95))
    return f"{name}: {len(known)} known, median {middle:.3g} (5 to 95 %: {low:.3g} to {high:.3g}) {UNITS[name]}"
