"""What gateway and worker agree on without importing each other."""

from __future__ import annotations

from models.bundle import choose
from models.report import INFER_TASK, infer_queue
from worker.settings import ARTIFACTS, Settings
from worker.tasks import Station, create_worker

BUNDLE = choose(None, ARTIFACTS)


def test_the_worker_registers_the_name_and_takes_from_the_queue_that_the_gateway_sends_to() -> None:
    celery = create_worker(Station(Settings(), BUNDLE))
    assert INFER_TASK in celery.tasks
    assert [queue.name for queue in celery.conf.task_queues] == [infer_queue(BUNDLE.digest)]


def test_a_job_is_acknowledged_only_after_its_answer_and_no_result_is_kept_in_the_broker() -> None:
    settings = Settings(visibility_timeout=77)
    conf = create_worker(Station(settings, BUNDLE)).conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.task_ignore_result
    assert conf.result_backend is None
    assert conf.broker_transport_options["visibility_timeout"] == 77
    assert conf.accept_content == ["msgpack"], "no pickle is ever read from the broker"


def test_queues_of_two_models_differ() -> None:
    assert infer_queue("a" * 64) != infer_queue("b" * 64)
