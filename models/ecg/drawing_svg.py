"""SVG: a drawing to scale, one unit of its view box a millimetre, as text that browsers and printers agree on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from models.ecg.drawing_parts import PAPER, Drawing, Font, Pen, Stroke, Text

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2: Char
_FAMILY = "system-ui, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


def svg(drawing: Drawing) -> str:
    """The drawing as one document without anything from outside: 25 mm on paper are a second."""
    width, height = f"{drawing.width:g}", f"{drawing.height:g}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="{_FAMILY}">',
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
        *_paths(drawing.strokes),
        *map(_text, drawing.texts),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _paths(strokes: Iterable[Stroke]) -> Iterator[str]:
    """Neighbours of one pen and name in one path."""
    for (pen, name), group in groupby(strokes, key=lambda stroke: (stroke.pen, stroke.name)):
        label = f" data-name={quoteattr(name)}" if name else ""
        yield f'<path class="{pen.name}"{label} {_style(pen)} d="{"".join(map(_path, group))}"/>'


def _style(pen: Pen) -> str:
    return f'fill="none" stroke="{pen.colour}" stroke-width="{pen.width:g}" stroke-linejoin="round"'


def _path(stroke: Stroke) -> str:
    """A start, then steps in hundredths of a millimetre, rounded along the line so that they never add up."""
    places = np.rint(100 * stroke.points).astype(np.int64)
    (x, y), steps = places[0], np.diff(places, axis=0)
    return f"M{x / 100:g} {y / 100:g}" + "".join(f"l{dx / 100:g} {dy / 100:g}" for dx, dy in steps.tolist())


def _text(text: Text) -> str:
    words = escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", text.text))
    anchor = ' text-anchor="end"' if text.anchor == "end" else ""
    place = f'x="{text.x:g}" y="{text.y:g}"{anchor}'
    return f'<text class="{text.font.name}" {place} {_letters(text.font)} xml:space="preserve">{words}</text>'


def _letters(font: Font) -> str:
    weight = ' font-weight="600"' if font.bold else ""
    halo = f' stroke="{PAPER}" stroke-width="0.9" stroke-linejoin="round" paint-order="stroke"' if font.halo else ""
    return f'font-size="{font.size:g}" fill="{font.colour}"{weight}{halo}'
