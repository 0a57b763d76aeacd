"""The Celery application of the worker and its one task: jobs whose recordings lie on the wire in, answers out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from celery import Celery
from celery.signals import worker_process_init
from kombu import Queue

from models.bundle import Bundle
from models.report import INFER_TASK, Answer, Asked, Failure, infer_queue
from models.wire import Laid, Wire
from worker.batching import Engine, Reading
from worker.settings import Settings
from worker.watchdog import Watchdog

log = logging.getLogger("ecg2cmr.worker")

ATTEMPTS = 3
"""How many workers may die over one ECG before it is told as a failure."""


class Station:
    """Where messages are worked off: the engine and the wire of one process, there when first needed after a fork."""

    def __init__(self, settings: Settings, bundle: Bundle) -> None:
        self.settings, self.bundle = settings, bundle

    @cached_property
    def engine(self) -> Engine:
        """The model; loading it fails as `Engine.load`."""
        return Engine.load(self.bundle, self.settings)

    @cached_property
    def wire(self) -> Wire:
        """The connection to Redis."""
        return Wire(self.settings.broker_url)

    @cached_property
    def watchdog(self) -> Watchdog:
        """Running."""
        watchdog = Watchdog(self.settings.visibility_timeout)
        watchdog.start()
        return watchdog

    def open(self) -> None:
        """Make everything ready, in the process that is to work.

        Raises
        ------
        BundleError, ProviderError
            If the model cannot be served.
        """
        _ = self.engine, self.wire, self.watchdog
        log.info("serving %s %s", self.bundle.manifest.name, self.bundle.manifest.version)

    def work_off(self, asked: list[Asked], apart: Callable[[Asked], None]) -> None:
        """Read the ECGs of one message and answer.

        A recording that lies there no more was answered, or is asked anew. One that a worker has begun and not
        answered may have ended it: it is read `apart` from the others, so that it ends a worker without them from now
        on, and given up after `ATTEMPTS`.
        """
        with self.watchdog.watching():
            laid = self.wire.laid([job.job_id for job in asked])
            found = {job: lies for job, lies in zip(asked, laid, strict=True) if lies is not None}
            if len(found) < len(asked):
                log.info("%d of %d recordings are gone", len(asked) - len(found), len(asked))
            if len(found) > 1 and any(lies.begun for lies in found.values()):
                for job in found:
                    apart(job)
            elif found:
                self.wire.answer(self._answers(found))

    def _answers(self, found: Mapping[Asked, Laid]) -> list[Answer]:
        if any(lies.begun >= ATTEMPTS for lies in found.values()):
            failure = Failure(model=self.bundle.identity, detail=f"{ATTEMPTS} workers ended while reading it")
            readings = [Reading(failure, 0.0)]
        else:
            self.wire.begin([job.job_id for job in found])
            readings = self.engine.read([lies.recording for lies in found.values()])
        return [
            Answer(job_id=job.job_id, ecg_digest=job.ecg_digest, seconds=reading.seconds, outcome=reading.outcome)
            for job, reading in zip(found, readings, strict=True)
        ]


def create_worker(station: Station) -> Celery:
    """The Celery application for one bundle.

    The model is loaded in the process that runs it, after any fork: native threads do not survive one
    (onnxruntime pull request 31961).
    """
    settings, queue = station.settings, infer_queue(station.bundle.digest)
    celery = Celery("ecg2cmr-worker", broker=settings.broker_url)
    celery.conf.update(
        task_queues=[Queue(queue)],
        task_acks_late=True,  # Celery acknowledges before running by default, and then loses what runs
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=settings.prefetch,
        worker_soft_shutdown_timeout=10.0,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        accept_content=["msgpack"],
        task_serializer="msgpack",
        task_ignore_result=True,
        broker_transport_options={
            "visibility_timeout": settings.visibility_timeout,
            "unacked_restore_interval": 2,  # by default a dead worker's messages are looked for every 100 s
            "unacked_restore_throttle": 1,
            "socket_timeout": 5.0,
            "health_check_interval": 10,
        },
    )

    @worker_process_init.connect(weak=False)
    def load(**_: Any) -> None:  # Celery passes a sender and whatever it adds later
        # A BundleError would be logged and forgotten by Celery's signals: SystemExit ends the process.
        try:
            station.open()
        except Exception as error:
            log.critical("the model cannot be served: %s", error)
            raise SystemExit(1) from error

    @celery.task(name=INFER_TASK)
    def infer(asked: list[tuple[str, str]]) -> None:
        """Read some ECGs and answer; the message is acknowledged only after that."""
        station.work_off([Asked(*job) for job in asked], apart)

    def apart(job: Asked) -> None:
        infer.apply_async(([job],), queue=queue, argsrepr="[1 job]", ignore_result=True)

    return celery
