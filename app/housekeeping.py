"""Housekeeping: a thread that forgets what is older than the operator keeps, and removes loose bytes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from app.store import Store, StoreUnavailable, answers, blobs, events, retention

log = logging.getLogger("ecg2cmr.housekeeping")

EVERY_SECONDS = 3600.0


class Housekeeper(threading.Thread):
    """Looks at once and then every hour; each step is a short transaction, so that no upload waits for it."""

    def __init__(
        self,
        store: Store,
        keep_uploads_days: float | None,
        keep_studies_days: float | None,
        events_days: float | None = None,
    ) -> None:
        super().__init__(name="housekeeper", daemon=True)
        self._store = store
        self._keep_uploads_days = keep_uploads_days
        self._keep_studies_days = keep_studies_days
        self._events_days = events_days
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Finish the step in hand and end."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Keep house until stopped; a store that does not answer is kept later."""
        while not self._stopping.is_set():
            try:
                self.tidy()
            except StoreUnavailable as error:
                log.warning("the store does not answer: %s", error)
            self._stopping.wait(EVERY_SECONDS)

    def tidy(self) -> None:
        """Everything that is due, until nothing is."""
        now = datetime.now(UTC)
        if self._keep_studies_days is not None:
            before = now - timedelta(days=self._keep_studies_days)
            self._repeat("forgot %d studies", lambda connection: retention.forget_older(connection, before))
        if self._keep_uploads_days is not None:
            limit = now - timedelta(days=self._keep_uploads_days)
            self._repeat("dropped %d uploads", lambda connection: retention.drop_uploads_older(connection, limit))
        if self._events_days is not None:
            oldest = now - timedelta(days=self._events_days)
            self._repeat("forgot %d events", lambda connection: events.forget(connection, oldest))
        self._repeat("forgot %d kept answers", answers.forget_expired)
        self._repeat("swept %d blobs", blobs.sweep)

    def _repeat(self, told: str, step: Callable[[Connection], int]) -> None:
        total = 0
        while not self._stopping.is_set():
            with self._store.writing() as connection:
                done = step(connection)
            if not done:
                break
            total += done
        if total:
            log.info(told, total)
