"""Studies: accepted ECGs, what is known of each, and the report about it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from pydantic import TypeAdapter
from sqlalchemy import Connection, Row
from sqlalchemy.exc import IntegrityError

from app.store import Store, StoreUnavailable, history, retention
from app.store import studies as rows
from app.store.lifecycle import shown
from app.store.outbox import PRIORITIES, Due
from app.store.studies import Accepted
from app.waiters import Outcome
from models.bundle import Bundle
from models.ecg import Recording
from models.ecg.examination import Examination
from models.report import EcgMeasurements, Estimate, Inference, QualityReport, Report, Status

KEEP_ATTEMPTS = 8
"""How often an ECG is looked up again when another gateway changed what is known of it: once is the rule."""

HEADLINE = ("LVEF",)
"""The phenotypes of the study list."""


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One line of the study list."""

    id: str
    received_at: datetime
    acquired_at: datetime | None
    patient_id: str | None
    age: float | None
    sex: str | None
    device: str | None
    source_format: str
    status: Status
    sampling_rate: float
    duration: float
    headline: Mapping[str, Estimate]
    warnings: int


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """Some studies, newest first, and where the next page starts."""

    rows: Sequence[StudyRow]
    next: int | None


class Kept(NamedTuple):
    """What became of an upload: its study, a new job for the broker, and of a new study what was seen in the ECG."""

    study_id: str
    created: bool
    due: Due | None
    seen: Mapping[str, object] | None = None


# What the store holds of an inference: everything but the embedding, which has its own column.
_OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)


