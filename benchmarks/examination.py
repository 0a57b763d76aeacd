"""What one ECG costs the processor, step by step: decoding, judging and measuring it, and what reads it afterwards.

    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.examination [--rounds 300]

One thread; the median of milliseconds of processor time, all steps in turn in each round, each round with an ECG that
nobody has seen: 10 s at 500 Hz as a NumPy array. Last, what a confined reader and its parent spend on such a file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.http_load import Payload
from benchmarks.servers import running_seconds
from models.bundle import choose
from models.ecg import LEADS, Recording, Stated, decode
from models.ecg.beats import heart_rate
from models.ecg.confined import Readers
from models.ecg.examination import look
from models.ecg.measure import measure
from models.ecg.quality import assess
from models.runtime import Model
from worker.settings import ARTIFACTS

STATED = Stated(sampling_rate=500, unit="uV", leads=LEADS)

_Found = TypeVar("_Found")


class Stopwatch:
    """Processor time of each step."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)

    def __call__(self, step: str, work: Callable[[], _Found]) -> _Found:
        """What the work gives."""
        started = time.process_time_ns()
        found = work()
        self.spent[step].append((time.process_time_ns() - started) / 1e6)
        return found


def one(data: bytes, model: Model, watch: Stopwatch) -> None:
    """Every step of one ECG."""
    recording = watch("decode", lambda: decode(data, STATED))
    watch("quality alone", lambda: assess(recording))
    watch("measure alone", lambda: measure(recording))
    watch("**look**: quality and measure", lambda: look(recording))
    watch("digest", lambda: recording.digest)
    sent = watch("to_bytes", recording.to_bytes)
    read = watch("from_bytes", lambda: Recording.from_bytes(sent))
    tensor = watch("preprocess", lambda: model.bundle.preprocessing(read))
    rate = watch("heart rate", lambda: heart_rate(read))
    (answer,) = watch("model run", lambda: model.run(tensor[np.newaxis]))
    watch("estimates", lambda: model.reader.read(read, answer, rate))
    again = Recording.from_bytes(sent)
    watch("**Model.read**: the four above", lambda: model.read([again]))


def confined(rounds: int, payload: Payload) -> tuple[float, float]:
    """Milliseconds a file, of a confined reader and of its parent."""
    with Readers(1) as readers:
        readers.examine(payload.next(), STATED)
        tasks = Path("/proc/self/task").iterdir()
        (child,) = [pid for task in tasks for pid in (task / "children").read_text().split()]
        for _ in range(20):
            readers.examine(payload.next(), STATED)
        before, started = running_seconds(child), time.process_time()
        for _ in range(rounds):
            readers.examine(payload.next(), STATED)
        after, ended = running_seconds(child), time.process_time()
    return 1000 * (after - before) / rounds, 1000 * (ended - started) / rounds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    rounds = parser.parse_args().rounds
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    payload, model = Payload("npy"), Model.load(choose(None, ARTIFACTS), provider="cpu", threads=1)
    watch = Stopwatch()
    with threadpool_limits(1):
        for _ in range(20):
            one(payload.next(), model, Stopwatch())
        for _ in range(rounds):
            one(payload.next(), model, watch)
    print("| step | ms of one processor, median |\n|:--|--:|")
    for step, spent in watch.spent.items():
        print(f"| {step} | {statistics.median(spent):.2f} |")
    reader, parent = confined(rounds, payload)
    print(f"| a confined reader, mean | {reader:.2f} |\n| its parent, mean | {parent:.2f} |")


if __name__ == "__main__":
    main()
