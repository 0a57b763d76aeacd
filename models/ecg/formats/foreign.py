"""Foreign: formats that are recognised, so that the sender hears what to send instead, but not read here."""

from __future__ import annotations

import re
from typing import NoReturn

from models.ecg.errors import UnsupportedFormat
from models.ecg.formats.xml_document import root_of, text_of
from models.ecg.stated import Stated

_TABLE = "send its numbers as CSV or JSON with lead names, unit and sampling rate"
_DEVICE = "export the ECG as DICOM or WFDB"

# (offset, bytes there, name, what to send instead): the published signature of each format.
_SIGNATURES = (
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", _TABLE),
    (0, b"\x80\x04\x95", "a Python pickle", _TABLE),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "send the file itself, or a zip"),
    (0, b"Rar!", "a RAR archive", "send the file itself, or a zip"),
)
_XML_ROOTS = {
    "sapphire": "a GE Sapphire XML file",
    "observation": "a FHIR resource in XML",
}


def matches(data: bytes) -> bool:
    """Whether this is one of the formats that are only recognised."""
    return _recognise(data) is not None


def read(data: bytes, stated: Stated) -> NoReturn:
    """Say what this is and what to send instead.

    Raises
    ------
    UnsupportedFormat
        Always.
    """
    name, instead = _recognise(data) or ("unknown", _DEVICE)
    raise UnsupportedFormat(f"this is {name}, which is not read here: {instead}")


def _recognise(data: bytes) -> tuple[str, str] | None:
    for offset, signature, name, instead in _SIGNATURES:
        if data.startswith(signature, offset):
            return name, instead
    return _recognise_markup(data[:65536])


def _recognise_markup(start: bytes) -> tuple[str, str] | None:
    """XML or HTML, by its root element."""
    text = text_of(start)
    if not text.startswith("<"):
        return None
    if re.match(r"<(?:!doctype\s+html|html)\b", text, re.IGNORECASE):
        return "an HTML page, perhaps of a login", _DEVICE
    root = root_of(text)
    return _XML_ROOTS.get(root.lower(), f"an XML file with root element {root[:40] or 'unknown'!r}"), _DEVICE
