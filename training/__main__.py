"""The model factory's commands: simulate a cohort, train, export; ``demo`` does all three."""

from __future__ import annotations

import os

# Waiting threads that spin cost a factor of ten as soon as another process wants a core; read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import torch
import typer
from rich.progress import Progress

from models.bundle import Bundle
from training import simulation
from training.checkpoint import Checkpoint
from training.cohort import load
from training.config import Recipe
from training.export import export, free_place
from training.generate import generate
from training.realism.ceiling import read_ceiling
from training.simulation import CORES, CohortFolder, Processes, Seed
from training.terminal import progress_bars, refusals
from training.train import train

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(simulation.app, name="simulate")

Participants = Annotated[int, typer.Option(min=50, help="Hearts to simulate: more is better, at about 0.1 s each.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads that train; bit-equal weights need the same number.")]
Version = Annotated[str, typer.Option(help="Version of the bundle; a released one is never overwritten.")]
Ceilings = Mapping[tuple[str, str], float]
NO_CEILINGS: Ceilings = MappingProxyType({})

Out = Annotated[Path, typer.Option(help="Artifacts folder: the bundle goes to OUT/<name>/<version>/.")]


@app.command()
def demo(
    out: Out,
    work: Annotated[Path, typer.Option(help="Where cohort and checkpoint are kept.")] = Path("runs/demo"),
    participants: Participants = 6000,
    seed: Seed = 1,
    processes: Processes = CORES,
    threads: Threads = CORES,
    version: Version = Recipe.version,
) -> None:
    """Build a model bundle from nothing: simulate hearts, train on them, measure, export.

    Minutes on two cores. Example: python -m training demo --out models/artifacts
    """
    recipe = replace(Recipe(), seed=seed, version=version)
    with refusals():
        free_place(recipe, out)  # now, not after the work
    with progress_bars() as progress:
        _simulated(work / "cohort", participants, seed, processes, progress)
        checkpoint = _trained(work / "cohort", work, recipe, threads, progress)
    _exported(checkpoint, out, read_ceiling(work / "cohort"))


@app.command(name="train")
def train_command(
    folder: CohortFolder,
    work: Annotated[Path, typer.Option(help="Where split file and checkpoint are written.")],
    seed: Seed = 1,
    threads: Threads = CORES,
    version: Version = Recipe.version,
) -> None:
    """Train on a cohort and measure the result: WORK/checkpoint.pt holds everything that export needs.

    Example: python -m training train data/cohort --work runs/first
    """
    with progress_bars() as progress:
        checkpoint = _trained(folder, work, replace(Recipe(), seed=seed, version=version), threads, progress)
    _show(checkpoint, read_ceiling(folder))


@app.command(name="export")
def export_command(
    checkpoint: Annotated[Path, typer.Argument(help="WORK/checkpoint.pt of a training.")], out: Out
) -> None:
    """Write the bundle of a checkpoint: graph, manifest, golden examples, model card.

    Example: python -m training export runs/first/checkpoint.pt --out models/artifacts
    """
    _exported(Checkpoint.load(checkpoint), out)


def _simulated(folder: Path, participants: int, seed: int, processes: int, progress: Progress) -> None:
    with refusals():
        generate(folder, participants=participants, seed=seed, processes=processes, progress=progress)


def _trained(folder: Path, work: Path, recipe: Recipe, threads: int, progress: Progress) -> Checkpoint:
    with refusals():
        cohort = load(folder, unreadable=recipe.split.faults)
        torch.set_num_threads(threads)
        return train(cohort, work, recipe, progress)


def _exported(checkpoint: Checkpoint, out: Path, ceilings: Ceilings = NO_CEILINGS) -> None:
    with refusals():
        bundle = Bundle.open(export(checkpoint, out))
    _show(checkpoint, ceilings)
    typer.echo(f"{bundle.manifest.name} {bundle.manifest.version} ({bundle.digest[:12]}) is in {bundle.path}")


def _show(checkpoint: Checkpoint, ceilings: Ceilings) -> None:
    """R² of each phenotype, over everybody and over normals, and the best that any model could reach where it is known.

    The model card has the rest.
    """
    rows = checkpoint.evaluation.performance
    for group in ("all", "normal"):
        line = "  ".join(f"{row.symbol} {row.r2:.2f}" for row in rows if row.group == group)
        typer.echo(f"R2 on the test split, {group}: {line}")
        best = "  ".join(f"{symbol} {value:.2f}" for (of, symbol), value in ceilings.items() if of == group)
        measured = best or "not measured (python -m training simulate ceiling COHORT)"
        typer.echo(f"Noise ceiling, {group}: {measured}")


if __name__ == "__main__":
    app()
