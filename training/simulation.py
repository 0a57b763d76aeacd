"""Simulation: the commands for simulated cohorts: make one, draw one participant, report, measure the ceiling."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from training.cohort import load
from training.generate import DEFAULT_SETTING, generate, setting_named
from training.simulate import Again
from training.simulate.dossier import Contents, write_dossier
from training.simulate.setting import SETTINGS
from training.terminal import progress_bars, refusals

app = typer.Typer(invoke_without_command=True)

CORES = os.cpu_count() or 1

Seed = Annotated[int, typer.Option(min=0, help="Of the hearts and of the training: the same seed, the same model.")]
Processes = Annotated[int, typer.Option(min=1, help="Processes that simulate; the hearts do not depend on it.")]
SettingName = Annotated[str, typer.Option(help=f"Which hearts are common: {', '.join(SETTINGS)}.")]
CohortFolder = Annotated[Path, typer.Argument(help="Folder of a simulated cohort.")]


@app.callback()
def simulate(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder of the cohort; what is there already is kept.")] = None,
    participants: Annotated[
        int, typer.Option(min=1, help="Hearts to simulate; benchmarks/simulate.py times them.")
    ] = 6000,
    seed: Seed = 1,
    processes: Processes = CORES,
    setting: SettingName = DEFAULT_SETTING,
) -> None:
    """Simulate participants, each with an ECG and a cardiac MRI of one heart; an interrupted run continues.

    Example: python -m training simulate --participants 20000 --out data/cohort
    """
    if context.invoked_subcommand is not None:
        return
    if out is None:
        raise typer.BadParameter("say where the cohort goes: --out FOLDER")
    with refusals(), progress_bars() as progress:
        generate(out, participants=participants, seed=seed, processes=processes, progress=progress, setting=setting)
    counts = Counter(load(out).groups.tolist())
    typer.echo(
        f"{counts.total()} participants in {out}: " + ", ".join(f"{n} {name}" for name, n in counts.most_common())
    )
    typer.echo(f"Next: python -m training simulate report {out}, or python -m training train {out} --work runs/first")


@app.command()
def show(
    seed: Annotated[int, typer.Argument(min=0, help="Of the participant: the number in its id.")],
    out: Annotated[Path, typer.Option(help="A .png or .html file.")],
    setting: SettingName = DEFAULT_SETTING,
) -> None:
    """Draw one participant on one page: ECG, heart, activation and phenotypes.

    Example: python -m training simulate show 1000000 --out heart.png
    """
    from training.realism.show import show as draw  # noqa: PLC0415  # Matplotlib is not needed by other commands

    with refusals():
        draw(seed, out, setting_named(setting))
    typer.echo(f"participant {seed} is drawn in {out}")


@app.command()
def export(
    seed: Annotated[int, typer.Argument(min=0, help="Of the participant: the number in its id.")],
    out: Annotated[Path, typer.Option(help="Folder of the files.")],
    phases: Annotated[int, typer.Option(min=2, max=50, help="Of the cines, evenly over the beat.")] = 25,
    dicom: Annotated[bool, typer.Option(help="Scans as DICOM series too; NIfTI is always written.")] = False,
    acceleration: Annotated[float, typer.Option(help="Also raw k-space, so much undersampled; 0 for none.")] = 0.0,
    rate: Annotated[int, typer.Option(help="Samples of the ECG in a second: 250, 500 or 1000.")] = 500,
    day: Annotated[int, typer.Option(min=0, help="0 is the first visit; later ones draw all but the heart anew.")] = 0,
    setting: SettingName = DEFAULT_SETTING,
) -> None:
    """Write one participant as a hospital's files: ECG (WFDB, DICOM, MUSE XML), scans, label maps, truth.

    Example: python -m training simulate export 1000000 --out files --dicom
    """
    contents = Contents(
        ecg=("WFDB", "DICOM", "MUSE") if rate <= 500 else ("WFDB", "DICOM"),  # MUSE knows 250 and 500 Hz
        sampling_rate=rate,
        scans=("NIfTI", "DICOM") if dicom else ("NIfTI",),
        phases=phases,
        acceleration=acceleration,
    )
    with refusals():
        written = write_dossier(out, seed, contents, Again.another_day(day), setting_named(setting))
    typer.echo(f"{len(written)} files in {out}: a simulated heart, not a patient; {written[-1].name} says what is true")


@app.command()
def report(
    folder: CohortFolder,
    real: Annotated[
        Path | None, typer.Option(envvar="ECG2CMR_SHARED_DATA", help="Real normal ECGs: a folder with LUDB, CinC 2021.")
    ] = None,
    processes: Processes = CORES,
) -> None:
    """Compare a cohort with what was published, table by table: FOLDER/report/index.html.

    Example: python -m training simulate report data/cohort
    """
    from training.realism.report import write_report  # noqa: PLC0415  # as above

    with refusals(), progress_bars() as progress:
        verdicts = write_report(folder, folder / "report", real, processes, progress)
    for line in verdicts:
        typer.echo(line)
    typer.echo(f"The report is in {folder / 'report' / 'index.html'}")


@app.command()
def ceiling(
    folder: CohortFolder,
    hearts: Annotated[int, typer.Option(min=40, help="Hearts whose ECG is drawn again.")] = 2000,
    draws: Annotated[int, typer.Option(min=2, help="ECGs of each: new electrodes, rhythm and noise.")] = 4,
    processes: Processes = CORES,
) -> None:
    """Measure the best R² that any model could reach on this cohort: FOLDER/ceiling.json, shown with every training.

    Example: python -m training simulate ceiling data/cohort
    """
    from training.realism.ceiling import write_ceiling  # noqa: PLC0415  # as above

    with refusals(), progress_bars() as progress:
        ceilings = write_ceiling(folder, hearts, draws, processes, progress)
    for group in ("all", "normal"):
        line = "  ".join(f"{one.symbol} {one.ceiling:.2f}" for one in ceilings if one.group == group)
        typer.echo(f"Best R2 that a model could reach, from trees on features, {group}: {line}")
