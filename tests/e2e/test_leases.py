"""What a worker says of an attempt, over a real Redis server."""

from __future__ import annotations

import json
import uuid

import redis
from celery import Celery
from kombu import Connection
from pydantic import TypeAdapter

from models.bundle import choose
from models.ecg import decode
from models.report import ANSWER_QUEUE, INFER_TASK, Answer, Failure, Started, infer_queue
from tests.e2e.conftest import worker
from worker.settings import ARTIFACTS

BUNDLE = choose(None, ARTIFACTS)
QUEUE = infer_queue(BUNDLE.digest)
MESSAGE: TypeAdapter[Answer | Started] = TypeAdapter(Answer | Started)


def ask(broker_url: str, data: bytes, attempt: int) -> str:
    recording, job_id = decode(data), uuid.uuid4().hex
    sender = Celery(broker=broker_url)
    arguments = [job_id, recording.digest, recording.to_bytes(), attempt]
    sender.send_task(INFER_TASK, args=arguments, queue=QUEUE, serializer="msgpack", ignore_result=True)
    sender.close()
    return job_id


def hand_out_again(broker_url: str) -> None:
    """Mark the message that waits as kombu marks those whose worker was lost."""
    with redis.Redis.from_url(broker_url) as server:
        message = json.loads(server.lpop(QUEUE))  # type: ignore[arg-type]  # not the asynchronous client
        message["headers"]["redelivered"] = message["properties"]["delivery_info"]["redelivered"] = True
        server.lpush(QUEUE, json.dumps(message))


def hear(broker_url: str, count: int) -> list[Answer | Started]:
    with worker(broker_url), Connection(broker_url) as connection, connection.SimpleQueue(ANSWER_QUEUE) as queue:
        messages = [queue.get(timeout=60) for _ in range(count)]
        for message in messages:
            message.ack()
    return [MESSAGE.validate_json(message.body) for message in messages]


def test_a_first_attempt_is_answered_and_a_second_announced_before(redis_url: str, real_dicom: bytes) -> None:
    first, second = ask(redis_url, real_dicom, 1), ask(redis_url, real_dicom, 2)
    told = [(type(message), message.job_id, message.attempt) for message in hear(redis_url, 3)]
    assert told == [(Answer, first, 1), (Started, second, 2), (Answer, second, 2)]


def test_what_the_broker_hands_out_again_goes_back_to_the_store(redis_url: str, real_dicom: bytes) -> None:
    job_id = ask(redis_url, real_dicom, 1)
    hand_out_again(redis_url)
    (answer,) = hear(redis_url, 1)
    assert isinstance(answer, Answer)
    assert isinstance(answer.outcome, Failure)
    assert (answer.job_id, answer.attempt) == (job_id, 1)
