"""What the whole HTTP path costs over the bare model call, on one real ECG at a time.

    .venv/bin/python benchmarks/http_overhead.py [--ecgs 60]

Starts `ecg2cmr serve` on embedded defaults in a temporary folder, then alternates in one loop, so that a noisy machine
hurts both alike: one POST of a new ECG with `Prefer: wait`, and one call of the same model in this process on the same
recording, with the worker's number of threads. Prints the medians of both, of their parts, and the overhead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import httpx
import numpy as np
import orjson
from pydicom.data import get_testdata_file

from models.bundle import choose
from models.ecg import LEADS, Recording, assess, decode
from models.runtime import Model
from worker.settings import ARTIFACTS

KEY = "benchmark"
PORT = 8765


def serve(folder: str) -> subprocess.Popen[bytes]:
    """Start the service in `folder` and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--port", str(PORT), "--data-dir", folder],
        env={**os.environ, "ECG2CMR_API_KEY": KEY, "ECG2CMR_LOG_LEVEL": "WARNING"},
    )
    for _ in range(300):
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/readyz").status_code == httpx.codes.OK:
                return process
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("the server does not start")


def variant(recording: Recording, number: int) -> bytes:
    """The real ECG with a gain of its own, so that each request is a new study, as JSON in microvolts."""
    signal = recording.signal * (1 + 0.001 * number) * 1000
    return orjson.dumps(
        {
            "sampling_rate_hz": recording.sampling_rate,
            "unit": "uV",
            "leads": {lead: row.round(3).tolist() for lead, row in zip(LEADS, signal, strict=True)},
        }
    )


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--ecgs", type=int, default=60)
    count = arguments.parse_args().ecgs
    bundle = choose(None, ARTIFACTS)
    model = Model.load(bundle, provider="cpu", threads=os.cpu_count() or 1)
    real = decode(Path(str(get_testdata_file("waveform_ecg.dcm"))).read_bytes())
    milliseconds: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, start: float) -> None:
        milliseconds[name].append(1000 * (time.perf_counter() - start))

    with tempfile.TemporaryDirectory() as folder:
        process = serve(folder)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{PORT}",
            headers={"Authorization": f"Bearer {KEY}", "Prefer": "wait=60"},
            timeout=90,
        ) as client:
            client.post("/v1/ecgs", content=variant(real, -1)).raise_for_status()  # the worker is up after this
            for number in range(count):
                upload = variant(real, number)
                start = time.perf_counter()
                client.post("/v1/ecgs", content=upload).raise_for_status()
                timed("HTTP: POST to report", start)
                start = time.perf_counter()
                recording = decode(upload)
                timed("of it: decode", start)
                start = time.perf_counter()
                assess(recording)
                timed("of it: assess", start)
                start = time.perf_counter()
                tensor = bundle.preprocessing(recording)[None]
                timed("of it: preprocess", start)
                start = time.perf_counter()
                model.run(tensor)
                timed("bare model call", start)
        process.terminate()
        process.wait()
    for name, values in milliseconds.items():
        print(f"{name:24} p50 {statistics.median(values):7.2f} ms   p95 {np.percentile(values, 95):7.2f} ms")
    http, bare = (statistics.median(milliseconds[name]) for name in ("HTTP: POST to report", "bare model call"))
    print(f"p50 overhead of the HTTP path over the bare model: {http - bare:.2f} ms ({http / bare:.2f} x), n = {count}")


if __name__ == "__main__":
    main()
