"""Bulletin: the newest events, looked up once for all who listen at this gateway, as soon as there may be some."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Iterator, Sequence

from fastapi.concurrency import run_in_threadpool

from app.problems import TooManyListeners
from app.store import Store, events
from app.store.events import Event
from app.waiters import Waiters

LOOK_SECONDS = 0.5
"""After how long to look though nothing was heard: of a dead letter nobody tells, and news may be lost."""

GATHER_SECONDS = 0.05
"""How long to wait for more once something was heard: a thousand answers a second are twenty looks."""

KEPT = 1000
"""Events at hand; who comes from further back reads them from the store."""


class Bulletin:
    """Events in the order of their numbers, for any number of listeners on one event loop, up to a bound.

    Raises
    ------
    StoreUnavailable
        From whatever looks, when the store does not answer.
    """

    def __init__(self, store: Store, waiters: Waiters, seats: int) -> None:
        self._store, self._waiters = store, waiters
        self._seats, self._taken = seats, 0
        self._lock = asyncio.Lock()
        self._looked = -math.inf  # on the clock of the loop
        self._events: list[Event] = []
        self._since = 0  # the number before the first of them

    @contextlib.contextmanager
    def seat(self) -> Iterator[None]:
        """A place for one listener.

        Raises
        ------
        TooManyListeners
            If all are taken.
        """
        if self._taken >= self._seats:
            raise TooManyListeners(f"{self._taken} listen at this gateway")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def follow(self, known: int, until: float) -> AsyncGenerator[Event, None]:
        """What happened after the event with the number `known`, and what happens, until then (by the loop's clock)."""
        loop = asyncio.get_running_loop()
        with self._waiters.waiting(None) as heard:
            while loop.time() < until:
                heard.clear()
                found = await self._after(known)
                for event in found:
                    known = event.sequence
                    yield event
                if not found:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(heard.wait(), LOOK_SECONDS)
                        await asyncio.sleep(GATHER_SECONDS)

    async def _after(self, known: int) -> Sequence[Event]:
        async with self._lock:  # who looks first looks for all
            await self._look()
        if known < self._since:
            return await run_in_threadpool(_read, self._store, known)
        return [event for event in self._events if event.sequence > known]

    async def _look(self) -> None:
        """Look at the store, unless nothing can be new."""
        now = asyncio.get_running_loop().time()
        if self._looked >= self._waiters.heard and now - self._looked < LOOK_SECONDS:
            return
        if now - self._looked > 2 * LOOK_SECONDS:  # nobody listened: what was missed is read from the store
            self._events, self._since = [], await self.newest()
        newest = self._events[-1].sequence if self._events else self._since
        found = await run_in_threadpool(_read, self._store, newest)
        self._events += found
        self._looked = now if len(found) < events.PAGE else now - LOOK_SECONDS  # there is more
        if len(self._events) > KEPT:
            self._since = self._events[-KEPT - 1].sequence
            self._events = self._events[-KEPT:]

    async def newest(self) -> int:
        """The number of the newest event of all."""
        return await run_in_threadpool(_last, self._store)


def _last(store: Store) -> int:
    with store.reading() as connection:
        return events.last(connection)


def _read(store: Store, known: int) -> Sequence[Event]:
    with store.reading() as connection:
        return events.after(connection, known)
