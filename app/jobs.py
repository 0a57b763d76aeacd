"""Jobs: accepted ECGs go to the broker, answers come back into the store, and whoever waits for one is told.

The store is the truth and the broker is a wire: a job's outbox row stays until its answer is recorded, and is sent
again while none comes. Each way is a thread of the gateway; none holds anything that may not be lost.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time

from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from app.coalescing import Coalescer
from app.metrics import Metrics
from app.store import Store, StoreUnavailable, outbox
from app.store.outbox import Due, Recorded
from app.waiters import LISTEN_SECONDS, RETRY_SECONDS, Waiters
from models.report import INFER_TASK, Answer, Asked, Failure, Inference, Started, infer_queue
from models.wire import News, Wire, WireDown

log = logging.getLogger("ecg2cmr.jobs")

RECONCILE_SECONDS = 1.0
"""How often the outbox is searched for jobs without an answer."""

TRANSPORT_OPTIONS = {"socket_timeout": 5.0, "socket_connect_timeout": 2.0}


class Dispatcher(threading.Thread):
    """Sends jobs to the broker by task name: new ones at once, those without an answer again."""

    def __init__(self, store: Store, broker_url: str, metrics: Metrics, redispatch_after: float) -> None:
        super().__init__(name="dispatcher", daemon=True)
        self._store = store
        self._metrics = metrics
        self._redispatch_after = redispatch_after
        self._wire = Wire(broker_url)
        self._celery = Celery("ecg2cmr-gateway", broker=broker_url)
        self._celery.conf.update(broker_transport_options=TRANSPORT_OPTIONS, task_ignore_result=True)
        self._coalescer = Coalescer()
        self._heard: queue.SimpleQueue[Due | list[str] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()

    def dispatch(self, due: Due) -> None:
        """Send a job whose outbox row is already committed; never blocks the caller."""
        self._heard.put(due)

    def answered(self, job_ids: list[str]) -> None:
        """Hear that these jobs were answered, so that others may follow them; from any thread."""
        self._heard.put(job_ids)

    def stop(self) -> None:
        """Finish the message in hand and end."""
        self._stopping.set()
        self._heard.put(None)
        self.join()
        self._celery.close()
        self._wire.close()

    def run(self) -> None:
        """Send what is new at once, and look at the outbox every so often, however busy it is."""
        next_look = time.monotonic()
        while not self._stopping.is_set():
            self._listen()
            if time.monotonic() >= next_look and not self._stopping.is_set():
                self._reconcile()
                next_look = time.monotonic() + RECONCILE_SECONDS
            for message in self._coalescer.ready(time.monotonic()):
                self._send(message)

    def _listen(self) -> None:
        """Take in what was heard; wait for it only where there is nothing to do."""
        pause = self._coalescer.pause(time.monotonic())
        with contextlib.suppress(queue.Empty):
            self._take(self._heard.get(timeout=RECONCILE_SECONDS if pause is None else min(pause, RECONCILE_SECONDS)))
            while True:
                self._take(self._heard.get_nowait())

    def _take(self, heard: Due | list[str] | None) -> None:
        if isinstance(heard, Due):
            self._coalescer.add(heard)
        elif heard is not None:
            self._coalescer.answered(heard)

    def _reconcile(self) -> None:
        try:
            with self._store.writing() as connection:
                due = outbox.take_due(connection, self._redispatch_after)
        except StoreUnavailable as error:
            log.warning("the store does not answer: %s", error)
            return
        if due:
            log.info("sending %d jobs without an answer again", len(due))
        for job in due:
            self._coalescer.add(job)

    def _send(self, message: list[Due]) -> None:
        try:
            self._wire.lay({job.job_id: job.recording for job in message})
            self._celery.send_task(
                INFER_TASK,
                args=[[Asked(job.job_id, job.ecg_digest, job.attempt) for job in message]],
                queue=infer_queue(message[0].model_digest),
                priority=message[0].priority,
                serializer="msgpack",
                ignore_result=True,
                retry=False,
                argsrepr=f"[{len(message)} jobs]",  # what monitors of the queue may see
            )
        except (OperationalError, WireDown) as error:
            self._metrics.dispatches.labels("broker-unavailable").inc()
            log.warning("the broker does not answer (%s); jobs wait in the store", error)
            self._postpone([job.job_id for job in (*message, *self._coalescer.abandon())])
            return
        self._metrics.dispatches.labels("sent").inc(len(message))

    def _postpone(self, job_ids: list[str]) -> None:
        self._stopping.wait(RETRY_SECONDS)
        try:
            with self._store.writing() as connection:
                outbox.make_due(connection, job_ids)
        except StoreUnavailable as error:
            log.warning("the store does not answer: %s", error)


class Recorder(threading.Thread):
    """Takes answers from the broker into the store, all that there are in one transaction, and tells of them."""

    def __init__(self, store: Store, broker_url: str, metrics: Metrics, waiters: Waiters, lease: float = 30.0) -> None:
        super().__init__(name="recorder", daemon=True)
        self._lease = lease
        self._store = store
        self._wire = Wire(broker_url)
        self._metrics = metrics
        self._waiters = waiters
        self._stopping = threading.Event()
        self.connected = threading.Event()

    def stop(self) -> None:
        """Finish the answers in hand and end."""
        self._stopping.set()
        self.join()
        self._wire.close()

    def run(self) -> None:
        """Take and record until stopped; an unreachable broker is tried again and again."""
        while not self._stopping.is_set():
            try:
                if not self.connected.is_set():
                    self._wire.check()
                    self.connected.set()
                told = self._wire.answers(LISTEN_SECONDS)
            except WireDown as error:
                self.connected.clear()
                log.warning("the broker does not answer (%s)", error)
                self._stopping.wait(RETRY_SECONDS)
                continue
            if told:
                self._take(told)

    def _take(self, told: list[Answer | Started]) -> None:
        recorded = self._record(told)
        while recorded is None and not self._stopping.wait(RETRY_SECONDS):
            recorded = self._record(told)
        news = News([answer.job_id for answer in told if isinstance(answer, Answer)], [])
        for answer, record in zip(told, recorded or [], strict=False):
            if record is not None and isinstance(answer, Answer):
                outcome = answer.outcome
                self._waiters.tell(record.study_id, None if isinstance(outcome, Failure) else outcome)
                news.study_ids.append(record.study_id)
                self._measure(answer, record.seconds)
        with contextlib.suppress(WireDown):  # who waits elsewhere looks at the store now and then
            self._wire.tell(news)

    def _record(self, told: list[Answer | Started]) -> list[Recorded | None] | None:
        """What each answer changed; None while the store does not answer. They wait for it here, or are asked again."""
        try:
            return self._store.write(lambda connection: [self._write(connection, one) for one in told])
        except IntegrityError:  # another gateway recorded one of them at this moment
            return [None] if len(told) == 1 else self._record_each(told)
        except StoreUnavailable as error:
            log.warning("the store does not answer (%s); %d answers wait for it", error, len(told))
            return None

    def _record_each(self, told: list[Answer | Started]) -> list[Recorded | None] | None:
        each = [self._record([one]) for one in told]
        return None if None in each else [record for one in each for record in one or []]

    def _write(self, connection: Connection, told: Answer | Started) -> Recorded | None:
        if isinstance(told, Answer):
            return outbox.record(connection, told)
        outbox.begin(connection, told, self._lease)
        return None

    def _measure(self, answer: Answer, seconds: float) -> None:
        model = answer.outcome.model
        self._metrics.job_seconds.observe(seconds)
        self._metrics.inference_seconds.labels(model.name, model.version, model.precision or "").observe(answer.seconds)
        if isinstance(answer.outcome, Inference):
            for abstention in answer.outcome.abstained:
                self._metrics.abstentions.labels(model.name, model.version, abstention.symbol).inc()
