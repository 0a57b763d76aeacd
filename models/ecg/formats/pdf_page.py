"""PDF page: the lines and words that one page draws, with pdfminer.six within limits of our own.

pdfminer inflates without a bound and draws without a deadline, so that sizes are looked at first: how far each stream
inflates, by how much a page draws, and how long it takes. A stream is compressed once, and perhaps
written in letters (ASCII85) then, as ReportLab does, or neither.
"""

from __future__ import annotations

import io
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pdfminer.ascii85 import ascii85decode
from pdfminer.converter import PDFPageAggregator
from pdfminer.layout import LTChar, LTContainer, LTItem
from pdfminer.pdfcolor import PDFColorSpace
from pdfminer.pdfdevice import PDFTextSeq
from pdfminer.pdfdocument import PDFDocument, PDFPasswordIncorrect
from pdfminer.pdfinterp import PDFGraphicState, PDFPageInterpreter, PDFResourceManager, PDFStackT, PDFTextState
from pdfminer.pdfpage import PDFPage
from pdfminer.pdfparser import PDFParser
from pdfminer.pdftypes import LITERALS_ASCII85_DECODE, LITERALS_FLATE_DECODE, PDFStream, resolve1
from pdfminer.psparser import literal_name
from pdfminer.utils import PathSegment

from models.ecg.errors import DecodeError, EcgError, TruncatedFile, UnsafeFile

MAX_BYTES = 4 * 2**20
"""Of the file; real reports have 0.1 to 0.5 MB."""

MAX_INFLATED = 16 * 2**20
MAX_DRAWN = 1_500_000
"""Bytes of drawing on all pages that are looked at; twelve leads of 10 s at 500 Hz have 0.9 MB."""

MAX_LETTERS, MAX_BRACKETS, MAX_BLANKS = 150_000, 20_000, 400_000
"""On all pages; each piece of a curve has one letter and three blanks, and each word one bracket."""

MAX_CHARACTERS = 10_000
MAX_OBJECTS, MAX_PARTS = 5_000, 200_000
MAX_PAGES = 3
SECONDS = 1.5
"""For all pages; the report of formats.md takes 0.1 s."""

MAX_PREDICTED = 2**18
"""Bytes of a stream that pdfminer turns one by one after they are inflated, as those of a table of objects."""

_ALL = bytes(range(256))
_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123))
_BRACKETS = b"([<{%/"
_BLANKS = b" \t\r\n\f\0"


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word and the middle of where it stands, in points from the lower left corner."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page draws: lines of (points, 2) coordinates, in points of 1/72 inch, and words."""

    lines: tuple[NDArray[np.float64], ...]
    words: tuple[Word, ...]


def pages(data: bytes) -> Iterator[Page]:
    """The first pages of a document.

    Raises
    ------
    UnsafeFile
        If the document is larger, inflates further or draws more than the report of an ECG.
    TruncatedFile
        If it ends too early.
    DecodeError
        If it is encrypted or broken.
    """
    _check(data)
    budget = _Budget()
    try:
        document = PDFDocument(_Parser(io.BytesIO(data)))
        for page in islice(PDFPage.create_pages(document), MAX_PAGES):
            yield _drawn(page, budget)
    except (EcgError, MemoryError):
        raise
    except PDFPasswordIncorrect as error:
        raise DecodeError("the PDF is encrypted: send it without a password") from error
    except Exception as error:  # pdfminer answers broken documents with whatever its code stumbles over
        raise DecodeError(f"the PDF is broken ({type(error).__name__})") from error


def _check(data: bytes) -> None:
    """Sizes, before anything is built from them."""
    if len(data) > MAX_BYTES:
        raise UnsafeFile(f"the PDF has {len(data) >> 20} MB, more than the report of an ECG ({MAX_BYTES >> 20} MB)")
    if b"%%EOF" not in data[-1024:]:
        raise TruncatedFile("the PDF ends before its end mark")
    if data.count(b" obj") > MAX_OBJECTS:
        raise UnsafeFile(f"the PDF has more than {MAX_OBJECTS} objects, more than the report of an ECG")
    if data.count(b"stream") > 2 * MAX_OBJECTS or len(data) - len(data.translate(None, _BRACKETS)) > MAX_PARTS:
        raise UnsafeFile("the PDF has more parts than the report of an ECG")


class _Parser(PDFParser):
    """Looks at each stream before pdfminer inflates it."""

    left = MAX_INFLATED

    def push(self, *objs: tuple[int, Any]) -> None:  # of any type that a PDF has
        """Take what was parsed; a picture, which may be large, without its content, as it is no curve."""
        for _, each in objs:
            if isinstance(each, PDFStream) and literal_name(each.get("Subtype")) == "Image":
                each.rawdata = b""
            elif isinstance(each, PDFStream):
                self._pay(each)
        super().push(*objs)

    def _pay(self, stream: PDFStream) -> None:
        if stream.decipher is not None:
            raise DecodeError("the PDF is encrypted: send it without a password")
        predicted = stream.get_any(("DP", "DecodeParms", "FDecodeParms")) is not None
        most = min(self.left, MAX_PREDICTED) if predicted else self.left
        size = _inflated_size(_deflated(stream), most)
        if size > most:
            raise UnsafeFile(f"the PDF inflates to more than {MAX_INFLATED >> 20} MB")
        self.left -= size


