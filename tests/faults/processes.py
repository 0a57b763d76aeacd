"""Processes: programs that are started again whenever they end, as systemd or Kubernetes would do it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def children(pid: int, marked: str) -> list[int]:
    """Process ids of those children of a process whose command line has this in it."""
    command = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if marked in line]


class Kept:
    """A program that is kept running until it is stopped.

    Parameters
    ----------
    pause : callable
        Seconds until it is started again; asked each time that it ends.

    Attributes
    ----------
    ends : list of int
        With which status each of its processes ended before the last one; a signal as its negative number.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        pause: Callable[[], float] = lambda: 0.1,
    ) -> None:
        self.name = name
        self.ends: list[int] = []
        self._command, self._environment, self._log, self._pause = command, environment or {}, log, pause
        self._stopping = threading.Event()
        self._held = threading.Event()
        self._process = self._spawn()
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {name}", daemon=True)
        self._keeper.start()

    @property
    def pid(self) -> int:
        """Of the process that runs now, or ran last."""
        return self._process.pid

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            environment = {**os.environ, **self._environment}
            return subprocess.Popen(self._command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _keep(self) -> None:
        while True:
            status = self._process.wait()
            if self._stopping.is_set():
                return
            self.ends.append(status)
            self._stopping.wait(self._pause())
            while self._held.is_set() and not self._stopping.wait(0.01):
                pass
            if self._stopping.is_set():
                return
            self._process = self._spawn()

    def kill(self) -> None:
        """`kill -9`: nothing is tidied up, and its keeper starts another."""
        self._signal(self.pid, signal.SIGKILL)

    @contextlib.contextmanager
    def down(self) -> contextlib.AbstractContextManager[None]:
        """Killed, and not started again before the context is left."""
        self._held.set()
        process = self._process
        process.kill()
        process.wait()
        try:
            yield
        finally:
            self._held.clear()

    def freeze(self, seconds: float) -> None:
        """SIGSTOP now, SIGCONT so many seconds later: it is there and does not answer. Does not wait."""
        pid = self.pid
        self._signal(pid, signal.SIGSTOP)
        thaw = threading.Timer(seconds, self._signal, (pid, signal.SIGCONT))
        thaw.daemon = True
        thaw.start()

    def _signal(self, pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def stop(self) -> None:
        """SIGKILL for good: what a clean end is, other tests ask."""
        self._stopping.set()
        while self._keeper.is_alive():
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._keeper.join(0.1)
