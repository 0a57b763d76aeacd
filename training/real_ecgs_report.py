"""Report on real ECGs: distributions by diagnosis, directions, and what became of broken files; Markdown and a plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jinja2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.progress import Progress

from models.bundle import BundleError, Manifest
from models.ecg import decode
from models.phenotypes import PHENOTYPES
from models.runtime import Model
from training.real_ecgs import (
    DIRECTIONS,
    NORMAL,
    OTHER,
    Direction,
    Seen,
    directions,
    labelled,
    look,
    of_group,
    unphysiological,
)
from training.realism.real import NoRealEcgs
from training.spoilt_ecgs import GOOD, spoilt

matplotlib.use("Agg")

SHOWN = ("LVEF", "LVEDV", "LVESV", "LVM", "LVWT", "RVEDV", "RVEF", "LAV")
GROUPS = (NORMAL, *dict.fromkeys(group for group, _, _ in DIRECTIONS), "RBBB", "paced", OTHER)

Floats = NDArray[np.float64]

_BLUE, _GREY = "#2563a8", "#777777"


class Unphysiological(BundleError):
    """A bundle gave an estimate that no heart has; the message says which."""


def write_real_ecgs(model: Model, real: Path, folder: Path, progress: Progress) -> list[str]:
    """Read every real ECG and every spoilt one; write report.md and estimates.png.

    Parameters
    ----------
    real : folder with ludb/ and cinc2021_sample/

    Returns
    -------
    One line for each expectation, and one on the spoilt files.

    Raises
    ------
    NoRealEcgs
        If there are none.
    Unphysiological
        If an estimate is no number or outside the physical limits of its phenotype; such must have been withheld.
    """
    files = list(labelled(real))
    task = progress.add_task("read real ECGs", total=len(files), note="")
    seen = []
    for name, groups, data in files:
        seen.append(look(model, name, groups, data))
        progress.advance(task)
    good = _good(
        data for (_, groups, data), one in zip(files, seen, strict=True) if NORMAL in groups and one.unremarked
    )
    broken = {what: look(model, what, frozenset(), data) for what, data in spoilt(decode(good)).items()}
    faults = unphysiological([*seen, *broken.values()])
    if faults:
        raise Unphysiological(f"estimates that no heart has: {'; '.join(faults)}")
    folder.mkdir(parents=True, exist_ok=True)
    _plot(seen).savefig(folder / "estimates.png", dpi=110)
    (folder / "report.md").write_text(markdown(model.bundle.manifest, seen, broken))
    return _told(seen, broken)


def _good(candidates: Iterator[bytes]) -> bytes:
    first = next(candidates, None)
    if first is None:
        raise NoRealEcgs("none of the normal ECGs was read without a warning, so there is none to spoil")
    return first


def markdown(manifest: Manifest, seen: Sequence[Seen], broken: Mapping[str, Seen]) -> str:
    """The whole report as text."""
    environment = jinja2.Environment(autoescape=False, trim_blocks=True, lstrip_blocks=True)  # noqa: S701  # Markdown
    return environment.from_string(_MARKDOWN).render(
        manifest=manifest,
        total=len(seen),
        told=_told(seen, broken),
        titles=["diagnosis", "ECGs", "refused", "withheld", "unlike", *(f"{s}, {PHENOTYPES[s].unit}" for s in SHOWN)],
        groups=[_row(name, seen) for name in _present(seen)],
        directions=[_directed(one) for one in directions(seen)],
        reasons=_reasons(seen).most_common(),
        warnings=Counter(code for one in seen for code in one.warnings).most_common(),
        broken=[(what, fate(one), _numbers(one)) for what, one in broken.items()],
    )


def _present(seen: Sequence[Seen]) -> list[str]:
    return [name for name in GROUPS if any(name in one.groups for one in seen)]


def fate(one: Seen) -> str:
    """What became of one file, in words."""
    if one.refused is not None:
        return f"refused: {one.refused}"
    said = ["all withheld" if one.silent else "answered"]
    if one.inference is not None and one.inference.ood.flag:
        said.append("flagged as unlike the training data")
    if one.warnings:
        said.append(f"warned: {', '.join(dict.fromkeys(one.warnings))}")
    if one.unremarked:
        said.append("without a word")
    return "; ".join(said)


def _told(seen: Sequence[Seen], broken: Mapping[str, Seen]) -> list[str]:
    spoilt_ones = {what: one for what, one in broken.items() if what != GOOD}
    passed = [what for what, one in spoilt_ones.items() if one.unremarked]
    silent = sum(one.silent for one in spoilt_ones.values())
    noticed = (
        f"Of {len(spoilt_ones)} spoilt files {silent} got no estimate, {len(spoilt_ones) - silent - len(passed)} got "
        f"estimates with a warning, and {len(passed)} passed without a word"
    )
    lines = [f"{one.group}: {one.symbol} {one.verdict}" for one in directions(seen)]
    return [*lines, noticed + (f": {', '.join(passed)}" if passed else "")]


def _row(group: str, seen: Sequence[Seen]) -> list[str]:
    mine = [one for one in seen if group in one.groups]
    answers = [one.inference for one in mine if one.inference is not None]
    counts = (
        len(mine),
        len(mine) - len(answers),
        sum(bool(one.abstained) for one in answers),
        sum(one.ood.flag for one in answers),
    )
    return [group, *map(str, counts), *(_quartiles(of_group(seen, group, symbol)) for symbol in SHOWN)]


def _directed(one: Direction) -> list[str]:
    span = "" if one.span is None else f"{one.span[0]:+.1f} to {one.span[1]:+.1f}"
    expected = "higher" if one.expected > 0 else "lower"
    return [one.group, one.symbol, f"{one.n}, {one.normals}", f"{one.difference:+.1f}", span, expected, one.verdict]


def _quartiles(values: Floats) -> str:
    if not len(values):
        return "–"
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.0f} ({low:.0f} to {high:.0f})" if middle >= 20 else f"{middle:.1f} ({low:.1f} to {high:.1f})"


def _reasons(seen: Sequence[Seen]) -> Counter[str]:
    """In how many ECGs what was refused or withheld, and why."""
    counts = Counter(f"the ECG was refused: {one.refused}" for one in seen if one.refused is not None)
    for one in seen:
        found: dict[str, list[str]] = {}
        for abstention in one.inference.abstained if one.inference else []:
            found.setdefault(abstention.reason, []).append(abstention.symbol)
        counts.update(
            f"{'everything' if len(symbols) == len(PHENOTYPES) else ', '.join(symbols)} was withheld: {reason}"
            for reason, symbols in found.items()
        )
    return counts


def _numbers(one: Seen) -> str:
    shown = ((symbol, one.value(symbol)) for symbol in ("LVEF", "LVEDV", "LVM"))
    return ", ".join(f"{symbol} {value:.0f}" for symbol, value in shown if np.isfinite(value)) or "–"


def _plot(seen: Sequence[Seen]) -> Figure:
    """Every estimate by diagnosis; the band holds the middle half of the normal ECGs."""
    names = _present(seen)
    figure = Figure(figsize=(14, 8), layout="constrained")
    for axes, symbol in zip(figure.subplots(2, 4).ravel(), SHOWN, strict=True):
        _distributions(axes, names, [of_group(seen, name, symbol) for name in names])
        axes.set_title(f"{symbol}, {PHENOTYPES[symbol].unit}", fontsize=10)
    figure.suptitle("Estimates from real ECGs by diagnosis: directions only, no truth is known. Not a medical device.")
    return figure


def _distributions(axes: Axes, names: Sequence[str], columns: Sequence[Floats]) -> None:
    if len(columns[0]):
        axes.axvspan(*np.quantile(columns[0], (0.25, 0.75)), color=_BLUE, alpha=0.12)
    for place, values in enumerate(columns):
        height = place + 0.25 * np.linspace(-1, 1, max(len(values), 2))[: len(values)]
        axes.plot(values, height, ".", ms=3, color=_GREY, alpha=0.6)
        if len(values):
            axes.plot(np.median(values), place, "|", ms=18, mew=2.5, color=_BLUE)
    axes.set_yticks(
        range(len(names)), [f"{name} ({len(v)})" for name, v in zip(names, columns, strict=True)], fontsize=8
    )
    axes.invert_yaxis()


_MARKDOWN = """# Real ECGs: {{ manifest.name }} {{ manifest.version }}

