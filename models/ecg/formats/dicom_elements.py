"""DICOM elements: the elements of a data set that an ECG needs, walked header by header within a budget (PS3.5 7).

No value is looked into before it is asked for, and what is not needed is stepped over: a file costs by its headers,
and headers are counted.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile

MAX_ELEMENTS = 100_000
"""A 12-lead ECG of a real cart with 77 annotations has 1 300."""

MAX_DEPTH = 16
"""Levels; a waveform object has 4 (channels in a group, codes in a channel)."""

MAX_TEXT = 16_384
"""Bytes that are looked at of a text; the longest that an ECG object needs (ST) has 1024 characters."""

_KEYWORDS = (
    *("TransferSyntaxUID", "SOPClassUID", "Manufacturer", "ManufacturerModelName"),
    *("StudyDate", "StudyTime", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "TimezoneOffsetFromUTC"),
    *("PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize", "PatientWeight"),
    *("WaveformSequence", "WaveformOriginality", "MultiplexGroupTimeOffset", "NumberOfWaveformChannels"),
    *("NumberOfWaveformSamples", "SamplingFrequency", "WaveformBitsAllocated", "WaveformSampleInterpretation"),
    *("WaveformPaddingValue", "WaveformData", "ChannelDefinitionSequence", "ChannelLabel", "ChannelStatus"),
    *("ChannelSourceSequence", "ChannelSourceModifiersSequence", "ChannelSensitivity"),
    *("ChannelSensitivityUnitsSequence", "ChannelSensitivityCorrectionFactor", "ChannelBaseline", "ChannelTimeSkew"),
    *("ChannelSampleSkew", "FilterLowFrequency", "FilterHighFrequency", "NotchFilterFrequency"),
    *("WaveformAnnotationSequence", "UnformattedTextValue", "ConceptNameCodeSequence", "ModifierCodeSequence"),
    *("ConceptCodeSequence", "NumericValue", "MeasurementUnitsCodeSequence", "ReferencedWaveformChannels"),
    *("CodeValue", "CodeMeaning"),
)
_NEEDED = {tag: keyword for keyword in _KEYWORDS if (tag := tag_for_keyword(keyword)) is not None}
_SEQUENCES = {keyword for tag, keyword in _NEEDED.items() if dictionary_VR(tag) == "SQ"}

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITERS = 0xFFFE
_CHARACTER_SET = 0x00080005
_SHORT = {
    vr.encode()
    for vr in [
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FD",
        "FL",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "SL",
        "SS",
        "ST",
        "TM",
        "UI",
        "UL",
        "US",
    ]
}
_NUMBER = re.compile(r"[-+]?(?:\d{1,20}\.?\d{0,20}|\.\d{1,20})(?:[eE][-+]?\d{1,3})?")
_DESIGNATION = re.compile(rb"\x1b(?:\$\)[AC]|-[A-Z])")  # ISO 2022: what the upper half of the code table holds


@dataclass(frozen=True, eq=False, slots=True)
class Item:
    """A data set, or an item of a sequence: the values of its elements by keyword, as they stand in the file."""

    order: Literal["<", ">"]
    codec: str
    values: dict[str, bytes] = field(default_factory=dict)
    sequences: dict[str, list[Item]] = field(default_factory=dict)

    def text(self, keyword: str) -> str:
        """An element as text; "" where it is missing or empty."""
        value = self.values.get(keyword, b"")[:MAX_TEXT]
        return _DESIGNATION.sub(b"", value).decode(self.codec, "replace").strip("\0 \t\r\n\f")

    def number(self, keyword: str) -> float | None:
        """A number written as text (DS), finite; None where it is missing or empty.

        Raises
        ------
        DecodeError
            If there is something else.
        """
        number = self.stated(keyword)
        if number is None and self.text(keyword):
            raise DecodeError(f"the DICOM element {keyword} is {self.text(keyword)[:20]!r}, which is no number")
        return number

    def stated(self, keyword: str) -> float | None:
        """As `number`, and None for what is no number: for what only describes the ECG."""
        text = self.text(keyword)
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
        return number if math.isfinite(number) else None

    def whole(self, keyword: str) -> int:
        """A whole number of 16 or 32 bits without a sign (US, UL).

        Raises
        ------
        DecodeError
            If it is missing, or of another size.
        """
        value = self.values.get(keyword, b"")
        if len(value) not in (2, 4):
            raise DecodeError(f"the DICOM element {keyword} is missing or no whole number")
        return int.from_bytes(value, "little" if self.order == "<" else "big")

    def items(self, keyword: str) -> list[Item]:
        """The items of a sequence; none where it is missing."""
        return self.sequences.get(keyword, [])


def read(
    data: bytes, start: int = 0, *, explicit: bool = True, order: Literal["<", ">"] = "<", last: int = _UNDEFINED
) -> tuple[Item, int]:
    """The data set that starts there, and where it ends.

    Parameters
    ----------
    explicit : bool
        Whether elements say their value representation.
    order : "<" or ">"
        Of the bytes.
    last : int
        The tag after which the reading ends.

    Raises
    ------
    TruncatedFile
        If the file ends within an element.
    DecodeError
        If an element is there twice or reaches out of the one that holds it.
    UnsafeFile
        If there are more elements or levels than the limits above.
    """
    return _Walk(data, order).item(start, _Span(len(data), explicit), last)


class _Element(NamedTuple):
    """The header of an element, and where its value starts."""

    tag: int
    representation: bytes
    start: int
    length: int


class _Span(NamedTuple):
    """What is walked: up to an end at the latest, or to a delimiter before it."""

    end: int
    explicit: bool
    depth: int = 0
    delimited: bool = False


class _Walk:
    """One pass over the headers of a file."""

    def __init__(self, data: bytes, order: Literal["<", ">"]) -> None:
        self.data, self.order = data, order
        self.filling = len(data.rstrip(b"\0"))  # some media fill up their last block with zeros
        self.header = struct.Struct(f"{order}HH2sH")
        self.long = struct.Struct(f"{order}L")
        self.codec = _codec(b"")
        self.visited = 0

    def item(self, position: int, span: _Span, last: int = _UNDEFINED) -> tuple[Item, int]:
        """The elements of the span up to the last tag, and where the next one starts."""
        values: dict[str, bytes] = {}
        sequences: dict[str, list[Item]] = {}
        end = span.end if span.depth else min(span.end, self.filling)
        while position < end:
            element = self._element(position, span.end, span.explicit)
            if element.tag == _ITEM_END and span.delimited:
                return Item(self.order, self.codec, values, sequences), element.start
            if element.tag > last:
                break
            keyword = _NEEDED.get(element.tag)
            if keyword in values or keyword in sequences:
                raise DecodeError(f"the DICOM element {keyword} is there twice")
            stop, items = self._value(element, keyword, span)
            if items is None and keyword:
                values[keyword] = self.data[element.start : stop]
            elif items is not None and keyword in _SEQUENCES:
                sequences[keyword] = items
            elif element.tag == _CHARACTER_SET and not span.depth:
                self.codec = _codec(self.data[element.start : stop])
            position = stop
        if span.delimited:
            raise self._broken(end)
        return Item(self.order, self.codec, values, sequences), position

    def _value(self, element: _Element, keyword: str | None, span: _Span) -> tuple[int, list[Item] | None]:
        """Where the value ends, and its items if it is a sequence that is needed or has no length."""
        delimited = element.length == _UNDEFINED
        if delimited and element.representation in (b"OB", b"OW"):
            raise DecodeError("a DICOM element has encapsulated fragments, which waveforms never have")
        stop = self._stop(element, span.end)
        if not delimited and keyword not in _SEQUENCES:
            return stop, None
        # An unknown representation holds a sequence in the implicit encoding (PS3.5 6.2.2).
        explicit = span.explicit and element.representation != b"UN"
        items, stop = self._sequence(element.start, _Span(stop, explicit, span.depth + 1, delimited))
        return stop, items

    def _sequence(self, position: int, span: _Span) -> tuple[list[Item], int]:
        """The items of the span, and where the next element starts."""
        if span.depth > MAX_DEPTH:
            raise UnsafeFile(f"the DICOM file is nested deeper than {MAX_DEPTH} levels")
        items: list[Item] = []
        while position < span.end:
            element = self._element(position, span.end, False)
            if element.tag == _SEQUENCE_END and span.delimited:
                return items, element.start
            if element.tag != _ITEM:
                raise DecodeError("a DICOM sequence holds something else than items")
            inside = span._replace(end=self._stop(element, span.end), delimited=element.length == _UNDEFINED)
            found, position = self.item(element.start, inside)
            items.append(found)
        if span.delimited:
            raise self._broken(span.end)
        return items, span.end

    def _element(self, position: int, end: int, explicit: bool) -> _Element:
        """The header there (PS3.5 7.1.2 and 7.1.3)."""
        self.visited += 1
        if self.visited > MAX_ELEMENTS:
            raise UnsafeFile(f"the DICOM file has more than {MAX_ELEMENTS} elements")
        if position + 8 > end:
            raise self._broken(end)
        group, number, vr, length = self.header.unpack_from(self.data, position)
        tag = group << 16 | number
        if explicit and vr in _SHORT:
            return _Element(tag, vr, position + 8, length)
        # Some writers leave out the representation of elements in sequences; pydicom reads them so, too.
        if not explicit or group == _DELIMITERS or not (vr.isalpha() and vr.isupper()):
            return _Element(tag, b"", position + 8, self.long.unpack_from(self.data, position + 4)[0])
        if position + 12 > end:
            raise self._broken(end)
        return _Element(tag, vr, position + 12, self.long.unpack_from(self.data, position + 8)[0])

    def _stop(self, element: _Element, end: int) -> int:
        """Where the value ends at the latest."""
        stop = end if element.length == _UNDEFINED else element.start + element.length
        if stop > end:
            raise self._broken(end)
        return stop

    def _broken(self, end: int) -> DecodeError:
        if end == len(self.data):
            return TruncatedFile("the DICOM file ends within an element")
        return DecodeError("a DICOM element reaches out of the item that holds it")


def _codec(names: bytes) -> str:
    """The codec of a specific character set (PS3.3 C.12.1.1.2): of several, the last, which is the patient's own."""
    listed = names.decode("ascii", "replace").strip("\0 ").split("\\")
    known = [python_encoding[name.strip()] for name in listed if name.strip() in python_encoding]
    return known[-1] if known else python_encoding[""]
