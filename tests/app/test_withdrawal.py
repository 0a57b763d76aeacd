"""What a model that is served no more has not read, its successor is asked for; what it has read stays to be seen."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from app.store import Store, dead_letters, events, history, outbox, tables, withdrawal
from app.studies import Studies
from models.ecg import Recording
from models.report import ModelIdentity, Started
from tests.app.test_store import (
    MODEL,
    OTHER,
    SimpleBundle,
    SimpleManifest,
    accept,
    answer,
    inference,
    record,
    send,
)
from tests.app.test_store import fail as fail_attempt

NOW = timedelta()


def serve(store: Store, model: ModelIdentity) -> None:
    with store.writing() as connection:
        history.append(connection, model)


def withdraw(store: Store, model: ModelIdentity, after: timedelta = NOW) -> int:
    with store.writing() as connection:
        return withdrawal.withdraw(connection, model.digest, after)


def seen_by(store: Store, model: ModelIdentity) -> Studies:
    bundle = SimpleBundle(digest=model.digest, manifest=SimpleManifest(notices=[]))
    return Studies(store, bundle, 60)  # type: ignore[arg-type]  # no more of it is used here


def jobs(store: Store) -> dict[str, tuple[str, str | None]]:
    with store.reading() as connection:
        found = connection.execute(select(tables.jobs))
        return {job.model_digest: (job.status, job.reason) for job in found}


def test_an_ecg_that_waits_for_a_withdrawn_model_is_asked_of_the_served_one(store: Store, recording: Recording) -> None:
    serve(store, MODEL)
    with store.reading() as connection:
        study_id = accept(store, recording).study_id
    serve(store, OTHER)
    assert withdraw(store, OTHER) == 1
    assert jobs(store) == {MODEL.digest: ("failed", "model-withdrawn"), OTHER.digest: ("received", None)}
    with store.writing() as connection:
        assert outbox.pending(connection)[0] == 1
        [due] = outbox.take_due(connection, 60)
        assert (due.model_digest, due.recording) == (OTHER.digest, recording.to_bytes())
        assert dead_letters.listed(connection) == []
        assert dead_letters.retry(connection) == 0
        assert events.last(connection) == 0, "the study goes on"
    assert record(store, answer(due.job_id, recording, inference(OTHER)))
    report = seen_by(store, OTHER).report(study_id)
    assert report is not None
    assert (report.status, report.model) == ("done", OTHER)


def test_only_the_newest_model_takes_over_and_only_what_was_left_for_long(store: Store, recording: Recording) -> None:
    serve(store, MODEL)
    accepted = accept(store, recording)
    serve(store, OTHER)
    assert withdraw(store, OTHER, timedelta(minutes=1)) == 0, "a rolling update is under way"
    assert withdraw(store, MODEL) == 0, "an older gateway, which still runs"
    with store.writing() as connection:
        assert outbox.begin(connection, Started(job_id=str(accepted.job_id), attempt=1), 60)
    assert withdraw(store, OTHER) == 0, "a worker reads it at this moment"
    assert jobs(store) == {MODEL.digest: ("running", None)}


def test_a_model_that_comes_back_is_asked_again(store: Store, recording: Recording) -> None:
    serve(store, MODEL)
    accept(store, recording)
    for model in (OTHER, MODEL):
        serve(store, model)
        assert withdraw(store, model) == 1
    assert jobs(store) == {MODEL.digest: ("received", None), OTHER.digest: ("failed", "model-withdrawn")}


def test_a_study_that_the_served_model_has_read_needs_no_other_job(store: Store, recording: Recording) -> None:
    serve(store, MODEL)
    accept(store, recording)
    again = accept(store, recording, OTHER)
    record(store, answer(again.job_id, recording, inference(OTHER)))
    serve(store, OTHER)
    assert withdraw(store, OTHER) == 1
    assert jobs(store) == {MODEL.digest: ("failed", "model-withdrawn"), OTHER.digest: ("done", None)}


def test_reports_of_an_older_model_stay_to_be_seen_and_name_it(store: Store, recording: Recording) -> None:
    serve(store, MODEL)
    accepted = accept(store, recording)
    record(store, answer(accepted.job_id, recording, inference(MODEL)))
    served = seen_by(store, OTHER)
    report, embedding = served.report(accepted.study_id), served.embedding(accepted.study_id)
    assert report is not None
    assert (report.status, report.model) == ("done", MODEL)
    assert [row.status for row in served.list(5, None).rows] == ["done"]
    assert embedding is not None
    assert list(embedding) == [1, 2]
    accept(store, recording, OTHER)
    report = served.report(accepted.study_id)
    assert report is not None
    assert (report.status, report.model) == ("queued", None), "it was asked of the served model"


@pytest.mark.parametrize("served", [MODEL, OTHER])
def test_a_failure_names_the_model_that_failed(store: Store, recording: Recording, served: ModelIdentity) -> None:
    serve(store, MODEL)
    accepted = accept(store, recording)
    for attempt in range(1, outbox.MAX_ATTEMPTS + 1):
        fail_attempt(store, accepted.job_id, recording, attempt)
        send(store)
    report = seen_by(store, served).report(accepted.study_id)
    assert report is not None
    assert (report.status, report.model) == ("failed", MODEL)
