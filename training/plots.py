"""Plots of an assessment: estimates against truth, differences, probabilities, uncertainty, retrieval, ceilings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.phenotypes import PHENOTYPES
from training.assessment import Agreement, Assessment
from training.evaluate import Floats
from training.reliability import BINS

matplotlib.use("Agg")

_BLUE, _RED, _GREY = "#2563a8", "#b3382c", "#777777"


def plots(found: Assessment) -> dict[str, Figure]:
    """Title -> figure; what was not measured has none."""
    figures = {
        "Estimated against measured": _grid(found, _scatter),
        "Differences (Bland and Altman)": _grid(found, _differences),
        "R² beside the noise ceiling": _bars(found),
    }
    if found.risks:
        figures["Error of the surest"] = _risks(found)
    if found.reliabilities:
        figures["Probabilities"] = _reliabilities(found)
    if found.retrieval:
        figures["Retrieval"] = _retrieval(found)
    return figures


def _grid(found: Assessment, draw: Callable[[Axes, Agreement, Floats, Floats], None]) -> Figure:
    figure = Figure(figsize=(14, 10), layout="constrained")
    rows = found.of_group("all")
    for axes, row in zip(figure.subplots(3, 4).ravel(), rows, strict=False):
        symbol = row.performance.symbol
        truth, point = found.test.measured(symbol), found.points[symbol]
        known = np.isfinite(truth) & np.isfinite(point)
        draw(axes, row, truth[known], point[known])
    return figure


def _scatter(axes: Axes, row: Agreement, truth: Floats, point: Floats) -> None:
    symbol = row.performance.symbol
    axes.plot(truth, point, ".", ms=2, color=_BLUE, alpha=0.4, rasterized=True)
    ends = [float(min(truth.min(), point.min())), float(max(truth.max(), point.max()))]
    axes.plot(ends, ends, color=_GREY, lw=0.8)
    axes.set_title(f"{symbol}, {PHENOTYPES[symbol].unit}: R² {row.performance.r2:.2f}", fontsize=9)
    axes.set_xlabel("measured", fontsize=8)
    axes.set_ylabel("estimated", fontsize=8)


def _differences(axes: Axes, row: Agreement, truth: Floats, point: Floats) -> None:
    one = row.performance
    axes.plot((truth + point) / 2, point - truth, ".", ms=2, color=_BLUE, alpha=0.4, rasterized=True)
    for height, colour in ((one.bias, _RED), *((limit, _GREY) for limit in one.limits_of_agreement)):
        axes.axhline(height, color=colour, lw=1)
    axes.set_title(f"{one.symbol}, {one.unit}: bias {one.bias:+.1f}", fontsize=9)
    axes.set_xlabel("mean of both", fontsize=8)
    axes.set_ylabel("estimated less measured", fontsize=8)


def _bars(found: Assessment) -> Figure:
    """R² with its interval, everybody and normals, and the ceiling where it was measured."""
    groups = [group for group in ("all", "normal") if group in found.groups]
    figure = Figure(figsize=(13, 3.6 * len(groups)), layout="constrained")
    for axes, group in zip(figure.subplots(len(groups), 1, squeeze=False).ravel(), groups, strict=True):
        rows = found.of_group(group)
        place, height = np.arange(len(rows)), np.array([row.performance.r2 for row in rows])
        low, high = np.array([row.spans["r2"] for row in rows]).T
        axes.bar(place, height, 0.6, color=_BLUE, alpha=0.8)
        axes.errorbar(place, height, yerr=np.maximum([height - low, high - height], 0), fmt="none", ecolor="#222222")
        ceilings = np.array([np.nan if row.performance.ceiling is None else row.performance.ceiling for row in rows])
        axes.plot(place, ceilings, "_", ms=26, mew=2.5, color=_RED, label="noise ceiling")
        axes.axhline(0, color=_GREY, lw=0.8)
        axes.set_ylim(min(max(float(np.nanmin(low)) - 0.05, -1), 0), 1)
        axes.set_xticks(place, [row.performance.symbol for row in rows], fontsize=9)
        axes.set_title(f"{'everybody' if group == 'all' else 'normals only'}, n = {rows[0].performance.n}", fontsize=10)
        if np.isfinite(ceilings).any():
            axes.legend(fontsize=8)
    return figure


def _reliabilities(found: Assessment) -> Figure:
    figure = Figure(figsize=(3.4 * len(found.reliabilities), 3.6), layout="constrained")
    drawn = figure.subplots(1, len(found.reliabilities), squeeze=False).ravel()
    for axes, one in zip(drawn, found.reliabilities, strict=True):
        axes.plot([0, 1], [0, 1], color=_GREY, lw=0.8)
        axes.plot(one.stated, one.observed, "o-", color=_BLUE, ms=4)
        axes.set_title(f"{one.condition}: Brier {one.brier:.3f}", fontsize=9)
        axes.set_xlabel("probability stated", fontsize=8)
        axes.set_ylabel("share that has it", fontsize=8)
    return figure


def _risks(found: Assessment) -> Figure:
    """MAE of the surest share, as a share of the MAE of all."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    share = np.arange(1, BINS + 1) / BINS
    for n, one in enumerate(found.risks):
        axes.plot(share, one.curve / one.curve[-1], color=_colour(n), label=one.symbol, lw=1.2)
    axes.axhline(1, color=_GREY, lw=0.8)
    axes.set_xlabel("share of the participants, the narrowest intervals first")
    axes.set_ylabel("MAE of these / MAE of all")
    axes.legend(fontsize=8, ncols=3)
    return figure


def _colour(n: int) -> tuple[float, float, float, float]:
    red, green, blue, alpha = matplotlib.colormaps["tab20"](n)
    return red, green, blue, alpha


def _retrieval(found: Assessment) -> Figure:
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    axes, names = figure.subplots(), [f"{one.query} → {one.gallery}" for one in found.retrieval]
    ranks: Sequence[str] = list(found.retrieval[0].recall)
    for n, rank in enumerate(ranks):
        place = np.arange(len(names)) + (n - 1) * 0.27
        axes.bar(place, [one.recall[rank] for one in found.retrieval], 0.25, color=_colour(2 * n), label=f"R@{rank}")
        axes.plot(place, [one.chance[rank] for one in found.retrieval], "_", color=_RED, ms=14, mew=2)
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.set_ylabel("own partner among the first (red: chance)", fontsize=8)
    axes.legend(fontsize=8)
    return figure
