"""Housekeeping: a thread that forgets what is old, removes loose bytes, and asks anew what no model reads any more."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from app.store import Store, StoreUnavailable, answers, blobs, events, retention, withdrawal

log = logging.getLogger("ecg2cmr.housekeeping")

LOOK_SECONDS = 30.0
TIDY_SECONDS = 3600.0


class Housekeeper(threading.Thread):
    """Tidies at once and then every hour; each step is a short transaction, so that no upload waits for it.

    Jobs of withdrawn models are looked for twice a minute: senders wait for them.
    """

    def __init__(
        self,
        store: Store,
        keep_uploads_days: float | None,
        keep_studies_days: float | None,
        events_days: float | None = None,
        model_digest: str | None = None,
    ) -> None:
        super().__init__(name="housekeeper", daemon=True)
        self._store = store
        self._keep_uploads_days = keep_uploads_days
        self._keep_studies_days = keep_studies_days
        self._events_days = events_days
        self._model_digest = model_digest
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Finish the step in hand and end."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Keep house until stopped; a store that does not answer is kept later."""
        next_tidy = time.monotonic()
        while not self._stopping.is_set():
            try:
                self._succeed()
                if time.monotonic() >= next_tidy:
                    self.tidy()
                    next_tidy = time.monotonic() + TIDY_SECONDS
            except StoreUnavailable as error:
                log.warning("the store does not answer: %s", error)
            self._stopping.wait(LOOK_SECONDS)

    def _succeed(self) -> None:
        digest = self._model_digest
        if digest is not None:
            told = "%d ECGs are asked of the served model: theirs is served no more"
            self._repeat(told, lambda connection: withdrawal.withdraw(connection, digest))

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
