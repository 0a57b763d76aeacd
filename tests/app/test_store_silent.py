"""A database that is there and does not answer: whoever waits for it is told, and nothing has to be started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from app.store import Store, StoreUnavailable
from app.store.engine import CONNECTIONS


@contextlib.contextmanager
def frozen(postgresql: str) -> Iterator[None]:
    """Every process of a real server is stopped, not ended: its sockets stay open, and take what is sent."""
    folder = Path(parse_qs(urlsplit(postgresql).query)["host"][0])
    server = (folder / "data" / "postmaster.pid").read_text().split()[0]
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", server], capture_output=True, text=True, check=True)
    pids = [int(pid) for pid in (server, *children.stdout.split())]
    try:
        tell(pids, signal.SIGSTOP)
        yield
    finally:
        tell(pids, signal.SIGCONT)


def tell(pids: list[int], what: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it belonged to a connection that was closed
            os.kill(pid, what)


def unavailable(store: Store) -> bool:
    try:
        store.check()
    except StoreUnavailable:
        return True
    return False


def ask_an_open_connection(store: Store, postgresql: str, pool: ThreadPoolExecutor) -> None:
    with store.reading() as connection:
        connection.execute(text("select 1"))
        with frozen(postgresql):
            pool.submit(connection.execute, text("select 2")).result(30)


def test_a_server_that_is_frozen_is_an_outage_for_everybody_and_then_over(postgresql: str) -> None:
    store = Store(f"{postgresql.format(database='postgres')}&connect_timeout=2", patience=0.5)
    crowd = sum(CONNECTIONS.values()) + 8
    with ThreadPoolExecutor(crowd) as pool:
        with frozen(postgresql):
            told = [pool.submit(unavailable, store) for _ in range(crowd)]
            assert all(each.result(30) for each in told), "new connections"
        store.check()
        with pytest.raises(StoreUnavailable, match="said nothing"):
            ask_an_open_connection(store, postgresql, pool)
        store.check()
    store.close()


def test_a_statement_that_takes_too_long_is_an_outage(postgresql: str) -> None:
    store = Store(postgresql.format(database="postgres"), patience=0.5)
    with pytest.raises(StoreUnavailable, match="timeout"), store.reading() as connection:
        connection.execute(text("select pg_sleep(5)"))
    store.check()
    store.close()


def test_a_thread_that_finds_no_connection_hears_that_the_store_does_not_answer(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite'}", patience=0.1)
    with contextlib.ExitStack() as taken:
        for _ in range(sum(CONNECTIONS.values())):
            taken.enter_context(store.reading())
        with pytest.raises(StoreUnavailable, match="QueuePool"):
            store.check()
    store.check()
    store.close()


def test_a_file_that_is_no_database_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"not a database" * 512)
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with pytest.raises(StoreUnavailable):
        store.check()
    store.close()


def test_what_a_database_that_answers_refuses_is_a_bug_of_ours(postgresql: str) -> None:
    store = Store(postgresql.format(database="postgres"))
    with pytest.raises(ProgrammingError), store.reading() as connection:
        connection.execute(text("select * from nowhere"))
    store.close()
