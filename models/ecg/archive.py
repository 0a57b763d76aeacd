"""Archive: the zip in which the files of one record travel together, read within limits and never extracted."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import PurePosixPath

from models.ecg.errors import ChecksumMismatch, DecodeError, UnsafeFile

# A record has a header, one signal file or a few, and some annotations; ECGs shrink three- to fivefold.
MAX_MEMBERS = 20
MAX_INFLATED = 64 * 2**20
MAX_RATIO = 200

_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
_DIRECTORY_ENTRY = b"PK\x01\x02"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


def matches(data: bytes) -> bool:
    """Whether these are the bytes of a zip."""
    return data.startswith(_SIGNATURES)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Put several files of one record into a stored zip, as `unpack` takes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """The files of an archive by their base names.

    Raises
    ------
    UnsafeFile
        If it holds more, larger or other things than the files of one ECG: members that climb out of their folder,
        links, encryption, archives in the archive, or more bytes than the limits above.
    ChecksumMismatch
        If a CRC does not fit.
    DecodeError
        If the zip is broken.
    """
    # Each entry of the directory has this signature, so that a million of them is seen before zipfile builds them.
    if data.count(_DIRECTORY_ENTRY) > MAX_MEMBERS:
        raise UnsafeFile(f"the zip has more than {MAX_MEMBERS} members")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _members(archive)
    except zipfile.BadZipFile as error:
        if "Bad CRC-32" in str(error):
            raise ChecksumMismatch("the CRC of a member of the zip does not fit its bytes") from error
        raise DecodeError(f"the zip is broken: {error}") from error
    # zlib: damaged streams; struct, Value and Overflow: damaged sizes and offsets; Unicode: names; the rest: ends.
    except (zlib.error, struct.error, ValueError, OverflowError, EOFError, OSError, NotImplementedError) as error:
        raise DecodeError(f"the zip is broken: {error}") from error


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = [entry for entry in archive.infolist() if not _is_litter(entry.filename)]
    _check_sizes(entries)
    files: dict[str, bytes] = {}
    for entry in entries:
        name = _base_name(entry)
        if name in files:
            raise DecodeError(f"the zip holds {name[:80]!r} twice")
        with archive.open(entry) as member:  # `archive.read` inflates a member that lies whole before it cuts it
            files[name] = member.read(entry.file_size + 1)
        if matches(files[name]):
            raise UnsafeFile("the zip holds another zip")
    return files


def _is_litter(name: str) -> bool:
    """Whether a member is a folder, or what macOS and editors leave behind."""
    return name.endswith("/") or name.startswith("__MACOSX/") or PurePosixPath(name).name.startswith(".")


def _check_sizes(entries: list[zipfile.ZipInfo]) -> None:
    """Refuse by the declared sizes; zipfile stops a member at its declared size, so that they cannot be lied about."""
    if sum(entry.file_size for entry in entries) > MAX_INFLATED:
        raise UnsafeFile(f"the zip inflates to more than {MAX_INFLATED >> 20} MB")
    for entry in entries:
        if entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
            raise UnsafeFile(f"a member of the zip inflates more than {MAX_RATIO}-fold")
        if entry.flag_bits & _ENCRYPTED:
            raise UnsafeFile("the zip is encrypted: send it without a password")
        if entry.compress_type not in _METHODS:
            raise UnsafeFile("the zip is compressed by another method than deflate")


def _base_name(entry: zipfile.ZipInfo) -> str:
    path = PurePosixPath(entry.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename:
        raise UnsafeFile(f"the zip names {entry.filename[:80]!r}, which lies outside of it")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise UnsafeFile(f"the zip holds a link, {entry.filename[:80]!r}")
    return path.name
