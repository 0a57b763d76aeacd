"""Drawing: a recording on ECG paper, as one list of strokes and texts in millimetres, whatever renders them.

25 mm/s and 10 mm/mV on a grid of 1 mm and 5 mm, a pulse of 1 mV lasting 200 ms before each row (Kligfield et al.,
AHA/ACC/HRS recommendations part I, J Am Coll Cardiol 2007;49:1109): the paper of the dashboard
(``app/dashboard/static/ecg-geometry.js``), with a header above it and a footer below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.ecg import facts
from models.ecg.drawing_header import MARGIN, header
from models.ecg.drawing_parts import (
    CUT,
    FRAME,
    LEAD,
    MAJOR,
    MARK,
    MINOR,
    NOTE,
    PRINTED,
    PULSE,
    TRACE,
    Drawing,
    Stroke,
    Text,
    line,
)
from models.ecg.measurements import UNMEASURED, Measurements
from models.ecg.recording import LEADS, Recording
from models.ecg.thinning import thinned


class Layout(StrEnum):
    """Rows × columns; 3x4 has the rhythm strip, lead II, below."""

    QUARTERS = "3x4"
    HALVES = "6x2"
    WHOLE = "12x1"


LAYOUTS: Mapping[Layout, tuple[tuple[str, ...], ...]] = {
    Layout.QUARTERS: (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"), ("II",)),
    Layout.HALVES: (("I", "V1"), ("II", "V2"), ("III", "V3"), ("aVR", "V4"), ("aVL", "V5"), ("aVF", "V6")),
    Layout.WHOLE: tuple((lead,) for lead in LEADS),
}
SPEED = 25.0
"""Millimetres in a second."""

SECONDS = 10.0
"""On one sheet; the columns of a row share them and follow each other in time."""

LEFT = 10.0
"""Millimetres of paper before the traces, which hold the pulse."""

_PULSE_X, _PULSE_SECONDS = 2.0, 0.2
_TOP, _NAME = 5.0, 4.0  # mm of paper above the first row, and above a trace for the name of the lead
_REACH = 5.0, 40.0  # least and most mm that a row reserves above and below its baseline
_GRID_WIDTH = LEFT + SECONDS * SPEED
_LINE, _LETTERS = 4.0, 150  # mm from one line of the footer to the next; letters that fit into one
_TOLERANCE = 0.07  # mm that a sample may lie off its line: a quarter of the pen, 7 µV at 10 mm/mV


@dataclass(frozen=True, eq=False, kw_only=True)
class _Cell:
    """The part of one lead that stands in one column: heights above the baseline in mm, from `start` mm on."""

    lead: str
    start: float
    heights: NDArray[np.float64]

    @property
    def above(self) -> float:
        return max(0.0, float(self.heights.max(initial=0)))

    @property
    def below(self) -> float:
        return max(0.0, float(-self.heights.min(initial=0)))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Row:
    """Cells on one baseline, and the millimetres that they have above and below it."""

    cells: tuple[_Cell, ...]
    baseline: float
    above: float
    below: float


def draw(
    recording: Recording, *, layout: Layout = Layout.QUARTERS, gain: float = 10.0, ours: Measurements = UNMEASURED
) -> Drawing:
    """Lay a recording out on paper.

    Each lead is drawn about its median, as a constant offset of the amplifier says nothing. The first `SECONDS` are
    drawn; what is left out of a longer recording, or cut off a larger one, is said in the footer.

    Parameters
    ----------
    gain : millimetres to a millivolt
    ours : our measurements, which stand beside the device's
    """
    heading, top = header(recording, ours)
    rows = _rows(recording, layout, gain, top + _TOP)
    bottom = rows[-1].baseline + rows[-1].below + _TOP
    footer = list(_footer(recording, rows, gain, bottom))
    traces = [stroke for row in rows for stroke in (*_pulse(row, gain), *_traces(row, recording.sampling_rate))]
    return Drawing(
        width=_GRID_WIDTH + 2 * MARGIN,
        height=footer[-1].y + MARGIN - 1,
        strokes=(*_grid(top, bottom), *traces),
        texts=(*heading, *_names(rows), *footer),
    )


def _rows(recording: Recording, layout: Layout, gain: float, top: float) -> list[_Row]:
    rows: list[_Row] = []
    for leads in LAYOUTS[layout]:
        cells = tuple(_cell(recording, lead, column, len(leads), gain) for column, lead in enumerate(leads))
        above = _reach(max(gain, *(cell.above for cell in cells)) + _NAME)
        below = _reach(max(cell.below for cell in cells))
        rows.append(_Row(cells=cells, baseline=top + above, above=above, below=below))
        top += above + below
    return rows


def _cell(recording: Recording, lead: str, column: int, columns: int, gain: float) -> _Cell:
    shown = _shown(recording)
    samples = recording.lead(lead)[:shown]
    level = float(np.partition(samples, shown // 2)[shown // 2])
    first, last = (_rounded(place * shown / columns) for place in (column, column + 1))
    start = MARGIN + LEFT + first / recording.sampling_rate * SPEED
    return _Cell(lead=lead, start=start, heights=gain * (samples[first:last] - level))


def _shown(recording: Recording) -> int:
    """Samples on the sheet; at least one."""
    return min(len(recording.signal[0]), max(_rounded(SECONDS * recording.sampling_rate), 1))


def _rounded(value: float) -> int:
    """Halves upwards, as in the dashboard: both cut the columns at the same samples."""
    return math.floor(value + 0.5)


def _reach(millimetres: float) -> float:
    """Whole large squares, so that every baseline lies on a line of the grid."""
    least, most = _REACH
    return min(most, max(least, 5.0 * math.ceil(millimetres / 5)))


def _grid(top: float, bottom: float) -> Iterator[Stroke]:
    left, right = MARGIN, MARGIN + _GRID_WIDTH
    for pen, step in ((MINOR, 1), (MAJOR, 5)):
        for x in np.arange(0, _GRID_WIDTH + 0.5, step) + left:
            yield line(pen, (x, top), (x, bottom))
        for y in np.arange(0, bottom - top + 0.5, step) + top:
            yield line(pen, (left, y), (right, y))
    yield line(FRAME, (left, top), (right, top), (right, bottom), (left, bottom), (left, top))


def _pulse(row: _Row, gain: float) -> Iterator[Stroke]:
    left = MARGIN + _PULSE_X
    right, foot, head = left + _PULSE_SECONDS * SPEED, row.baseline, row.baseline - gain
    yield line(PULSE, (left, foot), (left, head), (right, head), (right, foot), name="1 mV, 200 ms")


def _traces(row: _Row, rate: float) -> Iterator[Stroke]:
    """Of each cell a mark at its start, its trace, and a red line wherever that is cut."""
    for cell in row.cells:
        yield line(MARK, (cell.start, row.baseline - 2.5), (cell.start, row.baseline + 2.5))
        if len(cell.heights) == 0:
            continue
        x = cell.start + np.arange(len(cell.heights)) * (SPEED / rate)
        points = np.column_stack([x, row.baseline - np.clip(cell.heights, -row.below, row.above)])
        yield Stroke(pen=TRACE, points=points[thinned(points[:, 1], _TOLERANCE)], name=cell.lead)
        for first, last in _runs((cell.heights > row.above) | (cell.heights < -row.below)):
            yield line(CUT, (x[first] - 0.5, points[first, 1]), (x[last] + 0.5, points[first, 1]), name=cell.lead)


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last place of each stretch in which a mask holds."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def _names(rows: Sequence[_Row]) -> Iterator[Text]:
    for row in rows:
        for cell in row.cells:
            yield Text(font=LEAD, x=cell.start + 1, y=row.baseline - row.above + 3, text=cell.lead)


def _footer(recording: Recording, rows: Sequence[_Row], gain: float, bottom: float) -> Iterator[Text]:
    """Speed, gain and filters as they are always printed; below them, what the paper does not show."""
    filters = facts.filters(recording.filters)
    band = f"filter {filters}" if filters else "filter not stated"
    printed = (f"{SPEED:g} mm/s", f"{gain:g} mm/mV", band, "each lead about its median")
    y = bottom + _LINE
    yield Text(font=PRINTED, x=MARGIN, y=y, text="    ".join(printed))
    digest = f"sha256 {recording.digest[:16]}"
    yield Text(font=PRINTED, x=MARGIN + _GRID_WIDTH, y=y, text=digest, anchor="end")
    notes = [*((PRINTED, note) for note in _remarks(recording)), *((NOTE, note) for note in _cuts(rows, gain))]
    for number, (font, note) in enumerate(notes, 1):
        yield Text(font=font, x=MARGIN, y=y + number * _LINE, text=note)


def _remarks(recording: Recording) -> Iterator[str]:
    """What of the file is not on the paper, and what on the paper is not in the file."""
    drawn = _shown(recording) / recording.sampling_rate
    if recording.duration > drawn:
        yield f"The recording lasts {recording.duration:.1f} s; its first {drawn:.0f} s are drawn."
    if recording.derived:
        yield f"{', '.join(recording.derived)} computed from I and II."
    if extra := facts.left_out(recording):
        yield facts.shown(f"Not drawn: {', '.join(extra)}.", _LETTERS)


def _cuts(rows: Sequence[_Row], gain: float) -> Iterator[str]:
    """One sentence on all leads that are larger than the paper."""
    largest: dict[str, float] = {}
    for row in rows:
        for cell in row.cells:
            if cell.above > row.above or cell.below > row.below:
                largest[cell.lead] = max(largest.get(cell.lead, 0), cell.above / gain, cell.below / gain)
    if largest:
        reached = ", ".join(f"{lead} reaches {millivolts:.1f} mV" for lead, millivolts in largest.items())
        yield f"Cut at {_REACH[1] / gain:g} mV, where the line is red: {reached}."
