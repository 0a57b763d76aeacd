"""The outbox: a job's row stays until its answer is recorded, so whatever happens to the broker, it is asked again.

Whoever sends a job holds its lease: until `due_at` nobody else sends it. Each lease has a number, the fencing token
that travels with the job and comes back with what is said of it. What a worker says of an attempt (that it began, that
it failed) counts for the present lease only. An inference or a rejection is a pure function of ECG and model, and ends
the job whichever lease it was made under: were late ones thrown away, an overload longer than a lease would never end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
from sqlalchemy import Connection, Row, Select, bindparam, case, func, or_, select

from app.store import events
from app.store.lifecycle import UNFINISHED, Reason, move, return_to_store
from app.store.tables import blobs, jobs, outbox, results, studies
from models.report import Answer, Failure, Inference, Rejection, Started, Status

MAX_BACKOFF = timedelta(minutes=10)

LONGEST_LEASE = timedelta(hours=1)
"""What ends later than in so long was leased before the clock was set back, and is due."""

RETRY_PAUSE = 0.25
"""Seconds: twice as long after a first failed attempt, four times after a second: what ails a worker may pass."""

MAX_ATTEMPTS = 3
"""Attempts that may end without an answer before a job becomes a dead letter: three workers do not end by chance."""


Priority = Literal["stat", "routine", "backfill"]
PRIORITIES: dict[Priority, int] = {"stat": 0, "routine": 3, "backfill": 9}
"""What the store keeps and the broker is told: kombu's steps on Redis, of which 0 is taken first."""


End = Literal["done", "rejected", "failed"]

# Written once, because to build a statement costs more than to execute it: one row each, by the id of its job.
_THIS = outbox.c.job_id == bindparam("this_job")
_CHANGE, _TAKE_OUT = outbox.update().where(_THIS), outbox.delete().where(_THIS)
_ANSWERED = (
    select(jobs, outbox.c.attempts, studies.c.ecg_digest)
    .join(studies, studies.c.id == jobs.c.study_id)
    .join(outbox, outbox.c.job_id == jobs.c.id)
    .where(jobs.c.id == bindparam("this_job"))
)
_RESULT = results.insert()


class Due(NamedTuple):
    """A job that is to be sent to the broker now, and the number of the lease under which it is sent.

    A `suspect` has spent an attempt: it may have ended a worker, and travels alone. `outside` is the name of a
    recording that is still to be read (`Store.blob`), after the transaction: no writer waits for an object store.
    """

    job_id: str
    ecg_digest: str
    model_digest: str
    recording: bytes
    attempt: int = 1
    suspect: bool = False
    priority: int = PRIORITIES["routine"]
    outside: str | None = None


class Recorded(NamedTuple):
    """What an answer changed: the study it belongs to, and how long the sender waited."""

    study_id: str
    status: Status
    seconds: float


def take_due(
    connection: Connection,
    redispatch_after: float,
    limit: int = 64,
    only: tuple[int, Sequence[str]] | None = None,
) -> list[Due]:
    """The jobs that are due, by priority and then age, each under a new lease; `only` those as urgent, and some others.

    The lease doubles each time, up to `MAX_BACKOFF`: a long queue is not made longer by asking again and again. That a
    lease ended says nothing of an ECG, unless a worker had begun it: then the attempt is spent. `bury_lost` comes
    first, or those whose last attempt was spent so are asked once more.
    """
    query = (
        select(
            jobs, outbox.c.sent, outbox.c.attempts, studies.c.ecg_digest, blobs.c.recording, blobs.c.recording_digest
        )
        .join(outbox, outbox.c.job_id == jobs.c.id)
        .join(studies, studies.c.id == jobs.c.study_id)
        .join(blobs, blobs.c.study_id == studies.c.id)
    )
    if only is not None:
        least, these = only
        query = query.where(or_(jobs.c.priority <= least, jobs.c.id.in_(these)))
    return [_lease(connection, row, redispatch_after) for row in _due(connection, query, limit)]


