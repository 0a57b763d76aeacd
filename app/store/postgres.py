"""PostgreSQL: connections that give up on a server that has fallen silent.

What libpq offers sees a host that is gone. A server that is frozen, or a proxy before one, goes on acknowledging
packets and obeys no time limit of its own: only whoever waits for it can look at the clock.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Dialect, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

T = TypeVar("T")

LIMITS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""Seconds, the last in milliseconds (libpq, "Parameter Key Words"); the URL of the store may say otherwise."""

GRACE = 2.0
"""Seconds that we wait longer than the server is to work on a statement: what it says of it is better than nothing."""


class Connection(psycopg.Connection[Any]):  # of rows of any kind
    """A connection on which no wait for the server takes longer than `patience` seconds, if it is set."""

    patience: float | None = None

    def wait(self, gen: PQGen[T], *args: Any, **options: Any) -> T:  # psycopg's own, whichever its version has
        """Wait for the server; a connection on which it took too long is closed."""
        return super().wait(gen if self.patience is None else self._within(self.patience, gen), *args, **options)

    def _within(self, seconds: float, gen: PQGen[T]) -> PQGen[T]:
        deadline = time.monotonic() + seconds
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted  # psycopg looks several times a second whether there is anything
                if not ready and time.monotonic() > deadline:
                    self.close()
                    raise psycopg.OperationalError(f"the server has said nothing for {seconds:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what a generator returns is not typed


def limit(engine: Engine, patience: float | None) -> None:
    """Give up connecting to a silent server, and have statements end after so many seconds, if they are given."""

    @event.listens_for(engine, "do_connect")
    def connect(
        _dialect: Dialect, _entry: ConnectionPoolEntry, args: tuple[str, ...], options: dict[str, Any]
    ) -> Connection:
        connection = Connection.connect(*args, **{**LIMITS, **options})
        if patience is not None:
            connection.patience = patience + GRACE
            connection.execute("select set_config('statement_timeout', %s, false)", [f"{patience:g}s"])
            connection.commit()
        return connection
