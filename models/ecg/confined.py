"""Confined: uploads are examined in child processes that have little memory, little time and nothing to write to.

A file comes from anybody. A reader that it makes run wild, out of memory or into a wall dies alone: its sender gets a
refusal, everybody else's file goes to another reader, and a new one takes its place.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from models.ecg.errors import UnreadableFile, UnsafeFile
from models.ecg.examination import Examination, examine
from models.ecg.stated import Stated
from models.ecg.wire import pack_answer, pack_question, unpack_answer, unpack_question

_READY = b"ready"
_PATIENCE = 5.0  # times the processor seconds that a reader has are as long as its parent waits on a busy machine
_STARTING = 60.0  # seconds in which a reader has imported what it needs, on the slowest machine
_PAUSE = 5.0  # seconds before another attempt to start one
_OPEN_FILES = 64

log = logging.getLogger("ecg2cmr")


class ReadersBusy(Exception):
    """No reader became free in time: ask again in a moment."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one file may cost.

    Attributes
    ----------
    memory : int
        Bytes of address space beyond what a reader has before it sees a file.
    seconds : float
        Of processor time.
    files : int
        After which a reader is replaced, so that no memory stays behind for long.
    """

    memory: int = 512 * 2**20
    seconds: float = 2.0
    files: int = 1000


class Readers:
    """A pool of confined readers; as many files are examined at once as it has.

    Parameters
    ----------
    count : int or None
        Readers kept running; None for one a processor.
    patience : float
        Seconds that a file waits for a reader before `ReadersBusy`.
    """

    def __init__(self, count: int | None = None, limits: Limits | None = None, patience: float = 30.0) -> None:
        self._limits = limits or Limits()
        self._patience = patience
        self._idle: queue.LifoQueue[_Reader] = queue.LifoQueue()  # the last one used has its code in the caches
        self._lock = threading.Lock()
        self._running: set[_Reader] = set()
        self._closed = False
        self._count = count or os.cpu_count() or 1

    def start(self) -> None:
        """Start the readers; the first is ready in a second or two, and files wait for it."""
        for _ in range(self._count):
            self._start_one()

    def __enter__(self) -> Readers:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def examine(self, data: bytes, stated: Stated | None = None) -> Examination:
        """As `models.ecg.examination.examine`, in a child.

        Raises
        ------
        EcgError
            If the file cannot be used; `UnsafeFile` if reading it costs more than the limits, `UnreadableFile` if it
            brings its reader down. A reader that was killed from outside says nothing of the file: another is asked.
        ReadersBusy
            If no reader became free in time.
        """
        try:
            return unpack_answer(self._answer(pack_question(data, stated or Stated())))
        except UnreadableFile as error:
            log.error("a reader of uploads failed: %s", error.detail)
            raise

    def _answer(self, question: bytes, attempts: int = 2) -> bytes:
        try:
            with self._borrowed() as reader:
                return reader.ask(question)
        except _Killed as error:
            if attempts == 1:
                raise UnreadableFile("its readers were killed") from error
        log.warning("a reader of uploads was killed: another is asked")
        return self._answer(question, attempts - 1)

    def close(self) -> None:
        """End every reader."""
        with self._lock:
            self._closed = True
            running, self._running = self._running, set()
        for reader in running:
            reader.end()

    @contextmanager
    def _borrowed(self) -> Iterator[_Reader]:
        reader = self._idle_reader()
        try:
            yield reader
        finally:
            if reader.alive and reader.answered < self._limits.files:
                self._idle.put(reader)
            else:
                self._replace(reader)

    def _idle_reader(self) -> _Reader:
        """A living one: that somebody killed its reader between two files is nothing a sender should hear of."""
        try:
            while not (reader := self._idle.get(timeout=self._patience)).alive:
                self._replace(reader)
        except queue.Empty:
            raise ReadersBusy(f"no reader became free within {self._patience:g} s") from None
        return reader

    def _replace(self, reader: _Reader) -> None:
        self._end(reader)
        self._start_one()

    def _start_one(self) -> None:
        threading.Thread(target=self._bring_up, name="reader-start", daemon=True).start()

    def _bring_up(self) -> None:
        """Start a reader and offer it when it is ready, so that no file waits for its imports while another is idle."""
        while not self._closed and not self._offered():
            log.error("a reader of uploads did not start; what it wrote stands above")
            time.sleep(_PAUSE)

    def _offered(self) -> bool:
        """Whether a new reader is there, or none is wanted any more."""
        try:
            reader = self._enlisted()
        except OSError as error:  # no descriptor, memory or process to be had at this moment
            log.error("a reader of uploads cannot be started: %s", error)
            return False
        if reader is None:
            return True
        if not reader.greet():
            self._end(reader)
            return False
        self._idle.put(reader)
        return True

    def _enlisted(self) -> _Reader | None:
        with self._lock:
            if self._closed:
                return None
            reader = _Reader(self._limits)
            self._running.add(reader)
            return reader

    def _end(self, reader: _Reader) -> None:
        with self._lock:
            self._running.discard(reader)
        reader.end()


class _Killed(Exception):
    """A reader was killed: by the kernel for want of memory, or by a person; none of its limits ends it so."""


class _Reader:
    """One child, asked one file at a time."""

    def __init__(self, limits: Limits) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno()), str(limits.memory), str(limits.seconds)]
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=Path(__file__).resolve().parents[2],
                env=_environment(),
            )
        self._connection = Connection(ours.detach())
        self._limits = limits
        self._spoilt = False
        self.answered = 0

    @property
    def alive(self) -> bool:
        """Whether it can be asked (again)."""
        return not self._spoilt and self._process.poll() is None

    def greet(self) -> bool:
        """Wait until it has imported what it needs; False if it does not come to that."""
        with contextlib.suppress(EOFError, OSError):
            return self._connection.poll(_STARTING) and self._connection.recv_bytes() == _READY
        return False

    def ask(self, question: bytes) -> bytes:
        """Its answer.

        Raises
        ------
        UnsafeFile, UnreadableFile
            If it does not survive the question.
        _Killed
            If somebody else ended it meanwhile.
        """
        try:
            self._connection.send_bytes(question)
            if not self._connection.poll(_PATIENCE * self._limits.seconds):
                self._spoilt = True
                raise UnsafeFile(f"reading the file takes longer than {self._limits.seconds:g} s")
            self.answered += 1
            return self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            self._spoilt = True
            raise self._cause_of_death() from error

    def _cause_of_death(self) -> UnsafeFile | UnreadableFile | _Killed:
        status = self._process.wait()
        if status == -signal.SIGKILL:
            return _Killed()
        if status == -signal.SIGPROF:
            return UnsafeFile(f"reading the file takes more than {self._limits.seconds:g} s of processor time")
        return UnreadableFile(f"its reader ended with status {status}")

    def end(self) -> None:
        """Kill it: it has nothing to put away."""
        self._process.kill()
        self._process.wait()
        self._connection.close()


def _environment() -> dict[str, str]:
    """Nothing of ours but where Python finds its modules: neither keys nor addresses. One thread a reader."""
    kept = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LD_LIBRARY_PATH")
    inherited = {name: os.environ[name] for name in kept if name in os.environ}
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # What the arrays of one ECG took stays for the next: to get it from the kernel again costs up to a millisecond.
    memory = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2", "MALLOC_TOP_PAD_": str(16 * 2**20)}
    return inherited | single | memory


def serve(connection: Connection, limits: Limits) -> None:
    """Answer questions until the other side hangs up; what a file costs too much, it costs this process its life."""
    _silence()  # a traceback may quote a patient
    _confine(limits)
    connection.send_bytes(_READY)
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        while True:
            data, stated = unpack_question(connection.recv_bytes())
            # Sent by the kernel for processor time, whatever code is running; nothing here catches it.
            signal.setitimer(signal.ITIMER_PROF, limits.seconds)
            answer = pack_answer(lambda: examine(data, stated))  # noqa: B023  # called at once
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send_bytes(answer)


def _silence() -> None:
    """Let what is written to the standard error go nowhere from here on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())
    os.close(nowhere)


def _confine(limits: Limits) -> None:
    """Take away what reading a file does not need (setrlimit(2)); what is imported later counts as the file's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal reaches the whole group; our parent ends us
    taken = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: _OPEN_FILES}
    if sys.platform == "linux":  # elsewhere address space is not accounted, or not to be limited
        taken[resource.RLIMIT_AS] = _address_space() + limits.memory
    for kind, value in taken.items():
        resource.setrlimit(kind, (value, value))


def _address_space() -> int:
    """Bytes of our address space now (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])), Limits(memory=int(sys.argv[2]), seconds=float(sys.argv[3])))