def _due(connection: Connection, query: Select[*tuple[object, ...]], limit: int) -> Sequence[Row[*tuple[object, ...]]]:
    """Jobs whose lease ended. Several gateways share one PostgreSQL: none waits for another; SQLite has one writer."""
    now = datetime.now(UTC)
    return connection.execute(
        query.where(or_(outbox.c.due_at <= now, outbox.c.due_at > now + LONGEST_LEASE))
        .order_by(jobs.c.priority, outbox.c.due_at)
        .limit(limit)
        .with_for_update(of=[outbox, jobs], skip_locked=True)
    ).all()


def _lease(connection: Connection, job: Row[*tuple[object, ...]], redispatch_after: float) -> Due:
    """Take a job under a new lease."""
    now, token = datetime.now(UTC), job.token + 1
    pause = min(timedelta(seconds=redispatch_after * 2 ** min(job.sent, 16)), MAX_BACKOFF)
    spent = job.attempts + (job.status == "running")
    move(connection, job.id, job.status, "queued", token=token)
    connection.execute(_CHANGE, {"this_job": job.id, "due_at": now + pause, "sent": job.sent + 1, "attempts": spent})
    outside = job.recording_digest if job.recording is None else None
    return Due(job.id, job.ecg_digest, job.model_digest, job.recording or b"", token, spent > 0, job.priority, outside)


def bury_lost(connection: Connection, limit: int = 64) -> list[Recorded]:
    """End the jobs whose last attempt was begun and never heard of again: dead letters.

    Returns
    -------
    list of Recorded
        What whoever waits for them should be told.
    """
    last = (jobs.c.status == "running") & (outbox.c.attempts + 1 >= MAX_ATTEMPTS)
    query = select(jobs, outbox.c.attempts).join(outbox, outbox.c.job_id == jobs.c.id).where(last)
    detail = f"{MAX_ATTEMPTS} workers began to read this ECG and were not heard of again"
    buried = (_fail(connection, job, "worker-lost", detail) for job in _due(connection, query, limit))
    return [recorded for recorded in buried if recorded is not None]


def lose(connection: Connection, job_id: str) -> Recorded | None:
    """End a job whose recording is lost or damaged: a dead letter."""
    job = connection.execute(_ANSWERED, {"this_job": job_id}).one_or_none()
    if job is None or job.status not in UNFINISHED:
        return None
    return _fail(connection, job, "recording-lost", "the bytes of the recording are not where, or what, they were")


def make_due(connection: Connection, job_ids: Sequence[str] | None = None) -> None:
    """Ask again now: for these jobs, which did not reach the broker, or for all that have no answer.

    Their leases end, no attempt is spent, and a lease that nobody had does not make the next one longer.
    """
    return_to_store(connection, job_ids)
    query = outbox.update().values(due_at=datetime.now(UTC))
    if job_ids is not None:
        sent = case((outbox.c.sent > 0, outbox.c.sent - 1), else_=0)
        query = query.where(outbox.c.job_id.in_(job_ids)).values(sent=sent)
    connection.execute(query)


def begin(connection: Connection, started: Started, lease: float) -> bool:
    """A worker has begun a job under its present lease, which now ends `lease` seconds from here.

    Returns
    -------
    bool
        False when it was known, or the lease is another by now: nothing changed.
    """
    job = connection.execute(select(jobs.c.status, jobs.c.token).where(jobs.c.id == started.job_id)).one_or_none()
    if job is None or (job.status, job.token) != ("queued", started.attempt):
        return False
    if not move(connection, started.job_id, "queued", "running"):
        return False
    until = datetime.now(UTC) + timedelta(seconds=lease)
    connection.execute(_CHANGE, {"this_job": started.job_id, "due_at": until})
    return True


