"""The tables: studies, bytes, jobs, outbox, results, tombstones, API keys, model history, events, webhooks, answers."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy import Column as C

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


Sequence = BigInteger().with_variant(Integer, "sqlite")
"""A number that only grows: 32 bits of PostgreSQL would be full after two years of 10⁹ ECGs; SQLite has but 64."""


class Instant(TypeDecorator[datetime]):
    """A moment in UTC; SQLite forgets the zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware, in UTC."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


studies = Table(
    "studies",
    metadata,
    C("sequence", Sequence, primary_key=True, autoincrement=True),
    C("id", String(32), nullable=False, unique=True),
    C("ecg_digest", String(64), nullable=False, unique=True),
    C("received_at", Instant, nullable=False),
    C("acquired_at", String(40)),  # as the file says it: with or without a zone
    C("patient_id", String(128)),
    C("age", Float),
    C("sex", String(1)),
    C("device", String(256)),
    C("source_format", String(64), nullable=False),
    C("sampling_rate", Float, nullable=False),
    C("duration", Float, nullable=False),
    C("paced", Boolean),
    C("filters", JSON, nullable=False),
    C("quality", JSON, nullable=False),
    C("measurements", JSON),  # models.report.EcgMeasurements; none of studies older than this column
)

blobs = Table(
    "blobs",
    metadata,
    C("study_id", String(32), ForeignKey("studies.id"), primary_key=True),
    C("upload", LargeBinary),  # none when it lies outside, or is no longer kept
    C("upload_digest", String(64)),  # none when the upload is no longer kept
    C("recording", LargeBinary),  # none when it lies outside
    C("recording_digest", String(64)),  # its name outside; none when both lie in this row
    Index("ix_blobs_upload_digest", "upload_digest"),
    Index("ix_blobs_recording_digest", "recording_digest"),
)

loose_blobs = Table(  # bytes outside the store that nothing may refer to: see app.store.blobs
    "loose_blobs",
    metadata,
    C("sequence", Sequence, primary_key=True, autoincrement=True),
    C("digest", String(64), nullable=False),
    C("due_at", Instant, nullable=False),
    Index("ix_loose_blobs_digest", "digest"),
)

jobs = Table(
    "jobs",
    metadata,
    C("id", String(32), primary_key=True),
    C("study_id", String(32), ForeignKey("studies.id"), nullable=False),
    C("model_digest", String(64), nullable=False),
    C("status", String(8), nullable=False),  # app.store.lifecycle.State
    C("created_at", Instant, nullable=False),
    C("finished_at", Instant),
    C("token", Integer, nullable=False, server_default="0"),  # number of its latest lease, of all there ever were
    C("reason", String(32)),  # app.store.lifecycle.Reason, when it failed
    C("detail", String(512)),
    C("priority", SmallInteger, nullable=False, server_default="3"),  # app.store.outbox.PRIORITIES
    UniqueConstraint("study_id", "model_digest"),
    Index("ix_jobs_status", "status"),
)

outbox = Table(
    "outbox",
    metadata,
    C("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    C("due_at", Instant, nullable=False),  # the end of its lease
    C("sent", Integer, nullable=False),  # how often it was given to the broker
    C("attempts", Integer, nullable=False, server_default="0"),  # how many of them ended badly
    Index("ix_outbox_due_at", "due_at"),
)

results = Table(
    "results",
    metadata,
    # A model may read age and sex beside the samples: a result belongs to the job, which names exactly what was read.
    C("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    C("recorded_at", Instant, nullable=False),
    C("outcome", JSON, nullable=False),  # models.report Inference without its embedding, or Rejection
    C("embedding", LargeBinary),  # float32, little endian
)

tombstones = Table(  # that something was here, and nothing of what it was
    "tombstones",
    metadata,
    C("sequence", Sequence, primary_key=True, autoincrement=True),
    C("study_id", String(32), nullable=False, unique=True),
    C("forgotten_at", Instant, nullable=False),
    C("cause", String(8), nullable=False),  # app.store.retention.Cause
)

api_keys = Table(
    "api_keys",
    metadata,
    C("id", String(32), primary_key=True),
    C("name", String(64), nullable=False),
    C("key_hash", String(64), nullable=False, unique=True),
    C("scopes", JSON, nullable=False),
    C("created_at", Instant, nullable=False),
    C("expires_at", Instant),
    C("revoked_at", Instant),
)

model_history = Table(
    "model_history",
    metadata,
    C("sequence", Sequence, primary_key=True, autoincrement=True),
    C("at", Instant, nullable=False),
    C("name", String(64), nullable=False),
    C("version", String(32), nullable=False),
    C("digest", String(64), nullable=False),
)

events = Table(
    "events",
    metadata,
    C("sequence", Sequence, primary_key=True, autoincrement=True),
    C("at", Instant, nullable=False),
    C("study_id", String(32), nullable=False),  # a study that is forgotten takes its events with it
    C("status", String(8), nullable=False),
    Index("ix_events_at", "at"),
    Index("ix_events_study_id", "study_id"),
    sqlite_autoincrement=True,  # the number of a forgotten event is never given to another one
)

webhooks = Table(
    "webhooks",
    metadata,
    C("id", String(32), primary_key=True),
    C("url", String(2048), nullable=False),
    C("secret", String(64), nullable=False),  # both sides sign with it, so it cannot be kept as a hash
    C("created_at", Instant, nullable=False),
    C("removed_at", Instant),
)

deliveries = Table(
    "deliveries",
    metadata,
    # Of the event, which may be forgotten before it is delivered.
    C("sequence", Sequence, primary_key=True, autoincrement=False),
    C("webhook_id", String(32), ForeignKey("webhooks.id"), primary_key=True),
    C("at", Instant, nullable=False),
    C("study_id", String(32), nullable=False),
    C("status", String(8), nullable=False),
    C("attempts", Integer, nullable=False),
    C("due_at", Instant),  # none: a dead letter
    C("reason", String(128)),  # why the last attempt failed
    Index("ix_deliveries_webhook_id_due_at", "webhook_id", "due_at"),
    Index("ix_deliveries_study_id", "study_id"),
)

kept_answers = Table(
    "kept_answers",
    metadata,
    C("api_key_id", String(32), primary_key=True),
    C("idempotency_key", String(255), primary_key=True),
    C("fingerprint", String(64), nullable=False),  # SHA-256 of the request
    C("locked_until", Instant, nullable=False),  # until then the request is being answered, if it has no answer yet
    C("expires_at", Instant, nullable=False),
    C("status", SmallInteger),
    C("headers", JSON),
    C("body", LargeBinary),
    C("study_id", String(32), ForeignKey("studies.id")),  # what the answer quotes; none of a refusal
    Index("ix_kept_answers_expires_at", "expires_at"),
    Index("ix_kept_answers_study_id", "study_id"),
)
