"""Seconds that one simulated participant takes on one core, by stage, and what memory does over many.

Run it on a quiet machine: ``python benchmarks/simulate.py --participants 100``. All stages of one participant run one
after the other before the next participant, so that a burst of other work hits all of them alike. The compilation of
numba's kernels is done before and told apart.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from threadpoolctl import threadpool_limits

from training.generate import entry, from_simulation
from training.realism.features import features
from training.simulate import Again, heart_of, record_ecg, simulate
from training.simulate.heart import stream
from training.simulate.imaging import short_axis
from training.simulate.population import sample_subject
from training.simulate.torso import sample_slips, torso_lead_field

GOAL = 0.15
"""Seconds for each participant on one core, ECG and ED/ES stacks."""


class Stages:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self.seconds[name].append(time.perf_counter() - start)


def one(seed: int, stages: Stages) -> None:
    """Every stage of one participant, and the whole of it as a cohort is made."""
    with stages.stage("population"):
        sample_subject(stream(seed, "population"))
    with stages.stage("heart (population, anatomy, chest)"):
        heart = heart_of(seed)
    with stages.stage("lead field"):
        torso_lead_field(heart.torso, sample_slips(stream(seed, "electrodes")), heart.lie.conductivity)
    with stages.stage("ECG (lead field, beat, recording)"):
        record_ecg(heart, Again())
    with stages.stage("imaging (ED and ES)"):
        short_axis(heart)
    with stages.stage("participant, whole"):
        participant = simulate(seed)
    with stages.stage("canonical CMR grid"):
        from_simulation(participant)
    with stages.stage("features (report only)"):
        features(participant.recording)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, default=100)
    parser.add_argument("--seed", type=int, default=9_000_000)
    arguments = parser.parse_args()
    threadpool_limits(1)
    start = time.perf_counter()
    entry(arguments.seed)
    print(f"first participant, compilation of the kernels included: {time.perf_counter() - start:.1f} s")

    stages, memory = Stages(), []
    for seed in range(arguments.seed + 1, arguments.seed + 1 + arguments.participants):
        one(seed, stages)
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    for name, seconds in stages.seconds.items():
        low, middle, high = 1000 * np.quantile(seconds, [0.1, 0.5, 0.9])
        print(f"{name:<36} {middle:7.1f} ms  (10 to 90 %: {low:.1f} to {high:.1f})")
    whole = float(np.median(stages.seconds["participant, whole"]))
    print(f"goal of {GOAL} s a participant: {'met' if whole <= GOAL else 'not met'} ({whole:.3f} s)")
    later = memory[len(memory) // 4 :]
    slope = np.polyfit(np.arange(len(later)), later, 1)[0] if len(later) > 1 else 0.0
    print(f"peak memory {memory[-1]:.0f} MiB; it grows by {1000 * slope:.0f} KiB a participant after the first quarter")


if __name__ == "__main__":
    main()
