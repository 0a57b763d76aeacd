"""Studies in the store: an accepted ECG, its bytes and what it was recognised as."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Row, Select, select

from app.store.outbox import PRIORITIES
from app.store.tables import blobs, jobs, outbox, results, studies
from models.ecg.examination import Examination


class Accepted(NamedTuple):
    """Which study an upload belongs to, whether it was new, and the job that was made for it, if one was."""

    study_id: str
    created: bool
    job_id: str | None


def accept(
    connection: Connection,
    *,
    upload: bytes,
    examined: Examination,
    model_digest: str,
    redispatch_after: float,
    priority: int = PRIORITIES["routine"],
) -> Accepted:
    """Keep an ECG and ask for its reading: study, bytes, job and outbox row, in the caller's one transaction.

    The same ECG again is the same study. A model that has not read it yet gets a job; a job that failed starts anew.
    The caller sends the new job at once; its outbox row becomes due after `redispatch_after` seconds without an answer.
    """
    recording = examined.recording
    known = connection.scalar(select(studies.c.id).where(studies.c.ecg_digest == recording.digest))
    study_id = known or uuid.uuid4().hex
    if known is None:
        _insert(connection, study_id, upload, examined)
    due_at = datetime.now(UTC) + timedelta(seconds=redispatch_after)
    job_id = _ensure_job(connection, study_id, recording.digest, model_digest, due_at, priority)
    return Accepted(study_id, created=known is None, job_id=job_id)


def _insert(connection: Connection, study_id: str, upload: bytes, examined: Examination) -> None:
    recording, quality = examined.recording, examined.quality
    connection.execute(
        studies.insert().values(
            id=study_id,
            ecg_digest=recording.digest,
            received_at=datetime.now(UTC),
            acquired_at=recording.acquired_at.isoformat() if recording.acquired_at else None,
            patient_id=recording.patient_id,
            age=recording.age,
            sex=recording.sex,
            device=recording.device,
            source_format=recording.source_format,
            sampling_rate=recording.sampling_rate,
            duration=recording.duration,
            paced=recording.paced,
            filters={
                "high_pass": recording.filters.high_pass,
                "low_pass": recording.filters.low_pass,
                "notch": recording.filters.notch,
            },
            quality={
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
            measurements={
                "ours": examined.ours.known(),
                "device": recording.measured.known(),
                "statements": list(recording.statements),
            },
        )
    )
    connection.execute(
        blobs.insert().values(
            study_id=study_id,
            upload=upload,
            upload_digest=hashlib.sha256(upload).hexdigest(),
            recording=recording.to_bytes(),
        )
    )


def _ensure_job(
    connection: Connection, study_id: str, ecg_digest: str, model_digest: str, due_at: datetime, priority: int
) -> str | None:
    """The id of the job that must be sent now, or None if the model has answered or was asked already."""
    job = connection.execute(
        select(jobs.c.id, jobs.c.status).where(jobs.c.study_id == study_id, jobs.c.model_digest == model_digest)
    ).one_or_none()
    if job is not None and job.status != "failed":
        return None
    if job is None:
        job_id = uuid.uuid4().hex
        now = datetime.now(UTC)
        connection.execute(
            jobs.insert().values(
                id=job_id,
                study_id=study_id,
                model_digest=model_digest,
                status="queued",
                created_at=now,
                priority=priority,
            )
        )
    else:
        job_id = str(job.id)
        connection.execute(
            jobs.update().where(jobs.c.id == job_id).values(status="queued", finished_at=None, priority=priority)
        )
        connection.execute(
            results.delete().where(results.c.ecg_digest == ecg_digest, results.c.model_digest == model_digest)
        )
    connection.execute(outbox.insert().values(job_id=job_id, due_at=due_at, attempts=1))
    return job_id


def _with_outcome(model_digest: str) -> Select[tuple[object, ...]]:
    """Every study beside its job and result for one model."""
    return (
        select(studies, jobs.c.status, results.c.outcome)
        .outerjoin(jobs, (jobs.c.study_id == studies.c.id) & (jobs.c.model_digest == model_digest))
        .outerjoin(results, (results.c.ecg_digest == studies.c.ecg_digest) & (results.c.model_digest == model_digest))
    )


def page(
    connection: Connection, model_digest: str, limit: int, before: int | None
) -> Sequence[Row[tuple[object, ...]]]:
    """Up to `limit` studies older than sequence number `before`, newest first."""
    query = _with_outcome(model_digest).order_by(studies.c.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(studies.c.sequence < before)
    return connection.execute(query).all()


def one(connection: Connection, model_digest: str, study_id: str) -> Row[tuple[object, ...]] | None:
    """One study with its outcome, or None."""
    return connection.execute(_with_outcome(model_digest).where(studies.c.id == study_id)).one_or_none()


def recording(connection: Connection, study_id: str) -> bytes | None:
    """The canonical recording of a study, as `Recording.from_bytes` reads it."""
    return connection.scalar(select(blobs.c.recording).where(blobs.c.study_id == study_id))


def embedding(connection: Connection, model_digest: str, study_id: str) -> bytes | None:
    """The embedding of a study under one model, float32 little endian, or None while there is none."""
    return connection.scalar(
        select(results.c.embedding)
        .join(studies, studies.c.ecg_digest == results.c.ecg_digest)
        .where(studies.c.id == study_id, results.c.model_digest == model_digest)
    )