def _deflated(stream: PDFStream) -> bytes:
    """What pdfminer inflates of a stream, whose filters stand with it; nothing where it has none."""
    filters = stream.get_any(("F", "Filter"), [])
    names, content = filters if isinstance(filters, list) else [filters], stream.rawdata or b""
    if len(names) == 2 and names[0] in LITERALS_ASCII85_DECODE:
        names, content = names[1:], ascii85decode(content)
    if len(names) > 1 or any(name not in LITERALS_FLATE_DECODE for name in names):
        raise UnsafeFile("the PDF is compressed in a way that no report of an ECG needs")
    return content if names else b""


def _inflated_size(content: bytes, most: int) -> int:
    """Bytes that a stream inflates to, or one more than `most`; a damaged one pdfminer would mend, byte by byte."""
    if not content:
        return 0
    inflate = zlib.decompressobj()
    try:
        size = len(inflate.decompress(content, most + 1))
    except zlib.error as error:
        raise DecodeError("a stream of the PDF is damaged") from error
    if size <= most and not inflate.eof:
        raise DecodeError("a stream of the PDF ends too early")
    return size


class _Budget:
    """What all pages together may draw, and how long that may take."""

    def __init__(self) -> None:
        self.deadline = time.monotonic() + SECONDS
        self.left = {_ALL: MAX_DRAWN, _LETTERS: MAX_LETTERS, _BRACKETS: MAX_BRACKETS, _BLANKS: MAX_BLANKS}

    def spend(self, stream: object) -> None:
        """Pay for what is about to be drawn; `UnsafeFile` where that is more than an ECG."""
        content = stream.get_data() if isinstance(stream, PDFStream) else b""
        for kind in self.left:
            self.left[kind] -= len(content) - len(content.translate(None, kind))
        if min(self.left.values()) < 0:
            raise UnsafeFile("the PDF draws more than the report of an ECG")
        if time.monotonic() > self.deadline:
            raise UnsafeFile(f"the PDF takes more than {SECONDS:g} s to draw")


def _drawn(page: PDFPage, budget: _Budget) -> Page:
    resources = PDFResourceManager(caching=False)
    canvas = _Canvas(resources, budget)
    for stream in page.contents:
        budget.spend(resolve1(stream))
    _Interpreter(resources, canvas).process_page(page)
    return Page(lines=tuple(canvas.lines), words=tuple(_words(_characters(canvas.get_result()))))


class _Canvas(PDFPageAggregator):
    """Keeps every line that is stroked, as coordinates on the page."""

    def __init__(self, resources: PDFResourceManager, budget: _Budget) -> None:
        super().__init__(resources, laparams=None)
        self.budget = budget
        self.characters = 0
        self.lines: list[NDArray[np.float64]] = []

    def render_string(
        self, textstate: PDFTextState, seq: PDFTextSeq, ncs: PDFColorSpace, graphicstate: PDFGraphicState
    ) -> None:
        """Pay for each character, too."""
        self.characters += sum(len(part) for part in seq if isinstance(part, str | bytes))
        if self.characters > MAX_CHARACTERS:
            raise UnsafeFile(f"the PDF has more than {MAX_CHARACTERS} characters on a page")
        super().render_string(textstate, seq, ncs, graphicstate)

    def paint_path(
        self, gstate: PDFGraphicState, stroke: bool, fill: bool, evenodd: bool, path: Sequence[PathSegment]
    ) -> None:
        """Lines of straight pieces; anything round is no sampled curve."""
        if stroke and all(piece[0] in "mlh" for piece in path):
            corners = [piece for piece in path if piece[0] != "h"]
            starts = [at for at, piece in enumerate(corners) if piece[0] == "m"]
            points = np.array([piece[1:3] for piece in corners], dtype=np.float64).reshape(-1, 2)
            a, b, c, d, e, f = self.ctm
            placed = points @ np.array([[a, b], [c, d]]) + (e, f)
            self.lines.extend(line for line in np.split(placed, starts) if len(line) > 1)


class _Interpreter(PDFPageInterpreter):
    """Pays for a form before it is drawn, however often it is."""

    def __init__(self, resources: PDFResourceManager, canvas: _Canvas) -> None:
        super().__init__(resources, canvas)
        self.canvas = canvas

    def do_Do(self, xobjid_arg: PDFStackT) -> None:  # noqa: N802  # pdfminer's name of the operator Do
        """Draw a form; a picture is no curve."""
        stream = resolve1(self.xobjmap.get(literal_name(xobjid_arg)))
        if isinstance(stream, PDFStream) and literal_name(stream.get("Subtype")) == "Form":
            self.canvas.budget.spend(stream)
            super().do_Do(xobjid_arg)


def _characters(item: LTItem) -> Iterator[LTChar]:
    if isinstance(item, LTChar):
        yield item
    elif isinstance(item, LTContainer):
        for inner in item:
            yield from _characters(inner)


def _words(characters: Iterator[LTChar]) -> Iterator[Word]:
    """Characters that stand side by side, in the order in which they are drawn."""
    word: list[LTChar] = []
    for character in characters:
        if word and not _follows(word[-1], character):
            yield _word(word)
            word = []
        if character.get_text().strip():
            word.append(character)
    if word:
        yield _word(word)


def _follows(last: LTChar, character: LTChar) -> bool:
    gap = character.x0 - last.x1
    near = abs(gap) < 0.25 * last.height and abs(character.y0 - last.y0) < 0.1 * last.height
    return near and bool(character.get_text().strip())


def _word(characters: list[LTChar]) -> Word:
    first, last = characters[0], characters[-1]
    text = "".join(character.get_text() for character in characters)
    return Word(text=text, x=(first.x0 + last.x1) / 2, y=(first.y0 + first.y1) / 2)
