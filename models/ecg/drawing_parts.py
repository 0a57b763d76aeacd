"""Parts of a drawing: strokes and texts in millimetres from the upper left corner, with the pens that draw them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PAPER = "#fffaf5"
"""Colour of the sheet; this and those below are the dashboard's, in the light."""


@dataclass(frozen=True)
class Pen:
    """Colour and width in millimetres."""

    name: str
    colour: str
    width: float


@dataclass(frozen=True)
class Font:
    """Colour and size in millimetres; `halo`: a rim of paper keeps the grid away from the letters."""

    name: str
    colour: str
    size: float
    bold: bool = False
    halo: bool = False


_INK, _MUTED, _ALARM = "#12161b", "#6b6468", "#b3202c"

MINOR = Pen("minor", "#f6dcd6", 0.12)
MAJOR = Pen("major", "#e9b3a9", 0.2)
FRAME = Pen("frame", "#e0a094", 0.3)
MARK = Pen("mark", "#8c8a8b", 0.2)
PULSE = Pen("pulse", _INK, 0.28)
TRACE = Pen("trace", _INK, 0.28)
CUT = Pen("cut", _ALARM, 0.7)

TITLE = Font("title", _INK, 4.4, bold=True)
BODY = Font("body", _INK, 3.0)
STRONG = Font("strong", _INK, 3.0, bold=True)
CAPTION = Font("caption", _MUTED, 2.6)
LEAD = Font("lead", _INK, 3.3, bold=True, halo=True)
PRINTED = Font("printed", _INK, 2.8)
NOTE = Font("note", _ALARM, 2.8)


@dataclass(frozen=True, eq=False, kw_only=True)
class Stroke:
    """One line through (n, 2) points; `name` says what it is: the lead of a trace."""

    pen: Pen
    points: NDArray[np.float64]
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Text:
    """Words whose baseline starts, or ends, at a point."""

    font: Font
    x: float
    y: float
    text: str
    anchor: Literal["start", "end"] = "start"


@dataclass(frozen=True, eq=False, kw_only=True)
class Drawing:
    """A sheet of so many millimetres: first its strokes, then its texts above them."""

    width: float
    height: float
    strokes: tuple[Stroke, ...]
    texts: tuple[Text, ...]


def line(pen: Pen, *points: tuple[float, float], name: str = "") -> Stroke:
    """A stroke through a few points."""
    return Stroke(pen=pen, points=np.array(points, dtype=np.float64), name=name)
