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
from app.in_flight import ROOM_AGAIN, InFlight
from app.metrics import Metrics
from app.store import Store, StoreUnavailable, outbox
from app.store.outbox import PRIORITIES, Due, Recorded
from app.waiters import LISTEN_SECONDS, RETRY_SECONDS, Waiters
from models.report import INFER_TASK, Answer, Asked, Failure, Inference, Started, infer_queue
from models.wire import News, Wire, WireDown

log = logging.getLogger("ecg2cmr.jobs")

TAKEN = 32
"""Jobs that are taken from the outbox at once; while there are so many, no second passes between two looks."""

MOST_URGENT, NOTHING = min(PRIORITIES.values()), 1 + max(PRIORITIES.values())
"""As urgent as anything that may wait in the store, and less urgent than all of it."""

LEAVE_SECONDS = 0.2
"""How often what finds no room is given back to the store: a transaction for all of it."""

RECONCILE_SECONDS = 1.0
"""How often the outbox is searched for jobs without an answer."""

TRANSPORT_OPTIONS = {"socket_timeout": 5.0, "socket_connect_timeout": 2.0}


class Dispatcher(threading.Thread):
    """Sends jobs to the broker by task name: new ones at once, those without an answer again."""

    def __init__(
        self,
        store: Store,
        broker_url: str,
        metrics: Metrics,
        redispatch_after: float,
        coalescer: Coalescer,
        in_flight: InFlight,
    ) -> None:
        super().__init__(name="dispatcher", daemon=True)
        self._store = store
        self._metrics = metrics
        self._redispatch_after = redispatch_after
        self._wire = Wire(broker_url)
        self._celery = Celery("ecg2cmr-gateway", broker=broker_url)
        self._celery.conf.update(broker_transport_options=TRANSPORT_OPTIONS, task_ignore_result=True)
        self._coalescer = coalescer
        self._in_flight = in_flight
        self._left: list[str] = []  # jobs that found no room, to be given back to the store
        self._behind = NOTHING  # the most urgent priority of what waits in the store
        self._epoch: str | None = None  # of what the broker holds
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
        next_look = next_leave = time.monotonic()
        while not self._stopping.is_set():
            self._listen()
            now = time.monotonic()
            if self._left and now >= next_leave:
                self._leave()
                next_leave = now + LEAVE_SECONDS
            if now >= next_look:
                self._look_for_losses()
            if (self._catching_up() or now >= next_look) and not self._stopping.is_set():
                self._reconcile()
                next_look = now + RECONCILE_SECONDS
            for message in self._coalescer.ready(time.monotonic()):
                self._send(message)

    def _catching_up(self) -> bool:
        return self._behind != NOTHING and self._in_flight.room(self._behind, time.monotonic(), ROOM_AGAIN)

    def _listen(self) -> None:
        """Take in what was heard; wait for it only where there is nothing to do."""
        pauses = [RECONCILE_SECONDS, self._coalescer.pause(time.monotonic())]
        pauses += [LEAVE_SECONDS] if self._left else []
        pauses += [0.0] if self._catching_up() else []
        with contextlib.suppress(queue.Empty):
            self._take(self._heard.get(timeout=min(pause for pause in pauses if pause is not None)))
            while True:
                self._take(self._heard.get_nowait())

    def _take(self, heard: Due | list[str] | None) -> None:
        """A new job is sent, unless there is no room or others as urgent wait in the store: then it waits there too."""
        if isinstance(heard, Due):
            if heard.priority < self._behind and self._in_flight.room(heard.priority, time.monotonic()):
                self._add(heard)
            else:
                self._behind = min(self._behind, heard.priority)
                self._left.append(heard.job_id)
        elif heard is not None:
            self._coalescer.answered(heard)
            self._in_flight.remove(heard)

    def _add(self, job: Due) -> None:
        self._in_flight.add(job.job_id, len(job.recording), time.monotonic())
        self._coalescer.add(job)

    def _leave(self) -> None:
        """What is left waits in the store, whichever of the gateways has room first; until the store answers, here."""
        if self._give_back(self._left):
            self._left, self._behind = [], MOST_URGENT  # or less: the next look tells, and is now

    def _look_for_losses(self) -> None:
        """Ask again for what is in flight when the broker has lost it: restarted empty, emptied, or another one."""
        with contextlib.suppress(WireDown):
            epoch = self._wire.epoch()
            if self._epoch not in (None, epoch):
                log.warning("the broker has lost what it held")
                self._left += self._in_flight.job_ids
            self._epoch = epoch

    def _reconcile(self) -> None:
        """Send what is due and has room; and what is in flight, which needs none, again."""
        least, sent = self._in_flight.least(time.monotonic()), self._in_flight.job_ids
        restricted = least < max(PRIORITIES.values())
        try:
            with self._store.writing() as connection:
                if restricted:  # we may not have heard of every answer
                    self._in_flight.remove(set(sent) - outbox.unanswered(connection, sent))
                buried = outbox.bury_lost(connection)
                due = outbox.take_due(connection, self._redispatch_after, TAKEN, (least, sent) if restricted else None)
        except StoreUnavailable as error:
            log.warning("the store does not answer: %s", error)
            self._behind = NOTHING  # until the next look
            return
        self._behind = _behind(due, least) if self._behind != NOTHING or len(due) == TAKEN else NOTHING
        self._tell(buried)
        self._add_whole(due)

    def _add_whole(self, due: list[Due]) -> None:
        """Jobs with their recordings; those that cannot be read now go back, and their leases do not grow."""
        for number, job in enumerate(due):
            try:
                whole = self._whole(job)
            except StoreUnavailable as error:
                log.warning("the store does not answer: %s", error)
                self._left += [left.job_id for left in due[number:]]
                self._behind = NOTHING  # until the next look
                return
            if whole is not None:
                self._add(whole)

    def _whole(self, job: Due) -> Due | None:
        """With its recording, which may lie outside the store; one that is lost ends here."""
        if job.outside is None:
            return job
        recording = self._store.blob(job.outside)
        if recording is not None:
            return job._replace(recording=recording)
        lost = self._store.write(lambda connection: outbox.lose(connection, job.job_id))
        self._tell([] if lost is None else [lost])
        return None

    def _tell(self, ended: list[Recorded]) -> None:
        """All who wait for jobs that ended without a worker."""
        if ended:
            with contextlib.suppress(WireDown):  # who waits looks at the store now and then
                self._wire.tell(News([], [record.study_id for record in ended]))

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
        with contextlib.suppress(WireDown):  # a broker that is full must not be kept full by what was never sent
            self._wire.take_back(job_ids)
        self._in_flight.remove(job_ids)
        self._stopping.wait(RETRY_SECONDS)
        self._give_back(job_ids)

    def _give_back(self, job_ids: list[str]) -> bool:
        try:
            self._store.write(lambda connection: outbox.make_due(connection, job_ids))
        except StoreUnavailable as error:
            log.warning("the store does not answer: %s", error)
            return False
        return True


def _behind(due: list[Due], least: int) -> int:
    """The most urgent priority of what may still wait, after these were taken in their order, down to the least."""
    if len(due) == TAKEN:
        return due[-1].priority
    return min((priority for priority in PRIORITIES.values() if priority > least), default=NOTHING)


class Recorder(threading.Thread):
    """Takes answers from the broker into the store, all that there are in one transaction, and tells of them."""

    def __init__(self, store: Store, broker_url: str, metrics: Metrics, waiters: Waiters, lease: float) -> None:
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
                told = self._wire.answers(LISTEN_SECONDS)
                self.connected.set()
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
                self._measure(answer, record)
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

    def _measure(self, answer: Answer, record: Recorded) -> None:
        model = answer.outcome.model
        self._metrics.job_seconds.labels(record.status).observe(record.seconds)
        self._metrics.inference_seconds.labels(model.name, model.version, model.precision or "").observe(answer.seconds)
        if isinstance(answer.outcome, Inference):
            for abstention in answer.outcome.abstained:
                self._metrics.abstentions.labels(model.name, model.version, abstention.symbol).inc()
