"""Jobs: accepted ECGs go to the broker, answers come back into the store, and whoever waits for one is told.

The store is the truth and the broker is a wire: a job's outbox row stays until its answer is recorded, and is sent
again while none comes. Both ways are threads of the gateway; neither holds anything that may not be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

from celery import Celery
from kombu import Connection, Consumer, Message, Queue
from kombu.exceptions import OperationalError
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import IntegrityError

from app.metrics import Metrics
from app.store import Store, StoreUnavailable, outbox
from app.store.outbox import Due
from models.report import ANSWER_QUEUE, INFER_TASK, Answer, Inference, Started, infer_queue

log = logging.getLogger("ecg2cmr.jobs")

RECONCILE_SECONDS = 1.0
"""How often the outbox is searched for jobs without an answer."""

RETRY_SECONDS = 1.0
"""Pause after the broker or the store did not answer."""

MESSAGE: TypeAdapter[Answer | Started] = TypeAdapter(Answer | Started)

TRANSPORT_OPTIONS = {"socket_timeout": 5.0, "socket_connect_timeout": 2.0, "polling_interval": 0.02}


class Waiters:
    """Those who wait for the result of a study, on the event loop that serves them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._events: dict[str, set[asyncio.Event]] = defaultdict(set)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the loop on which waiting happens."""
        self._loop = loop

    def tell(self, study_id: str) -> None:
        """Wake those who wait for this study; may be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, study_id)

    def _wake(self, study_id: str) -> None:
        for event in self._events.get(study_id, ()):
            event.set()

    @contextlib.contextmanager
    def waiting(self, study_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the study has a result; enter before looking at the store."""
        event = asyncio.Event()
        self._events[study_id].add(event)
        try:
            yield event
        finally:
            self._events[study_id].discard(event)
            if not self._events[study_id]:
                del self._events[study_id]


class Dispatcher(threading.Thread):
    """Sends jobs to the broker by task name: new ones at once, those without an answer again."""

    def __init__(self, store: Store, broker_url: str, metrics: Metrics, redispatch_after: float) -> None:
        super().__init__(name="dispatcher", daemon=True)
        self._store = store
        self._metrics = metrics
        self._redispatch_after = redispatch_after
        self._celery = Celery("ecg2cmr-gateway", broker=broker_url)
        self._celery.conf.update(broker_transport_options=TRANSPORT_OPTIONS, task_ignore_result=True)
        self._new: queue.SimpleQueue[Due | None] = queue.SimpleQueue()
        self._stopping = threading.Event()

    def dispatch(self, due: Due) -> None:
        """Send a job whose outbox row is already committed; never blocks the caller."""
        self._new.put(due)

    def stop(self) -> None:
        """Finish the message in hand and end."""
        self._stopping.set()
        self._new.put(None)
        self.join()
        self._celery.close()

    def run(self) -> None:
        """Send what is new at once, and look at the outbox every so often, however busy it is."""
        next_look = time.monotonic()
        while not self._stopping.is_set():
            with contextlib.suppress(queue.Empty):
                due = self._new.get(timeout=RECONCILE_SECONDS)
                if due is not None:
                    self._send([due])
            if time.monotonic() >= next_look and not self._stopping.is_set():
                self._reconcile()
                next_look = time.monotonic() + RECONCILE_SECONDS

    def _reconcile(self) -> None:
        try:
            with self._store.writing() as connection:
                due = outbox.take_due(connection, self._redispatch_after)
        except StoreUnavailable as error:
            log.warning("the store does not answer: %s", error)
            return
        if due:
            log.info("sending %d jobs without an answer again", len(due))
            self._send(due)

    def _send(self, due: list[Due]) -> None:
        for position, job in enumerate(due):
            try:
                self._celery.send_task(
                    INFER_TASK,
                    args=[job.job_id, job.ecg_digest, job.recording, job.attempt],
                    task_id=job.job_id,
                    queue=infer_queue(job.model_digest),
                    priority=job.priority,
                    serializer="msgpack",
                    ignore_result=True,
                    retry=False,
                    argsrepr="[job]",  # what monitors of the queue may see
                )
            except OperationalError as error:
                self._metrics.dispatches.labels("broker-unavailable").inc()
                log.warning("the broker does not answer (%s); jobs wait in the store", error)
                self._postpone([unsent.job_id for unsent in due[position:]])
                return
            self._metrics.dispatches.labels("sent").inc()

    def _postpone(self, job_ids: list[str]) -> None:
        self._stopping.wait(RETRY_SECONDS)
        try:
            with self._store.writing() as connection:
                outbox.make_due(connection, job_ids)
        except StoreUnavailable as error:
            log.warning("the store does not answer: %s", error)


class Recorder(threading.Thread):
    """Takes answers from the broker and acknowledges each once it is in the store."""

    def __init__(self, store: Store, broker_url: str, metrics: Metrics, waiters: Waiters, lease: float = 30.0) -> None:
        super().__init__(name="recorder", daemon=True)
        self._lease = lease
        self._store = store
        self._broker_url = broker_url
        self._metrics = metrics
        self._waiters = waiters
        self._stopping = threading.Event()
        self.connected = threading.Event()

    def stop(self) -> None:
        """Finish the answer in hand and end."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Consume until stopped; an unreachable broker is tried again and again."""
        while not self._stopping.is_set():
            connection = Connection(self._broker_url, transport_options=TRANSPORT_OPTIONS)
            try:
                self._consume(connection)
            except (*connection.recoverable_connection_errors, OperationalError) as error:
                log.warning("the broker does not answer (%s)", error)
                self._stopping.wait(RETRY_SECONDS)
            finally:
                self.connected.clear()
                with contextlib.suppress(*connection.connection_errors):  # it may be gone already
                    connection.release()

    def _consume(self, connection: Connection) -> None:
        with Consumer(connection, [Queue(ANSWER_QUEUE)], on_message=self._receive, accept=["json"]):
            self.connected.set()
            while not self._stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=0.5)

    def _receive(self, message: Message) -> None:
        try:
            told = MESSAGE.validate_json(message.body)
        except ValidationError as error:
            log.error("dropped an answer that is none: %d faults", error.error_count())
            message.reject()
            return
        try:
            with self._store.writing() as connection:
                if isinstance(told, Started):
                    outbox.begin(connection, told, self._lease)
                    recorded = None
                else:
                    recorded = outbox.record(connection, told)
        except IntegrityError:  # another gateway recorded the same answer at this moment
            recorded = None
        except StoreUnavailable as error:
            log.warning("the store does not answer (%s); the answer goes back to the broker", error)
            self._stopping.wait(RETRY_SECONDS)
            message.requeue()
            return
        message.ack()
        if recorded is not None and isinstance(told, Answer):
            self._measure(told, recorded.seconds)
            self._waiters.tell(recorded.study_id)

    def _measure(self, answer: Answer, seconds: float) -> None:
        model = answer.outcome.model
        self._metrics.job_seconds.observe(seconds)
        self._metrics.inference_seconds.labels(model.name, model.version, model.precision or "").observe(answer.seconds)
        if isinstance(answer.outcome, Inference):
            for abstention in answer.outcome.abstained:
                self._metrics.abstentions.labels(model.name, model.version, abstention.symbol).inc()