**Directions only.** No cardiac MRI of these people is known here, so nothing below says how accurate an estimate is.
{% if manifest.simulated %}
The model learnt from simulated hearts alone and has never seen a real ECG.
{% endif %}
It is not a medical device. Diagnoses are those that cardiologists or carts gave the ECG, not the heart; groups differ
in age and sex too, which nothing here corrects; one ECG may stand in several groups.

{{ total }} ECGs of LUDB (ODC-BY; Kalyakulina et al., IEEE Access 2020) and of the PhysioNet/CinC Challenge 2021 (CC BY;
Reyna et al.), each sent as a file and read as a user's would be. Every estimate that was given is a finite number
within the physical limits of its phenotype; what was not was withheld.

{% for line in told %}
- {{ line }}
{% endfor %}

![Estimates by diagnosis](estimates.png)

## Estimates by diagnosis

Median (quartiles) of the estimates given. "Withheld" counts ECGs of which at least one phenotype was withheld,
"unlike" those flagged as unlike the training data.

| {{ titles|join(" | ") }} |
|{% for _ in titles %} --- |{% endfor %}

{% for row in groups %}
| {{ row|join(" | ") }} |
{% endfor %}

## Directions

Median of the group less that of the normal ECGs, with the 95 % interval of a bootstrap over ECGs.

| diagnosis | phenotype | ECGs, normals | difference | 95 % | expected | verdict |
| --- | --- | --- | ---: | --- | --- | --- |
{% for row in directions %}
| {{ row|join(" | ") }} |
{% endfor %}

## What was withheld, and what was noticed

{% for reason, count in reasons %}
- {{ count }} × {{ reason }}
{% else %}
- nothing was withheld
{% endfor %}

Warnings: {% for code, count in warnings %}{{ code }} {{ count }}{{ ", " if not loop.last }}{% else %}none{% endfor %}.

## Broken on purpose

One normal ECG, spoilt in the ways in which ECGs arrive spoilt. Where the last column holds numbers, they were given.

| what was done | what became of it | estimates |
| --- | --- | --- |
{% for what, happened, numbers in broken %}
| {{ what }} | {{ happened }} | {{ numbers }} |
{% endfor %}
"""
