"""Report of an evaluation: every figure with its uncertainty, as Markdown with plots and as one page of HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from rich.progress import Progress

from training.assessment import Agreement, Assessment, assess, worst_covered
from training.bootstrap import Span
from training.checkpoint import Checkpoint
from training.cohort import Cohort
from training.held_out import held_out
from training.plots import plots
from training.proportion import excluding, wilson
from training.realism.ceiling import read_ceiling

NEAR = 0.02
"""Coverage that is as near to the level as is asked for everybody."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text under titles."""

    title: str
    note: str
    titles: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_evaluation(
    checkpoint: Checkpoint, cohort: Cohort, folder: Path, progress: Progress, processes: int = 1
) -> list[str]:
    """Measure a checkpoint on its test part and write report.md, index.html and the plots.

    Returns
    -------
    The most important figures, a sentence each.

    Raises
    ------
    OtherPeople, OtherPreprocessing
        If the checkpoint was trained on another cohort, split or preprocessing.
    """
    held = held_out(checkpoint, cohort, progress, processes)
    found = assess(checkpoint, held, read_ceiling(cohort.folder))
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for number, (title, figure) in enumerate(plots(found).items(), 1):
        file, drawn = f"plot-{number}.png", io.BytesIO()
        figure.savefig(drawn, format="png", dpi=110)
        (folder / file).write_bytes(drawn.getvalue())
        pictures.append({"title": title, "file": file, "data": base64.b64encode(drawn.getvalue()).decode()})
    page = {"found": found, "told": told(found), "tables": tables(found), "pictures": pictures}
    for name, template in (("index.html", _HTML), ("report.md", _MARKDOWN)):
        environment = jinja2.Environment(autoescape=name.endswith("html"), trim_blocks=True, lstrip_blocks=True)
        (folder / name).write_text(environment.from_string(template).render(page))
    return told(found)


def told(found: Assessment) -> list[str]:
    """What to read first."""
    lines = []
    for group in ("all", "normal"):
        figures = [f"{row.performance.symbol} {row.performance.r2:.2f}" for row in found.of_group(group)]
        if figures:
            lines.append(f"R² of {'everybody' if group == 'all' else 'normals only'}: {', '.join(figures)}")
    lines += _covered(found)
    helped = [one.symbol for one in found.risks if one.sure < one.unsure]
    lines.append(f"The half with narrower intervals is nearer to the truth for {len(helped)} of {len(found.risks)}")
    if found.neighbours is not None:
        near = found.neighbours
        lines.append(
            f"The {near.nearest} hearts nearest by embedding differ by {near.embedding:.2f} SD of the phenotypes, "
            f"those by age, sex and heart rate {near.people:.2f}, any two {near.chance:.2f}, at best {near.best:.2f}"
        )
    return lines


def _covered(found: Assessment) -> list[str]:
    """Coverage in everybody, in the worst group, and in how many groups it is not the level."""
    every, cells = found.of_group("all"), [row for row in found.agreements if row.performance.group != "all"]
    near = sum(abs(row.coverage - found.level) <= NEAR for row in every)
    lines = [
        f"Intervals that are meant to cover {found.level:.0%} cover within two points of it in everybody for {near} of "
        f"{len(every)} phenotypes"
    ]
    if cells:
        worst = worst_covered(cells)
        low, high = wilson(*worst.covered)
        off = excluding(found.level, [row.covered for row in cells])
        lines.append(
            f"In groups they cover least for {worst.performance.symbol} in {worst.performance.group}: "
            f"{worst.coverage:.1%} ({low:.1%} to {high:.1%}) of {worst.performance.n}; the 95 % interval (Wilson) "
            f"excludes {found.level:.0%} in {off} of {len(cells)} pairs of group and phenotype "
            f"({off / len(cells):.0%}; chance alone would make it about 5 %)"
        )
    return lines


def tables(found: Assessment) -> list[Table]:
    """All tables, those of everybody first."""
    ranked = [
        [one.group, one.condition, f"{one.positives} of {one.n}", f"{one.auroc:.3f}", _span(one.span, 3)]
        for one in found.rankings
    ]
    stated = [
        [
            one.condition, f"{one.positives} of {one.n}", f"{one.auroc:.3f}", _span(one.span, 3), f"{one.brier:.4f}",
            f"{one.brier_of_prevalence:.4f}",
        ]
        for one in found.reliabilities
    ]  # fmt: skip
    risks = [[one.symbol, f"{one.sure:.2f}", f"{one.unsure:.2f}"] for one in found.risks]
    retrieved = [
        [one.query, one.gallery, str(one.n)]
        + [_recall(share, one.n, one.chance[rank]) for rank, share in one.recall.items()]
        for one in found.retrieval
    ]
    every = [
        *(_agreements(group, found.of_group(group)) for group in found.groups),
        Table(
            title="Reduced ejection fraction: ranking by the estimated LVEF",
            note="Area under the ROC curve, 95 % over participants.",
            titles=["group", "condition", "have it", "AUROC", "95 %"],
            rows=ranked,
        ),
        Table(
            title="Probabilities of conditions",
            note="Ranking, 95 % over participants; Brier's score, beside that of always saying how common it is.",
            titles=["condition", "have it", "AUROC", "95 %", "Brier", "of the prevalence"],
            rows=stated,
        ),
        Table(
            title="Does it know when it does not know?",
            note="MAE of the half with the narrower and of the half with the wider intervals.",
            titles=["phenotype", "surer half", "less sure half"],
            rows=risks,
        ),
        Table(
            title="Which heart is it? Retrieval",
            note="After the contrastive stage, before the encoder moved on; 95 % by Wilson, queries as cases.",
            titles=["query", "among", "n", "R@1", "R@5", "R@10"],
            rows=retrieved,
        ),
    ]
    return [table for table in every if table.rows]


