"""Events are told in order and none is passed over, whoever commits first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

from sqlalchemy import delete, select

from app.store import Store, blobs, dead_letters, events, outbox, webhooks
from app.store.tables import deliveries
from app.store.tables import events as table
from app.store.tables import outbox as outbox_rows
from models.ecg import Recording
from models.report import Failure, Started
from tests.app.test_store import MODEL, accept, answer, inference, record


def append(store: Store, count: int) -> None:
    with store.writing() as connection:
        for number in range(count):
            events.append(connection, f"s{number}", "done")


def sequences(store: Store, after: int) -> list[int]:
    with store.reading() as connection:
        return [event.sequence for event in events.after(connection, after)]


def told(store: Store) -> list[tuple[str, str]]:
    with store.reading() as connection:
        return [(event.study_id, event.status) for event in events.after(connection, 0)]


def test_an_answer_and_its_event_are_one_transaction(store: Store, recording: Recording) -> None:
    accepted = accept(store, recording)
    message = answer(accepted.job_id, recording, inference())
    assert record(store, message) is not None
    assert record(store, message) is None, "a doubled answer is no event"
    assert told(store) == [(accepted.study_id, "done")]


def test_a_failed_attempt_is_no_event_and_the_last_one_is_one(store: Store, recording: Recording) -> None:
    accepted = accept(store, recording)
    message = answer(accepted.job_id, recording, Failure(model=MODEL, detail="an outage"))
    for _ in range(outbox.MAX_ATTEMPTS):
        assert told(store) == []
        record(store, message)
        send_all(store)
    record(store, message)
    assert told(store) == [(accepted.study_id, "failed")]


def test_a_job_that_nobody_heard_of_again_is_one_event(store: Store, recording: Recording) -> None:
    accepted = accept(store, recording)
    with store.writing() as connection:
        webhooks.add(connection, "https://one.example/")
    for _ in range(outbox.MAX_ATTEMPTS):
        assert told(store) == []
        for due in send_all(store):
            with store.writing() as connection:
                assert outbox.begin(connection, Started(job_id=due.job_id, attempt=due.attempt), lease=-1)
    for _ in range(2):
        assert send_all(store) == []
        assert told(store) == [(accepted.study_id, "failed")]
    with store.writing() as connection:
        (delivery,) = webhooks.take_due(connection, timedelta(seconds=60))
    assert (delivery.study_id, delivery.status) == (accepted.study_id, "failed")


def test_a_job_whose_recording_is_lost_is_one_event(store: Store, recording: Recording, tmp_path: Path) -> None:
    outside = Store(store.url, str(tmp_path / "blobs"))
    outside.write_ahead(b"bytes", recording.to_bytes())
    accepted = accept(outside, recording)
    assert outside.blobs is not None
    outside.blobs.remove(blobs.digest(recording.to_bytes()))
    (due,) = send_all(outside)
    assert due.outside is not None
    assert outside.blob(due.outside) is None
    for _ in range(2):
        outside.write(lambda connection: outbox.lose(connection, due.job_id))
        assert send_all(outside) == []
    outside.close()
    assert told(store) == [(accepted.study_id, "failed")]


def test_a_dead_letter_that_is_asked_again_is_an_event_each_time_that_it_ends(
    store: Store, recording: Recording
) -> None:
    accepted = accept(store, recording)
    failed, read = Failure(model=MODEL, detail="an outage"), inference()
    for _ in range(outbox.MAX_ATTEMPTS):
        record(store, answer(accepted.job_id, recording, failed))
        send_all(store)
    with store.writing() as connection:
        dead_letters.retry(connection)
    record(store, answer(accepted.job_id, recording, read))
    assert told(store) == [(accepted.study_id, "failed"), (accepted.study_id, "done")]


def send_all(store: Store) -> list[outbox.Due]:
    """Whatever waits is sent under its next lease."""
    with store.writing() as connection:
        connection.execute(outbox_rows.update().values(due_at=datetime.now(UTC)))
        outbox.bury_lost(connection)
        return outbox.take_due(connection, 60)


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


def test_nothing_is_left_to_be_told_to_a_webhook_that_is_removed_at_this_moment(store: Store) -> None:
    with store.writing() as connection:
        webhook_id, _ = webhooks.add(connection, "https://one.example/")

    def remove() -> None:
        with store.writing() as connection:
            assert webhooks.remove(connection, webhook_id)

    removing = Thread(target=remove)
    with store.writing() as connection:
        events.append(connection, "s", "done")
        removing.start()
        removing.join(0.3)  # it waits, or has passed by what is not committed yet
    removing.join()
    with store.writing() as connection:
        webhook_id, _ = webhooks.add(connection, "https://two.example/")
    appending = Thread(target=append, args=(store, 1))
    with store.writing() as connection:
        assert webhooks.remove(connection, webhook_id)
        appending.start()
        appending.join(0.3)
    appending.join()
    with store.reading() as connection:
        assert connection.scalars(select(deliveries.c.sequence)).all() == []


def test_a_delivery_whose_gateway_died_is_due_again(store: Store) -> None:
    with store.writing() as connection:
        webhooks.add(connection, "https://one.example/")
    append(store, 1)
    for attempts in range(3):
        with store.writing() as connection:
            assert [each.attempts for each in webhooks.take_due(connection, timedelta(seconds=-1))] == [attempts]
