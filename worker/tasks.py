"""The Celery application of the worker and its one task: a canonical recording in, an answer out."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import Celery, Task
from celery.signals import worker_process_init
from kombu import Queue
from kombu.exceptions import OperationalError

from models.bundle import Bundle
from models.ecg import Recording
from models.report import ANSWER_QUEUE, INFER_TASK, Answer, Failure, Inference, Rejection, Started, infer_queue
from models.runtime import Model
from worker.settings import Settings

log = logging.getLogger("ecg2cmr.worker")

ATTEMPTS = 3
"""How often an answer is published before the job goes back to the broker."""


def create_worker(settings: Settings, bundle: Bundle) -> Celery:
    """The Celery application for one bundle.

    The model is loaded when a pool process starts, after any fork: native threads do not survive one
    (onnxruntime pull request 31961).
    """
    celery = Celery("ecg2cmr-worker", broker=settings.broker_url)
    celery.conf.update(
        task_queues=[Queue(infer_queue(bundle.digest))],
        task_acks_late=True,  # Celery acknowledges before running by default, and then loses what runs
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_soft_shutdown_timeout=10.0,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        accept_content=["msgpack"],
        task_ignore_result=True,
        broker_transport_options={
            "visibility_timeout": settings.visibility_timeout,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "polling_interval": 0.02,  # of the memory transport; Redis blocks instead
        },
    )
    loaded: dict[str, Model] = {}

    @worker_process_init.connect(weak=False)
    def load(**_: Any) -> None:  # Celery passes a sender and whatever it adds later
        # A BundleError would be logged and forgotten by Celery's signals: SystemExit ends the process.
        try:
            loaded["model"] = Model.load(
                bundle,
                provider=settings.provider,
                threads=settings.threads,
                precision=settings.precision,
                cache=settings.tensorrt_cache,
            )
        except Exception as error:
            log.critical("the model cannot be served: %s", error)
            raise SystemExit(1) from error
        log.info("serving %s", loaded["model"])

    def fail(detail: str, job_id: str, ecg_digest: str, _recording: bytes, attempt: int | None = None) -> None:
        failure = Failure(model=bundle.identity, detail=detail)
        publish(celery, Answer(job_id=job_id, ecg_digest=ecg_digest, seconds=0.0, outcome=failure, attempt=attempt))

    class Infer(Task):  # type: ignore[misc]  # Celery has no types
        """Publishes a failure when its last attempt failed."""

        def on_failure(self, exc: Exception, task_id: str, args: tuple[Any, ...], kwargs: Any, einfo: Any) -> None:
            """Tell the gateway; Celery's signature, the arguments are those of the task."""
            fail(f"{type(exc).__name__} in the worker", *args)

    @celery.task(
        name=INFER_TASK,
        base=Infer,
        bind=True,
        autoretry_for=(OperationalError,),
        max_retries=None,
        default_retry_delay=1,
    )
    def infer(task: Task, job_id: str, ecg_digest: str, recording: bytes, attempt: int | None = None) -> None:
        """Read one ECG and publish the answer; the job is acknowledged only after that.

        What the broker hands out again had a worker that is gone, perhaps because of it: it goes back to the store,
        which counts its attempts and sends it again. The broker does not count, and would kill workers for ever.
        """
        if task.request.delivery_info.get("redelivered") and attempt is not None:
            fail("the worker that had it was lost", job_id, ecg_digest, recording, attempt)
            return
        if attempt is not None and attempt > 1:
            publish(celery, Started(job_id=job_id, attempt=attempt))
        started = time.perf_counter()
        outcome: Inference | Rejection = loaded["model"].read([Recording.from_bytes(recording)])[0]
        seconds = time.perf_counter() - started
        publish(celery, Answer(job_id=job_id, ecg_digest=ecg_digest, seconds=seconds, outcome=outcome, attempt=attempt))

    return celery


def publish(celery: Celery, answer: Answer | Started) -> None:
    """Send an answer to the gateways, or word that one is being made.

    Raises
    ------
    kombu.exceptions.OperationalError
        When the broker does not take it after a few attempts.
    """
    with celery.producer_or_acquire() as producer:
        producer.publish(
            answer.model_dump_json().encode(),
            exchange="",
            routing_key=ANSWER_QUEUE,
            declare=[Queue(ANSWER_QUEUE)],
            content_type="application/json",
            content_encoding="utf-8",
            retry=True,
            retry_policy={"max_retries": ATTEMPTS, "interval_start": 0.1, "interval_step": 0.5},
        )
