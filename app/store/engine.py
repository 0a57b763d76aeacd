"""Store: the connection to the database, with transactions that are either whole or not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import TypeVar

import orjson
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
    TimeoutError,
)
from sqlalchemy.pool import ConnectionPoolEntry

from app.store import blobs
from app.store.together import Together

T = TypeVar("T")

MIGRATIONS = Path(__file__).with_name("migrations")

PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "busy_timeout = 10000",
    "secure_delete = ON",  # what is forgotten is overwritten, not only unlinked from its table
)

PATIENCE = 15.0
"""Seconds that a statement may take, and a thread wait for a connection: all of ours take milliseconds."""

CONNECTIONS = {"pool_size": 4, "max_overflow": 28}
"""As a rule few are open at once. Three gateways at their most share the hundred of a PostgreSQL as it is installed."""

REFUSALS = (IntegrityError, DataError, ProgrammingError, NotSupportedError)
"""What a database that answers says of what we asked."""


class StoreUnavailable(Exception):
    """The database, or the place of its blobs, does not answer; nothing was written."""


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except REFUSALS:
        raise
    except (DatabaseError, InterfaceError) as error:
        raise StoreUnavailable(str(error.orig)) from error
    except (TimeoutError, blobs.BlobsUnavailable) as error:
        raise StoreUnavailable(str(error)) from error


class Store:
    """A database by URL, and the place of its blobs by another, if they lie outside (`app.store.blobs`).

    Parameters
    ----------
    patience : float
        Seconds after which a statement, or the wait for a connection, is given up. SQLite waits for its lock as ever.

    Raises
    ------
    StoreUnavailable
        If there is no such place.
    """

    def __init__(self, url: str, blobs_url: str | None = None, patience: float = PATIENCE) -> None:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.url = url
        with _answering():
            self.blobs = blobs.at(blobs_url)
        self._engine = _open(parsed, patience)
        self._together = Together(self.writing) if self._engine.dialect.name == "sqlite" else None

    @property
    def shared(self) -> bool:
        """Whether several gateways may stand on it."""
        return self._engine.dialect.name != "sqlite"

    def migrate(self) -> None:
        """Create or upgrade the tables to the newest version of this code, which may take its time."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        engine = _open(make_url(self.url), patience=None)
        try:
            with _transaction(engine, "IMMEDIATE") as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        finally:
            engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with _transaction(self._engine, "DEFERRED", self.blobs) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes all of its changes or none.

        Raises
        ------
        StoreUnavailable
            When the database cannot be reached or is locked for too long.
        """
        with _transaction(self._engine, "IMMEDIATE", self.blobs) as connection:
            yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do the work in a transaction, with the work of other threads where the database has one writer.

        Raises
        ------
        StoreUnavailable
            When the database cannot be reached or is locked for too long; else what the work raises.
        """
        if self._together is not None:
            with _answering():
                return self._together.write(work)
        with self.writing() as connection:
            return work(connection)

    def write_ahead(self, *contents: bytes) -> None:
        """Write blobs that lie outside before the transaction that refers to them, so that no writer waits for it.

        Raises
        ------
        StoreUnavailable
            When the database or the place of the blobs does not answer.
        """
        if self.blobs is None:
            return
        with self.writing() as connection:
            blobs.announce(connection, contents)
        with _answering():
            blobs.write(self.blobs, contents)

    def blob(self, name: str) -> bytes | None:
        """Bytes that lie outside, by their name; None if they are lost or damaged.

        Raises
        ------
        StoreUnavailable
            When their place does not answer.
        """
        with _answering():
            return blobs.fetch(self.blobs, name)

    def check(self) -> None:
        """Raise `StoreUnavailable` unless the database answers."""
        with self.reading() as connection:
            connection.execute(text("select 1"))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _json(document: object) -> str:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY).decode()


@contextmanager
def _transaction(engine: Engine, sqlite_mode: str, place: blobs.Blobs | None = None) -> Iterator[Connection]:
    options = {"sqlite_mode": sqlite_mode, "blobs": place}
    with _answering(), engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def _open(url: URL, patience: float | None) -> Engine:
    """A pool of connections to a database; statements end within so many seconds, or take as long as they do."""
    # What is written is of patients: errors, which are logged, name the statement and not its values.
    patient = {"pool_pre_ping": True, "pool_timeout": patience or PATIENCE, **CONNECTIONS}
    engine = create_engine(url, hide_parameters=True, json_serializer=_json, **patient)
    if engine.dialect.name == "sqlite":
        _make_sqlite_durable(engine)
    elif engine.dialect.name == "postgresql":
        from app.store import postgres  # noqa: PLC0415  # psycopg is an option (`ecg2cmr[postgres]`)

        postgres.limit(engine, patience)
    return engine


def _make_sqlite_durable(engine: Engine) -> None:
    """WAL with a full sync on every commit: what was acknowledged survives a power cut (sqlite.org/pragma.html)."""

    @event.listens_for(engine, "connect")
    def configure(connection: SqliteConnection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # transactions are begun below, explicitly
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes its lock at once: upgrading a read lock later can fail with SQLITE_BUSY without any wait.
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('sqlite_mode', 'IMMEDIATE')}")
