"""Retention: what is forgotten, because somebody asks or because it is older than the operator keeps; whole, or not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, exists, select

from app.store import blobs as places
from app.store.engine import Store
from app.store.tables import (
    blobs,
    deliveries,
    events,
    jobs,
    kept_answers,
    outbox,
    results,
    studies,
    tombstones,
)

Cause = Literal["asked", "policy"]
"""Why a study was forgotten: somebody asked for it by its id, or it was older than studies are kept."""


def forget(connection: Connection, study_id: str, cause: Cause = "asked") -> bool:
    """Remove a study with its bytes, jobs and results, answered or not; False if there is none by this id.

    With it go the answers that quote it and are kept by idempotency key, its events, and what webhooks were to be told
    of it. A tombstone stays: the id, the moment and the cause, nothing of the ECG or the patient. Bytes outside the
    store are removed by `app.store.blobs.sweep`; an answer that is still under way belongs to no job any more.
    """
    if connection.scalar(select(studies.c.id).where(studies.c.id == study_id).with_for_update()) is None:
        return False
    mine = jobs.c.study_id == study_id
    job_ids = connection.scalars(select(jobs.c.id).where(mine).order_by(jobs.c.id).with_for_update()).all()
    places.loosen(connection, _names(connection, study_id))
    for table in (results, outbox):
        connection.execute(table.delete().where(table.c.job_id.in_(job_ids)))
    for told in (blobs, events, deliveries, kept_answers, jobs):
        connection.execute(told.delete().where(told.c.study_id == study_id))
    connection.execute(studies.delete().where(studies.c.id == study_id))
    connection.execute(tombstones.insert().values(study_id=study_id, forgotten_at=datetime.now(UTC), cause=cause))
    return True


def erase(store: Store, study_id: str) -> bool:
    """Forget a study and remove its bytes outside at once, whatever else waits to be swept; False if there is none."""
    with store.writing() as connection:
        names = _names(connection, study_id)
        known = forget(connection, study_id)
    with store.writing() as connection:
        places.sweep(connection, names)
    return known


def _names(connection: Connection, study_id: str) -> list[str]:
    """What of a study lies outside."""
    row = connection.execute(
        select(blobs.c.upload_digest, blobs.c.recording_digest).where(
            blobs.c.study_id == study_id, blobs.c.recording_digest.is_not(None)
        )
    ).one_or_none()
    return [name for name in row or () if name is not None]


def forget_older(connection: Connection, than: datetime, limit: int = 64) -> int:
    """Forget studies that were received before a moment, oldest first; how many. Unfinished ones are read first."""
    unfinished = exists().where(jobs.c.study_id == studies.c.id, outbox.c.job_id == jobs.c.id)
    found = connection.scalars(
        select(studies.c.id)
        .where(studies.c.received_at < than, ~unfinished)
        .order_by(studies.c.sequence)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    return sum(forget(connection, study_id, "policy") for study_id in found)


def drop_uploads_older(connection: Connection, than: datetime, limit: int = 64) -> int:
    """Keep only the recordings of studies received before a moment, not the files they came in; how many."""
    found = connection.execute(
        select(blobs.c.study_id, blobs.c.upload_digest, blobs.c.recording_digest)
        .join(studies, studies.c.id == blobs.c.study_id)
        .where(studies.c.received_at < than, blobs.c.upload_digest.is_not(None))
        .order_by(studies.c.sequence)
        .limit(limit)
        .with_for_update(of=blobs, skip_locked=True)
    ).all()
    for row in found:
        if row.recording_digest is not None:
            places.loosen(connection, [row.upload_digest])
        connection.execute(
            blobs.update().where(blobs.c.study_id == row.study_id).values(upload=None, upload_digest=None)
        )
    return len(found)
