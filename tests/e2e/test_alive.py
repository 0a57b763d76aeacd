"""The probe of a worker tells one that works from none, and a worker's fault from the broker's."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.e2e.conftest import free_port, worker


def probe(broker_url: str, *options: str) -> int:
    return subprocess.run(
        [sys.executable, "-m", "worker.alive", *options],
        env={**os.environ, "ECG2CMR_BROKER_URL": broker_url},
        check=False,
        stderr=subprocess.DEVNULL,
    ).returncode


def test_a_worker_that_runs_answers_and_one_that_does_not_run_does_not(redis_url: str) -> None:
    own = f"{redis_url[:-1]}7"  # a database of its own: no worker of another test answers
    assert probe(own, "--patience", "1") == 1
    assert probe(own, "--patience", "1", "--broker-may-be-down") == 1
    with worker(own):
        deadline = time.monotonic() + 60
        while probe(own):
            assert time.monotonic() < deadline, "the worker does not answer"
    assert probe(own, "--patience", "1") == 1


def test_a_broker_that_is_down_is_no_fault_of_a_worker() -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    assert probe(nowhere) == 1
    assert probe(nowhere, "--broker-may-be-down") == 0
