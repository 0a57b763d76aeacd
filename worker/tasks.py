"""The Celery application of the worker and its one task: jobs whose recordings lie on the wire in, answers out."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from celery import Celery, Task
from celery.signals import worker_process_init
from kombu import Queue

from models.bundle import Bundle
from models.report import INFER_TASK, Answer, Asked, Failure, infer_queue
from models.wire import Wire
from worker.batching import Engine
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

    def work_off(self, asked: list[Asked]) -> None:
        """Read the ECGs of one message and answer. A recording that lies there no more was answered, or asked anew."""
        with self.watchdog.watching():
            recordings = self.wire.recordings([job.job_id for job in asked])
            found = [
                (job, recording) for job, recording in zip(asked, recordings, strict=True) if recording is not None
            ]
            if len(found) < len(asked):
                log.info("%d of %d recordings are gone", len(asked) - len(found), len(asked))
            readings = self.engine.read([recording for _, recording in found])
            answers = [
                Answer(job_id=job.job_id, ecg_digest=job.ecg_digest, seconds=reading.seconds, outcome=reading.outcome)
                for (job, _), reading in zip(found, readings, strict=True)
            ]
            if answers:
                self.wire.answer(answers)

    def give_up(self, asked: list[Asked]) -> None:
        """Answer that workers died over these ECGs."""
        failure = Failure(model=self.bundle.identity, detail=f"{ATTEMPTS} workers ended while reading it")
        answers = [Answer(job_id=job.job_id, ecg_digest=job.ecg_digest, seconds=0.0, outcome=failure) for job in asked]
        self.wire.answer(answers)


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

    @celery.task(name=INFER_TASK, bind=True)
    def infer(task: Task, asked: list[tuple[str, str]], attempt: int = 1) -> None:
        """Read some ECGs and answer; the message is acknowledged only after that."""
        jobs = [Asked(*job) for job in asked]
        if not task.request.delivery_info.get("redelivered"):
            station.work_off(jobs)
        elif attempt < ATTEMPTS:
            # A worker ended over this message, and perhaps because of one ECG in it: from now on each is alone.
            for job in jobs:
                task.apply_async(([job], attempt + 1), queue=queue, argsrepr="[1 job]", ignore_result=True)
        else:
            station.give_up(jobs)

    return celery
