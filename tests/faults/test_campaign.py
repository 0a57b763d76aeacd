"""Whatever is killed, wiped or frozen, and whenever: every ECG that was accepted ends in one report or named failure.

A longer one, and one that is repeated: `pytest tests/faults/test_campaign.py -s --kills 500 --seed 7`.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from app.store import Store
from tests.faults.cluster import Cluster
from tests.faults.faults import drawn
from tests.faults.senders import Senders
from tests.faults.verdict import Witness, judge, settle
from worker.watchdog import HUNG

pytestmark = pytest.mark.slow

KILLS = {"sqlite": 10, "postgresql": 15}
"""Where nobody asks for more."""

FORESEEN = {-9, HUNG, 1}
"""How a process may end: killed, by its watchdog, or because Celery gives up, as kombu 5.7 makes it when Redis goes."""


@pytest.mark.timeout(0)  # as long as it was asked to last; each step has a limit of its own
def test_every_accepted_ecg_ends_in_one_report_or_one_named_failure(
    store: Store, tmp_path: Path, kills: int | None, seed: int
) -> None:
    sqlite = store.url.startswith("sqlite")
    count = kills if kills is not None else KILLS["sqlite" if sqlite else "postgresql"]
    chance = random.Random(seed)
    print(f"\n{count} kills on {'SQLite' if sqlite else 'PostgreSQL'}, --seed {seed}", flush=True)
    with Cluster(
        tmp_path, store, gateways=1 if sqlite else 2, workers=2, pause=lambda: random.uniform(0, 0.5)
    ) as cluster:
        senders, witness = Senders(cluster, seed), Witness(store)
        senders.start()
        strike(cluster, chance, count, senders, witness)
        senders.stop()
        assert not senders.faults, f"--seed {seed}: {senders.faults}\n{cluster.told()}"
        cluster.await_ready()
        seconds = settle(cluster)
        ends = judge(cluster, senders.accepted)
        assert witness.look() == ends["done"] + ends["rejected"]
        print(f"{len(senders.accepted)} ECGs accepted: {dict(ends)}, settled in {seconds:.1f} s", flush=True)
        ended = {(part.name, status) for part in cluster.parts for status in part.ends}
        assert {status for _, status in ended} <= FORESEEN, f"--seed {seed}: {ended}\n{cluster.told()}"
        assert ends["done"] > 0.9 * len(senders.accepted), "a failure is the exception"


def strike(cluster: Cluster, chance: random.Random, count: int, senders: Senders, witness: Witness) -> None:
    """One fault after the other, until so many of them were kills; most of them in the middle of work."""
    done, started = 0, time.monotonic()
    while done < count:
        if chance.random() < 0.8:
            _await_work(senders)
        time.sleep(chance.uniform(0, 1.0))
        fault = drawn(chance)
        fault.strike(cluster, chance)
        done += fault.kills
        progress = f"{time.monotonic() - started:6.1f} s  {done:4}  {fault.name:31}"
        print(f"{progress} {len(senders.accepted)} accepted, {witness.look()} read", flush=True)


def _await_work(senders: Senders, longest: float = 8.0) -> None:
    """Until an ECG was accepted since now; not for ever, where what was hurt takes its time."""
    before, deadline = len(senders.accepted), time.monotonic() + longest
    while len(senders.accepted) == before and time.monotonic() < deadline:
        time.sleep(0.05)
