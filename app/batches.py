"""Batches: many ECGs in one request, as lines of JSON or in a zip, each answered on a line of its own as it is kept."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.auth import require
from app.batch_body import Item, Line, ecgs, on_disk
from app.ecgs import PriorityQuery, keep
from app.problems import (
    FORESEEN,
    Foreseen,
    QueueFull,
    TooManyRequests,
    document,
    told,
)
from app.store.keys import Principal
from app.store.outbox import Priority
from models.ecg import Stated
from models.ecg.confined import ReadersBusy

if TYPE_CHECKING:
    from app.main import Gateway

router = APIRouter(prefix="/v1", tags=["ECGs"])
T = TypeVar("T")
Writer = Annotated[Principal, Depends(require("ecgs:write"))]

AT_ONCE = 8
"""ECGs of one batch that are under way at the same time; so many are in memory."""

ROOM_SECONDS = 0.5
"""How often a batch looks whether there is room again in the queue."""


class AnswerLine(BaseModel):
    """What became of one ECG of a batch."""

    name: str
    status: int
    id: str | None = None
    location: str | None = None
    problem: dict[str, Any] | None = None  # RFC 9457, whose values are of any JSON type


Write = Callable[[AnswerLine], Awaitable[None]]


class Answers(Response):
    """An answer that is written line by line while the request is still being read.

    Starlette's `StreamingResponse` watches for the sender to hang up, and would take the request's body for that.
    """

    media_type = "application/x-ndjson"

    def __init__(self, work: Callable[[Write], Awaitable[None]]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the work goes on."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

        async def write(line: AnswerLine) -> None:
            text = line.model_dump_json(exclude_none=True).encode() + b"\n"
            await send({"type": "http.response.body", "body": text, "more_body": True})

        await self._work(write)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@router.post(
    "/ecgs:batch",
    summary="Submit many ECGs",
    status_code=200,  # FastAPI looks for it in the class otherwise
    response_class=Answers,
    responses={200: {"model": AnswerLine, "content": {"application/x-ndjson": {}}}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "An ECG a line, as JSON itself or as `content_base64`; or a zip of ECG files.",
            "content": {
                "application/x-ndjson": {"schema": Line.model_json_schema()},
                "application/zip": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def batch(request: Request, sender: Writer, priority: PriorityQuery = "backfill") -> Response:
    """Keep many ECGs and have them read. Each is answered on a line of its own, in their order, when it is kept.

    The body is read on as there is room in the queue and as fast as the key may send: a batch goes at the pace of the
    service. When there was no room for as long as `ECG2CMR_MAX_WAIT`, ECGs are refused as they would be alone. No
    Idempotency-Key is asked for, since no answer is kept: a batch that comes again comes to the same studies.
    """
    work = Batch(gateway=request.app.state.gateway, key_id=sender.key_id, priority=priority)
    return Answers(partial(work.run, request))


@dataclass(kw_only=True)
class Batch:
    """The work on one batch, which waits for room as a whole: `_patient_until` moves with each ECG that is kept."""

    gateway: Gateway
    key_id: str
    priority: Priority
    _patient_until: float = 0.0

    async def run(self, request: Request, write: Write) -> None:
        """Answer every ECG of the body; who hangs up has been told of all that are kept but the last few."""
        self._be_patient()
        with contextlib.suppress(ClientDisconnect):
            try:
                with on_disk(), tempfile.TemporaryDirectory(prefix="ecg2cmr-") as folder:
                    await in_order(ecgs(request, Path(folder), self.gateway.settings), self._answer, write)
            except FORESEEN as error:  # the batch as a whole: the rest cannot be read
                await write(_refused("batch", error))

    async def _answer(self, item: Item) -> AnswerLine:
        spend = partial(self.gateway.rate_limit.spend, self.key_id)
        try:
            upload, stated = await run_in_threadpool(item.read), item.stated or Stated()
            await self._when_possible(partial(run_in_threadpool, spend))
            taken = partial(keep, self.gateway, upload, stated, self.priority)
            kept = await self._when_possible(partial(run_in_threadpool, taken))
        except FORESEEN as error:
            return _refused(item.name, error)
        self._be_patient()
        if kept.due is not None:
            self.gateway.dispatcher.dispatch(kept.due)
        return AnswerLine(name=item.name, status=202, id=kept.study_id, location=f"/v1/ecgs/{kept.study_id}")

    def _be_patient(self) -> None:
        self._patient_until = time.monotonic() + self.gateway.settings.max_wait

    async def _when_possible(self, act: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await act()
            except (QueueFull, TooManyRequests, ReadersBusy):
                if time.monotonic() >= self._patient_until:
                    raise
                await asyncio.sleep(ROOM_SECONDS)


async def in_order(
    items: AsyncIterator[Item], answer: Callable[[Item], Coroutine[None, None, AnswerLine]], write: Write
) -> None:
    """Some at once, answered in their order, each as soon as those before it are.

    What the items raise is raised once those before it are answered; what is under way is dropped if anything else ends
    this: an answer that cannot be made or written.
    """
    running: asyncio.Queue[asyncio.Task[AnswerLine] | None] = asyncio.Queue()
    at_once = asyncio.Semaphore(AT_ONCE)

    async def start() -> None:
        try:
            async for item in items:
                await at_once.acquire()
                running.put_nowait(asyncio.create_task(answer(item)))
        finally:
            running.put_nowait(None)

    starter = asyncio.create_task(start())
    try:
        while (task := await running.get()) is not None:
            await write(await task)
            at_once.release()
        await starter
    finally:
        starter.cancel()
        while not running.empty():
            if (left := running.get_nowait()) is not None:
                left.cancel()


def _refused(name: str, error: Foreseen) -> AnswerLine:
    problem = document(told(error))
    return AnswerLine(name=name, status=int(problem["status"]), problem=problem)
