"""Limits: how many ECGs may wait for an answer, and how fast one API key may send them."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fastapi import Request
from limits import parse
from limits.errors import StorageError
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter
from starlette.types import Scope

from app.auth import require
from app.problems import QueueFull, TooManyRequests
from app.store import Store, events, outbox
from app.store.keys import Principal
from app.store.outbox import Priority

if TYPE_CHECKING:
    from app.main import Gateway

log = logging.getLogger("ecg2cmr.limits")

SHARES: Mapping[Priority, float] = {"stat": 1.0, "routine": 0.9, "backfill": 0.5}
"""How full the queue may be for an ECG to be taken: an archive that is read in leaves room for the ward."""

LOOK_SECONDS = 0.5
"""How often the queue is counted; in between, each ECG that is kept is added."""

ROOM = 0.1
"""The part of the queue that is to be answered before the next attempt, so that those refused do not come in vain."""

RETRY_BOUNDS = (1, 300)
REDIS_SECONDS = 2.0
"""Longest that an ECG waits for the Redis of the rate limits, which may be a host that is gone."""

UNKNOWN_RATE_SECONDS = 30
"""Retry-After while no ECG was ever answered."""


class Backlog:
    """How many ECGs wait for an answer, in a bounded queue; of what others do, it knows within half a second."""

    def __init__(self, store: Store, bound: int) -> None:
        self._store = store
        self._bound = bound
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._looked = -math.inf
        self._waiting = 0  # in the store when it was looked at
        self._kept = 0  # by us since that look began
        self._in_hand = 0
        self._rate: float | None = None

    @contextmanager
    def room(self, priority: Priority) -> Iterator[None]:
        """Room for one more ECG, which is taken while it is examined and stays taken once it is kept.

        Raises
        ------
        QueueFull
            If there is none.
        app.store.StoreUnavailable
            If nobody can tell.
        """
        self._take(priority)
        try:
            yield
            with self._lock:
                self._kept += 1
        finally:
            with self._lock:
                self._in_hand -= 1

    def _take(self, priority: Priority) -> None:
        if time.monotonic() - self._looked >= LOOK_SECONDS and self._looking.acquire(blocking=False):
            try:  # others go by what is known: a store that does not answer holds up one of them, and not all
                self._look()
            finally:
                self._looking.release()
        with self._lock:
            taken, room = self._waiting + self._kept + self._in_hand, max(1, math.floor(self._bound * SHARES[priority]))
            if taken >= room:
                raise QueueFull(f"{taken} ECGs wait for an answer", self._retry_after(taken - room))
            self._in_hand += 1

    def _look(self) -> None:
        with self._lock:
            before = self._kept
        with self._store.reading() as connection:
            waiting, _ = outbox.pending(connection)
            rate = events.rate(connection)
        with self._lock:
            # What was kept meanwhile may be among what was counted: better one too many than one too few.
            self._waiting, self._kept, self._rate, self._looked = waiting, self._kept - before, rate, time.monotonic()

    def _retry_after(self, excess: int) -> int:
        """Seconds in which, as fast as ECGs were answered lately, there will be room again."""
        if self._rate is None:
            return UNKNOWN_RATE_SECONDS
        shortest, longest = RETRY_BOUNDS
        return min(max(math.ceil((excess + ROOM * self._bound) / self._rate), shortest), longest)


class RateLimit:
    """How many ECGs one API key may send in any window of time, counted here or, for several gateways, in Redis.

    The headers are those of draft-ietf-httpapi-ratelimit-headers-10.

    Raises
    ------
    ValueError
        If the rate is not written as in '600/minute'.
    """

    def __init__(self, rate: str | None, url: str | None) -> None:
        self._limit = None if rate is None else parse(rate)
        times = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS} if url else {}
        storage = storage_from_string(url or "memory://", wrap_exceptions=True, **times)
        self._window = MovingWindowRateLimiter(storage)

    def spend(self, key_id: str) -> dict[str, str]:
        """Count one ECG; the headers that tell the sender what is left.

        Raises
        ------
        TooManyRequests
            If the key has sent as many as it may.
        """
        if self._limit is None:
            return {}
        try:
            allowed = self._window.hit(self._limit, key_id)
            reset, left = self._window.get_window_stats(self._limit, key_id)
        except StorageError as error:  # the queue is bounded all the same
            log.warning("the store of the rate limits does not answer (%s): nobody is slowed", error)
            return {}
        seconds = max(0, math.ceil(reset - time.time()))
        headers = {
            "RateLimit-Policy": f'"ecgs";q={self._limit.amount};w={self._limit.get_expiry()}',
            "RateLimit": f'"ecgs";r={left};t={seconds}',
        }
        if not allowed:
            detail = f"{self._limit} are allowed"
            raise TooManyRequests(detail, {**headers, "Retry-After": str(max(1, seconds))})
        return headers


_may_write = require("ecgs:write")


def sender(request: Request) -> Principal:
    """A FastAPI dependency: whoever may send ECGs, and has not sent too many."""
    found = _may_write(request)
    gateway: Gateway = request.app.state.gateway
    request.state.rate_limit = gateway.rate_limit.spend(found.key_id)
    return found


def headers(scope: Scope) -> dict[str, str]:
    """What the answer to the request of this scope says of its sender's limit."""
    told: dict[str, str] = scope.get("state", {}).get("rate_limit", {})
    return told
