"""Turns: messages are worked on side by side, but one that may have ended a worker has the process for itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from models.report import Asked


class Turns:
    """For the threads of one process.

    An ECG that ends its process takes along whatever else is being read there, which spends an attempt for no fault of
    its own. That may happen once: what is asked again, alone in its message as a suspect is, begins when nothing else
    is being read, and nothing else begins meanwhile.

    Parameters
    ----------
    width : int
        Messages worked on at once.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._free = threading.Semaphore(width)
        self._queue = threading.Lock()

    @contextmanager
    def taken(self, asked: Sequence[Asked]) -> Iterator[None]:
        """Around the work on one message; who needs all turns waits for them, and nobody passes it."""
        needed = self._width if len(asked) == 1 and asked[0].attempt > 1 else 1
        with self._queue:
            for _ in range(needed):
                self._free.acquire()
        try:
            yield
        finally:
            self._free.release(needed)
