"""Faults: what may happen to a cluster at any moment, drawn by chance."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from tests.faults.cluster import READER, Cluster
from tests.faults.processes import children


class Fault(NamedTuple):
    """What happens, how often beside the others, and whether it is a kill."""

    name: str
    weight: int
    kills: bool
    strike: Callable[[Cluster, random.Random], None]


def _gateway(cluster: Cluster, chance: random.Random) -> None:
    chance.choice(cluster.gateways).kill()


def _worker(cluster: Cluster, chance: random.Random) -> None:
    chance.choice(cluster.workers).kill()


def _reader(cluster: Cluster, chance: random.Random) -> None:
    for pid in children(chance.choice(cluster.gateways).pid, READER):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _redis(cluster: Cluster, _: random.Random) -> None:
    cluster.broker.kill()


def _redis_forgets(cluster: Cluster, _: random.Random) -> None:
    cluster.lose_redis()


def _flushall(cluster: Cluster, _: random.Random) -> None:
    cluster.flush_redis()


def _worker_stops(cluster: Cluster, chance: random.Random) -> None:
    chance.choice(cluster.workers).freeze(chance.uniform(0.5, 8))


def _redis_stops(cluster: Cluster, chance: random.Random) -> None:
    cluster.broker.freeze(chance.uniform(0.5, 8))  # connections are dead after 5 s of silence (models.wire)


FAULTS = (
    Fault("kill gateway", 5, True, _gateway),
    Fault("kill worker", 5, True, _worker),
    Fault("kill readers", 3, True, _reader),
    Fault("kill redis", 3, True, _redis),
    Fault("kill redis without persistence", 2, True, _redis_forgets),
    Fault("flushall", 2, False, _flushall),
    Fault("freeze worker", 2, False, _worker_stops),
    Fault("freeze redis", 1, False, _redis_stops),
)


def drawn(chance: random.Random) -> Fault:
    """The next one."""
    return chance.choices(FAULTS, [fault.weight for fault in FAULTS])[0]
