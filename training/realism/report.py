"""Report: a cohort beside the published numbers, as a page with plots and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from rich.progress import Progress

from models.ecg.recording import LEADS
from training.realism.ceiling import read_ceilings
from training.realism.discriminate import Discrimination, discriminate
from training.realism.features import features
from training.realism.heart_failure import heart_failure_table, visit_clinic
from training.realism.median_beat import NoMedianBeat
from training.realism.real import normal_ecgs
from training.realism.survey import Survey, survey
from training.realism.tables import (
    acdc_table,
    ceiling_table,
    count_table,
    discrimination_table,
    ecg_table,
    label_table,
    phenotype_table,
    relation_table,
    verdicts,
)
from training.simulate.published import ECG_MEDIANS, PETERSEN

matplotlib.use("Agg")

PATIENTS = 1000
"""Of the heart-failure clinic, as many as MUSIC has."""

_SIMULATED = 400
"""Simulated normals that are shown to the discriminator: real ones are far fewer."""

_FEWEST = 12  # two of each kind in every fold

_BLUE, _RED, _GREY = "#2563a8", "#b3382c", "#777777"


def write_report(
    cohort: Path,
    folder: Path,
    real: Path | None,
    processes: int,
    progress: Progress,
    patients: int = PATIENTS,
) -> Sequence[str]:
    """Measure the cohort and write index.html, report.md and the plots.

    Parameters
    ----------
    cohort, folder : where it lies, and where the report goes
    real : folder of real normal ECGs, or None
    patients : of the heart-failure clinic that is simulated beside the cohort

    Returns
    -------
    One line for each table: how many targets are met, and which are not.
    """
    known = None if real is None else measured_normals(real)  # first, so that a wrong folder is told at once
    found = survey(cohort, processes, progress)
    discrimination = None if known is None else _discriminated(found, known)
    tables = [
        phenotype_table(found),
        acdc_table(found),
        ecg_table(found),
        relation_table(found),
        heart_failure_table(visit_clinic(patients, processes, progress)),
        label_table(found),
        discrimination_table(discrimination),
        ceiling_table(read_ceilings(cohort)),
        count_table(found),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    plots = {"phenotypes.png": _phenotypes(found), "amplitudes.png": _amplitudes(found), "qrs.png": _qrs(found)}
    for name, figure in plots.items():
        figure.savefig(folder / name, dpi=110)
    page = {"tables": tables, "participants": len(found.groups), "plots": list(plots), "verdicts": verdicts(tables)}
    for name, template in (("index.html", _HTML), ("report.md", _MARKDOWN)):
        environment = jinja2.Environment(autoescape=name.endswith("html"), trim_blocks=True, lstrip_blocks=True)
        (folder / name).write_text(environment.from_string(template).render(page))
    return verdicts(tables)


def measured_normals(real: Path) -> list[dict[str, float]]:
    """Features of the real normal ECGs in which a beat repeats."""
    rows = []
    for recording in normal_ecgs(real):
        with suppress(NoMedianBeat):  # the report says how many real ECGs were measured
            rows.append(features(recording))
    return rows


def _discriminated(found: Survey, known: list[dict[str, float]]) -> Discrimination | None:
    """None where either kind is too rare to be split into folds."""
    rows = [row for row, normal in zip(found.features, found.normal, strict=True) if normal]
    return discriminate(known, rows[:_SIMULATED]) if min(len(known), len(rows)) >= _FEWEST else None


def _phenotypes(found: Survey) -> Figure:
    """Distributions of normals by sex over the published mean ± SD."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    for axes, (symbol, of) in zip(figure.subplots(2, 5).ravel(), PETERSEN.items(), strict=True):
        for sex, colour in (("M", _BLUE), ("F", _RED)):
            values = found.phenotype(symbol)[(found.groups == "normal") & (found.sex == sex)]
            published = of["M" if sex == "M" else "F"]
            if len(values):
                axes.hist(values, 30, density=True, color=colour, alpha=0.45)
            axes.axvline(published.mean, color=colour, lw=1.5)
            axes.axvspan(published.mean - published.sd, published.mean + published.sd, color=colour, alpha=0.08)
        axes.set_title(f"{symbol}, {published.unit}", fontsize=9)
        axes.set_yticks([])
    figure.suptitle("Simulated normals (men blue, women red); lines and bands: published mean ± SD", fontsize=10)
    return figure


