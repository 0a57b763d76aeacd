"""The model factory's commands: make or import a cohort, train, evaluate, ablate, export; ``demo`` does the chain."""

from __future__ import annotations

import os

# Waiting threads that spin cost a factor of ten as soon as another process wants a core; read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer

from models.bundle import Bundle
from training import cohort_commands, evaluation_commands, simulation
from training.checkpoint import Checkpoint
from training.cohort import load
from training.config import Recipe, read_recipe, stated
from training.distributed import joined, own_device, rank
from training.evaluation_report import write_evaluation
from training.export import export, free_place
from training.generate import generate
from training.importing import commands as importing
from training.realism.ceiling import read_ceiling
from training.run import Precision, Run, device_named
from training.simulation import CORES, CohortFolder, Processes, Seed
from training.terminal import progress_bars, refusals
from training.tracking import tracking
from training.train import train

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(simulation.app, name="simulate")
app.add_typer(importing.app, name="import")
app.add_typer(cohort_commands.app, name="cohort")
app.add_typer(evaluation_commands.app)

Participants = Annotated[int, typer.Option(min=50, help="Hearts to simulate: more is better, at about 0.1 s each.")]
RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", exists=True, help="TOML (training/recipes) or a bundle's manifest.json."),
]
OtherSeed = Annotated[int | None, typer.Option("--seed", min=0, help="Of the training, instead of the recipe's.")]
OtherVersion = Annotated[str | None, typer.Option("--version", help="Of the bundle; a released one never changes.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads that train; bit-equal weights need the same number.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …; auto takes a GPU where there is one.")]
Numbers = Annotated[Precision, typer.Option(help="bf16 multiplies matrices in bfloat16: for GPUs that have it.")]
Compiled = Annotated[bool, typer.Option("--compile", help="Compile the network of the contrastive stage first.")]


class Smaller(StrEnum):
    """Precisions beside fp32."""

    INT8 = "int8"
    FP16 = "fp16"


BOTH = list(Smaller)
Variants = Annotated[list[Smaller], typer.Option(help="Graphs in fewer bits beside fp32, each with its own error.")]
Out = Annotated[Path, typer.Option(help="Artifacts folder: the bundle goes to OUT/<name>/<version>/.")]


@app.command()
def demo(
    out: Out,
    work: Annotated[Path, typer.Option(help="Where cohort, stages and checkpoint are kept.")] = Path("runs/demo"),
    participants: Participants = 6000,
    cohort_seed: Seed = 1,
    processes: Processes = CORES,
    recipe: RecipeFile = None,
    seed: OtherSeed = None,
    version: OtherVersion = None,
    threads: Threads = CORES,
    device: Device = "auto",
) -> None:
    """Build a model bundle from nothing: simulate hearts, train on them in every stage, measure, export.

    An interrupted run continues. Example: python -m training demo --out models/artifacts
    """
    with refusals():
        chosen = _recipe(recipe, seed, version)
        free_place(chosen, out)  # now, not after the work
        with progress_bars() as progress:
            cohort = work / "cohort"
            generate(cohort, participants=participants, seed=cohort_seed, processes=processes, progress=progress)
            checkpoint = _trained(
                cohort, work, chosen, threads, processes, Run(progress=progress, device=device_named(device))
            )
            write_evaluation(checkpoint, load(cohort), work / "evaluation", progress)
        _exported(checkpoint, out, BOTH)
        typer.echo(f"What was measured is in {work / 'evaluation' / 'index.html'}")


@app.command(name="train")
def train_command(
    folder: CohortFolder,
    work: Annotated[Path, typer.Option(help="Where split file, stages, curves and checkpoint are written.")],
    recipe: RecipeFile = None,
    seed: OtherSeed = None,
    version: OtherVersion = None,
    threads: Threads = CORES,
    processes: Processes = CORES,
    device: Device = "auto",
    precision: Numbers = "fp32",
    compiled: Compiled = False,
) -> None:
    """Train on a cohort and measure the result: WORK/checkpoint.pt holds everything that export needs.

    An interrupted run continues after its last epoch. Curves: tensorboard --logdir WORK/curves. Many processes:
    torchrun --nproc-per-node 4 -m training train ... Example: python -m training train data/cohort --work runs/first
    """
    with refusals(), joined(own := own_device(device_named(device))), progress_bars(silent=rank() > 0) as progress:
        run = Run(progress=progress, device=own, precision=precision, compiled=compiled)
        checkpoint = _trained(folder, work, _recipe(recipe, seed, version), threads, processes, run)
        if rank() == 0:
            _show(checkpoint)
            typer.echo(f"Next: python -m training export {work / 'checkpoint.pt'} --out models/artifacts")


@app.command(name="export")
def export_command(
    checkpoint: Annotated[Path, typer.Argument(help="WORK/checkpoint.pt of a training.")],
    out: Out,
    version: OtherVersion = None,
    variant: Variants = BOTH,
) -> None:
    """Write the bundle of a checkpoint: graph and its smaller variants, manifest, golden examples, model card.

    Speeds are measured here, for each provider of a CPU that is installed: leave the machine alone meanwhile.

    Example: python -m training export runs/first/checkpoint.pt --out models/artifacts
    """
    with refusals():
        stored = Checkpoint.load(checkpoint)
        recipe = replace(stored.recipe, version=version or stored.recipe.version)
        _exported(replace(stored, recipe=recipe), out, variant)


def _recipe(path: Path | None, seed: int | None, version: str | None) -> Recipe:
    recipe = Recipe() if path is None else read_recipe(path)
    return replace(
        recipe, seed=recipe.seed if seed is None else seed, version=recipe.version if version is None else version
    )


def _trained(folder: Path, work: Path, recipe: Recipe, threads: int, processes: int, run: Run) -> Checkpoint:
    torch.set_num_threads(threads)
    with _curves(run, work, recipe) as tracked:
        cohort = load(folder, unreadable=recipe.split.faults)
        return train(cohort, work, recipe, tracked, ceilings=read_ceiling(folder), processes=processes)


@contextmanager
def _curves(run: Run, work: Path, recipe: Recipe) -> Iterator[Run]:
    if rank() > 0:
        yield run
        return
    with tracking(work / "curves", stated(recipe)) as tracker:
        yield replace(run, tracker=tracker)


def _exported(checkpoint: Checkpoint, out: Path, variants: Sequence[Smaller]) -> None:
    bundle = Bundle.open(export(checkpoint, out, [variant.value for variant in variants]))
    _show(checkpoint)
    typer.echo(f"{bundle.manifest.name} {bundle.manifest.version} ({bundle.digest[:12]}) is in {bundle.path}")


def _show(checkpoint: Checkpoint) -> None:
    """R² of each phenotype, over everybody and over normals, and the best that any model could reach where it is known.

    The model card has the rest.
    """
    for group in ("all", "normal"):
        rows = [row for row in checkpoint.evaluation.performance if row.group == group]
        typer.echo(f"R2 on the test split, {group}: " + "  ".join(f"{row.symbol} {row.r2:.2f}" for row in rows))
        best = "  ".join(f"{row.symbol} {row.ceiling:.2f}" for row in rows if row.ceiling is not None)
        measured = best or "not measured (python -m training simulate ceiling COHORT)"
        typer.echo(f"Noise ceiling, {group}: {measured}")


if __name__ == "__main__":
    app()
