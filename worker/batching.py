"""Batching: how the ECGs of the messages in hand share the processor or the GPU.

On a processor a batch costs as much as its ECGs one by one, so each runs alone on one thread, as many at once as there
are cores; an ECG that is alone in the worker gets all cores. On a GPU the ECGs of a message run as one batch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

from models.bundle import Bundle
from models.ecg import Recording
from models.onnx_runtime import ON_A_GPU
from models.report import Failure, Inference, Rejection
from models.runtime import Model
from worker.settings import Settings

log = logging.getLogger("ecg2cmr.worker")

Outcome = Inference | Rejection | Failure


WORTH_SPINNING = 0.003
"""Seconds by which all cores must be faster than one: threads that spin take them from everything else meanwhile."""


class Reading(NamedTuple):
    """What became of one ECG, and the seconds that it took."""

    outcome: Outcome
    seconds: float


class Machine:
    """The model on the processor or GPU of this worker, for any number of threads.

    Attributes
    ----------
    crowd : Model
        For an ECG among others: one thread of the processor each, or the GPU.
    lone : Model or None
        For an ECG that is alone: all threads. They wait for work spinning, as ONNX Runtime does by default, because
        waking them takes milliseconds. None where that would gain less than `WORTH_SPINNING`.
    """

    def __init__(self, crowd: Model, lone: Model | None, threads: int) -> None:
        self.crowd, self.lone = crowd, lone
        self._cores = ThreadPoolExecutor(threads, thread_name_prefix="core")
        self._lock = threading.Lock()
        self._in_hand = 0

    @classmethod
    def load(cls, bundle: Bundle, settings: Settings) -> Machine:
        """Load the bundle, twice where a lone ECG is to have all cores; after any fork.

        Raises
        ------
        BundleError, ProviderError
            If the model cannot be served.
        """

        def load(threads: int) -> Model:
            return Model.load(
                bundle,
                provider=settings.provider,
                threads=threads,
                precision=settings.precision,
                cache=settings.tensorrt_cache,
            )

        crowd = load(1)
        if settings.provider in ON_A_GPU or settings.threads == 1:
            return cls(crowd, None, settings.threads)
        lone = load(settings.threads)
        gain = _seconds(crowd) - _seconds(lone)
        return cls(crowd, lone if gain > WORTH_SPINNING else None, settings.threads)

    def read(self, recordings: Sequence[bytes]) -> list[Reading]:
        """Read canonical recordings, in order. One that cannot be read is a failure of its own, never of others."""
        with self._holding(len(recordings)) as alone:
            if alone and self.lone is not None:
                return [_alone(self.lone, recordings[0])]
            if self.crowd.provider in ON_A_GPU:
                return _together(self.crowd, recordings)
            return list(self._cores.map(lambda recording: _alone(self.crowd, recording), recordings))

    @contextmanager
    def _holding(self, count: int) -> Iterator[bool]:
        """Whether the worker has but one ECG in hand."""
        with self._lock:
            self._in_hand += count
            alone = self._in_hand == 1
        try:
            yield alone
        finally:
            with self._lock:
                self._in_hand -= count


def _seconds(model: Model) -> float:
    """The least that one ECG takes, of five."""
    ecg, times = model.bundle.golden.tensors[:1], []
    for _ in range(5):
        started = time.perf_counter()
        model.run(ecg)
        times.append(time.perf_counter() - started)
    return min(times)


def _together(model: Model, recordings: Sequence[bytes]) -> list[Reading]:
    """One batch; if it fails, one by one, so that what fails it fails alone."""
    started = time.perf_counter()
    try:
        outcomes = model.read([Recording.from_bytes(recording) for recording in recordings])
    except Exception as error:  # of any row, native ones of the session included
        log.error("a batch of %d failed (%s): reading one by one", len(recordings), type(error).__name__)
        return [_alone(model, recording) for recording in recordings]
    seconds = (time.perf_counter() - started) / len(recordings)
    return [Reading(outcome, seconds) for outcome in outcomes]


def _alone(model: Model, recording: bytes) -> Reading:
    started = time.perf_counter()
    outcome: Outcome
    try:
        (outcome,) = model.read([Recording.from_bytes(recording)])
    except Exception as error:  # a bug or an outage: told, with a trace that quotes no patient, and survived
        log.exception("an ECG could not be read")
        outcome = Failure(model=model.bundle.identity, detail=f"{type(error).__name__} in the worker")
    return Reading(outcome, time.perf_counter() - started)
