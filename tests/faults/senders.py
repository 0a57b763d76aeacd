"""Senders: threads that POST one ECG after the other, and send each again until it is accepted."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import defaultdict
from http import HTTPStatus

import httpx

from tests.faults.cluster import Cluster
from tests.faults.ecgs import recording, upload

PATIENCE = 180.0
"""Seconds in which an ECG must be accepted, whatever happens meanwhile."""

AGAIN = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)


class Senders:
    """So many senders. One ECG in five is an earlier one, which must become the same study.

    Attributes
    ----------
    accepted : dict of set of str
        By the number of an ECG, the studies that it was accepted as.
    faults : list of str
        What no sender should ever be answered.
    """

    def __init__(self, cluster: Cluster, seed: int, count: int = 3) -> None:
        self.accepted: dict[int, set[str]] = defaultdict(set)
        self.faults: list[str] = []
        self._cluster = cluster
        self._lock = threading.Lock()
        self._next = 0
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_all, args=(random.Random(f"{seed} {number}"),), daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish the ECG in hand."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _send_all(self, chance: random.Random) -> None:
        while not self._stopping.wait(chance.uniform(0.05, 0.4)):
            with self._lock:
                if known := self._next and chance.random() < 0.2:
                    number = chance.randrange(self._next)
                else:
                    number, self._next = self._next, self._next + 1
            problem = self._send(number, chance)
            if problem:
                self.faults.append(f"ECG {number}{' again' if known else ''}: {problem}")

    def _send(self, number: int, chance: random.Random) -> str | None:
        """Send until it is accepted; what went wrong if it never is."""
        body, key = upload(recording(number)), str(uuid.UUID(int=chance.getrandbits(128)))
        parameters = {"priority": chance.choice(["stat", "routine", "backfill"])}
        headers = {"Prefer": "wait=2"} if chance.random() < 0.3 else {}
        answer, deadline = "no answer", time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                with self._cluster.client(chance.randrange(len(self._cluster.ports)), timeout=30) as client:
                    response = client.post(
                        "/v1/ecgs", content=body, params=parameters, headers={**headers, "Idempotency-Key": f'"{key}"'}
                    )
            except httpx.TransportError as error:  # the gateway died, or is not there yet
                answer = type(error).__name__
                time.sleep(chance.uniform(0.05, 0.3))
                continue
            answer = f"{response.status_code} {response.text[:300]}"
            if response.status_code in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
                with self._lock:
                    self.accepted[number].add(response.json()["id"])
                return None
            if response.status_code == HTTPStatus.CONFLICT:  # the request that died is still taken for under way
                key = str(uuid.UUID(int=chance.getrandbits(128)))  # the second guard makes it one study all the same
            elif response.status_code not in AGAIN or "Retry-After" not in response.headers:
                return answer
            time.sleep(chance.uniform(0.1, 0.5))
        return answer
