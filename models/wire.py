"""Wire: what gateways and workers leave for each other in Redis beside Celery's messages: recordings, answers, news.

A Celery message names jobs and nothing else: recordings lie here, a key each, until they are answered. All of it is
bytes, never JSON, and none of it is needed: what is lost is asked again from the store.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import msgpack
import numpy as np
import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError, OutOfMemoryError, RedisError
from redis.retry import Retry

from models.report import Answer, Asked, Inference, Started

ANSWERS, NEWS, EPOCH = "ecg2cmr.answers", "ecg2cmr.news", "ecg2cmr.epoch"

BROKER = r"^(rediss?|redis\+socket|unix)://"
"""The addresses that a broker may have: no other of Celery's brokers holds recordings and answers."""

LIFETIME = 900
"""Seconds that a recording lies in Redis; longer than the longest pause before its job is asked again."""

MOST_ANSWERS = 64
"""Answers that a gateway takes, and records in one transaction, at a time."""

SOCKET_SECONDS = 5.0
"""A connection that says nothing for so long is dead."""

WireDown = RedisError
"""Redis does not answer; what was to be said is said again by whoever holds the truth."""

log = logging.getLogger("ecg2cmr.wire")


class News(NamedTuple):
    """What a gateway tells all gateways once it is in the store: which jobs were answered, and of which studies."""

    job_ids: list[str]
    study_ids: list[str]


class Laid(NamedTuple):
    """The recording of a job, and the last of its attempts that a worker has begun."""

    recording: bytes
    begun: int | None


class NotAnAnswer(ValueError):
    """Bytes among the answers that no worker of this version sent."""


def recording_key(job_id: str) -> str:
    """Where the recording of a job lies."""
    return f"ecg2cmr.ecg.{job_id}"


def _begun_key(job_id: str) -> str:
    return f"ecg2cmr.begun.{job_id}"


def pack_answer(told: Answer | Started) -> bytes:
    """What a worker says, as bytes; an embedding as float32, little endian."""
    fields = told.model_dump()
    if isinstance(told, Answer) and isinstance(told.outcome, Inference):
        fields["outcome"]["embedding"] = np.asarray(told.outcome.embedding, "<f4").tobytes()
    packed: bytes = msgpack.packb(fields)
    return packed


def unpack_answer(packed: bytes) -> Answer | Started:
    """What `pack_answer` packed.

    Raises
    ------
    NotAnAnswer
        If it is something else; the message quotes nothing of it.
    """
    try:
        fields = msgpack.unpackb(packed)
        if "outcome" not in fields:
            return Started.model_validate(fields)
        if "embedding" in fields["outcome"]:
            fields["outcome"]["embedding"] = np.frombuffer(fields["outcome"]["embedding"], "<f4").tolist()
        return Answer.model_validate(fields)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise NotAnAnswer(type(error).__name__) from error


class Wire:
    """Redis, as gateways and workers see it beside Celery; for any number of threads.

    Parameters
    ----------
    insist : bool
        Try for ever, as a worker does: it has nothing better to do, and an answer in hand is not thrown away.

    Raises
    ------
    WireDown
        From every method, when Redis does not answer after a few attempts, unless we insist.
    """

    def __init__(self, broker_url: str, *, insist: bool = False) -> None:
        self._redis = redis.Redis.from_url(
            broker_url.replace("redis+socket://", "unix://", 1),  # Celery's name for it
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=2.0,
            health_check_interval=10,
            retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), -1 if insist else 3),
            retry_on_error=[OutOfMemoryError, BusyLoadingError] if insist else [],
        )

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()

    def epoch(self) -> str:
        """A name that Redis keeps as long as it keeps anything: another one says that what it held is lost."""
        fresh = uuid.uuid4().hex
        found = self._redis.set(EPOCH, fresh, nx=True, get=True)
        return fresh if found is None else cast("bytes", found).decode()

    def lay(self, recordings: Mapping[str, bytes]) -> None:
        """Lay down the canonical recording of each job, for whichever worker gets its message."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for job_id, recording in recordings.items():
                pipeline.set(recording_key(job_id), recording, ex=LIFETIME)
            pipeline.execute()

    def take_back(self, job_ids: Sequence[str]) -> None:
        """Take away what was laid down for jobs whose message was never sent."""
        self._redis.unlink(*map(recording_key, job_ids))

    def laid(self, job_ids: Sequence[str]) -> list[Laid | None]:
        """What lies there for each job; None for one that was answered, or whose recording was lost."""
        found = self._redis.mget([*map(recording_key, job_ids), *map(_begun_key, job_ids)])
        recordings, begun = found[: len(job_ids)], found[len(job_ids) :]
        return [
            None if recording is None else Laid(cast("bytes", recording), None if attempt is None else int(attempt))
            for recording, attempt in zip(recordings, begun, strict=True)
        ]

    def begin(self, asked: Sequence[Asked]) -> None:
        """Leave word that these attempts are under way: whoever finds it and no answer knows that a worker ended.

        The gateways are told of those that are not the first of their job: a first one costs nobody a transaction.
        """
        again = [pack_answer(Started(job_id=job.job_id, attempt=job.attempt)) for job in asked if job.attempt > 1]
        with self._redis.pipeline(transaction=False) as pipeline:
            for job in asked:
                pipeline.set(_begun_key(job.job_id), job.attempt, ex=LIFETIME)
            if again:
                pipeline.rpush(ANSWERS, *again)
            pipeline.execute()

    def begun_since(self, job_id: str) -> float:
        """Seconds since a worker left word that it began, by the clock of Redis."""
        return LIFETIME - max(self._redis.pttl(_begun_key(job_id)), 0) / 1000

    def answer(self, answers: Sequence[Answer]) -> None:
        """Take the recordings away and leave answers for the gateways.

        In this order and not in a transaction: a Redis that is full takes nothing before something was freed. Who dies
        in between leaves a job without recording and answer, which the store asks again.
        """
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in (recording_key, _begun_key):
                pipeline.delete(*(key(answer.job_id) for answer in answers))
            pipeline.rpush(ANSWERS, *(pack_answer(answer) for answer in answers))
            pipeline.execute()

    def answers(self, patience: float) -> list[Answer | Started]:
        """What workers say, up to `MOST_ANSWERS` of it, as soon as there is some; nothing after `patience` seconds.

        It is taken away: where a gateway dies before it is in the store, the store asks again.
        """
        taken = self._redis.blmpop(patience, 1, ANSWERS, direction="LEFT", count=MOST_ANSWERS)
        return [] if taken is None else list(_readable(cast("list[bytes]", taken[1])))

    def tell(self, news: News) -> None:
        """Tell every gateway that listens."""
        self._redis.publish(NEWS, msgpack.packb(news))

    def news(self, patience: float) -> Iterator[News | None]:
        """What gateways tell from now on; None at least every `patience` seconds that nobody says anything."""
        with self._redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(NEWS)
            while True:
                message = channel.get_message(timeout=patience)
                yield None if message is None else News(*msgpack.unpackb(message["data"]))


def _readable(packed: Iterable[bytes]) -> Iterator[Answer | Started]:
    for one in packed:
        try:
            yield unpack_answer(one)
        except NotAnAnswer as error:
            log.error("dropped an answer that is none: %s", error)
