"""Report of an ablation: Markdown, and the plot of R² against the share of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2
import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.arms import BOTH, FROZEN, MASKED, SCRATCH
from training.comparison import EVERY, FUNCTIONAL, STRUCTURAL, WHO, Comparison, Line, Mean, lines, sentences
from training.config import Split
from training.trials import GROUPS, Trial

matplotlib.use("Agg")

SETS = {"all phenotypes": EVERY, "functional": FUNCTIONAL, "structural": STRUCTURAL}
STRONG = {SCRATCH: "#777777", MASKED: "#c98a00", BOTH: "#2563a8"}


def write_ablation(trials: Sequence[Trial], folder: Path) -> list[str]:
    """Write report.md and ablation.png; returns the sentences."""
    found, split = Comparison(trials), Split()
    train_share = 1 - split.validation - split.calibration - split.test
    folder.mkdir(parents=True, exist_ok=True)
    _plot(found).savefig(folder / "ablation.png", dpi=110)
    environment = jinja2.Environment(autoescape=False, trim_blocks=True, lstrip_blocks=True)  # noqa: S701  # Markdown
    text = environment.from_string(_MARKDOWN).render(
        sentences=sentences(found),
        places=[f"{labels:.0%}, {who}" for labels in found.fractions for who in WHO.values()],
        lines=[[line.title, *_differences(line)] for line in lines(found)],
        trainings=len({trial.key for trial in trials}),
        hours=f"{sum({trial.key: trial.seconds for trial in trials}.values()) / 3600:.1f}",
        seeds=len({trial.seed for trial in trials}),
        validation=f"{100 * split.validation:.0f}",
        enough=f"{100 * split.validation / train_share:.0f}",
        functional=", ".join(FUNCTIONAL),
        structural=", ".join(STRUCTURAL),
        tables=[_table(found, group, labels) for group in GROUPS for labels in found.fractions],
        titles=["arm", *SETS, f"against {SCRATCH}", *EVERY],
    )
    (folder / "report.md").write_text(text)
    return sentences(found)


def _table(found: Comparison, group: str, labels: float) -> dict[str, object]:
    who = "Everybody" if group == "all" else "Normals only"
    rows = [_row(found, arm, labels, group) for arm in found.arms if found.scores(arm, labels, group, EVERY)]
    return {"title": f"{who}, {labels:.0%} of the labels", "rows": rows}


def _differences(line: Line) -> list[str]:
    return [str(mean) if mean.seeds else "–" for mean in line.cells.values()]


def _row(found: Comparison, arm: str, labels: float, group: str) -> list[str]:
    means = [found.mean(arm, labels, group, symbols) for symbols in (*SETS.values(), *((one,) for one in EVERY))]
    gain = "" if arm == SCRATCH else str(found.gain(arm, SCRATCH, labels, group, EVERY))
    cells = [_cell(mean) for mean in means]
    return [arm, *cells[: len(SETS)], gain, *cells[len(SETS) :]]


def _cell(mean: Mean) -> str:
    if mean.seeds == 0:
        return "–"
    return f"{mean.value:.2f}" if mean.seeds < 2 else f"{mean.value:.2f} ± {mean.high - mean.value:.2f}"


def _plot(found: Comparison) -> Figure:
    """Mean R² against the share of labels: everybody above, normals below; bars are 95 % over seeds."""
    figure = Figure(figsize=(14, 9), layout="constrained")
    for row, group in zip(figure.subplots(2, len(SETS), sharex=True), GROUPS, strict=True):
        for axes, (name, symbols) in zip(row, SETS.items(), strict=True):
            _curves(axes, found, group, symbols)
            axes.set_title(f"{name}, {'everybody' if group == 'all' else 'normals'}", fontsize=10)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle("R² on participants never seen, against the share of the labels that training read")
    return figure


def _curves(axes: Axes, found: Comparison, group: str, symbols: Sequence[str]) -> None:
    shown = [arm for arm in found.arms if not arm.endswith(FROZEN)]
    seen = [0.0]
    for n, arm in enumerate(shown):
        means = {labels: found.mean(arm, labels, group, symbols) for labels in found.fractions}
        known = {labels: mean for labels, mean in means.items() if mean.seeds}
        reach = [mean.high - mean.value if mean.seeds > 1 else 0.0 for mean in known.values()]
        colour, width = (STRONG[arm], 2.2) if arm in STRONG else (None, 0.9)
        values = [mean.value for mean in known.values()]
        seen += values
        aside = [labels * 1.03 ** (n - len(shown) / 2) for labels in known]  # so that bars do not hide each other
        axes.errorbar(aside, values, yerr=reach, marker="o", ms=3, label=arm, color=colour, lw=width)
    axes.axhline(0, color="#bbbbbb", lw=0.8)
    axes.set_xscale("log")
    axes.set_xticks(found.fractions, [f"{labels:.0%}" for labels in found.fractions])
    axes.set_xticks([], minor=True)
    axes.set_ylim(max(min(seen) - 0.1, -0.5), min(max(seen) + 0.1, 1.0))


_MARKDOWN = """# Ablation: what each part of the method is worth

Trainings: {{ trainings }}; seeds: {{ seeds }}; hours: {{ hours }}.

Every figure is R² on participants that no training saw, as a mean over seeds ± half of a 95 % interval (Student's t).
Seeds change where the weights start and the order of the batches; the split and whose labels are read are the same for
all, and differences are paired by seed: an interval says how far another seed could move them, not another cohort.

Where labels are scarce, heads read that share alone, but the CMR encoders of the aligned arms learnt from the labels of
every participant of the training part, as published: at small shares these arms know more than those without CMR. The
arm whose CMR encoders read no label is the fair comparison there; they still saw the scans of the whole training part.

The best epoch of heads, and of CMR encoders that learn from labels, is chosen on all labels of the validation part, for
every arm alike. That is {{ validation }} % of the cohort unless the recipe says otherwise: more labels than training
reads at shares below {{ enough }} %. With fewer labels in all, figures would be lower.

Functional: {{ functional }}. Structural: {{ structural }}.

## What it says

{% if lines %}
Differences of mean R² (95 % over seeds) at each share of the labels; the gain from the second phase is that of both
phases over the mean of the arms with one:

| comparison | {{ places|join(" | ") }} |
| --- |{% for _ in places %} --- |{% endfor %}

{% for line in lines %}
| {{ line|join(" | ") }} |
{% endfor %}

A verdict is yes where the whole interval is above zero, no where it is below, undecided where it holds zero or there is
but one seed; in brackets the difference. Nothing corrects for how many verdicts there are.

{% for line in sentences %}
- {{ line }}
{% endfor %}
{% else %}
The arms that would be compared are not there.
{% endif %}

![R² against the share of labels](ablation.png)
{% for table in tables %}

## {{ table.title }}

| {{ titles|join(" | ") }} |
|{% for _ in titles %} --- |{% endfor %}

{% for row in table.rows %}
| {{ row|join(" | ") }} |
{% endfor %}
{% endfor %}
"""
