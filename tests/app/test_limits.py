"""How long somebody is asked to wait follows from how fast ECGs are answered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.limits import Backlog, RateLimit
from app.problems import QueueFull
from app.store import Store, events
from app.store.tables import events as table
from models.ecg import Recording, UnsupportedFormat
from tests.app.test_store import accept


def answered(store: Store, count: int, seconds: float) -> None:
    now = datetime.now(UTC)
    with store.writing() as connection:
        for number in range(count):
            at = now - timedelta(seconds=seconds * (count - number) / count)
            connection.execute(table.insert().values(at=at, study_id="s", status="done"))


def retry_after(store: Store, bound: int) -> int:
    with pytest.raises(QueueFull) as refused, Backlog(store, bound).room("stat"):
        pass
    return int(refused.value.headers["Retry-After"])


def test_the_rate_is_that_of_the_newest_hundred_answers(store: Store) -> None:
    with store.reading() as connection:
        assert events.rate(connection) is None
    answered(store, 50, seconds=1000)
    answered(store, 100, seconds=20)
    with store.reading() as connection:
        assert events.rate(connection) == pytest.approx(5, rel=0.1)


def test_a_tenth_of_the_queue_is_answered_before_the_next_attempt(store: Store, recording: Recording) -> None:
    accept(store, recording)
    assert retry_after(store, bound=1) == 30, "nobody knows"
    answered(store, 100, seconds=4000)
    assert retry_after(store, bound=1) == pytest.approx(4, abs=1), "0.1 ECGs at 1 in 40 s"
    with pytest.raises(ValueError, match="many"):
        RateLimit("many", None)


def test_what_is_being_examined_takes_room_and_what_is_refused_gives_it_back(store: Store) -> None:
    backlog = Backlog(store, 2)
    with backlog.room("stat"), backlog.room("stat"), pytest.raises(QueueFull), backlog.room("stat"):
        pass
    backlog = Backlog(store, 1)
    with pytest.raises(UnsupportedFormat), backlog.room("stat"):
        raise UnsupportedFormat("no ECG")
    with backlog.room("stat"):
        pass
