"""What serving costs: ECGs by HTTP through store, broker and worker against the bare model, in one interleaved run.

    .venv/bin/python -m benchmarks.serving [--model released --model vit-small-12x50] [--seconds 5] [--rounds 2]
        [--servers] [--memory 100000]

Starts `ecg2cmr serve` (embedded defaults; with --servers a gateway and a worker on PostgreSQL and Redis of their own,
which sync every commit and keep an append-only file), and loads it from this process:
closed loop at 1, 8 and 32 clients, then open loop at 70 % of what 32 clients reached. Every request is an ECG that the
store has not seen, as int16 microvolts at 500 Hz (`npy`: nothing to decode but a header) or as a real DICOM file. The
bare model is the better of two threads and two callers, each at batch 1 and 8, before and after every load; beside one
client it is called once after every answer. Prints Markdown: ratio to the bare model, latency, latency added at one
client, and processor milliseconds per ECG of each process (not of PostgreSQL), the steadiest
figure on a shared machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import redis

from benchmarks.heavy_bundle import make
from benchmarks.http_load import HEADERS, KEY, PORT, Payload, closed, opened
from benchmarks.servers import port, postgresql, processes
from models.bundle import Bundle, choose
from models.runtime import Model
from worker.settings import ARTIFACTS

CLIENTS = (1, 8, 32)
TICKS = os.sysconf("SC_CLK_TCK")


# --- who serves ---


@dataclass
class Service:
    """The running service, and the processor time of its processes."""

    processes: list[subprocess.Popen[bytes]]
    broker_url: str | None

    def seconds(self) -> dict[str, float]:
        """Processor seconds so far, by part."""
        used: dict[str, float] = defaultdict(float)
        for pid in _family([process.pid for process in self.processes]):
            own, of_ended_children = _seconds(pid)
            used[_part(pid)] += own
            used["readers" if _part(pid) == "gateway" else _part(pid)] += of_ended_children  # readers are replaced
        if self.broker_url is not None:
            with redis.Redis.from_url(self.broker_url) as broker:
                told = broker.info("cpu")
            used["broker"] += told["used_cpu_user"] + told["used_cpu_sys"]
        return used

    def memory(self) -> dict[str, float]:
        """Resident MB by part."""
        used: dict[str, float] = defaultdict(float)
        for pid in _family([process.pid for process in self.processes]):
            used[_part(pid)] += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6
        return used


def _family(pids: list[int]) -> list[int]:
    children = [
        int(child)
        for pid in pids
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return pids + (_family(children) if children else [])


def _part(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    parts = {b"models.ecg.confined": "readers", b"worker": "worker", b"valkey": "broker", b"serve": "gateway"}
    return next((part for mark, part in parts.items() if mark in command), "other")


def _seconds(pid: int) -> tuple[float, float]:
    """Processor seconds of a process, and of its children that ended (proc(5), stat)."""
    user, system, *children = map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15])
    return (user + system) / TICKS, sum(children) / TICKS


@contextmanager
def serving(bundle: Bundle, broker_url: str | None, database_url: str | None) -> Iterator[Service]:
    """`ecg2cmr serve` in a folder of its own, ready and warm."""
    chosen = {"ECG2CMR_BROKER_URL": broker_url, "ECG2CMR_DATABASE_URL": database_url}
    environment = {**os.environ, "ECG2CMR_API_KEY": KEY, "ECG2CMR_LOG_LEVEL": "WARNING"}
    environment |= {"ECG2CMR_BUNDLE": str(bundle.path)} | {k: v for k, v in chosen.items() if v is not None}
    environment.pop("OMP_NUM_THREADS", None)
    with tempfile.TemporaryDirectory() as folder:
        commands = [["app", "serve", "--port", str(PORT), "--data-dir", folder]]
        commands += [] if broker_url is None else [["worker"]]
        processes = [subprocess.Popen([sys.executable, "-m", *command], env=environment) for command in commands]
        service = Service(processes, broker_url)
        try:
            _warm_up()
            yield service
        finally:
            for process in service.processes:
                process.terminate()
            for process in service.processes:
                process.wait()


def _warm_up() -> None:
    payload = Payload("npy")
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=90, headers=HEADERS) as client:
        for _ in range(600):
            try:
                if client.get("/readyz").status_code == httpx.codes.OK:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        for _ in range(20):
            client.post(f"/v1/ecgs{payload.query}", content=payload.next()).raise_for_status()


# --- the bare model ---


class Bare:
    """The same graph of the same bundle in this process: what no service can pass."""

    def __init__(self, bundle: Bundle) -> None:
        self._one, self._two = (Model.load(bundle, provider="cpu", threads=n, precision="auto") for n in (1, 2))
        self._ecg = bundle.golden.tensors[:1]
        self.calls: list[float] = []

    def call(self) -> None:
        """One ECG on two threads, timed."""
        started = time.perf_counter()
        self._two.run(self._ecg)
        self.calls.append(time.perf_counter() - started)

    def limit(self, seconds: float) -> float:
        """ECGs a second, the best of four settings."""
        return max(
            self._rate(model, callers, batch, seconds / 4)
            for model, callers in ((self._two, 1), (self._one, 2))
            for batch in (1, 8)
        )

    def _rate(self, model: Model, callers: int, batch: int, seconds: float) -> float:
        ecgs = np.repeat(self._ecg, batch, 0)
        started = time.perf_counter()

        def run() -> int:
            runs = 0
            while time.perf_counter() < started + seconds:
                model.run(ecgs)
                runs += 1
            return runs

        with ThreadPoolExecutor(callers) as pool:
            runs = sum(future.result() for future in [pool.submit(run) for _ in range(callers)])
        return batch * runs / (time.perf_counter() - started)


# --- what is printed ---


def milliseconds(latencies: list[float]) -> tuple[float, float]:
    """Median and 99 % quantile."""
    return 1e3 * statistics.median(latencies), 1e3 * float(np.quantile(latencies, 0.99))


PARTS = ("gateway", "readers", "worker", "broker")
COLUMNS = ("model", "payload", "clients", "ECG/s", "bare", "ratio", "p50 ms", "p99 ms", "added p50 ms", *PARTS)


def row(*cells: object) -> None:
    """A line of the table."""
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


@contextmanager
def servers() -> Iterator[tuple[str, str]]:
    """Redis and PostgreSQL by their URLs."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        number = port()
        redis_server = ["redis-server", "--port", str(number), "--dir", folder, "--appendonly", "yes", "--save", ""]
        stack.enter_context(processes(redis_server))
        database_url = stack.enter_context(postgresql("default_toast_compression=lz4"))
        yield f"redis://127.0.0.1:{number}/0", database_url


