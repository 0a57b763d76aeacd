"""Studies in the store: an accepted ECG, its bytes and what it was recognised as."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Row, ScalarSelect, bindparam, case, select

from app.store import blobs as places
from app.store import dead_letters
from app.store.lifecycle import WITHDRAWN, move
from app.store.outbox import PRIORITIES
from app.store.tables import blobs, jobs, outbox, results, studies
from models.ecg.examination import Examination

# Written once, because to build a statement costs more than to execute it.
_KNOWN = select(studies.c.id).where(studies.c.ecg_digest == bindparam("digest"))
_ASKED = select(jobs.c.id, jobs.c.status, jobs.c.token).where(
    jobs.c.study_id == bindparam("study"), jobs.c.model_digest == bindparam("model")
)
_STUDY, _JOB, _DUE = studies.insert(), jobs.insert(), outbox.insert()


def _job_shown() -> ScalarSelect[str]:
    """Of a study, the job that is shown: that of the served model, else the newest that came to an end."""
    job = jobs.alias()
    served = job.c.model_digest == bindparam("model")
    found = select(job.c.id).where(job.c.study_id == studies.c.id, served | job.c.finished_at.is_not(None))
    found = found.where(job.c.reason.is_distinct_from(WITHDRAWN))
    newest = found.order_by(case((served, 0), else_=1), job.c.finished_at.desc()).limit(1)
    return newest.correlate(studies).scalar_subquery()


_WITH_OUTCOME = (  # every study beside the job that is shown and its result
    select(studies, jobs.c.model_digest, jobs.c.status, jobs.c.reason, jobs.c.detail, results.c.outcome)
    .select_from(studies)
    .outerjoin(jobs, jobs.c.id == _job_shown())
    .outerjoin(results, results.c.job_id == jobs.c.id)
)
_ONE = _WITH_OUTCOME.where(studies.c.id == bindparam("study"))
_EMBEDDING = (
    select(results.c.embedding)
    .select_from(studies)
    .join(results, results.c.job_id == _job_shown())
    .where(studies.c.id == bindparam("study"))
)


class Accepted(NamedTuple):
    """Which study an upload belongs to, whether it was new, and the job to be sent for it under a lease, if one is."""

    study_id: str
    created: bool
    job_id: str | None
    attempt: int = 0


def accept(
    connection: Connection,
    *,
    upload: bytes,
    examined: Examination,
    model_digest: str,
    redispatch_after: float,
    packed: bytes | None = None,
    priority: int = PRIORITIES["routine"],
) -> Accepted:
    """Keep an ECG and ask for its reading: study, bytes, job and outbox row, in the caller's one transaction.

    The same ECG again is the same study. A model that has not read it yet gets a job; a job that failed starts anew.
    The caller sends the new job at once, under a lease of `redispatch_after` seconds. Bytes that are to lie outside the
    store must have been written ahead (`Store.write_ahead`). `packed` is the recording's `to_bytes`, if it is at hand.
    """
    recording = examined.recording
    due_at = datetime.now(UTC) + timedelta(seconds=redispatch_after)
    known = connection.scalar(_KNOWN, {"digest": recording.digest})
    if known is not None:
        job_id, attempt = _ensure_job(connection, known, model_digest, due_at, priority)
        return Accepted(known, created=False, job_id=job_id, attempt=attempt)
    study_id = uuid.uuid4().hex
    connection.execute(_STUDY, _row(study_id, examined))
    places.keep(connection, study_id, upload, packed or recording.to_bytes())
    job_id = _new_job(connection, study_id, model_digest, due_at, priority)
    return Accepted(study_id, created=True, job_id=job_id, attempt=1)


def _row(study_id: str, examined: Examination) -> dict[str, object]:
    recording = examined.recording
    return {
        "id": study_id,
        "ecg_digest": recording.digest,
        "received_at": datetime.now(UTC),
        "acquired_at": recording.acquired_at.isoformat() if recording.acquired_at else None,
        "patient_id": recording.patient_id,
        "age": recording.age,
        "sex": recording.sex,
        "device": recording.device,
        "source_format": recording.source_format,
        "sampling_rate": recording.sampling_rate,
        "duration": recording.duration,
        "paced": recording.paced,
        "filters": {
            "high_pass": recording.filters.high_pass,
            "low_pass": recording.filters.low_pass,
            "notch": recording.filters.notch,
        },
        **seen(examined),
    }


def seen(examined: Examination) -> dict[str, object]:
    """What is kept of what was found in an ECG, as it is read again."""
    recording, quality = examined.recording, examined.quality
    return {
        "quality": {
            "usable": quality.usable,
            "findings": [
                {
                    "code": finding.code,
                    "severity": finding.severity,
                    "leads": list(finding.leads),
                    "message": finding.message,
                    "value": finding.value,
                }
                for finding in quality.findings
            ],
        },
        "measurements": {
            "ours": examined.ours.known(),
            "device": recording.measured.known(),
            "statements": list(recording.statements),
        },
    }


def _ensure_job(
    connection: Connection, study_id: str, model_digest: str, due_at: datetime, priority: int
) -> tuple[str | None, int]:
    """The job that must be sent now and the number of its lease; no job if the model has answered or was asked."""
    job = connection.execute(_ASKED, {"study": study_id, "model": model_digest}).one_or_none()
    if job is None:
        return _new_job(connection, study_id, model_digest, due_at, priority), 1
    if job.status != "failed" or not dead_letters.revive(connection, job.id):
        return None, 0
    move(connection, job.id, "received", "queued", token=job.token + 1, priority=priority)
    connection.execute(outbox.update().where(outbox.c.job_id == job.id).values(due_at=due_at, sent=1))
    return job.id, job.token + 1


def _new_job(connection: Connection, study_id: str, model_digest: str, due_at: datetime, priority: int) -> str:
    """Received and queued in one: its first lease is that of whoever accepts it."""
    job_id, now = uuid.uuid4().hex, datetime.now(UTC)
    new = {"id": job_id, "study_id": study_id, "model_digest": model_digest, "status": "queued", "token": 1}
    connection.execute(_JOB, {**new, "priority": priority, "created_at": now})
    connection.execute(_DUE, {"job_id": job_id, "due_at": due_at, "sent": 1, "attempts": 0})
    return job_id


def page(
    connection: Connection, model_digest: str, limit: int, before: int | None
) -> Sequence[Row[tuple[object, ...]]]:
    """Up to `limit` studies older than sequence number `before`, newest first."""
    query = _WITH_OUTCOME.order_by(studies.c.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(studies.c.sequence < before)
    return connection.execute(query, {"model": model_digest}).all()


def one(connection: Connection, model_digest: str, study_id: str) -> Row[tuple[object, ...]] | None:
    """One study with its outcome, or None."""
    return connection.execute(_ONE, {"model": model_digest, "study": study_id}).one_or_none()


def recording(connection: Connection, study_id: str) -> bytes | None:
    """The canonical recording of a study, as `Recording.from_bytes` reads it."""
    row = connection.execute(
        select(blobs.c.recording, blobs.c.recording_digest).where(blobs.c.study_id == study_id)
    ).one_or_none()
    return None if row is None else places.read(connection, row.recording, row.recording_digest)


def embedding(connection: Connection, model_digest: str, study_id: str) -> bytes | None:
    """The embedding of a study under the model that is shown, float32 little endian, or None while there is none."""
    return connection.scalar(_EMBEDDING, {"model": model_digest, "study": study_id})
