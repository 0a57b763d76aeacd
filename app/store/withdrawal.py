"""Withdrawal: jobs of a model that is served no more, which its successor is asked for instead."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Row, select
from sqlalchemy.exc import IntegrityError

from app.store import dead_letters, history
from app.store.lifecycle import WITHDRAWN, State, move
from app.store.tables import jobs, outbox, studies

AFTER = timedelta(minutes=10)
"""How long the successor is served, and a job has no answer: a rolling update is over by then, and its queue empty."""

ASKED: tuple[State, ...] = ("received", "queued")
"""What a worker has begun is not taken from it."""


def withdraw(connection: Connection, model_digest: str, after: timedelta = AFTER, limit: int = 64) -> int:
    """End old jobs of other models than the newest, if it is this one, and ask it for the same ECGs; how many.

    Nobody is told of such an end: the study goes on. An answer that comes all the same is one too many.
    """
    before = datetime.now(UTC) - after
    newest = history.newest(connection)
    if newest is None or newest.model.digest != model_digest or newest.at > before:
        return 0
    return sum(_replace(connection, job, model_digest) for job in _stranded(connection, model_digest, before, limit))


def _stranded(
    connection: Connection, model_digest: str, before: datetime, limit: int
) -> Sequence[Row[*tuple[object, ...]]]:
    """Studies are locked first, as whoever forgets one does."""
    return connection.execute(
        select(jobs)
        .join(studies, studies.c.id == jobs.c.study_id)
        .where(jobs.c.status.in_(ASKED), jobs.c.model_digest != model_digest, jobs.c.created_at < before)
        .order_by(jobs.c.created_at)
        .limit(limit)
        .with_for_update(of=studies, read=True, key_share=True, skip_locked=True)
    ).all()


def _replace(connection: Connection, job: Row[*tuple[object, ...]], model_digest: str) -> bool:
    """False if it was answered, or its successor asked for, at this moment: then it is looked at again."""
    detail = f"the model {job.model_digest[:12]} is served no more"
    with contextlib.suppress(IntegrityError), connection.begin_nested():
        changes = {"finished_at": datetime.now(UTC), "reason": WITHDRAWN, "detail": detail}
        if move(connection, job.id, job.status, "failed", **changes):
            connection.execute(outbox.delete().where(outbox.c.job_id == job.id))
            _ask(connection, job, model_digest)
            return True
    return False


def _ask(connection: Connection, job: Row[*tuple[object, ...]], model_digest: str) -> None:
    """A job for the same study, which waits since the old one does; one that was withdrawn itself is asked again."""
    known = connection.execute(
        select(jobs.c.id, jobs.c.reason).where(jobs.c.study_id == job.study_id, jobs.c.model_digest == model_digest)
    ).one_or_none()
    if known is None:
        job_id = uuid.uuid4().hex
        same = {"study_id": job.study_id, "priority": job.priority, "created_at": job.created_at}
        connection.execute(jobs.insert().values(id=job_id, model_digest=model_digest, status="received", **same))
        connection.execute(outbox.insert().values(job_id=job_id, due_at=datetime.now(UTC), sent=0, attempts=0))
    elif known.reason == WITHDRAWN:
        dead_letters.revive(connection, known.id)
