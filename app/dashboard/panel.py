"""The phenotype panel: which estimates stand together, and the axis on which each interval is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.phenotypes import PHENOTYPES
from models.report import Estimate, Report

GROUPS: dict[str, tuple[str, ...]] = {
    "Left ventricle": ("LVEF", "LVEDV", "LVESV", "LVSV", "LVM", "LVWT"),
    "Right ventricle": ("RVEF", "RVEDV", "RVESV", "RVSV"),
    "Left atrium and output": ("LAV", "CO"),
}
"""The order in which a CMR report is read: function, then volumes, then the wall."""

AXES: dict[str, tuple[float, float]] = {
    "LVEF": (10, 90), "RVEF": (10, 90),
    "LVEDV": (50, 350), "RVEDV": (50, 350),
    "LVESV": (0, 250), "RVESV": (0, 250),
    "LVSV": (20, 160), "RVSV": (20, 160),
    "LVM": (40, 280), "LVWT": (4, 16), "LAV": (10, 190), "CO": (1, 11),
}  # fmt: skip
"""The same axis for everybody, so that a place on it means the same in every report. A choice of drawing, no claim."""


@dataclass(frozen=True)
class Axis:
    """A horizontal axis in the unit of one phenotype."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Per cent of the width at which `value` stands."""
        return round(100 * (value - self.low) / (self.high - self.low), 3)


@dataclass(frozen=True)
class Line:
    """One estimate as a line of the panel."""

    estimate: Estimate
    digits: int
    axis: Axis
    source: int | None
    """Number of the reference range's source in the list below the panel."""

    def written(self, value: float) -> str:
        """A number with the decimals that are worth showing."""
        return f"{value:.{self.digits}f}"

    @property
    def against_reference(self) -> str | None:
        """Where the value lies, in a word."""
        reference = self.estimate.reference
        if reference is None:
            return None
        if self.estimate.value < reference.low:
            return "below"
        return "above" if self.estimate.value > reference.high else "within"


@dataclass(frozen=True)
class Panel:
    """Every estimate of a report, in groups, and the sources of its reference ranges."""

    groups: dict[str, list[Line]]
    sources: list[str]


def chance(probability: float) -> str:
    """A probability in whole per cent; what is almost never or almost always so is not told to more digits."""
    if probability < 0.01:
        return "< 1 %"
    return "> 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def axis_of(estimate: Estimate) -> Axis:
    """The usual axis of the phenotype, made longer, to a whole number, where this estimate would leave it."""
    low, high = AXES.get(estimate.symbol, (estimate.interval.low, estimate.interval.high))
    return Axis(min(low, math.floor(estimate.interval.low)), max(high, math.ceil(estimate.interval.high)))


def panel_of(report: Report) -> Panel:
    """The panel of one report; a phenotype that no group names stands under "Other"."""
    sources = list(dict.fromkeys(e.reference.source for e in report.estimates if e.reference))
    lines = {e.symbol: _line(e, sources) for e in report.estimates}
    named = [symbol for symbols in GROUPS.values() for symbol in symbols]
    symbols_of = {**GROUPS, "Other": tuple(symbol for symbol in lines if symbol not in named)}
    groups = {title: [lines[s] for s in symbols if s in lines] for title, symbols in symbols_of.items()}
    return Panel(groups={title: group for title, group in groups.items() if group}, sources=sources)


def _line(estimate: Estimate, sources: list[str]) -> Line:
    source = sources.index(estimate.reference.source) + 1 if estimate.reference else None
    return Line(estimate, digits_of(estimate.symbol), axis_of(estimate), source)


def digits_of(symbol: str) -> int:
    """Decimals worth showing; one for a phenotype that the catalogue does not know."""
    return PHENOTYPES[symbol].digits if symbol in PHENOTYPES else 1