def _amplitudes(found: Survey) -> Figure:
    """Median and 5 to 95 % of R, S and T in each lead, with the published medians."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, wave in zip(figure.subplots(1, 3), "RST", strict=True):
        table = np.array([found.feature(f"{wave}_{lead}")[found.normal] for lead in LEADS])
        low, middle, high = np.quantile(table, [0.05, 0.5, 0.95], axis=1) if table.size else np.zeros((3, len(LEADS)))
        place = np.arange(len(LEADS))
        axes.vlines(place, low, high, color=_BLUE, lw=5, alpha=0.35)
        axes.plot(place, middle, "_", color=_BLUE, ms=12, mew=2, label="simulated, 5 to 95 %")
        known = [
            (n, ECG_MEDIANS[f"{wave}_{lead}"].mean) for n, lead in enumerate(LEADS) if f"{wave}_{lead}" in ECG_MEDIANS
        ]
        axes.plot(*zip(*known, strict=True), "o", color=_RED, ms=5, label="published median")
        axes.set_xticks(place, LEADS, fontsize=8)
        axes.set_title(f"{wave}, mV", fontsize=10)
    axes.legend(fontsize=8)
    return figure


def _qrs(found: Survey) -> Figure:
    """QRS duration by class, and against mass and ejection fraction."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    groups, qrs = found.groups[found.measured], found.feature("QRS")
    names = sorted(set(groups.tolist()))
    first.boxplot([qrs[groups == name] for name in names], whis=(5, 95), showfliers=False)
    first.set_xticks(range(1, len(names) + 1), names, fontsize=8, rotation=45)
    first.set_ylabel("QRS, ms")
    for axes, symbol in ((second, "LVM"), (third, "LVEF")):
        value = found.phenotype(symbol)[found.measured]
        axes.plot(value[~found.normal], qrs[~found.normal], ".", ms=2, color=_GREY, label="diseased")
        axes.plot(value[found.normal], qrs[found.normal], ".", ms=2, color=_BLUE, label="normal")
        axes.set_xlabel(symbol)
        axes.legend(fontsize=8)
    return figure


_HTML = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Simulated cohort: realism</title>
<style>
 body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
 table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
 th, td { padding: .15rem .6rem; border-bottom: 1px solid #ddd; text-align: left; }
 td.number { text-align: right; } td.source { color: #777; font-size: .8rem; }
 .missed { background: #fdecea; color: #b3382c; font-weight: 600; } .met { color: #1a7f4b; }
 img { max-width: 100%; }
</style>
<h1>Simulated cohort of {{ participants }} participants: realism</h1>
<p>Simulated hearts, not patients. [A] read in an abstract or table, [R] recalled and to be verified,
[M] measured by this project on the named table.</p>
<ul>{% for line in verdicts %}<li>{{ line }}</li>{% endfor %}</ul>
{% for plot in plots %}<p><img src="{{ plot }}" alt="{{ plot }}"></p>{% endfor %}
{% for table in tables %}
<h2>{{ table.title }}</h2>
{% if table.note %}<p>{{ table.note }}</p>{% endif %}
{% if table.rows %}<table><tr><th>line<th>value<th>unit<th>target<th>verdict<th>source, and why not (suspected)</tr>
{% for row in table.rows %}
<tr><td>{{ row.name }}<td class="number">{{ row.figure }}<td>{{ row.unit }}<td>{{ row.target }}<td
 class="{{ 'missed' if row.verdict == 'not met' else 'met' }}">{{ row.verdict }}<td class="source">{{ row.source }}
 {{ row.why }}</tr>
{% endfor %}</table>{% endif %}
{% endfor %}
</html>
"""

_MARKDOWN = """# Simulated cohort of {{ participants }} participants: realism

Simulated hearts, not patients. [A] read in an abstract or table, [R] recalled and to be verified, [M] measured by this
project on the named table.

{% for line in verdicts %}
- {{ line }}
{% endfor %}
{% for plot in plots %}

![{{ plot }}]({{ plot }})
{% endfor %}
{% for table in tables %}

## {{ table.title }}
{% if table.note %}

{{ table.note }}
{% endif %}
{% if table.rows %}

| line | value | unit | target | verdict | why not (suspected) |
| --- | --- | --- | --- | --- | --- |
{% for row in table.rows %}
| {{ row.name }} | {{ row.figure }} | {{ row.unit }} | {{ row.target }} | {{ row.verdict }} | {{ row.why }} |
{% endfor %}
{% endif %}
{% endfor %}
"""
