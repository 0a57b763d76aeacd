"""A batch ends, whatever ends it: on a disk that is full, it says so."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import Request
from starlette.types import Message

from app.batch_body import Item, ecgs, on_disk, unpack
from app.batches import AnswerLine, in_order
from app.problems import DiskFull
from app.settings import Settings

FULL = Path("/dev/full")
"""A disk without room: every write fails with ENOSPC (full(4))."""


def zipped(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def request(body: bytes) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def answer(item: Item) -> AnswerLine:
    return AnswerLine(name=item.name, status=202)


async def answered(items: AsyncIterator[Item], told: list[str]) -> None:
    async def write(line: AnswerLine) -> None:
        told.append(line.name)

    async with asyncio.timeout(30):  # else a batch without an end would never fail here
        await in_order(items, answer, write)


def test_what_breaks_off_a_batch_ends_it_once_those_before_are_answered() -> None:
    async def items() -> AsyncIterator[Item]:
        for name in ("one", "two"):
            yield Item(name=name, read=bytes)
        raise OSError("not foreseen")

    told: list[str] = []
    with pytest.raises(OSError, match="not foreseen"):
        asyncio.run(answered(items(), told))
    assert told == ["one", "two"]


def test_a_zip_that_a_full_disk_does_not_take_is_refused_for_that(tmp_path: Path) -> None:
    (tmp_path / "batch.zip").symlink_to(FULL)
    told: list[str] = []
    with pytest.raises(DiskFull), on_disk():
        asyncio.run(answered(ecgs(request(zipped("one.json", b"{}")), tmp_path, Settings()), told))
    assert told == []


def test_a_disk_that_is_full_while_a_zip_is_unpacked_is_no_damage_to_it(tmp_path: Path) -> None:
    (tmp_path / "batch.zip").write_bytes(zipped("one.json", b"{}"))
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "unpacked" / "one.json").symlink_to(FULL)
    with pytest.raises(DiskFull):
        unpack(tmp_path / "batch.zip", tmp_path / "unpacked", 100, 100)
