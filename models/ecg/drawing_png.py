"""PNG: a drawing as pixels; the grid on whole pixels, traces smoothed from sixteen times as many."""

from __future__ import annotations

import io
import unicodedata
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from models.ecg.drawing_parts import FRAME, MAJOR, MINOR, PAPER, Drawing, Pen, Stroke, Text

DOTS = 6
"""Pixels in a millimetre: a sheet of 10 s is 1620 pixels wide."""

_FINER = 4  # dots of the mask along each side of a pixel
_GRID = (MINOR, MAJOR, FRAME)
_MILLIMETRES_PER_INCH = 25.4
# What most systems have, plain and bold; they know the letters of far more languages than the face within Pillow.
_FACES = (("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"), ("arial.ttf", "arialbd.ttf"), ("Arial.ttf", "Arial Bold.ttf"))
_PLAIN = str.maketrans({"µ": "u", "μ": "u", "−": "-", "–": "-", "…": "..."})

_Face = ImageFont.FreeTypeFont | ImageFont.ImageFont


def png(drawing: Drawing, dots: int = DOTS) -> bytes:
    """The drawing in `dots` pixels to a millimetre, which the file states, so that it prints to scale.

    Letters are those of DejaVu Sans or Arial where the system has one of them, else Pillow's own, which knows little
    beyond ASCII: other letters then lose their accents, or become "?".
    """
    image = Image.new("RGB", (round(drawing.width * dots), round(drawing.height * dots)), PAPER)
    canvas = ImageDraw.Draw(image)
    for stroke in drawing.strokes:
        if stroke.pen in _GRID:
            pixels = [(round(x * dots), round(y * dots)) for x, y in stroke.points.tolist()]
            canvas.line(pixels, fill=stroke.pen.colour, width=max(round(stroke.pen.width * dots), 1))
    for pen in dict.fromkeys(stroke.pen for stroke in drawing.strokes if stroke.pen not in _GRID):
        _ink(image, pen, [stroke for stroke in drawing.strokes if stroke.pen == pen], dots)
    for text in drawing.texts:
        _write(canvas, text, dots)
    file = io.BytesIO()
    image.save(file, "PNG", dpi=(dots * _MILLIMETRES_PER_INCH,) * 2)
    return file.getvalue()


def _ink(image: Image.Image, pen: Pen, strokes: list[Stroke], dots: int) -> None:
    """All strokes of a pen at once, through a mask that is drawn finer and then made smaller."""
    mask = Image.new("L", (image.width * _FINER, image.height * _FINER))
    canvas = ImageDraw.Draw(mask)
    scale = dots * _FINER
    width = max(round(pen.width * scale), 1)
    for stroke in strokes:
        # A pixel's centre lies half a pixel from its edge, where the millimetres of the grid are.
        canvas.line((stroke.points * scale + _FINER / 2).ravel().tolist(), fill=255, width=width, joint="curve")
    image.paste(pen.colour, mask=mask.reduce(_FINER))


def _write(canvas: ImageDraw.ImageDraw, text: Text, dots: int) -> None:
    font = text.font
    face = _face(round(font.size * dots), font.bold)
    words = text.text if _knows_languages() else _plain(text.text)
    anchor = {"start": "ls", "end": "rs"}[text.anchor]
    rim = round(0.45 * dots) if font.halo else 0
    place = round(text.x * dots), round(text.y * dots)
    canvas.text(place, words, font.colour, face, anchor, stroke_width=rim, stroke_fill=PAPER)


@lru_cache
def _faces() -> tuple[str, str] | None:
    """The names of the first pair of faces that the system has."""
    for pair in _FACES:
        try:
            for name in pair:
                ImageFont.truetype(name)
        except OSError:
            continue
        return pair
    return None


@lru_cache
def _face(pixels: int, bold: bool) -> _Face:
    faces = _faces()
    return ImageFont.load_default(pixels) if faces is None else ImageFont.truetype(faces[bold], pixels)


def _knows_languages() -> bool:
    return _faces() is not None


def _plain(text: str) -> str:
    """What the face within Pillow can write."""
    letters = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    without_accents = "".join(c for c in letters if not unicodedata.combining(c))
    return "".join(c if c.isascii() or c == "°" else "?" for c in without_accents)
