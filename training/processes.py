"""Processes: work on many pieces at once, in order, each process with one thread, none outliving its parent."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it carries none

Job = TypeVar("Job")
Done = TypeVar("Done")


def pool(processes: int) -> ProcessPoolExecutor:
    """Processes that share nothing with this one."""
    return ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=start_process)


def done(function: Callable[[Job], Done], jobs: Iterable[Job], processes: int) -> Iterator[Done]:
    """The results in the order of the jobs; one process is this one."""
    if processes == 1:
        yield from map(function, jobs)
        return
    with pool(processes) as workers:
        yield from workers.map(function, jobs)


def start_process() -> None:
    """One BLAS thread for each process, or they wait for one another; and none outlives a parent that was killed."""
    threadpool_limits(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()


def _leave_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
