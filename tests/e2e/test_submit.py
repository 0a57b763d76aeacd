"""A folder is sent whole, once, however often the command is stopped and run again."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Server
from tests.e2e.test_idempotency import ecg


def command(server: Server, folder: Path, *options: str) -> list[str]:
    given = ["--url", server.url, "--key", server.key, "--resume", str(folder.parent / "resume")]
    return [sys.executable, "-m", "app", "submit", str(folder), *given, *options]


def submit(server: Server, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(server, folder, *options), capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path, shared_data: Path) -> Path:
    made = tmp_path / "archive"
    (made / "old").mkdir(parents=True)
    for number in range(4):
        (made / f"{number}.json").write_bytes(ecg(400 + number))
    for name in ("w16.hea", "w16.dat"):
        shutil.copy(shared_data / "ecg-files" / "wfdb" / name, made / "old" / name)
    return made


def studies(server: Server) -> int:
    with server.client() as client:
        return len(client.get("/v1/ecgs?limit=200").json()["ecgs"])


def test_a_folder_is_sent_and_another_run_goes_on_where_the_first_ended(
    serve: Callable[..., Server], no_worker: str, folder: Path, tmp_path: Path
) -> None:
    server = serve(ECG2CMR_BROKER_URL=no_worker)
    (folder / "notes.txt").write_text("no ECG")
    first = submit(server, folder, "--results", str(tmp_path / "results.json"))
    assert first.returncode == 1, "one of them is no ECG"
    assert "5 accepted (0 of them before), 1 not" in first.stdout
    assert "notes.txt: " in first.stderr
    results = {each["name"]: each for each in json.loads((tmp_path / "results.json").read_text())}
    assert results.keys() == {"0.json", "1.json", "2.json", "3.json", "old/w16.hea", "notes.txt"}
    assert results["notes.txt"]["status"] == 415
    assert studies(server) == 5
    with server.client() as client:
        assert client.get(results["old/w16.hea"]["location"]).json()["id"] == results["old/w16.hea"]["id"]
    assert "json" not in (tmp_path / "resume").read_text(), "names may be those of patients"

    (folder / "notes.txt").unlink()
    (folder / "new.json").write_bytes(ecg(450))
    second = submit(server, folder, "--results", str(tmp_path / "results.csv"))
    assert second.returncode == 0
    assert "6 accepted (5 of them before), 0 not" in second.stdout
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows if row["status"] != "0"] == ["new.json"]


def test_what_is_too_fast_is_sent_again_when_the_gateway_says_so(
    serve: Callable[..., Server], no_worker: str, folder: Path
) -> None:
    server = serve(ECG2CMR_BROKER_URL=no_worker, ECG2CMR_RATE_LIMIT="2/second")
    sent = submit(server, folder, "--connections", "8")
    assert sent.returncode == 0, sent.stderr
    assert studies(server) == 5


def test_what_the_gateway_has_no_room_for_is_given_up_in_the_end(
    serve: Callable[..., Server], no_worker: str, folder: Path
) -> None:
    server = serve(ECG2CMR_BROKER_URL=no_worker, ECG2CMR_MAX_QUEUE="4")
    sent = submit(server, folder, "--give-up-after", "1")
    assert sent.returncode == 1
    assert "2 accepted (0 of them before), 3 not" in sent.stdout, "backfill may fill half of the queue"
    assert "gave up: 503" in sent.stderr


def test_a_run_that_is_killed_is_gone_on_with(
    serve: Callable[..., Server], no_worker: str, folder: Path, tmp_path: Path
) -> None:
    server = serve(ECG2CMR_BROKER_URL=no_worker)
    for number in range(60):
        (folder / f"more{number}.json").write_bytes(ecg(500 + number))
    with subprocess.Popen(command(server, folder), stderr=subprocess.DEVNULL) as running:
        while not (tmp_path / "resume").is_file() or len((tmp_path / "resume").read_text().splitlines()) < 5:
            assert running.poll() is None
            time.sleep(0.01)
        os.kill(running.pid, signal.SIGKILL)
    before = studies(server)
    again = submit(server, folder)
    assert again.returncode == 0
    assert "65 accepted" in again.stdout
    assert before <= 65 == studies(server)


def test_a_key_that_may_not_send_ends_the_run(serve: Callable[..., Server], no_worker: str, folder: Path) -> None:
    server = serve(ECG2CMR_BROKER_URL=no_worker)
    refused = submit(server, folder, "--key", "wrong")
    assert refused.returncode == 1
    assert "takes nothing from this key" in refused.stderr
