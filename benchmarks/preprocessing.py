"""What it costs to turn a recording of 10 s into a tensor, at each rate that carts have.

    .venv/bin/python benchmarks/preprocessing.py [--rounds 50]

One thread, all rates in turn in each round, so that a noisy machine hurts them alike. The first recording of a rate
pays for the design of its filter, which is told apart.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict

import numpy as np
from threadpoolctl import threadpool_limits

from models.ecg.recording import LEADS, Recording
from training.config import PREPROCESSING

RATES = (240.0, 250.0, 400.0, 499.9, 500.0, 1000.0, 2000.0)
SECONDS = 10


def recording_at(rate: float) -> Recording:
    """A random walk of the size of an ECG."""
    steps = np.random.default_rng(0).standard_normal((len(LEADS), round(SECONDS * rate)))
    return Recording(signal=0.01 * steps.cumsum(axis=1), sampling_rate=rate)


def milliseconds(recording: Recording) -> float:
    """One run."""
    start = time.perf_counter()
    PREPROCESSING(recording)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    recordings = {rate: recording_at(rate) for rate in RATES}
    spent: dict[float, list[float]] = defaultdict(list)
    with threadpool_limits(1):
        for _ in range(rounds):
            for rate, recording in recordings.items():
                spent[rate].append(milliseconds(recording))
    print("| Hz | ms, median | ms, first |\n|--:|--:|--:|")
    for rate, (first, *later) in spent.items():
        print(f"| {rate:g} | {statistics.median(later):.2f} | {first:.2f} |")


if __name__ == "__main__":
    main()
