"""Server-sent events: every ECG that is answered, told to whoever listens, and again to those who lost the line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from app.auth import require
from app.bulletin import Bulletin
from app.store import StoreUnavailable
from app.store.events import Event
from models.report import Status

if TYPE_CHECKING:
    from app.main import Gateway

router = APIRouter(prefix="/v1/events", tags=["ECGs"])

LISTEN_SECONDS = 600.0
"""How long one connection lasts: a listener comes back with what it knows, if its key was not revoked meanwhile."""

RECONNECT_MS = 2000


class Answered(BaseModel):
    """An ECG that was answered; nothing of the patient, and nothing of the answer."""

    id: str
    status: Status
    location: str
    at: str


def answered(event: Event) -> Answered:
    """What is told of an event."""
    return Answered(
        id=event.study_id, status=event.status, location=f"/v1/ecgs/{event.study_id}", at=event.at.isoformat()
    )


def _bulletin(request: Request) -> Bulletin:
    gateway: Gateway = request.app.state.gateway
    return gateway.bulletin


async def _seat(request: Request) -> AsyncIterator[None]:
    """A place among those who listen, until the line is cut."""
    with _bulletin(request).seat():
        yield


@router.get(
    "",
    summary="Listen to what happens",
    dependencies=[Depends(require("ecgs:read")), Depends(_seat)],
    response_class=EventSourceResponse,
)
async def listen(
    request: Request,
    last_event_id: Annotated[
        int | None, Header(alias="Last-Event-ID", ge=0, description="The newest event that is known; 0 for all kept.")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """`text/event-stream` of answered ECGs, from now on or after `Last-Event-ID`; a comment every 15 s keeps it open.

    An event says that an ECG was read (`done`), cannot be read (`rejected`) or could not be (`failed`).
    """
    bulletin = _bulletin(request)
    known = await bulletin.newest() if last_event_id is None else last_event_id
    yield ServerSentEvent(comment="listening", id=str(known), retry=RECONNECT_MS)
    until = asyncio.get_running_loop().time() + LISTEN_SECONDS
    with contextlib.suppress(StoreUnavailable):  # the listener comes back, and is told why it cannot be served
        async with contextlib.aclosing(bulletin.follow(known, until)) as happening:
            async for event in happening:
                yield ServerSentEvent(data=answered(event), event="ecg", id=str(event.sequence))
