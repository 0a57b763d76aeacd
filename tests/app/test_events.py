"""Events are told in order and none is passed over, whoever commits first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete

from app.store import Store, events, webhooks
from app.store.tables import events as table
from models.ecg import Recording
from models.report import Failure
from tests.app.test_store import MODEL, accept, answer, record


def append(store: Store, count: int) -> None:
    with store.writing() as connection:
        for number in range(count):
            events.append(connection, f"s{number}", "done")


def sequences(store: Store, after: int) -> list[int]:
    with store.reading() as connection:
        return [event.sequence for event in events.after(connection, after)]


def test_an_answer_and_its_event_are_one_transaction(store: Store, recording: Recording) -> None:
    accepted = accept(store, recording)
    message = answer(accepted.job_id, recording, Failure(model=MODEL, detail="an outage"))
    assert record(store, message) is not None
    assert record(store, message) is None, "a doubled answer is no event"
    with store.reading() as connection:
        told = events.after(connection, 0)
    assert [(event.study_id, event.status) for event in told] == [(accepted.study_id, "failed")]


def test_what_follows_a_missing_number_waits_until_the_gap_is_settled(store: Store) -> None:
    append(store, 4)
    with store.writing() as connection:  # as if the third were not committed yet
        connection.execute(delete(table).where(table.c.sequence == 3))
    assert sequences(store, 0) == [1, 2]
    assert sequences(store, 2) == []
    with store.writing() as connection:
        connection.execute(table.update().values(at=datetime.now(UTC) - 2 * events.SETTLING))
    assert sequences(store, 2) == [4]


def test_old_events_are_forgotten_and_their_numbers_are_not_given_again(store: Store) -> None:
    append(store, 3)
    with store.writing() as connection:
        events.forget(connection, datetime.now(UTC) + timedelta(seconds=1))
    append(store, 1)
    with store.reading() as connection:
        assert events.last(connection) == 4


def test_each_webhook_is_told_of_what_happens_after_it_was_added(store: Store) -> None:
    append(store, 1)
    with store.writing() as connection:
        first, _ = webhooks.add(connection, "https://one.example/")
    append(store, 2)
    with store.writing() as connection:
        second, _ = webhooks.add(connection, "https://two.example/")
    append(store, 1)
    with store.writing() as connection:
        due = webhooks.take_due(connection, timedelta(seconds=60))
        assert not webhooks.take_due(connection, timedelta(seconds=60)), "another gateway has them in hand"
    told = {(delivery.webhook_id, delivery.sequence) for delivery in due}
    assert told == {(first, 2), (first, 3), (first, 4), (second, 4)}
    assert {delivery.attempts for delivery in due} == {0}


def test_a_delivery_whose_gateway_died_is_due_again(store: Store) -> None:
    with store.writing() as connection:
        webhooks.add(connection, "https://one.example/")
    append(store, 1)
    for attempts in range(3):
        with store.writing() as connection:
            assert [each.attempts for each in webhooks.take_due(connection, timedelta(seconds=-1))] == [attempts]
