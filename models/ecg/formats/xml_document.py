"""XML document: bytes to a tree of elements, without entities and within limits; and its root, told without parsing."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat
from xml.parsers.expat import errors

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile
from models.ecg.text import NUMBER

MAX_DEPTH = 32
MAX_ELEMENTS = 100_000  # with their attributes

_HEAD = 65536
"""Bytes that are searched for the root element."""

_MARKUP = re.compile(r"<!--.*?(?:-->|$)|<[?!][^>]*>?|[^<]+", re.DOTALL)
_ROOT = re.compile(r"<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)")
_ENCODINGS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
_FIRST = (b"<", b"\xef", b"\xff", b"\xfe", b"\0", b" ", b"\t", b"\r", b"\n")
"""Bytes with which a document may begin: a mark of its encoding, blanks, a bracket."""

_ENDS = {
    errors.XML_ERROR_NO_ELEMENTS,
    errors.XML_ERROR_UNCLOSED_TOKEN,
    errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    errors.XML_ERROR_PARTIAL_CHAR,
}


def text_of(start: bytes) -> str:
    """The first bytes of a file as text, in the encoding that their byte order shows; UTF-8 where none is shown."""
    encoding = next((name for mark, name in _ENCODINGS if start.startswith(mark)), "utf-8-sig")
    return start.decode(encoding, errors="replace").lstrip("\ufeff \t\r\n")


def root_name(data: bytes) -> str:
    """Name of the first element, without its prefix, behind declarations, comments and their like; "" for no XML."""
    return _root_name(data[:_HEAD]) if data[:1] in _FIRST else ""


@lru_cache(maxsize=4)  # every format of XML asks it of the same file
def _root_name(start: bytes) -> str:
    text = text_of(start)
    return root_of(text) if text.startswith("<") else ""


def root_of(text: str) -> str:
    """Name of the first element, behind declarations, comments and their like; "" if there is none."""
    position = 0
    while skipped := _MARKUP.match(text, position):
        position = skipped.end()
    found = _ROOT.match(text, position)
    return found[1] if found else ""


def parse(data: bytes) -> Element:
    """The root element of a document; names of elements and attributes come without their prefixes.

    Raises
    ------
    UnsafeFile
        If it declares or uses an entity of its own, or is nested deeper, or into more elements, than an ECG is.
    TruncatedFile
        If it ends within an element.
    DecodeError
        If it is no well-formed XML.
    """
    tree = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = _limited(tree)
    parser.CharacterDataHandler = tree.data
    parser.StartDoctypeDeclHandler = _refuse_declarations
    parser.EntityDeclHandler = parser.SkippedEntityHandler = parser.ExternalEntityRefHandler = _refuse_entity
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        message = expat.ErrorString(error.code)
        broken = TruncatedFile if message in _ENDS else DecodeError
        raise broken(f"this is no well-formed XML: {message}, line {error.lineno}") from error
    except (LookupError, ValueError) as error:  # the declaration names an encoding that Python does not have
        raise DecodeError("the XML names an encoding that is not known") from error
    return tree.close()


def text_at(parent: Element, path: str) -> str:
    """Text of the first element at a path; "" where it is missing or empty."""
    return (parent.findtext(path) or "").strip()


def number_at(parent: Element, path: str) -> float | None:
    """A finite number; None where the element is missing or empty; raises as `number_of`."""
    return number_of(text_at(parent, path), path)


def number_of(text: str | None, what: str) -> float | None:
    """A finite number; None for no text; `what` names it in the error.

    Raises
    ------
    DecodeError
        If there is something else.
    """
    text = (text or "").strip()
    if not text:
        return None
    if not NUMBER.fullmatch(text):
        raise DecodeError(f"{what} is {text[:40]!r}, which is no number")
    return float(text)


def _refuse_declarations(_name: str, _system: str | None, _public: str | None, internal: bool, /) -> None:
    """A document type may be named, as MUSE does; what is declared on the spot grows in every element."""
    if internal:
        raise UnsafeFile("the XML declares entities of its own or attributes, which no ECG needs")


def _refuse_entity(*_: object) -> NoReturn:
    raise UnsafeFile("the XML has entities of its own, which no ECG needs")


def _limited(tree: TreeBuilder) -> tuple[Callable[[str, dict[str, str]], None], Callable[[str], None]]:
    """Handlers of starts and ends that let the tree grow no further than the limits above."""
    elements = depth = 0
    start_element, end_element = tree.start, tree.end

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal elements, depth
        elements += 1 + len(attributes)
        depth += 1
        if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
            raise UnsafeFile(
                f"the XML is nested deeper than {MAX_DEPTH} levels or has more than {MAX_ELEMENTS} elements"
            )
        if ":" in tag:
            tag = _local(tag)
        if attributes and ":" in "".join(attributes):
            attributes = {_local(name): value for name, value in attributes.items()}
        start_element(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        end_element(tag)

    return start, end


def _local(name: str) -> str:
    """A name without its prefix."""
    return name.rpartition(":")[2]
