"""Service times: what one ECG costs each part of the service, measured by calling the real code on this machine.

    .venv/bin/python -m benchmarks.service_times [--ecgs 200] [--out benchmarks/service_times.json]

Every upload is a real ECG (10 s at 1000 Hz, DICOM) with one sample changed, so that each is a new study. Measured are:
confined examination, reading by the model on one thread, and the two transactions of the store on SQLite and on
PostgreSQL (synced to disk; the latter also with lz4 for large values). Processor time is taken where a part only
computes, so that other work on the machine does not count; a transaction waits for the disk and is taken by the clock.
Then the whole service as processes (gateway, Redis, PostgreSQL, worker): the processor time of each, what Redis holds
for one waiting ECG, and what travels. Needs redis-server and PostgreSQL (initdb).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any  # what a timed call gives back, and what JSON and INFO of Redis hold

import httpx
import numpy as np
import pydicom
import redis
from pydicom.data import get_testdata_file
from sqlalchemy import text

from app.store import Store, outbox
from app.studies import Studies
from benchmarks.servers import port, postgresql, processes, processor_seconds, running_seconds
from models.bundle import Bundle, choose
from models.ecg.confined import Readers
from models.ecg.examination import Examination
from models.report import Answer
from models.runtime import Model
from worker.settings import ARTIFACTS

KEY = "benchmark"
WRITERS = 8


def upload(number: int) -> bytes:
    """The real ECG with another first sample: a study of its own."""
    dataset = pydicom.dcmread(str(get_testdata_file("waveform_ecg.dcm")))
    waveform = dataset.WaveformSequence[0]
    samples = np.frombuffer(waveform.WaveformData, "<i2").copy()
    samples[0] += number % 100
    samples[1] += number // 100
    waveform.WaveformData = samples.tobytes()
    file = BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what was returned."""
    start = time.perf_counter()
    returned = call()
    return time.perf_counter() - start, returned


def examinations(uploads: list[bytes]) -> tuple[list[float], list[Examination]]:
    """Processor seconds of a confined reader for each upload, and what it found."""
    seconds, found = [], []
    with Readers(1) as readers:
        readers.examine(uploads[0])
        [pid] = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
        for data in uploads:
            before = running_seconds(pid)
            found.append(readers.examine(data))
            seconds.append(running_seconds(pid) - before)
    return seconds, found


def reading(model: Model, one: Examination) -> float:
    """Processor seconds of the model, from the recording to the answer."""
    before = time.process_time()
    model.read([one.recording])
    return time.process_time() - before


def transactions(
    url: str, bundle: Bundle, uploads: list[bytes], examined: list[Examination], model: Model
) -> dict[str, Any]:
    """Seconds of keeping and of recording, alone and with several writers; bytes on disk of one ECG."""
    store = Store(url)
    store.migrate()
    studies = Studies(store, bundle, redispatch_after=600)
    [outcome] = model.read([examined[0].recording])
    before = size(store)

    def keep(number: int) -> str:
        due = studies.keep(uploads[number], examined[number]).due
        if due is None:
            raise SystemExit("an upload is not a study of its own")
        return due.job_id

    def record(number: int, job_id: str) -> None:
        answer = Answer(job_id=job_id, ecg_digest=examined[number].recording.digest, seconds=0.0, outcome=outcome)
        with store.writing() as connection:
            outbox.record(connection, answer)

    def both(number: int) -> None:
        record(number, keep(number))

    alone = len(uploads) // 2
    kept = [timed(partial(keep, number)) for number in range(alone)]
    recorded = [timed(partial(record, number, job_id))[0] for number, (_, job_id) in enumerate(kept)]
    with ThreadPoolExecutor(WRITERS) as writers:
        seconds, _ = timed(lambda: list(writers.map(both, range(alone, len(uploads)))))
    after = size(store)
    store.close()
    mean = statistics.fmean(s for s, _ in kept) + statistics.fmean(recorded)
    return {
        "keep": [s for s, _ in kept],
        "record": recorded,
        "ecgs_per_second_with_8_writers": (len(uploads) - alone) / seconds,
        # How many transactions are effectively served at once
        "servers": max(1.0, (len(uploads) - alone) / seconds * mean),
        **{name: (after[name] - before[name]) / len(uploads) for name in after},
    }


def size(store: Store) -> dict[str, float]:
    """Bytes on disk; of PostgreSQL also those written to its log."""
    with store.reading() as connection:
        if store.url.startswith("sqlite"):
            pages, page = (connection.scalar(text(f"pragma {name}")) for name in ("page_count", "page_size"))
            return {"disk_bytes": float(pages * page)}
        return {
            "disk_bytes": float(connection.scalar(text("select pg_database_size(current_database())"))),
            "log_bytes": float(connection.scalar(text("select pg_current_wal_lsn() - '0/0'::pg_lsn"))),
        }


