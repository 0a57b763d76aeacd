"""Cluster: Redis, gateways and workers on one store, each a process that can be hurt and comes back."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import redis
from redis.exceptions import RedisError

from app.store import Store
from tests.conftest import missing
from tests.e2e.conftest import free_port
from tests.faults.processes import Kept

START_SECONDS = 60.0

READER = "models.ecg.confined"
"""What the command line of a gateway's reader of uploads has in it."""


class Cluster:
    """What serves ECGs, process by process.

    Parameters
    ----------
    broker_url : str or None
        How gateways and workers reach Redis, if not directly.
    environment : str
        Settings of gateways and workers, as `ECG2CMR_<NAME>`.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        *,
        gateways: int = 1,
        workers: int = 1,
        pause: Callable[[], float] = lambda: 0.1,
        redis_port: int | None = None,
        broker_url: str | None = None,
        **environment: str,
    ) -> None:
        self.folder, self.store, self._pause = folder, store, pause
        self.key = secrets.token_urlsafe(16)
        self._redis_port = redis_port or free_port()
        self.redis_url = f"redis://127.0.0.1:{self._redis_port}/0"
        self.environment = {
            "ECG2CMR_BROKER_URL": broker_url or self.redis_url,
            "ECG2CMR_DATABASE_URL": store.url,
            "ECG2CMR_API_KEY": self.key,
            "ECG2CMR_READERS": "1",
            "ECG2CMR_THREADS": "1",
            "ECG2CMR_MAX_WAIT": "5",
            "ECG2CMR_REDISPATCH_AFTER": "2",
            "ECG2CMR_VISIBILITY_TIMEOUT": "5",
            "ECG2CMR_LOG_LEVEL": "WARNING",
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self.ports = [free_port() for _ in range(gateways)]
        self._size = (gateways, workers)
        self.parts: list[Kept] = []

    def __enter__(self) -> Cluster:
        self.broker = self._keep("redis", self._redis_command())
        self.gateways = [self._keep_gateway(number, port) for number, port in enumerate(self.ports)]
        self.workers = [self._keep(f"worker{n}", [sys.executable, "-m", "worker"]) for n in range(self._size[1])]
        self.await_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for part in self.parts:
            part.stop()

    def _keep_gateway(self, number: int, port: int) -> Kept:
        gateway = self._keep(f"gateway{number}", [sys.executable, "-m", "app", "serve", "--port", str(port)])
        if number == 0:
            self.await_ready()  # it makes the tables
        return gateway

    def _keep(self, name: str, command: list[str]) -> Kept:
        part = Kept(name, command, self.folder / f"{name}.log", self.environment, self._pause)
        self.parts.append(part)
        return part

    def add_worker(self) -> Kept:
        """One more."""
        worker = self._keep(f"worker{len(self.workers)}", [sys.executable, "-m", "worker"])
        self.workers.append(worker)
        return worker

    def _redis_command(self) -> list[str]:
        """With an append-only file, as the documentation of the service wants it."""
        binary = shutil.which("redis-server")
        if binary is None:
            missing("redis-server")
        data = self.folder / "redis"
        data.mkdir(exist_ok=True)
        listen = ["--port", str(self._redis_port), "--bind", "127.0.0.1", "--dir", str(data)]
        return [str(binary), *listen, "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]

    def lose_redis(self) -> None:
        """Kill Redis and start it without anything that it knew, as one without persistence would."""
        with self.broker.down():
            shutil.rmtree(self.folder / "redis")
            (self.folder / "redis").mkdir()

    def flush_redis(self) -> None:
        """FLUSHALL, if it is there to hear it."""
        with contextlib.suppress(RedisError), redis.Redis.from_url(self.redis_url, socket_timeout=1.0) as client:
            client.flushall()

    def client(self, number: int = 0, **more: object) -> httpx.Client:
        """Of a gateway."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.ports[number]}", headers=headers, **{"timeout": 60, **more}
        )

    def await_report(self, location: str, seconds: float = 90.0) -> dict[str, Any]:
        """The report at a place that a sender was told, once there is one."""
        found: dict[str, Any] = {}

        def answered() -> bool:
            with self.client() as client:
                found.update(client.get(location, headers={"Prefer": "wait=5"}).json())
            return found["status"] != "queued"

        await_that(answered, seconds, self.told)
        return found

    def await_ready(self) -> None:
        """Wait until every gateway that was started takes ECGs."""
        started = [part for part in self.parts if part.name.startswith("gateway")]
        for number in range(len(started)):
            with self.client(number) as client:
                await_that(lambda: _ready(client), START_SECONDS, self.told)  # called at once

    def told(self) -> str:
        """The end of every log."""
        logs = [(part.name, self.folder / f"{part.name}.log") for part in self.parts]
        return "\n".join(f"--- {name}\n{log.read_text(errors='replace')[-2000:]}" for name, log in logs)


def _ready(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/readyz").status_code == 200
    return False


def await_that(
    holds: Callable[[], object], seconds: float, told: Callable[[], object] = str, pause: float = 0.05
) -> None:
    """Wait until something holds; fail with what is told when it does not come to that."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {told()}"
        time.sleep(pause)
