"""Listeners at one gateway hear the same in the same order, and the store is asked once for all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event

from app.bulletin import KEPT, Bulletin
from app.problems import TooManyListeners
from app.store import Store
from app.waiters import Waiters
from tests.app.test_events import append

LISTENERS = 20


@contextlib.contextmanager
def statements() -> Iterator[list[str]]:
    """What any database is asked meanwhile."""
    seen: list[str] = []

    def note(*told: object) -> None:
        seen.append(str(told[2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def heard(bulletin: Bulletin, known: int, count: int) -> list[int]:
    """The numbers of the next events."""
    numbers: list[int] = []
    until = asyncio.get_running_loop().time() + 60
    async with contextlib.aclosing(bulletin.follow(known, until)) as happening:
        async for told in happening:
            numbers.append(told.sequence)
            if len(numbers) == count:
                break
    return numbers


def gathered(store: Store) -> tuple[Bulletin, Waiters]:
    waiters = Waiters()
    waiters.attach(asyncio.get_running_loop())
    return Bulletin(store, waiters, LISTENERS), waiters


def test_the_store_is_asked_once_for_all_who_listen(store: Store) -> None:
    async def listen() -> list[list[int]]:
        bulletin, waiters = gathered(store)
        listening = [asyncio.create_task(heard(bulletin, 0, 3)) for _ in range(LISTENERS)]
        while bulletin._looked < 0:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(append, store, 3)
        waiters.tell("s0")
        return await asyncio.gather(*listening)

    with statements() as asked:
        told = asyncio.run(listen())
    assert told == [[1, 2, 3]] * LISTENERS
    assert len([statement for statement in asked if "FROM events" in statement]) < LISTENERS


def test_who_comes_from_further_back_than_is_at_hand_misses_nothing(store: Store) -> None:
    many = KEPT + 250

    async def listen() -> list[list[int]]:
        bulletin, waiters = gathered(store)
        early = asyncio.create_task(heard(bulletin, 0, many + 1))
        await asyncio.sleep(0)
        await asyncio.to_thread(append, store, many)
        waiters.tell("s0")
        late = asyncio.create_task(heard(bulletin, 0, many + 1))
        new = asyncio.create_task(heard(bulletin, many, 1))
        while not bulletin._events or bulletin._events[-1].sequence < many:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(append, store, 1)
        waiters.tell("s0")
        return await asyncio.gather(early, late, new)

    every = list(range(1, many + 2))
    assert asyncio.run(listen()) == [every, every, [many + 1]]


def test_an_event_of_which_nobody_tells_is_heard_all_the_same(store: Store) -> None:
    async def listen() -> list[int]:
        bulletin, _ = gathered(store)
        listening = asyncio.create_task(heard(bulletin, 0, 2))
        await asyncio.to_thread(append, store, 1)
        await asyncio.sleep(0.1)
        await asyncio.to_thread(append, store, 1)
        return await listening

    assert asyncio.run(listen()) == [1, 2]


def test_there_are_no_more_listeners_than_seats(store: Store) -> None:
    bulletin = Bulletin(store, Waiters(), 1)
    with bulletin.seat(), pytest.raises(TooManyListeners), bulletin.seat():
        pass
    with bulletin.seat():
        pass