class Studies:
    """The studies of one store, as the served model reads them, or an older one did before it was asked."""

    def __init__(self, store: Store, bundle: Bundle, redispatch_after: float) -> None:
        self._store = store
        self._bundle = bundle
        self._redispatch_after = redispatch_after

    def keep(self, upload: bytes, examined: Examination, priority: int = PRIORITIES["routine"]) -> Kept:
        """Keep an ECG durably and ask for its reading, in one transaction. The same ECG again is the same study."""
        for _ in range(KEEP_ATTEMPTS):
            with contextlib.suppress(IntegrityError):  # another gateway accepted or forgot the same ECG at this moment
                return self._keep(upload, examined, priority)
        raise StoreUnavailable("this ECG is being accepted and forgotten by others all the time")

    def _keep(self, upload: bytes, examined: Examination, priority: int) -> Kept:
        recording = examined.recording
        packed = recording.to_bytes()  # once: it goes to the store and to the broker
        self._store.write_ahead(upload, packed)
        accepted: Accepted = self._store.write(
            lambda connection: rows.accept(
                connection,
                upload=upload,
                examined=examined,
                model_digest=self._bundle.digest,
                redispatch_after=self._redispatch_after,
                priority=priority,
                packed=packed,
            )
        )
        due = None
        if accepted.job_id is not None:
            job = (accepted.job_id, recording.digest, self._bundle.digest, packed)
            due = Due(*job, attempt=accepted.attempt, priority=priority)
        return Kept(accepted.study_id, accepted.created, due, rows.seen(examined) if accepted.created else None)

    def forget(self, study_id: str) -> bool:
        """Remove a study and everything that was kept of it, bytes outside included; False if there is none."""
        return retention.erase(self._store, study_id)

    def list(self, limit: int, before: int | None) -> StudyPage:
        """Up to `limit` studies older than `before` (the `next` of the page above), newest first."""
        with self._store.reading() as connection:
            found = rows.page(connection, self._bundle.digest, limit + 1, before)
        return StudyPage(
            rows=[_study_row(row) for row in found[:limit]],
            next=found[limit - 1].sequence if len(found) > limit else None,
        )

    def get(self, study_id: str) -> StudyRow | None:
        """One study, or None."""
        with self._store.reading() as connection:
            row = rows.one(connection, self._bundle.digest, study_id)
        return None if row is None else _study_row(row)

    def report(self, study_id: str) -> Report | None:
        """The report about one study, or None if there is no such study."""
        with self._store.reading() as connection:
            row = rows.one(connection, self._bundle.digest, study_id)
            return None if row is None else self._report(connection, row)

    def recording(self, study_id: str) -> Recording | None:
        """The recording of a study as it was decoded, or None."""
        with self._store.reading() as connection:
            stored = rows.recording(connection, study_id)
        return None if stored is None else Recording.from_bytes(stored)

    def filters(self, study_id: str) -> dict[str, float | None] | None:
        """The filters that the device says it applied before storing, in hertz, or None if there is no such study."""
        with self._store.reading() as connection:
            row = rows.one(connection, self._bundle.digest, study_id)
        return None if row is None else dict(row.filters)

    def embedding(self, study_id: str) -> NDArray[np.float32] | None:
        """The embedding of a study, (size,), or None while there is none."""
        with self._store.reading() as connection:
            stored = rows.embedding(connection, self._bundle.digest, study_id)
        return None if stored is None else np.frombuffer(stored, "<f4")

    def report_of(self, kept: Kept, outcome: Outcome | None) -> Report | None:
        """What the store would say of an ECG that was new and is answered now, without asking it; None if it must be.

        An outcome of another model is no answer to who waits here.
        """
        if kept.seen is None or outcome is None or outcome.model.digest != self._bundle.digest:
            return None
        quality = QualityReport.model_validate(kept.seen["quality"])
        measured = EcgMeasurements.model_validate(kept.seen["measurements"])
        return self._answered(kept.study_id, outcome, quality, measured)

    def _report(self, connection: Connection, row: Row[tuple[object, ...]]) -> Report:
        quality = QualityReport.model_validate(row.quality)
        measured = None if row.measurements is None else EcgMeasurements.model_validate(row.measurements)
        notices = self._bundle.manifest.notices
        outcome = _outcome(row)
        if row.status == "failed":
            return Report(
                id=row.id,
                status="failed",
                model=history.named(connection, row.model_digest),
                quality=quality,
                measurements=measured,
                reason=f"{row.reason}: {row.detail}",
                notices=notices,
            )
        if outcome is None:
            return Report(id=row.id, status="queued", quality=quality, measurements=measured, notices=notices)
        return self._answered(row.id, outcome, quality, measured)

    def _answered(
        self, study_id: str, outcome: Outcome, quality: QualityReport, measured: EcgMeasurements | None
    ) -> Report:
        if isinstance(outcome, Inference):
            return Report(
                id=study_id,
                status="done",
                model=outcome.model,
                estimates=outcome.estimates,
                abstained=outcome.abstained,
                conditions=outcome.conditions,
                covariates_used=outcome.covariates_used,
                quality=quality,
                measurements=measured,
                ood=outcome.ood,
                heart_rate=outcome.heart_rate,
                notices=outcome.notices,
            )
        return Report(
            id=study_id,
            status="rejected",
            model=outcome.model,
            quality=quality,
            measurements=measured,
            reason=outcome.detail,
            notices=self._bundle.manifest.notices,
        )


def _outcome(row: Row[tuple[object, ...]]) -> Outcome | None:
    if row.outcome is None:
        return None
    stored = row.outcome
    return _OUTCOME.validate_python({**stored, "embedding": []} if stored["kind"] == "inference" else stored)


def _study_row(row: Row[tuple[object, ...]]) -> StudyRow:
    outcome = _outcome(row)
    estimates = outcome.estimates if isinstance(outcome, Inference) else []
    return StudyRow(
        id=row.id,
        received_at=row.received_at,
        acquired_at=datetime.fromisoformat(row.acquired_at) if row.acquired_at else None,
        patient_id=row.patient_id,
        age=row.age,
        sex=row.sex,
        device=row.device,
        source_format=row.source_format,
        status=shown(row.status),
        sampling_rate=row.sampling_rate,
        duration=row.duration,
        headline={e.symbol: e for e in estimates if e.symbol in HEADLINE},
        warnings=sum(finding["severity"] != "info" for finding in row.quality["findings"]),
    )


async def studies(request: Request) -> Studies:
    """The studies of the running gateway (a FastAPI dependency; one that is not async would take a thread)."""
    found: Studies = request.app.state.gateway.studies
    return found
