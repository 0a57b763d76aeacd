"""Import: the commands that make a cohort of a hospital's or a biobank's own files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import JsonValue
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.importing import folder, ukb
from training.importing.cohort_of import REPORT, Imported, import_visits
from training.importing.intake import Rules
from training.importing.label_values import label_values_of
from training.importing.truth import Preference
from training.importing.visit import Visit
from training.simulation import CORES
from training.terminal import progress_bars, refusals

app = typer.Typer(no_args_is_help=True, help="Make a cohort of your own ECGs and cardiac MRs.")

_SHOWN = 20
"""Faults in the printed table; the report has all of them."""

Out = Annotated[Path, typer.Option(help="Folder of the new cohort; import.json there names every fault.")]
OnFault = Annotated[
    Literal["exclude", "refuse"],
    typer.Option("--faults", help="Leave visits with a fault out, or refuse the whole import."),
]
Processes = Annotated[int, typer.Option(min=1, help="Processes that read; the cohort does not depend on it.")]
Cine = Annotated[bool, typer.Option(help="Keep a mid-ventricular slice over the beat, for the temporal objective.")]


@app.command(name="folder")
def folder_command(
    table: Annotated[Path, typer.Argument(help="The CSV; its paths are relative to it.")],
    out: Out,
    label_values: Annotated[
        str, typer.Option(help="Classes of your label maps (LV, myocardium, RV, other); ACDC: 1=RV,2=myocardium,3=LV.")
    ] = "1=LV,2=myocardium,3=RV",
    labels: Annotated[
        Literal["stated", "measured"], typer.Option(help="Which wins: the table's phenotype or the label maps'.")
    ] = "stated",
    tolerance: Annotated[
        float, typer.Option(min=0, help="Percent by which the two may differ before it is a fault.")
    ] = 100 * Preference.tolerance,
    faults: OnFault = "exclude",
    cine: Cine = False,
    processes: Processes = CORES,
) -> None:
    r"""Import the visits that a table names, one a row.

    The columns, of which participant, ecg and the images are required:

    participant: who it is; a split never parts visits of one participant
    visit: which visit, where there are several
    ecg: DICOM, CardioSoft XML, CSV, JSON, a WFDB header, or a zip
    cmr: a short-axis cine, NIfTI, or a folder or zip of DICOM images
    ed, es: instead of cmr, end-diastole and end-systole as NIfTI
    labels: NIfTI label maps of all phases of the cine
    ed_labels, es_labels: instead of labels, of the two phases alone
    sex (F or M), age, height \[cm], weight \[kg], group, rhythm
    LVEDV \[mL], LVESV \[mL], LVM \[g], LVWT \[mm], LVEF [%], CO \[L/min] …

    Paths are relative to the table. Every number names its unit in the
    header; L, kg, cm, m and the like are converted. Stroke volumes,
    ejection fractions and cardiac output are computed anew from volumes
    and heart rate. Without label maps of the whole cine end-diastole and
    end-systole are found by motion.

    Example: python -m training import folder patients.csv --out data/own
    """
    with refusals():
        values = label_values_of(label_values)
        visits = folder.visits_of(table)
        rules = Rules(
            label_values=values,
            preference=Preference(winner=labels, tolerance=tolerance / 100),
            cine=cine,
        )
        _import(visits, out, "training.importing.folder", table, rules, faults, processes)


@app.command(name="ukb")
def ukb_command(
    bulk: Annotated[Path, typer.Argument(help="Folder of the bulk files, at any depth.")],
    table: Annotated[Path, typer.Option(help="CSV with eid and fields such as 24100-2.0 or p24100_i2.")],
    out: Out,
    faults: OnFault = "exclude",
    cine: Cine = True,
    processes: Processes = CORES,
) -> None:
    """Import UK Biobank's imaging visits: ECGs of field 20205 and short-axis cines of field 20209.

    BULK/<eid>_20205_<instance>_0.xml: resting ECG, CardioSoft XML
    BULK/<eid>_20209_<instance>_0.zip: short-axis cine, DICOM

    Instances 2 and 3 are two visits of one participant; an ECG is paired
    with the cine of its own visit only. The table gives the ventricles
    (24100 to 24109), wall thickness (24140), sex (31), age (21003), height
    (50) and weight (21002); other columns are ignored. An ejection fraction
    more than 2 points from what its volumes say is a fault.

    Example: python -m training import ukb bulk --table fields.csv --out data/ukb
    """
    with refusals():
        found = ukb.visits_of(bulk, table)
        rules = Rules(cine=cine)
        _import(found.visits, out, "training.importing.ukb", table, rules, faults, processes, found.unpaired)


def _import(
    visits: Sequence[Visit],
    out: Path,
    source: str,
    table: Path,
    rules: Rules,
    faults: Literal["exclude", "refuse"],
    processes: int,
    unpaired: Sequence[str] = (),
) -> None:
    made: dict[str, JsonValue] = {
        "table": table.name,
        "table_sha256": hashlib.sha256(table.read_bytes()).hexdigest(),
        "label_values": {str(own): common for own, common in rules.label_values.items()},
        "winner": rules.preference.winner,
        "tolerance": rules.preference.tolerance,
        "faults": faults,
    }
    with progress_bars() as progress:
        imported = import_visits(
            visits,
            out,
            source=source,
            made=made,
            rules=rules,
            on_fault=faults,
            progress=progress,
            unpaired=unpaired,
            processes=processes,
        )
    _show(imported, out)


def _show(imported: Imported, out: Path) -> None:
    if imported.faults:
        table = Table("visit", "where", "what is wrong", "what to do")
        for fault in imported.faults[:_SHOWN]:
            table.add_row(*map(escape, (fault.id, fault.column, fault.what, fault.advice)))  # a bracket is no style
        Console().print(table)
    counts = ", ".join(f"{count} {column}" for column, count in imported.columns())
    typer.echo(
        f"{imported.taken} visits are in {out}, {imported.left_out} left out" + (f": {counts}" if counts else "")
    )
    if imported.unpaired:
        typer.echo(f"{len(imported.unpaired)} visits have only an ECG or only a cine")
    typer.echo(f"{out / REPORT} names every fault. Next: python -m training train {out} --work runs/first")