def whole(url: str, uploads: list[bytes]) -> dict[str, float]:
    """The service as processes: processor seconds of each for one ECG, and what Redis holds and carries."""
    http, broker = port(), port()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        environment = {
            "ECG2CMR_BROKER_URL": f"redis://127.0.0.1:{broker}/0",
            "ECG2CMR_DATABASE_URL": url,
            "ECG2CMR_API_KEY": KEY,
            "ECG2CMR_LOG_LEVEL": "WARNING",
            "ECG2CMR_REDISPATCH_AFTER": "600",
            "ECG2CMR_THREADS": "1",
        }
        [server] = stack.enter_context(
            processes(["redis-server", "--port", str(broker), "--dir", folder, "--appendonly", "yes", "--save", ""])
        )
        [gateway] = stack.enter_context(
            processes([sys.executable, "-m", "app", "serve", "--port", str(http), "--data-dir", folder], **environment)
        )
        client = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{http}", headers={"Authorization": f"Bearer {KEY}"}, timeout=120)
        )
        info = stack.enter_context(redis.Redis(port=broker)).info
        await_ready(client)
        waiting, rest = uploads[: len(uploads) // 4], uploads[len(uploads) // 4 :]
        client.post("/v1/ecgs", content=waiting[0]).raise_for_status()
        held = info()["used_memory"]
        for data in waiting[1:]:
            client.post("/v1/ecgs", content=data).raise_for_status()
        time.sleep(2)  # the dispatcher is another thread
        held = (info()["used_memory"] - held) / (len(waiting) - 1)
        [worker] = stack.enter_context(processes([sys.executable, "-m", "worker"], **environment))
        client.post("/v1/ecgs", content=rest[0], headers={"Prefer": "wait=60"}).raise_for_status()
        pids = {"gateway": gateway.pid, "worker": worker.pid, "redis": server.pid}
        before = {name: processor_seconds(pid) for name, pid in pids.items()} | carried(info())
        for data in rest[1:]:
            if client.post("/v1/ecgs", content=data, headers={"Prefer": "wait=60"}).status_code != httpx.codes.OK:
                raise SystemExit("an ECG was not answered")
        after = {name: processor_seconds(pid) for name, pid in pids.items()} | carried(info())
    used = {f"{name}_seconds": (after[name] - before[name]) / (len(rest) - 1) for name in pids}
    moved = {name: (after[name] - before[name]) / (len(rest) - 1) for name in ("redis_in_bytes", "redis_out_bytes")}
    return used | moved | {"redis_waiting_bytes": held}


def carried(info: dict[str, Any]) -> dict[str, float]:
    """Bytes that went into and out of Redis so far."""
    return {"redis_in_bytes": info["total_net_input_bytes"], "redis_out_bytes": info["total_net_output_bytes"]}


def await_ready(client: httpx.Client) -> None:
    """Until the gateway accepts."""
    for _ in range(600):
        with contextlib.suppress(httpx.TransportError):
            if client.get("/readyz").status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise SystemExit("the gateway does not start")


def measure(ecgs: int) -> dict[str, Any]:
    """Everything, in seconds and bytes."""
    bundle = choose(None, ARTIFACTS)
    model = Model.load(bundle, provider="cpu", threads=1)
    uploads = [upload(number) for number in range(2 * ecgs)]
    first, second = uploads[:ecgs], uploads[ecgs:]
    seconds, examined = examinations(first)
    reads = [reading(model, one) for one in examined]
    with tempfile.TemporaryDirectory() as folder:
        sqlite = transactions(f"sqlite:///{folder}/store.sqlite", bundle, first, examined, model)
    with postgresql("default_toast_compression=lz4") as url:
        lz4 = transactions(url, bundle, first, examined, model)
    with postgresql() as url:
        postgres = transactions(url, bundle, first, examined, model)
        service = whole(url, second)
    return {
        "machine": f"{os.cpu_count()} x {platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": f"{bundle.manifest.name} {bundle.manifest.version}",
        "upload_bytes": statistics.fmean(map(len, first)),
        "examine": seconds,
        "read": reads,
        "sqlite": sqlite,
        "postgresql": postgres,
        "postgresql, lz4": lz4,
        "service": service,
    }


def rounded(value: Any) -> Any:
    """Six digits are enough."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def brief(value: Any) -> Any:
    """Lists of seconds by their mean and median, in milliseconds."""
    if isinstance(value, dict):
        return {name: brief(part) for name, part in value.items()}
    if isinstance(value, list):
        return f"mean {1000 * statistics.fmean(value):.1f} ms, median {1000 * statistics.median(value):.1f} ms"
    return value


def main() -> None:
    """Measure and write."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--ecgs", type=int, default=200)
    arguments.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = arguments.parse_args()
    command = f"python -m benchmarks.service_times --ecgs {options.ecgs}"
    measured = rounded({"command": command, **measure(options.ecgs)})
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in measured.items())
    options.out.write_text(f"{{\n{lines}\n}}\n")
    print(json.dumps(brief(measured), indent=1))


if __name__ == "__main__":
    main()
