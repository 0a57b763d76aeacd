"""The gateway's settings: read once from `ECG2CMR_*`, passed down by argument."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.wire import BROKER

ARTIFACTS = Path(__file__).resolve().parents[1] / "models" / "artifacts"


class Settings(BaseSettings):
    """Everything an operator may set for the gateway; each field is the environment variable `ECG2CMR_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="ECG2CMR_", frozen=True, extra="ignore", hide_input_in_errors=True)

    data_dir: Path = Field(default=Path("data"), description="Folder of the embedded store and broker.")
    database_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL of the store (postgresql+psycopg://…). Default: SQLite in the data folder.",
    )
    blobs_url: str | None = Field(
        default=None,
        description="Where uploads and recordings lie: a folder, or a URL of fsspec (s3://bucket/prefix). "
        "Default: in the store. What is there already stays where it is.",
    )
    keep_uploads_days: float | None = Field(
        default=None, ge=0, description="Days after which an uploaded file is dropped; its recording stays."
    )
    keep_studies_days: float | None = Field(
        default=None, ge=0, description="Days after which a study is forgotten, once it has been read."
    )
    broker_url: str | None = Field(
        default=None,
        pattern=BROKER,
        description="Redis or Valkey (redis://…, rediss://…, redis+socket://…). Default: an embedded Valkey server.",
    )
    bundle: Path | None = Field(default=None, description="Model bundle to serve. Default: the newest under artifacts.")
    artifacts: Path = Field(default=ARTIFACTS, description="Folder of model bundles: <name>/<version>/.")
    api_key: SecretStr | None = Field(default=None, description="The first API key, with every scope.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on.")
    max_body_bytes: int = Field(default=16 * 2**20, gt=0, description="Largest accepted upload.")
    readers: int | None = Field(
        default=None, gt=0, description="Child processes in which uploads are examined. Default: one a processor."
    )
    max_wait: float = Field(default=60.0, ge=0, description="Longest `Prefer: wait` in seconds.")
    redispatch_after: float = Field(
        default=30.0,
        gt=0,
        le=600,
        description="Seconds without an answer after which a job is sent to the broker again.",
    )
    max_queue: int = Field(
        default=4096,  # of 240 kB each, a 10 s recording at 500 Hz: about 1 GB
        gt=0,
        description="Most ECGs that wait for an answer; beyond it new ones are refused (503).",
    )
    message_ecgs: int = Field(
        default=8,
        gt=0,
        description="Most ECGs in a message to a worker: more for a GPU, which reads them as one batch; fewer where "
        "one takes a second, since a worker has ECG2CMR_VISIBILITY_TIMEOUT for a message.",
    )
    wire_bytes: int = Field(
        default=64 * 2**20,
        gt=0,
        description="Bytes of recordings that one gateway keeps in Redis for workers; the rest waits in the store.",
    )
    rate_limit: str | None = Field(
        default=None, description="ECGs that one API key may send, such as '600/minute'. Default: no limit."
    )
    rate_limit_url: str | None = Field(
        default=None,
        description="Redis in which several gateways count together (redis://…). Default: each counts for itself.",
    )
    max_batch_bytes: int = Field(default=2**30, gt=0, description="Largest zip of a batch, packed and unpacked.")
    require_idempotency_key: bool = Field(
        default=False, description="Refuse ECGs sent without an Idempotency-Key, except in batches."
    )
    idempotency_hours: float = Field(default=24.0, gt=0, description="How long an answer is kept by Idempotency-Key.")
    events_days: float = Field(default=7.0, gt=0, description="How long events can be asked for again.")
    max_listeners: int = Field(default=100, gt=0, description="Most who listen to events at one gateway at once.")
    webhook_private: bool = Field(default=False, description="Let webhooks lead to private addresses, and without TLS.")
    webhook_attempts: int = Field(default=9, gt=0, description="Attempts after which an event is a dead letter.")
    webhook_pause: float = Field(
        default=5.0, gt=0, description="Seconds before the second attempt; four times as many before each that follows."
    )
    session_hours: float = Field(default=12.0, gt=0, description="How long a dashboard login lasts.")
    secure_cookies: bool = Field(default=False, description="Send the session cookie over HTTPS only.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @property
    def store_url(self) -> str:
        """URL of the store in use."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'ecg2cmr.sqlite').resolve()}"
