"""Waiters: those who wait for a result, woken as soon as any gateway has recorded it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator

from models.report import Inference, Rejection
from models.wire import Wire, WireDown

LISTEN_SECONDS = 0.5
"""How long a thread waits for Redis before it looks whether it is to stop."""

RETRY_SECONDS = 1.0
"""Pause after the broker or the store did not answer."""


Outcome = Inference | Rejection
"""How a model answers; that it failed is told without it, and read from the store."""


class Waiting(asyncio.Event):
    """Set when there is a result; `outcome` is that result, where it was recorded by this gateway at this moment."""

    outcome: Outcome | None = None


class Waiters:
    """Those who wait for the result of a study, on the event loop that serves them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._events: dict[str | None, set[Waiting]] = defaultdict(set)
        self.heard = -math.inf
        """When anything was told of last, on the loop's clock."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the loop on which waiting happens."""
        self._loop = loop

    def tell(self, study_id: str, outcome: Outcome | None = None) -> None:
        """Wake those who wait for this study; may be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, study_id, outcome)

    def _wake(self, study_id: str, outcome: Outcome | None) -> None:
        self.heard = asyncio.get_running_loop().time()
        for waiting in (*self._events.get(study_id, ()), *self._events.get(None, ())):
            waiting.outcome = outcome or waiting.outcome
            waiting.set()

    @contextlib.contextmanager
    def waiting(self, study_id: str | None) -> Iterator[Waiting]:
        """An event that is set when the study, or with None any, has a result; enter before looking at the store."""
        event = Waiting()
        self._events[study_id].add(event)
        try:
            yield event
        finally:
            self._events[study_id].discard(event)
            if not self._events[study_id]:
                del self._events[study_id]


class Listener(threading.Thread):
    """Hears what any gateway recorded, wakes those who wait for it here, and passes on which jobs are answered."""

    def __init__(self, broker_url: str, waiters: Waiters, answered: Callable[[list[str]], None]) -> None:
        super().__init__(name="listener", daemon=True)
        self._wire = Wire(broker_url)
        self._waiters = waiters
        self._answered = answered
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End; what is said meanwhile need not be heard."""
        self._stopping.set()
        self.join()
        self._wire.close()

    def run(self) -> None:
        """Listen until stopped; an unreachable broker is tried again and again, in silence: the recorder tells."""
        while not self._stopping.is_set():
            try:
                self._listen()
            except WireDown:
                self._stopping.wait(RETRY_SECONDS)

    def _listen(self) -> None:
        for news in self._wire.news(LISTEN_SECONDS):
            if self._stopping.is_set():
                return
            if news is not None:
                self._answered(news.job_ids)
                for study_id in news.study_ids:
                    self._waiters.tell(study_id)
