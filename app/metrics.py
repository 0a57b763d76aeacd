"""Prometheus metrics of one gateway. Labels are routes, codes and model versions: never a patient, never an id."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.store import Store, dead_letters, outbox
from app.store.lifecycle import REASONS, UNFINISHED
from models.report import ModelIdentity

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """Counters of one gateway process, in their own registry."""

    def __init__(self, store: Store, model: ModelIdentity) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ecg2cmr_requests", "HTTP requests", ["route", "method", "code"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "ecg2cmr_request_duration_seconds",
            "Time to answer an HTTP request",
            ["route", "method"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.ingest_bytes = Counter(
            "ecg2cmr_ingest_bytes", "Bytes of accepted uploads", ["channel", "format"], registry=self.registry
        )
        self.ingest_rejected = Counter(
            "ecg2cmr_ingest_rejected", "Uploads refused, by cause", ["channel", "reason"], registry=self.registry
        )
        self.job_seconds = Histogram(
            "ecg2cmr_job_age_seconds",
            "Time from acceptance to the recorded answer: done, rejected or failed",
            ["status"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.dispatches = Counter(
            "ecg2cmr_job_attempts", "Jobs sent to the broker", ["outcome"], registry=self.registry
        )
        self.inference_seconds = Histogram(
            "ecg2cmr_inference_duration_seconds",
            "Time a worker spent on one ECG",
            ["model", "version", "precision"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.abstentions = Counter(
            "ecg2cmr_abstentions", "Phenotypes withheld", ["model", "version", "phenotype"], registry=self.registry
        )
        Gauge(
            "ecg2cmr_model_info",
            "The served model",
            ["model", "version", "digest", "role"],
            registry=self.registry,
        ).labels(model.name, model.version, model.digest, "champion").set(1)
        self.registry.register(_Jobs(store))


class _Jobs(Collector):
    """Unanswered jobs, the age of the oldest, and dead letters, read from the store when scraped.

    The time that takes must not grow with history: what was answered is counted as it happens (`job_seconds`).
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        """Nothing is read from the store at registration."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The present state."""
        with self._store.reading() as connection:
            counts = outbox.counts(connection)
            pending, oldest = outbox.pending(connection)
            failed = dead_letters.counts(connection)
        jobs = GaugeMetricFamily("ecg2cmr_jobs", "Jobs without an answer, by state", labels=["state"])
        for state in UNFINISHED:
            jobs.add_metric([state], counts.get(state, 0))
        yield jobs
        letters = GaugeMetricFamily("ecg2cmr_dead_letters", "Jobs that failed, by reason", labels=["reason"])
        for reason in REASONS:
            letters.add_metric([reason], failed.get(reason, 0))
        yield letters
        yield GaugeMetricFamily("ecg2cmr_outbox_pending", "Jobs without an answer", value=pending)
        age = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
        yield GaugeMetricFamily("ecg2cmr_outbox_oldest_seconds", "Age of the oldest job without an answer", value=age)
