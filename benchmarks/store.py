"""What the store costs an ECG: accepting it and recording its answer, each one durable transaction.

python -m benchmarks.store                                     SQLite in a temporary folder
python -m benchmarks.store --url postgresql+psycopg://…        an empty database
python -m benchmarks.store --blobs DIR                         bytes outside the rows
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import typer

from app.store import Store, outbox, studies
from models.ecg import Quality, Recording
from models.ecg.examination import Examination
from models.ecg.measurements import UNMEASURED
from models.report import Answer, Inference, ModelIdentity, Ood

T = TypeVar("T")
MODEL = ModelIdentity(name="toy", version="1.0.0", digest="d" * 64)


def examinations(count: int) -> list[Examination]:
    """ECGs of 10 s at 500 Hz, all different."""
    random = np.random.default_rng(1)
    signals = (random.normal(0, 0.1, (12, 5000)) for _ in range(count))
    recordings = [Recording(signal=signal, sampling_rate=500.0) for signal in signals]
    quality = Quality(usable=True, findings=())
    return [Examination(recording=recording, quality=quality, ours=UNMEASURED) for recording in recordings]


def accept(store: Store, examined: Examination) -> Answer:
    """Keep one ECG; the answer that a worker would give."""
    upload = examined.recording.to_bytes()
    store.write_ahead(upload, upload)
    with store.writing() as connection:
        kept = studies.accept(
            connection, upload=upload, examined=examined, model_digest=MODEL.digest, redispatch_after=60
        )
    outcome = Inference(
        model=MODEL, estimates=[], abstained=[], ood=Ood(score=1, flag=False), heart_rate=60, embedding=[0.5] * 384,
        notices=[],
    )  # fmt: skip
    return Answer(job_id=str(kept.job_id), ecg_digest=examined.recording.digest, seconds=0.01, outcome=outcome)


def record(store: Store, answer: Answer) -> None:
    """Record one answer."""
    with store.writing() as connection:
        outbox.record(connection, answer)


def timed(told: str, step: Callable[[Store, T], object], store: Store, items: Iterable[T]) -> list[object]:
    """Run a step on each item; its time at the median and the 99th percentile, and the processor's."""
    done, times, cpu = [], [], time.process_time()
    for item in items:
        started = time.perf_counter()
        done.append(step(store, item))
        times.append(time.perf_counter() - started)
    median, worst = np.median(times) * 1e3, np.percentile(times, 99) * 1e3
    mine = (time.process_time() - cpu) / len(times) * 1e3
    typer.echo(f"{told:8} p50 {median:6.2f} ms   p99 {worst:6.2f} ms   of the processor {mine:5.2f} ms")
    return done


def main(
    url: Annotated[str, typer.Option(help="Database; default: SQLite in a temporary folder.")] = "",
    blobs: Annotated[str, typer.Option(help="Place of the blobs; default: in the store.")] = "",
    count: Annotated[int, typer.Option(help="ECGs.")] = 300,
) -> None:
    """Time the two transactions of an ECG, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        where = url or f"sqlite:///{Path(folder) / 'store.sqlite'}"
        store = Store(where, blobs) if blobs else Store(where)
        store.migrate()
        ecgs = examinations(count)
        for examined in ecgs:
            _ = examined.recording.digest  # it is computed before it comes to the store
        answers = timed("accept", accept, store, ecgs)
        timed("record", record, store, [answer for answer in answers if isinstance(answer, Answer)])
        store.close()


if __name__ == "__main__":
    typer.run(main)
