"""Ten times as many ECGs as can be read: the rest is told when to come again, and nothing grows meanwhile.

A minute of it, as the reliability goals have it: `pytest tests/faults/test_overload.py -s --overload-seconds 60`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import pytest

from app.store import Store, outbox
from tests.faults import slow_bundle
from tests.faults.cluster import Cluster
from tests.faults.ecgs import recording_of_peak, upload
from tests.faults.verdict import judge, settle

pytestmark = pytest.mark.slow

QUEUE = 16
CLIENTS = 4
GROWTH = 100
"""Megabytes that a process may grow by: far more than a queue of 16 ECGs holds, far less than a leak would bring."""


def resident(pid: int) -> float:
    """Megabytes of memory of a process (proc(5), status)."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def test_under_ten_times_the_load_the_queue_stays_bounded_and_the_service_recovers(
    store: Store, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    seconds: float = request.config.getoption("--overload-seconds")
    bundle = slow_bundle.make(tmp_path)
    settings = {
        "ECG2CMR_BUNDLE": str(bundle.path),
        "ECG2CMR_MAX_QUEUE": str(QUEUE),
        "ECG2CMR_REDISPATCH_AFTER": "60",
        "ECG2CMR_VISIBILITY_TIMEOUT": "60",  # a message of eight such ECGs, and another beside it, on one thread
    }
    with Cluster(tmp_path, store, **settings) as cluster:
        load = Load(cluster)
        load.send()  # the first upload is slower than all that follow
        settle(cluster)
        processes = {"gateway": cluster.gateways[0].pid, "worker": cluster.workers[0].pid}
        before = {name: resident(pid) for name, pid in processes.items()}
        load.run(seconds)
        most = load.most_waiting
        after = {name: resident(pid) for name, pid in processes.items()}
        settled = settle(cluster)
        ends = judge(cluster, load.accepted)
        offered = sum(load.answers.values())
        told = {name: f"{before[name]:.0f} to {after[name]:.0f} MB" for name in before}
        print(f"\n{offered} offered in {seconds:g} s, {dict(load.answers)}, most waiting {most}, {told}")
        print(f"all {len(load.accepted)} read {settled:.1f} s later", flush=True)
        assert ends == {"done": len(load.accepted)}
        assert offered / seconds > 10 * len(load.accepted) / (seconds + settled), "ten times as many as were read"
        assert set(load.answers) == {HTTPStatus.ACCEPTED, HTTPStatus.SERVICE_UNAVAILABLE}
        assert load.without_advice == 0
        assert most <= QUEUE
        assert all(after[name] - before[name] < GROWTH for name in before)
        assert all(part.ends == [] for part in cluster.parts), "nothing was started again"
        answers = Counter(load.answers)
        load.send()
        assert load.answers[HTTPStatus.ACCEPTED] == answers[HTTPStatus.ACCEPTED] + 1, "there is room again"


class Load:
    """Clients that ask again at once, whatever they are told: the worst there are."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self.accepted: dict[int, set[str]] = {}
        self.answers: Counter[int] = Counter()
        self.without_advice = 0
        self.most_waiting = 0

    def send(self) -> None:
        """A new ECG, once."""
        self._send(*self._new())

    def _new(self) -> tuple[int, bytes]:
        number = next(self._numbers)
        return number, upload(recording_of_peak(slow_bundle.SLOW, number))

    def _send(self, number: int, body: bytes) -> bool:
        """Whether it was accepted."""
        with self._cluster.client() as client:
            response = client.post("/v1/ecgs", content=body)
        accepted = response.status_code == HTTPStatus.ACCEPTED
        with self._lock:
            self.answers[response.status_code] += 1
            if accepted:
                self.accepted[number] = {response.json()["id"]}
            elif "Retry-After" not in response.headers:
                self.without_advice += 1
        return accepted

    def run(self, seconds: float) -> None:
        """For so long; how many wait is looked at meanwhile."""
        until = time.monotonic() + seconds

        def client(_: int) -> None:
            sent = self._new()
            while time.monotonic() < until:
                if self._send(*sent):
                    sent = self._new()

        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(client, number) for number in range(CLIENTS)]
            while time.monotonic() < until:
                with self._cluster.store.reading() as connection:
                    self.most_waiting = max(self.most_waiting, outbox.pending(connection)[0])
                time.sleep(0.2)
            for one in clients:
                one.result()
