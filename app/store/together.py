"""Together: writes of many threads in one transaction, where the database has one writer and every commit a sync.

Nobody waits for company: who finds the writer free writes at once, and takes along all who come while another commits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

T = TypeVar("T")

Piece = tuple[Callable[[Connection], Any], Future[Any]]  # of any result
Begin = Callable[[], AbstractContextManager[Connection]]


class Together:
    """Pieces of work that are written whole or not at all, each for itself, and committed together.

    Parameters
    ----------
    begin : callable
        A context that is a transaction; leaving it commits.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._writer = threading.Lock()
        self._queue = threading.Lock()
        self._waiting: list[Piece] = []

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do the work and return its result once it is committed; what it raises undoes it, and it alone."""
        done: Future[T] = Future()
        with self._queue:
            self._waiting.append((work, done))
        with self._writer:
            if not done.done():  # else whoever wrote before us took us along
                self._write_all()
        return done.result()

    def _write_all(self) -> None:
        with self._queue:
            waiting, self._waiting = self._waiting, []
        try:
            with self._begin() as connection:
                results = _alone(connection, waiting) if len(waiting) == 1 else _each(connection, waiting)
        except Exception as error:  # of the transaction: nothing of it was written
            for _, done in waiting:
                if not done.done():
                    done.set_exception(error)
            return
        for done, result in results:
            done.set_result(result)


def _alone(connection: Connection, waiting: Sequence[Piece]) -> list[tuple[Future[Any], Any]]:
    """One piece of work, which needs no savepoint: its error undoes the transaction."""
    ((work, done),) = waiting
    return [(done, work(connection))]


def _each(connection: Connection, waiting: Sequence[Piece]) -> list[tuple[Future[Any], Any]]:
    """Several, of which one that fails leaves the others as they are."""
    results = []
    for work, done in waiting:
        try:
            with connection.begin_nested():
                results.append((done, work(connection)))
        except OperationalError:  # of the database: it is everybody's
            raise
        except Exception as error:  # of the work, for whoever asked for it
            done.set_exception(error)
    return results
