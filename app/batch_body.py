"""Batch body: the ECGs of one request, each a line of JSON or a file of a zip, taken apart within limits."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Annotated

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app.problems import BodyTooLarge, DiskFull, InvalidRequest, Problem
from app.settings import Settings
from models.ecg import Stated
from models.ecg.archive import matches as is_zip
from models.ecg.source import content, sources

MAX_ECGS = 10_000
"""Of one batch. Its answers fit the buffers of a connection, should the sender read none before it has sent all."""

MAX_DIRECTORY = 4 * 2**20
"""Bytes of a zip's list of members: 40,000 with names of 60 letters; they are all in memory."""

_END = struct.Struct("<4s4H2LH")  # end of central directory (APPNOTE.TXT 4.3.16)
_END_SIGNATURE = b"PK\x05\x06"
_ZIP64_LOCATOR = b"PK\x06\x07"


# zlib: damaged streams; struct, Value, Overflow: damaged numbers; Runtime: a password; the rest: ends and names.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    OverflowError,
    RuntimeError,
    EOFError,
    OSError,
)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One ECG of a batch: what it is called, what is stated beside it, and how to get its bytes (or why not)."""

    name: str
    read: Callable[[], bytes]
    stated: Stated | None = None


def _decoded(text: object) -> object:
    return base64.b64decode(text, validate=True) if isinstance(text, str) else text


class Line(BaseModel):
    """A line of a batch that carries a file; any other document is an ECG itself."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    content_base64: Annotated[bytes, BeforeValidator(_decoded), Field(json_schema_extra={"contentEncoding": "base64"})]
    sampling_rate: float | None = None
    unit: str | None = None
    leads: list[str] | None = None


@contextlib.contextmanager
def on_disk() -> Iterator[None]:
    """Where a zip is written to the disk, whose end is foreseen.

    Raises
    ------
    DiskFull
        If there is no room on it.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFull("a zip is unpacked on the disk of the service, which is full") from error
        raise


async def ecgs(request: Request, folder: Path, settings: Settings) -> AsyncIterator[Item]:
    """The ECGs of a request's body, whichever way they are wrapped; the content decides.

    Raises
    ------
    BodyTooLarge, InvalidRequest
        If the rest of the body cannot be read.
    OSError
        If the folder cannot be written to; `on_disk` tells the sender when it is full.
    """
    chunks = _without_blanks(request.stream())
    first = await anext(chunks, b"")
    if is_zip(first):
        unpacked = _files(first, chunks, folder, settings.max_batch_bytes, settings.max_body_bytes)
    else:
        unpacked = _lines(first, chunks, settings.max_body_bytes)
    count = 0
    async for item in unpacked:
        count += 1
        if count > MAX_ECGS:
            raise BodyTooLarge(f"a batch holds at most {MAX_ECGS} ECGs: send the rest in another")
        yield item


async def _without_blanks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if chunk:
            yield chunk


async def _lines(first: bytes, rest: AsyncIterator[bytes], limit: int) -> AsyncIterator[Item]:
    """Each line of the body; one that is too long is passed over and refused."""
    number, line, too_long = 0, bytearray(), False
    longest = limit * 4 // 3 + 4096  # base64, and what stands beside it
    async for chunk in _chain(first, rest):
        *ended, begun = chunk.split(b"\n")
        for part in ended:
            number += 1
            line += part
            if too_long or line.strip():
                yield await _line(number, bytes(line), too_long or len(line) > longest, limit)
            line, too_long = bytearray(), False
        line += begun
        if len(line) > longest:
            line, too_long = bytearray(), True
    if too_long or line.strip():
        yield await _line(number + 1, bytes(line), too_long, limit)


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _line(number: int, line: bytes, too_long: bool, limit: int) -> Item:
    name = f"line {number}"
    return _too_large(name, limit) if too_long else await run_in_threadpool(_parse, name, line, limit)


def _parse(name: str, line: bytes, limit: int) -> Item:
    """A line that carries a file, or is an ECG itself."""
    if b'"content_base64"' not in line:
        return Item(name=name, read=lambda: line) if len(line) <= limit else _too_large(name, limit)
    try:
        parsed = Line.model_validate_json(line)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        return Item(name=name, read=partial(_refuse, InvalidRequest(faults[:500])))
    if len(parsed.content_base64) > limit:
        return _too_large(parsed.name or name, limit)
    leads = tuple(parsed.leads) if parsed.leads else None
    stated = Stated(sampling_rate=parsed.sampling_rate, unit=parsed.unit, leads=leads)
    return Item(name=parsed.name or name, stated=stated, read=lambda: parsed.content_base64)


def _too_large(name: str, limit: int) -> Item:
    return Item(name=name, read=partial(_refuse, BodyTooLarge(f"more than the {limit} bytes that one ECG may have")))


def _refuse(problem: Problem) -> bytes:
    raise problem


async def _files(
    first: bytes, rest: AsyncIterator[bytes], folder: Path, limit: int, file_limit: int
) -> AsyncIterator[Item]:
    """Each ECG of a zip, which is put on the disk first: its list of members stands at its end."""
    packed = folder / "batch.zip"
    with packed.open("wb") as file:
        size = 0
        async for chunk in _chain(first, rest):
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(f"a zip may have {limit} bytes")
            await run_in_threadpool(file.write, chunk)
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    for name in await run_in_threadpool(unpack, packed, unpacked, limit, file_limit):
        yield _too_large(name, file_limit)
    for source in await run_in_threadpool(sources, unpacked):
        yield Item(name=str(source.name), read=partial(content, source.path))


def unpack(packed: Path, folder: Path, limit: int, file_limit: int) -> list[str]:
    """Unpack the members that may be ECGs; the names of those that are too large for one.

    `zipfile` keeps every path within the folder, makes no links, and stops a member at the size that it declares.

    Raises
    ------
    BodyTooLarge, DiskFull, InvalidRequest
        If the zip as a whole cannot be unpacked.
    """
    too_large = []
    try:
        with packed.open("rb") as file:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                members = [member for member in archive.infolist() if not member.is_dir()]
                if sum(member.file_size for member in members) > limit:
                    raise BodyTooLarge(f"the files of a zip may have {limit} bytes together")
                for member in members:
                    if member.file_size > file_limit:
                        too_large.append(member.filename)
                    else:
                        with on_disk():  # else it would be taken for a damaged zip
                            archive.extract(member, folder)
    except BROKEN as error:
        raise InvalidRequest(f"the zip cannot be unpacked ({type(error).__name__})") from error
    return too_large


def _check_directory(file: IO[bytes]) -> None:
    """Refuse a zip whose list of members is too long, before `zipfile` reads it into memory."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size - len(_ZIP64_LOCATOR) - 0xFFFF - 20))
    tail = file.read()
    found = tail.rfind(_END_SIGNATURE)
    if found < 0 or len(tail) - found < _END.size:
        raise zipfile.BadZipFile("it has no end")
    directory = _END.unpack_from(tail, found)[5]
    if directory > MAX_DIRECTORY or _ZIP64_LOCATOR in tail[max(0, found - 20) : found]:
        raise BodyTooLarge(f"a batch holds at most {MAX_ECGS} ECGs")
    file.seek(0)
