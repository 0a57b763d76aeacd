"""Evaluation commands: measure a checkpoint, take the method apart, look at real ECGs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from models.bundle import Bundle
from models.runtime import Model
from training.ablate import ablate as run_ablation
from training.arms import arms
from training.checkpoint import Checkpoint
from training.cohort import Cohort, first_of, load
from training.config import Recipe, read_recipe
from training.evaluation_report import write_evaluation
from training.real_ecgs_report import write_real_ecgs
from training.run import Run, device_named
from training.simulation import CORES, CohortFolder, Processes
from training.terminal import progress_bars, refusals
from training.train import train

app = typer.Typer()

Out = Annotated[Path, typer.Option(help="Folder of the report.")]


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(exists=True, help="WORK/checkpoint.pt of a training.")],
    folder: CohortFolder,
    out: Out,
    processes: Processes = CORES,
) -> None:
    """Measure a checkpoint on the participants it never saw: OUT/index.html, OUT/report.md and plots.

    Refuses a cohort, split or preprocessing other than the checkpoint's.
    Example: python -m training.evaluate runs/first/checkpoint.pt data/cohort --out runs/first/evaluation
    """
    with refusals(), progress_bars() as progress:
        lines = write_evaluation(Checkpoint.load(checkpoint), load(folder), out, progress, processes)
    _tell(lines, out / "index.html")


@app.command()
def ablate(
    folder: CohortFolder,
    out: Out,
    recipe: Annotated[Path | None, typer.Option(exists=True, help="TOML of the whole method.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each arm; intervals need two.")] = 3,
    labels: Annotated[list[float] | None, typer.Option(help="Share of the labels; give it several times.")] = None,
    participants: Annotated[int | None, typer.Option(min=50, help="Only the first shards that hold so many.")] = None,
    frozen: Annotated[bool, typer.Option(help="Every arm also with its encoder frozen.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads that train.")] = CORES,
    processes: Processes = CORES,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …; auto takes a GPU where there is one.")] = "auto",
) -> None:
    """Train heads from scratch, after masked ECGs, or after contrast with CMR (ED, ES, both), with few labels and all.

    No arm has both the masked stage and the contrast. Writes OUT/report.md, OUT/trials.jsonl and a plot.
    What is interrupted goes on where it stood.
    Example: python -m training ablate data/cohort --recipe training/recipes/ablation.toml --out runs/ablation
    """
    shares = labels or [0.01, 0.1, 1.0]
    with refusals(), progress_bars() as progress:
        if not all(0 < share <= 1 for share in shares):
            raise typer.BadParameter("--labels is a share above 0 and at most 1")
        torch.set_num_threads(threads)
        base = Recipe() if recipe is None else read_recipe(recipe)
        run = Run(progress=progress, device=device_named(device))

        def trained(cohort: Cohort, work: Path, arm: Recipe) -> Checkpoint:
            return train(cohort, work, arm, run, processes=processes)

        lines = run_ablation(
            first_of(folder, participants),
            out,
            partial(arms, base, frozen=frozen),
            seeds=range(base.seed, base.seed + seeds),
            fractions=shares,
            train=trained,
        )
    _tell(lines, out / "report.md")


@app.command(name="real-ecgs")
def real_ecgs(
    bundle: Annotated[Path, typer.Argument(help="ARTIFACTS/<name>/<version> of an exported model.")],
    data: Annotated[Path, typer.Option(envvar="ECG2CMR_SHARED_DATA", help="Folder with ludb/ and cinc2021_sample/.")],
    out: Out,
) -> None:
    """Read real ECGs as a user's are, and broken ones: OUT/report.md and a plot. Directions only, no accuracy.

    Example: python -m training real-ecgs models/artifacts/ecg2cmr-sim/0.3.1 --data data/real --out docs/real-ecgs
    """
    with refusals(), progress_bars() as progress:
        model = Model.load(Bundle.open(bundle), provider="cpu", threads=CORES)
        lines = write_real_ecgs(model, data, out, progress)
    _tell(lines, out / "report.md")


def _tell(lines: list[str], report: Path) -> None:
    for line in lines:
        typer.echo(line)
    typer.echo(f"The report is {report}")
