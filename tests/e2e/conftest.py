"""Real processes for the end-to-end tests: the gateway with its worker and broker, a Redis server, a browser."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import redis
from playwright.sync_api import Browser, Page, sync_playwright
from pydicom.data import get_testdata_file

from tests.conftest import missing

START_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Server:
    """A running `ecg2cmr serve`."""

    data_dir: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Server:
        self.log = (self.data_dir / "serve.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", str(self.port), "--data-dir", str(self.data_dir)],
            env={**os.environ, "ECG2CMR_API_KEY": self.key, **self.environment},
            stdout=self.log,
            stderr=self.log,
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return self
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server does not start:\n{(self.data_dir / 'serve.log').read_text()}")
            time.sleep(0.05)

    def client(self, key: str | None = None, **more: object) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {key or self.key}"}, timeout=60, **more
        )

    def children(self) -> dict[str, int]:
        """Process ids of the worker and the broker."""
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=True
        ).stdout
        found = {}
        for line in listed.splitlines():
            pid, _, command = line.strip().partition(" ")
            found["worker" if "-m worker" in command else "broker"] = int(pid)
        return found

    def kill(self) -> None:
        """`kill -9`: nothing is tidied up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def stop(self) -> int:
        """SIGTERM, as an operator or systemd would; the exit status."""
        self.process.terminate()
        status = self.process.wait(30)
        self.log.close()
        return status


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server on embedded defaults for all tests that do not harm it."""
    running = Server(tmp_path_factory.mktemp("server")).start()
    yield running
    assert running.stop() == 0, "the server does not stop cleanly"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers of one's own: `serve(ECG2CMR_REDISPATCH_AFTER="1")`."""
    started: list[Server] = []

    def start(**environment: str) -> Server:
        folder = tmp_path / f"server{len(started)}"
        folder.mkdir()
        started.append(Server(folder, environment))
        return started[-1].start()

    yield start
    for running in started:
        if running.process.poll() is None:
            running.stop()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis server on a port of its own, with an append-only file."""
    binary = shutil.which("redis-server")
    if binary is None:
        missing("redis-server")
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    process = subprocess.Popen(
        [
            str(binary),
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            "--appendonly",
            "yes",
            "--save",
            "",
        ],
        stdout=subprocess.DEVNULL,
    )
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
            break
        time.sleep(0.02)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait()


@pytest.fixture
def no_worker(redis_url: str) -> str:
    """A broker to which no worker listens, and which holds nothing."""
    url = redis_url.removesuffix("/0") + "/5"
    with redis.Redis.from_url(url) as broker:
        broker.flushdb()
    return url


@pytest.fixture(scope="session")
def real_dicom() -> bytes:
    """A real 12-lead ECG that pydicom carries: 42-year-old woman, 10 s at 1000 Hz."""
    return Path(str(get_testdata_file("waveform_ecg.dcm"))).read_bytes()


def _chromium() -> str:
    named = os.environ.get("CHROMIUM_PATH")
    found = named or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        missing("chromium")
    return str(found)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real headless Chromium."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=_chromium(),
            args=[
                "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
            ],
        )  # fmt: skip
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page as a clinician's screen shows it."""
    opened = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield opened
    opened.close()


@contextlib.contextmanager
def worker(broker_url: str, **environment: str) -> Iterator[None]:
    """A worker process on a broker of one's own, as on another machine."""
    process = subprocess.Popen(
        [sys.executable, "-m", "worker"],
        env={**os.environ, "ECG2CMR_BROKER_URL": broker_url, "ECG2CMR_LOG_LEVEL": "WARNING", **environment},
    )
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(30) == 0, "the worker does not stop cleanly"


@contextlib.contextmanager
def redis_on(path: Path) -> Iterator[None]:
    """A real Redis server on a unix socket."""
    binary = shutil.which("redis-server")
    if binary is None:
        missing("redis-server")
    process = subprocess.Popen(
        [str(binary), "--port", "0", "--unixsocket", str(path), "--save", ""],
        stdout=subprocess.DEVNULL,
        cwd=path.parent,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()
