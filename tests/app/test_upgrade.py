"""A store of the version before, with work in every state under way, loses nothing when it is opened by this one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import JSON, Connection, MetaData, func, select

from app.store import Store, dead_letters, outbox, studies, tables
from app.store.engine import MIGRATIONS
from models.ecg import Recording
from models.report import Answer, Failure, Inference, ModelIdentity, Ood, Rejection

MODEL = ModelIdentity(name="toy", version="1.0.0", digest="d" * 64)
EMBEDDING = np.array([1, 2, 3], "<f4").tobytes()
RECEIVED = datetime(2026, 11, 1, tzinfo=UTC)
OUTCOMES = {
    "done": Inference(
        model=MODEL,
        estimates=[],
        abstained=[],
        ood=Ood(score=1, flag=False),
        heart_rate=60,
        embedding=[1, 2, 3],
        notices=[],
    ),
    "rejected": Rejection(model=MODEL, code="too-short", detail="1 s"),
    "failed": Failure(model=MODEL, detail="ValueError in the worker"),
}


class Old(NamedTuple):
    """A study as version 0002 kept it."""

    study_id: str
    job_id: str
    recording: Recording


def old_rows(
    connection: Connection,
    number: int,
    status: str,
    recording: Recording | None = None,
    model_digest: str = MODEL.digest,
) -> Old:
    """What the gateway of 0002 wrote for an ECG in this state."""
    was = MetaData()
    was.reflect(connection)
    for table, column in (("studies", "filters"), ("studies", "quality"), ("results", "outcome")):
        was.tables[table].c[column].type = JSON()
    recording = recording or Recording(signal=np.full((12, 50), number / 10), sampling_rate=500)
    old = Old(f"{number:032x}", f"{number + 100:032x}", recording)
    connection.execute(
        was.tables["studies"].insert().values(
            id=old.study_id,
            ecg_digest=old.recording.digest,
            received_at=RECEIVED,
            source_format="CSV",
            sampling_rate=500,
            duration=0.1,
            filters={},
            quality={"usable": True, "findings": []},
        )
    )  # fmt: skip
    connection.execute(
        was.tables["blobs"].insert().values(
            study_id=old.study_id, upload=b"file", upload_digest="u" * 64, recording=old.recording.to_bytes()
        )
    )  # fmt: skip
    connection.execute(
        was.tables["jobs"].insert().values(
            id=old.job_id, study_id=old.study_id, model_digest=model_digest, status=status, created_at=RECEIVED
        )
    )  # fmt: skip
    if status == "queued":
        due_at = RECEIVED + timedelta(seconds=number)
        connection.execute(was.tables["outbox"].insert().values(job_id=old.job_id, due_at=due_at, attempts=number))
    else:
        connection.execute(
            was.tables["results"].insert().values(
                ecg_digest=old.recording.digest,
                model_digest=model_digest,
                recorded_at=RECEIVED,
                outcome=OUTCOMES[status].model_dump(mode="json", exclude={"embedding"}),
                embedding=EMBEDDING if status == "done" else None,
            )
        )  # fmt: skip
    return old


def upgrade(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@pytest.fixture(params=["0002", "0003"])
def old(empty_store: Store, request: pytest.FixtureRequest) -> dict[str, Old]:
    """One study in each state; two that wait, one of which was sent four times. In 0003 all of them came from 0002."""
    with empty_store.writing() as connection:
        upgrade(connection, "0002")
        found = {status: old_rows(connection, number, status) for number, status in enumerate(OUTCOMES, 10)}
        found |= {"new": old_rows(connection, 1, "queued"), "sent": old_rows(connection, 4, "queued")}
        upgrade(connection, request.param)
    return found


def test_what_waited_is_asked_again_under_the_next_lease_and_answers_under_way_are_taken(
    empty_store: Store, old: dict[str, Old]
) -> None:
    empty_store.migrate()
    with empty_store.writing() as connection:
        due = outbox.take_due(connection, 60)
        assert [(d.job_id, d.attempt) for d in due] == [(old["new"].job_id, 2), (old["sent"].job_id, 5)]
        assert {d.priority for d in due} == {outbox.PRIORITIES["routine"]}
        assert [d.recording for d in due] == [old[name].recording.to_bytes() for name in ("new", "sent")]
        for name in ("new", "sent"):  # a worker of the version before knows of no leases
            answer = Answer(
                job_id=old[name].job_id, ecg_digest=old[name].recording.digest, seconds=1, outcome=OUTCOMES["done"]
            )
            recorded = outbox.record(connection, answer)
            assert recorded is not None
            assert recorded.status == "done"
        by_state = select(tables.jobs.c.status, func.count()).group_by(tables.jobs.c.status)
        assert dict(connection.execute(by_state).all()) == {"done": 3, "rejected": 1, "failed": 1}
        assert outbox.counts(connection) == {}
        assert outbox.pending(connection)[0] == 0


def test_what_was_answered_stays_answered(empty_store: Store, old: dict[str, Old]) -> None:
    empty_store.migrate()
    empty_store.migrate()  # the second gateway that starts
    with empty_store.reading() as connection:
        for status in ("done", "rejected"):
            row = studies.one(connection, MODEL.digest, old[status].study_id)
            assert row is not None
            assert (row.status, row.outcome) == (
                status, OUTCOMES[status].model_dump(mode="json", exclude={"embedding"})
            )  # fmt: skip
            assert studies.recording(connection, old[status].study_id) == old[status].recording.to_bytes()
        assert studies.embedding(connection, MODEL.digest, old["done"].study_id) == EMBEDDING
        assert len(connection.execute(select(tables.results)).all()) == 2


def test_what_failed_is_a_dead_letter_that_can_be_asked_again(empty_store: Store, old: dict[str, Old]) -> None:
    empty_store.migrate()
    with empty_store.writing() as connection:
        (letter,) = dead_letters.listed(connection)
        assert (letter.study_id, letter.reason) == (old["failed"].study_id, "worker-failure")
        assert letter.detail == "ValueError in the worker"
        assert dead_letters.retry(connection) == 1
        assert old["failed"].job_id in {due.job_id for due in outbox.take_due(connection, 60)}
