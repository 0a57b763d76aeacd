"""Child processes that die with their parent, however it dies."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

log = logging.getLogger("ecg2cmr.children")

PR_SET_PDEATHSIG = 1  # prctl(2)
MAX_PAUSE = 30.0
HEALTHY_SECONDS = 60.0


def _die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when its parent ends, `kill -9` included."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended in the meantime
        os._exit(1)


def start(command: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a child process; on Linux it cannot outlive this process.

    Call it from a thread that lives as long as the child shall: the kernel watches the thread (prctl(2)).
    """
    parent = os.getpid()
    return subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        preexec_fn=(lambda: _die_with_parent(parent)) if sys.platform == "linux" else None,  # noqa: PLW1509  # no lock is taken in it
        start_new_session=True,  # Ctrl-C reaches the gateway alone, which then ends its children in order
    )


class Supervised(threading.Thread):
    """Keeps one child process running: when it ends, it is started again after a growing pause."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self._command = command
        self._environment = environment
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Start, wait, start again."""
        pause = 1.0
        while not self._stopping.is_set():
            started = time.monotonic()
            self._process = start(self._command, self._environment)
            code = self._process.wait()
            if self._stopping.is_set():
                return
            pause = 1.0 if time.monotonic() - started > HEALTHY_SECONDS else min(2 * pause, MAX_PAUSE)
            log.error("the %s ended with exit status %d; starting it again in %.0f s", self.name, code, pause)
            self._stopping.wait(pause)

    def stop(self, patience: float = 15.0) -> None:
        """Ask the child to finish what it has in hand; kill it when that takes longer than `patience` seconds."""
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
        self.join()
