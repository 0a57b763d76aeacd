"""The Celery application of the worker and its one task: jobs whose recordings lie on the wire in, answers out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from celery import Celery, Task
from celery.signals import worker_process_init
from kombu import Queue

from models.bundle import Bundle
from models.report import INFER_TASK, Answer, Asked, Failure, infer_queue
from models.wire import Wire
from worker.batching import Machine
from worker.settings import Settings
from worker.turns import Turns
from worker.watchdog import Watchdog

log = logging.getLogger("ecg2cmr.worker")


class Station:
    """Where messages are worked off: the engine and the wire of one process, there when first needed after a fork."""

    def __init__(self, settings: Settings, bundle: Bundle) -> None:
        self.settings, self.bundle = settings, bundle
        self._turns = Turns(settings.messages if settings.pool == "threads" else 1)

    @cached_property
    def machine(self) -> Machine:
        """The model; loading it fails as `Machine.load`."""
        return Machine.load(self.bundle, self.settings)

    @cached_property
    def wire(self) -> Wire:
        """The connection to Redis."""
        return Wire(self.settings.broker_url, insist=True)

    @cached_property
    def watchdog(self) -> Watchdog:
        """Running."""
        watchdog = Watchdog(self.settings.patience)
        watchdog.start()
        return watchdog

    def open(self) -> None:
        """Make everything ready, in the process that is to work.

        Raises
        ------
        BundleError, ProviderError
            If the model cannot be served.
        """
        _ = self.machine, self.wire, self.watchdog
        log.info("serving %s", self.machine.crowd)

    def work_off(self, asked: list[Asked]) -> list[Asked]:
        """Read the ECGs of one message and answer.

        Passed over is what was answered (its recording lies there no more) and what a later attempt has in hand. An
        attempt that was begun and not answered had a worker that is gone, perhaps because of the ECG: it goes back to
        the store, which counts attempts. The broker does not count, and would kill workers for ever.

        Returns
        -------
        list of Asked
            Those that another worker began so lately that it may be at work: to be asked about again.
        """
        with self._turns.taken(asked):
            laid = self.wire.laid([job.job_id for job in asked])
            found = {job: lies for job, lies in zip(asked, laid, strict=True) if lies is not None}
            fresh = {job: lies.recording for job, lies in found.items() if (lies.begun or 0) < job.attempt}
            begun = [job for job, lies in found.items() if lies.begun == job.attempt]
            lost = [job for job in begun if self.wire.begun_since(job.job_id) > self.settings.patience]
            if len(fresh) < len(asked):
                log.info("%d of %d jobs are done, in other hands or lost", len(asked) - len(fresh), len(asked))
            if lost:
                self.wire.answer([self._lost(job) for job in lost])
            if fresh:
                self.wire.begin(list(fresh))
                self.wire.answer(self._answers(fresh))
            return [job for job in begun if job not in lost]

    def _lost(self, job: Asked) -> Answer:
        failure = Failure(model=self.bundle.identity, detail="the worker that had it was lost")
        return Answer(job_id=job.job_id, ecg_digest=job.ecg_digest, seconds=0, outcome=failure, attempt=job.attempt)

    def _answers(self, recordings: Mapping[Asked, bytes]) -> list[Answer]:
        with self.watchdog.watching():
            readings = self.machine.read(list(recordings.values()))
        return [
            Answer(
                job_id=job.job_id,
                ecg_digest=job.ecg_digest,
                seconds=reading.seconds,
                outcome=reading.outcome,
                attempt=job.attempt,
            )
            for job, reading in zip(recordings, readings, strict=True)
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
            "unacked_restore_interval": 1,  # by default a dead worker's messages are looked for every 100 s
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 10,  # by default one that dies while it looks keeps all from looking for 300 s
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
    def infer(task: Task, asked: list[tuple[str, str, int]]) -> None:
        """Read some ECGs and answer; the message is acknowledged only after that."""
        later = station.work_off([Asked(*job) for job in asked])
        if later:
            task.apply_async(
                (later,),
                countdown=settings.patience,
                queue=queue,
                priority=task.request.delivery_info["priority"],
                argsrepr=f"[{len(later)} jobs]",
            )

    return celery
