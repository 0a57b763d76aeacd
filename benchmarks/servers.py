"""Servers: PostgreSQL and other processes of a benchmark's own, and how long each ran on a processor."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def port() -> int:
    """One that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def postgresql(*settings: str) -> Iterator[str]:
    """A server with its own settings, which sync every commit, and these. Yields the URL of an empty database."""
    binary = Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
    user = "nobody" if os.getuid() == 0 else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if user:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(binary / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, user=user, check=True, stdout=subprocess.DEVNULL, cwd=folder)

    run("initdb", "-A", "trust", "-U", "ecg2cmr")
    options = " ".join(["-c listen_addresses=", f"-k {folder}", *(f"-c {setting}" for setting in settings)])
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://ecg2cmr@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-w", "-m", "fast", "stop")
        shutil.rmtree(folder)


@contextlib.contextmanager
def processes(*commands: list[str], **environment: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run them for as long as the context lasts."""
    started = [subprocess.Popen(c, env={**os.environ, **environment}, stdout=subprocess.DEVNULL) for c in commands]
    try:
        yield started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def processor_seconds(pid: int) -> float:
    """Of a process itself, without its children (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def running_seconds(pid: str) -> float:
    """Of the main thread of a process, exactly (Documentation/scheduler/sched-stats)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
