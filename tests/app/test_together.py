"""Writes that share a transaction share nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from app.store import Store, StoreUnavailable
from app.store.together import Together


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with opened.writing() as connection:
        connection.execute(text("create table numbers (n integer primary key)"))
    yield opened
    opened.close()


def insert(number: int) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        connection.execute(text("insert into numbers values (:n)"), {"n": number})
        if number < 0:
            raise ArithmeticError(number)
        return number

    return work


def numbers(store: Store) -> list[int]:
    with store.reading() as connection:
        return [row.n for row in connection.execute(text("select n from numbers order by n"))]


def test_who_comes_while_another_commits_is_committed_together_and_a_failure_is_undone_alone(store: Store) -> None:
    entered, leave, commits = threading.Event(), threading.Event(), list[int]()

    @contextmanager
    def begin() -> Iterator[Connection]:
        with store.writing() as connection:
            yield connection
        commits.append(len(numbers(store)))

    def slow(connection: Connection) -> int:
        entered.set()
        assert leave.wait(10)
        return insert(0)(connection)

    together = Together(begin)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(together.write, slow)
        assert entered.wait(10)
        others = [pool.submit(together.write, insert(n)) for n in (1, 2, -3, 4)]
        while len(together._waiting) < len(others):
            wait(others, timeout=0.01)
        assert not any(other.done() for other in others)
        leave.set()
    assert first.result() == 0
    assert commits == [1, 4]
    assert [other.result() for other in others if other.exception() is None] == [1, 2, 4]
    assert isinstance(others[2].exception(), ArithmeticError)
    assert numbers(store) == [0, 1, 2, 4]


def test_work_that_fails_alone_leaves_nothing_of_itself(store: Store) -> None:
    with pytest.raises(ArithmeticError):
        store.write(insert(-1))
    assert numbers(store) == []


def test_a_result_is_returned_only_once_another_connection_can_see_it(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda n: store.write(insert(n)) in numbers(store), range(100)))
    assert all(seen)


def test_a_database_that_fails_fails_everybody_in_the_transaction(store: Store) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(text("insert into nowhere values (1)"))

    with pytest.raises(StoreUnavailable):
        store.write(broken)
    assert store.write(insert(1)) == 1, "and nobody after it"
