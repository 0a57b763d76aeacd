"""Dead letters: jobs that failed for a named reason, seen and asked again by whoever runs the service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from app.store.lifecycle import WITHDRAWN, Reason, move
from app.store.tables import jobs, outbox


class DeadLetter(NamedTuple):
    """A job that failed: ids and reasons, nothing of a patient."""

    job_id: str
    study_id: str
    model_digest: str
    failed_at: datetime
    reason: Reason
    detail: str


_FAILED = jobs.c.status == "failed"
_DEAD = _FAILED & (jobs.c.reason != WITHDRAWN)


def listed(connection: Connection, limit: int = 1000) -> list[DeadLetter]:
    """The dead letters, newest first."""
    columns = jobs.c
    rows = connection.execute(
        select(columns.id, columns.study_id, columns.model_digest, columns.finished_at, columns.reason, columns.detail)
        .where(_DEAD)
        .order_by(columns.finished_at.desc())
        .limit(limit)
    )
    return [DeadLetter(*row) for row in rows]


def counts(connection: Connection) -> dict[str, int]:
    """Failed jobs by reason."""
    rows = connection.execute(select(jobs.c.reason, func.count()).where(_FAILED).group_by(jobs.c.reason))
    return {row[0]: row[1] for row in rows}


def retry(connection: Connection, study_id: str | None = None) -> int:
    """Ask again: for one study, or for all dead letters; how many there were."""
    query = select(jobs.c.id).where(_DEAD)
    ids = connection.scalars(query if study_id is None else query.where(jobs.c.study_id == study_id)).all()
    return sum(revive(connection, job_id) for job_id in ids)


def revive(connection: Connection, job_id: str) -> bool:
    """A dead letter is a job again, due now, with all of its attempts before it; False if it is none any more.

    It is asked for now: were it as old as its first asking, every measure of how long ECGs wait would jump.
    """
    anew = {"created_at": datetime.now(UTC), "finished_at": None, "reason": None, "detail": None}
    if not move(connection, job_id, "failed", "received", **anew):
        return False
    connection.execute(outbox.insert().values(job_id=job_id, due_at=datetime.now(UTC), sent=0, attempts=0))
    return True
