"""Watchdog: a worker that hangs ends itself; threads cannot be ended, and Celery's pool of them has no time limit."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HUNG = 75
"""Exit status of a worker that hung: EX_TEMPFAIL (sysexits.h), try again."""

log = logging.getLogger("ecg2cmr.worker")


class Watchdog(threading.Thread):
    """Ends the process when one message takes longer than `limit` seconds; whoever supervises it starts another."""

    def __init__(self, limit: float) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._limit = limit
        self._numbers = itertools.count()
        self._begun: dict[int, float] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around the work on one message."""
        number = next(self._numbers)
        self._begun[number] = time.monotonic()
        try:
            yield
        finally:
            del self._begun[number]

    def run(self) -> None:
        """Look every so often."""
        while True:
            time.sleep(min(1.0, self._limit / 4))
            oldest = min(list(self._begun.values()), default=None)
            if oldest is not None and time.monotonic() - oldest > self._limit:
                log.critical("a message took longer than %g s: the worker hangs and ends", self._limit)
                os._exit(HUNG)  # nothing else ends a process whose threads hang