def measure(name: str, bundle: Bundle, arguments: argparse.Namespace) -> None:
    """All loads on one bundle."""
    bare = Bare(bundle)
    with ExitStack() as stack:
        broker_url, database_url = stack.enter_context(servers()) if arguments.servers else (None, None)
        service = stack.enter_context(serving(bundle, broker_url, database_url))
        for kind in arguments.payload:
            payload, rate = Payload(kind), 1.0
            for clients in CLIENTS:
                for _ in range(arguments.rounds):
                    rate = closed_row(name, clients, payload, bare, service, arguments.seconds)
            p50, p99 = milliseconds(asyncio.run(opened(0.7 * rate, arguments.seconds, payload)))
            row(name, kind, "open", f"{0.7 * rate:.0f}", "", "", f"{p50:.1f}", f"{p99:.1f}", *[""] * (1 + len(PARTS)))
        if arguments.memory:
            grow(service, arguments.memory)


def closed_row(name: str, clients: int, payload: Payload, bare: Bare, service: Service, seconds: float) -> float:
    """One closed loop between two measurements of the bare model; prints its line, returns ECGs a second."""
    before, used = bare.limit(seconds), service.seconds()
    bare.calls.clear()
    after = bare.call if clients == 1 else (lambda: None)
    latencies, rate = asyncio.run(closed(clients, seconds, payload, after))
    spent = service.seconds()
    limit = max(before, bare.limit(seconds))
    p50, p99 = milliseconds(latencies)
    added = f"{p50 - milliseconds(bare.calls)[0]:.1f}" if clients == 1 else ""
    cpu = [f"{1e3 * (spent[part] - used[part]) / len(latencies):.1f}" for part in PARTS]
    row(
        name, payload.kind, clients, f"{rate:.0f}", f"{limit:.0f}", f"{rate / limit:.2f}",
        f"{p50:.1f}", f"{p99:.1f}", added, *cpu,
    )  # fmt: skip
    return rate


def grow(service: Service, requests: int) -> None:
    """Resident memory over many requests, and its slope after the first quarter."""
    payload, seen, done = Payload("npy"), [(0, service.memory())], 0
    while done < requests:
        latencies, _ = asyncio.run(closed(32, 10.0, payload, lambda: None))
        done += len(latencies)
        seen.append((done, service.memory()))
    late = [(count, used) for count, used in seen if count >= requests / 4]
    for part in seen[-1][1]:
        slope = np.polyfit([count for count, _ in late], [used[part] for _, used in late], 1)[0]
        print(f"memory of {part}: {seen[-1][1][part]:.0f} MB after {done} ECGs, {1000 * slope:+.3f} MB per 1000")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="append", help="'released' or an encoder preset [released, vit-small-12x50]")
    parser.add_argument("--payload", action="append", choices=("npy", "dicom"), help="[both]")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load [5]")
    parser.add_argument("--rounds", type=int, default=2, help="times that each closed loop is measured [2]")
    parser.add_argument("--servers", action="store_true", help="PostgreSQL and Redis in place of what is embedded")
    parser.add_argument("--memory", type=int, default=0, help="requests over which to watch memory")
    arguments = parser.parse_args()
    arguments.payload = arguments.payload or ["npy", "dicom"]
    released = choose(None, ARTIFACTS)
    row(*COLUMNS)
    row(*["---"] * len(COLUMNS))
    for name in arguments.model or ["released", "vit-small-12x50"]:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, released if name == "released" else make(name, released, Path(folder)), arguments)


if __name__ == "__main__":
    main()