def record(connection: Connection, answer: Answer, retry_pause: float = RETRY_PAUSE) -> Recorded | None:
    """Record an answer: result, job and outbox in the caller's one transaction. A doubled answer changes nothing.

    Returns
    -------
    Recorded or None
        None when the job is not at its end: the answer was known already, belongs to no job, or tells of a failed
        attempt after which there is another.
    """
    job = connection.execute(_ANSWERED, {"this_job": answer.job_id}).one_or_none()
    asked = (answer.ecg_digest, answer.outcome.model.digest)
    if job is None or job.status not in UNFINISHED or (job.ecg_digest, job.model_digest) != asked:
        return None
    if isinstance(answer.outcome, Failure):
        return _spend(connection, job, answer.attempt, answer.outcome.detail, retry_pause)
    return _finish(connection, job, answer.outcome)


def _finish(connection: Connection, job: Row[*tuple[object, ...]], outcome: Inference | Rejection) -> Recorded | None:
    """The model has answered."""
    recorded = _end(connection, job, "done" if isinstance(outcome, Inference) else "rejected")
    if recorded is None:
        return None
    embedding = np.asarray(outcome.embedding, "<f4").tobytes() if isinstance(outcome, Inference) else None
    connection.execute(
        _RESULT,
        {
            "job_id": job.id,
            "recorded_at": datetime.now(UTC),
            "outcome": outcome.model_dump(mode="json", exclude={"embedding"}),
            "embedding": embedding,
        },
    )
    return recorded


def _spend(
    connection: Connection, job: Row[*tuple[object, ...]], attempt: int | None, detail: str, pause: float
) -> Recorded | None:
    """An attempt failed: there is another a little later, unless it was the last. Earlier leases count nothing.

    But who fails an earlier one takes away the recording for which the present one may be on its way: ask again.
    """
    if job.status == "received":
        return None
    if attempt not in (None, job.token):
        if job.status == "queued":
            connection.execute(_CHANGE, {"this_job": job.id, "due_at": datetime.now(UTC)})
        return None
    spent = job.attempts + 1
    if spent >= MAX_ATTEMPTS:
        return _fail(connection, job, "worker-failure", detail)
    if move(connection, job.id, job.status, "received"):
        due_at = datetime.now(UTC) + timedelta(seconds=pause * 2**spent)
        connection.execute(_CHANGE, {"this_job": job.id, "due_at": due_at, "attempts": spent})
    return None


def _fail(connection: Connection, job: Row[*tuple[object, ...]], reason: Reason, detail: str) -> Recorded | None:
    """A dead letter: nothing is asked again before somebody asks for it."""
    return _end(connection, job, "failed", reason=reason, detail=detail[:512])


def _end(connection: Connection, job: Row[*tuple[object, ...]], status: End, **changes: str) -> Recorded | None:
    """The one way to an end: nothing is asked any more, and whoever listens is told once, in the same transaction.

    Returns
    -------
    Recorded or None
        None when another gateway ended the job at this moment.
    """
    now = datetime.now(UTC)
    if not move(connection, job.id, job.status, status, finished_at=now, **changes):
        return None
    connection.execute(_TAKE_OUT, {"this_job": job.id})
    events.append(connection, job.study_id, status)
    return Recorded(job.study_id, status, (now - job.created_at).total_seconds())


def unanswered(connection: Connection, job_ids: Sequence[str]) -> set[str]:
    """Those of these jobs that have no answer."""
    return set(connection.scalars(select(outbox.c.job_id).where(outbox.c.job_id.in_(job_ids))))


def pending(connection: Connection) -> tuple[int, datetime | None]:
    """How many jobs wait for an answer, and since when the oldest does."""
    count, oldest = connection.execute(
        select(func.count(), func.min(jobs.c.created_at)).where(jobs.c.status.in_(UNFINISHED))
    ).one()
    return count, oldest


def counts(connection: Connection) -> dict[str, int]:
    """Jobs without an answer, by state: those with one are not counted, for they become more for ever."""
    waiting = jobs.c.status.in_(UNFINISHED)
    rows = connection.execute(select(jobs.c.status, func.count()).where(waiting).group_by(jobs.c.status))
    return {row[0]: row[1] for row in rows}