def _agreements(group: str, rows: Sequence[Agreement]) -> Table:
    return Table(
        title=f"{'Everybody' if group == 'all' else group[0].upper() + group[1:]}, n = {rows[0].performance.n}",
        note="",
        titles=[
            "phenotype", "R² (95 %)", "ceiling", "r", "MAE (95 %)", "MAE of the mean", "SD of target",
            "bias (95 %)", "limits of agreement", "covered", "median width",
        ],
        rows=[_agreement(row) for row in rows],
    )  # fmt: skip


def _agreement(row: Agreement) -> list[str]:
    one, spans = row.performance, row.spans
    return [
        f"{one.symbol}, {one.unit}",
        f"{one.r2:.2f} ({_span(spans['r2'], 2)})",
        "–" if one.ceiling is None else f"{one.ceiling:.2f}",
        f"{one.r:.2f}",
        f"{one.mae:.2f} ({_span(spans['mae'], 2)})",
        f"{one.mean_predictor_mae:.2f}",
        f"{one.target_sd:.2f}",
        f"{one.bias:+.2f} ({_span(spans['bias'], 2)})",
        _span(one.limits_of_agreement, 1),
        f"{row.coverage:.1%}",
        f"{row.width:.1f}",
    ]


def _recall(share: float, n: int, chance: float) -> str:
    low, high = wilson(share, n)
    return f"{share:.1%} ({low:.1%} to {high:.1%}; chance {chance:.1%})"


def _span(span: Span, digits: int) -> str:
    return f"{span[0]:.{digits}f} to {span[1]:.{digits}f}"


_MARKDOWN = """# Evaluation of {{ found.name }} {{ found.version }}

{% if found.simulated %}
> **Simulated hearts.** Every ECG and every scan here was computed; none was measured on a person. Never compare these
> figures with those of a cohort of people.

{% endif %}
Not a medical device. {{ found.participants }} participants whom training never saw; 95 % intervals by a bootstrap over
participants. "MAE of the mean" is what always saying the mean of the training part scores.

{% for line in told %}
- {{ line }}
{% endfor %}
{% for picture in pictures %}

## {{ picture.title }}

![{{ picture.title }}]({{ picture.file }})
{% endfor %}
{% for table in tables %}

## {{ table.title }}
{% if table.note %}

{{ table.note }}
{% endif %}

| {{ table.titles|join(" | ") }} |
|{% for _ in table.titles %} --- |{% endfor %}

{% for row in table.rows %}
| {{ row|join(" | ") }} |
{% endfor %}
{% endfor %}
"""

_HTML = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Evaluation of {{ found.name }} {{ found.version }}</title>
<style>
 body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
 table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
 th, td { padding: .15rem .5rem; border-bottom: 1px solid #ddd; text-align: left; }
 .warning { background: #fdecea; color: #b3382c; padding: .6rem 1rem; font-weight: 600; } img { max-width: 100%; }
</style>
<h1>Evaluation of {{ found.name }} {{ found.version }}</h1>
{% if found.simulated %}<p class="warning">Simulated hearts. Every ECG and every scan here was computed; none was
measured on a person. Never compare these figures with those of a cohort of people.</p>{% endif %}
<p>Not a medical device. {{ found.participants }} participants whom training never saw; 95 % intervals by a bootstrap
over participants. "MAE of the mean" is what always saying the mean of the training part scores.</p>
<ul>{% for line in told %}<li>{{ line }}</li>{% endfor %}</ul>
{% for picture in pictures %}
<h2>{{ picture.title }}</h2>
<p><img alt="{{ picture.title }}" src="data:image/png;base64,{{ picture.data }}"></p>
{% endfor %}
{% for table in tables %}
<h2>{{ table.title }}</h2>
{% if table.note %}<p>{{ table.note }}</p>{% endif %}
<table><tr>{% for title in table.titles %}<th>{{ title }}{% endfor %}</tr>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}{% endfor %}</tr>
{% endfor %}</table>
{% endfor %}
</html>
"""
