"""The outbox: a job's row stays until its answer is recorded, so whatever happens to the broker, it is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
from sqlalchemy import Connection, func, select

from app.store import events
from app.store.tables import blobs, jobs, outbox, results, studies
from models.report import Answer, Inference, Status

MAX_BACKOFF = timedelta(minutes=10)


Priority = Literal["stat", "routine", "backfill"]
PRIORITIES: dict[Priority, int] = {"stat": 0, "routine": 3, "backfill": 9}
"""What the store keeps and the broker is told: kombu's steps on Redis, of which 0 is taken first."""


class Due(NamedTuple):
    """A job that is to be sent to the broker now."""

    job_id: str
    ecg_digest: str
    model_digest: str
    recording: bytes
    priority: int = PRIORITIES["routine"]


class Recorded(NamedTuple):
    """What an answer changed: the study it belongs to, and how long the sender waited."""

    study_id: str
    status: Status
    seconds: float


def take_due(connection: Connection, redispatch_after: float, limit: int = 64) -> list[Due]:
    """The jobs that are due, by priority and then oldest first; each becomes due again later, in case no answer comes.

    The pause doubles with each attempt, up to `MAX_BACKOFF`: a long queue is not made longer by asking again and again.
    """
    now = datetime.now(UTC)
    rows = connection.execute(
        select(
            outbox.c.job_id,
            outbox.c.attempts,
            studies.c.ecg_digest,
            jobs.c.model_digest,
            blobs.c.recording,
            jobs.c.priority,
        )
        .join(jobs, jobs.c.id == outbox.c.job_id)
        .join(studies, studies.c.id == jobs.c.study_id)
        .join(blobs, blobs.c.study_id == studies.c.id)
        .where(outbox.c.due_at <= now)
        .order_by(jobs.c.priority, outbox.c.due_at)
        .limit(limit)
        .with_for_update(of=outbox, skip_locked=True)  # several gateways share one PostgreSQL; SQLite has one writer
    ).all()
    for row in rows:
        pause = min(timedelta(seconds=redispatch_after * 2 ** min(row.attempts, 16)), MAX_BACKOFF)
        connection.execute(
            outbox.update().where(outbox.c.job_id == row.job_id).values(due_at=now + pause, attempts=row.attempts + 1)
        )
    return [Due(row.job_id, row.ecg_digest, row.model_digest, row.recording, row.priority) for row in rows]


def make_due(connection: Connection, job_ids: Sequence[str] | None = None) -> None:
    """Ask again now: for these jobs, or for all that have no answer."""
    query = outbox.update().values(due_at=datetime.now(UTC))
    connection.execute(query if job_ids is None else query.where(outbox.c.job_id.in_(job_ids)))


def record(connection: Connection, answer: Answer) -> Recorded | None:
    """Record an answer: result, job and outbox in the caller's one transaction. A doubled answer changes nothing.

    Returns
    -------
    Recorded or None
        None when the answer was known already or belongs to no job.
    """
    job = connection.execute(
        select(jobs.c.study_id, jobs.c.status, jobs.c.created_at, jobs.c.model_digest, studies.c.ecg_digest)
        .join(studies, studies.c.id == jobs.c.study_id)
        .where(jobs.c.id == answer.job_id)
    ).one_or_none()
    asked = (answer.ecg_digest, answer.outcome.model.digest)
    if job is None or job.status != "queued" or (job.ecg_digest, job.model_digest) != asked:
        return None
    now = datetime.now(UTC)
    status = _status(answer)
    embedding = answer.outcome.embedding if isinstance(answer.outcome, Inference) else None
    connection.execute(
        results.insert().values(
            ecg_digest=answer.ecg_digest,
            model_digest=answer.outcome.model.digest,
            recorded_at=now,
            outcome=answer.outcome.model_dump(mode="json", exclude={"embedding"}),
            embedding=None if embedding is None else np.asarray(embedding, "<f4").tobytes(),
        )
    )
    connection.execute(jobs.update().where(jobs.c.id == answer.job_id).values(status=status, finished_at=now))
    connection.execute(outbox.delete().where(outbox.c.job_id == answer.job_id))
    events.append(connection, job.study_id, status)
    return Recorded(job.study_id, status, (now - job.created_at).total_seconds())


def _status(answer: Answer) -> Status:
    statuses: dict[str, Status] = {"inference": "done", "rejection": "rejected", "failure": "failed"}
    return statuses[answer.outcome.kind]


def pending(connection: Connection) -> tuple[int, datetime | None]:
    """How many jobs wait for an answer, and since when the oldest does."""
    count, oldest = connection.execute(
        select(func.count(), func.min(jobs.c.created_at)).where(jobs.c.status == "queued")
    ).one()
    return count, oldest


def counts(connection: Connection) -> dict[str, int]:
    """Jobs by status."""
    rows = connection.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status))
    return {row[0]: row[1] for row in rows}
