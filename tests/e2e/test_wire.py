"""Redis between gateways and workers: what is laid down, answered and told, over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from app.waiters import Listener, Waiters
from models.report import Answer, Asked, Failure, ModelIdentity, Started
from models.wire import ANSWERS, LIFETIME, MOST_ANSWERS, News, Wire, WireDown, recording_key

MODEL = ModelIdentity(name="toy", version="1.0.0", digest="d" * 64)


@pytest.fixture
def wire(redis_url: str) -> Iterator[Wire]:
    with redis.Redis.from_url(redis_url) as broker:
        broker.flushall()
    opened = Wire(redis_url)
    yield opened
    opened.close()


def failure(number: int) -> Answer:
    return Answer(job_id=f"j{number}", ecg_digest="e", seconds=0, outcome=Failure(model=MODEL, detail="x"))


def test_a_recording_lies_there_until_it_is_answered_and_never_for_ever(wire: Wire, redis_url: str) -> None:
    wire.lay({"j0": b"zero", "j1": b"one"})
    with redis.Redis.from_url(redis_url) as broker:
        assert 0 < broker.ttl(recording_key("j0")) <= LIFETIME
    assert wire.laid(["j0", "j2"]) == [(b"zero", None), None]
    wire.begin([Asked("j0", "e", 1), Asked("j1", "e", 1)])
    assert wire.laid(["j0", "j1"]) == [(b"zero", 1), (b"one", 1)]
    wire.answer([failure(0)])
    assert wire.laid(["j0", "j1"]) == [None, (b"one", 1)]
    assert wire.answers(1) == [failure(0)], "a first attempt is not announced"


def test_an_attempt_after_the_first_is_announced_and_marked_by_its_number(wire: Wire) -> None:
    wire.lay({"j": b"again"})
    wire.begin([Asked("j", "e", 3)])
    assert wire.laid(["j"]) == [(b"again", 3)]
    assert wire.answers(1) == [Started(job_id="j", attempt=3)]
    assert wire.laid(["j"]) == [(b"again", 3)], "it is not answered yet"


def test_answers_are_taken_in_order_all_at_once_and_only_once(wire: Wire, redis_url: str) -> None:
    for number in range(MOST_ANSWERS + 1):
        wire.answer([failure(number)])
    with redis.Redis.from_url(redis_url) as broker:
        broker.lset(ANSWERS, 1, b"no answer")
    assert [answer.job_id for answer in wire.answers(1)] == ["j0", *(f"j{n}" for n in range(2, MOST_ANSWERS))]
    assert [answer.job_id for answer in wire.answers(1)] == [f"j{MOST_ANSWERS}"]
    assert wire.answers(0.01) == []


def test_a_server_that_is_not_there_is_told_as_such() -> None:
    with pytest.raises(WireDown):
        Wire("redis://127.0.0.1:1").epoch()


def test_who_waits_at_one_gateway_is_woken_by_what_another_recorded(wire: Wire, redis_url: str) -> None:
    answered: list[str] = []

    async def wait() -> None:
        waiters = Waiters()
        waiters.attach(asyncio.get_running_loop())
        listener = Listener(redis_url, waiters, answered.extend)
        listener.start()
        with waiters.waiting("study") as event, redis.Redis.from_url(redis_url) as broker:
            while not broker.pubsub_numsub("ecg2cmr.news")[0][1]:
                await asyncio.sleep(0.01)
            wire.tell(News(job_ids=["j"], study_ids=["study"]))
            await asyncio.wait_for(event.wait(), 30)  # no store is looked at
        await asyncio.to_thread(listener.stop)

    with ThreadPoolExecutor(1) as apart:  # the tests with a browser leave a loop running in this thread
        apart.submit(asyncio.run, wait()).result()
    assert answered == ["j"]


def test_a_broker_that_was_emptied_has_another_epoch(wire: Wire, redis_url: str) -> None:
    first = wire.epoch()
    assert wire.epoch() == first
    with redis.Redis.from_url(redis_url) as broker:
        broker.flushall()
    assert wire.epoch() != first
