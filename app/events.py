"""Server-sent events: every ECG that is answered, told to whoever listens, and again to those who lost the line."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from app.auth import require
from app.store import Store, StoreUnavailable, events
from app.store.events import Event
from models.report import Status

if TYPE_CHECKING:
    from app.main import Gateway

router = APIRouter(prefix="/v1/events", tags=["ECGs"])

LOOK_SECONDS = 0.5
"""How often a listener's gateway looks at the store, whichever gateway recorded the answer."""

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


@router.get(
    "",
    summary="Listen to what happens",
    dependencies=[Depends(require("ecgs:read"))],
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
    gateway: Gateway = request.app.state.gateway
    until = time.monotonic() + LISTEN_SECONDS
    known = await run_in_threadpool(_last, gateway.store) if last_event_id is None else last_event_id
    yield ServerSentEvent(comment="listening", id=str(known), retry=RECONNECT_MS)
    with contextlib.suppress(StoreUnavailable):  # the listener comes back, and is told why it cannot be served
        while time.monotonic() < until:
            for event in await run_in_threadpool(_after, gateway.store, known):
                known = event.sequence
                yield ServerSentEvent(data=answered(event), event="ecg", id=str(known))
            await asyncio.sleep(LOOK_SECONDS)


def _last(store: Store) -> int:
    with store.reading() as connection:
        return events.last(connection)


def _after(store: Store, sequence: int) -> Sequence[Event]:
    with store.reading() as connection:
        return events.after(connection, sequence)
