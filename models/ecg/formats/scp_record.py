"""SCP-ECG record: the sections of a file (EN 1064:2005 clauses 5.2 and 5.3), each checked against its CRC."""

from __future__ import annotations

import struct
from binascii import crc_hqx
from dataclasses import dataclass

from models.ecg.errors import ChecksumMismatch, DecodeError, TruncatedFile

_PREAMBLE = 6  # CRC and length of the record
_HEADER = 16  # CRC, number, length, two versions, six bytes of which section 0 makes a mark
_MARK = b"SCPECG"
_POINTER = struct.Struct("<HII")  # number, length, index of the first byte, from 1
_SECTION = struct.Struct("<HHIBB")
_STANDARD = range(12)
_MOST_POINTERS = 1024  # numbers of sections, those of the manufacturer among them (clause 5.2)


@dataclass(frozen=True)
class Section:
    """What stands behind the header of a section, and the version of the protocol that its header names."""

    number: int
    protocol: int
    content: bytes

    def fields(self, layout: str, offset: int = 0) -> tuple[int, ...]:
        """Little-endian whole numbers, as `struct` spells them.

        Raises
        ------
        DecodeError
            If the section ends before.
        """
        size = struct.calcsize(f"<{layout}")
        if offset + size > len(self.content):
            raise DecodeError(f"section {self.number} of the SCP-ECG file is too short for what it announces")
        return struct.unpack_from(f"<{layout}", self.content, offset)


def is_record(data: bytes) -> bool:
    """Whether section 0 is there: by its mark, or, as early versions have none, by its pointer to itself."""
    if data[16:22] == _MARK:
        return True
    if len(data) < _PREAMBLE + _HEADER + _POINTER.size:
        return False
    _, number, length, *_ = _SECTION.unpack_from(data, _PREAMBLE)
    pointed, pointed_length, _ = _POINTER.unpack_from(data, _PREAMBLE + _HEADER)
    itself = number == pointed == 0 and length == pointed_length
    return bool(itself and length > _HEADER and length % 10 == _HEADER % 10)


def sections(data: bytes) -> dict[int, Section]:
    """The sections of a record that are not empty, by number.

    Raises
    ------
    TruncatedFile
        If the file is shorter than the record says.
    ChecksumMismatch
        If the CRC of the record or of one of its sections does not fit.
    DecodeError
        If the record is not built as EN 1064 says.
    """
    if len(data) < _PREAMBLE + _HEADER + _POINTER.size:
        raise TruncatedFile(f"the SCP-ECG file ends after {len(data)} bytes, within its pointers")
    if _POINTER.unpack_from(data, _PREAMBLE + _HEADER)[2] != _PREAMBLE + 1:
        raise DecodeError("this is no conformant SCP-ECG file: its section 0 does not say that it begins at byte 7")
    stored, size = struct.unpack_from("<HI", data)
    if size > len(data):
        raise TruncatedFile(f"the SCP-ECG record has {size} bytes, the file {len(data)}")
    record = data[:size]
    if crc_hqx(memoryview(record)[2:], 0xFFFF) != stored:
        raise ChecksumMismatch("the CRC of the SCP-ECG record does not fit its bytes")
    pointers = _section(record, 0, _SECTION.unpack_from(record, _PREAMBLE)[2], _PREAMBLE).content
    if len(pointers) > _MOST_POINTERS * _POINTER.size:
        raise DecodeError(f"section 0 of the SCP-ECG file points to more than {_MOST_POINTERS} sections")
    found: dict[int, Section] = {}
    left = size
    for number, length, index in _POINTER.iter_unpack(pointers[: len(pointers) // 10 * 10]):
        if length and number in _STANDARD:
            left -= length
            if number in found or left < 0:  # each is copied and summed: what lies twice in the file costs twice
                raise DecodeError(f"section {number} of the SCP-ECG file is there twice, or lies in another section")
            found[number] = _section(record, number, length, index - 1)
    return found


def _section(record: bytes, number: int, length: int, start: int) -> Section:
    if start < _PREAMBLE or length < _HEADER or start + length > len(record):
        raise DecodeError(f"section {number} of the SCP-ECG file lies outside of it")
    crc, named, own_length, _, protocol = _SECTION.unpack_from(record, start)
    if (named, own_length) != (number, length):
        raise DecodeError(f"section {number} of the SCP-ECG file is not where section 0 says")
    if crc_hqx(memoryview(record)[start + 2 : start + length], 0xFFFF) != crc:
        raise ChecksumMismatch(f"the CRC of section {number} of the SCP-ECG file does not fit its bytes")
    return Section(number, protocol, record[start + _HEADER : start + length])
