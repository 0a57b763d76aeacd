"""The capacity model keeps its own rule, and docs/scaling.md shows what it prints."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.capacity import BUSY, DAY, WEEK, YEAR, Plan, burst, busiest_hour, limits, peak_factor, plan, run
from tests.conftest import REPOSITORY

TIMES = json.loads((REPOSITORY / "benchmarks" / "service_times.json").read_text())


def test_the_busiest_hour_is_that_of_the_profile() -> None:
    hours = np.outer(WEEK, DAY)
    assert peak_factor() == pytest.approx(hours.max() / hours.mean())


@pytest.mark.parametrize("year", [1e5, 1e7, 1e8])
def test_no_station_is_busier_than_the_rule_allows(year: float) -> None:
    rng = np.random.default_rng(0)
    rate = year / YEAR * peak_factor()
    done = run(busiest_hour(rate, rng), plan(rate, TIMES), TIMES, rng)
    for name, station in done.stations.items():
        assert station.utilisation < BUSY * 1.05, name


def test_one_worker_less_would_break_the_rule() -> None:
    rate = 1e9 / YEAR * peak_factor()
    chosen = plan(rate, TIMES)
    assert chosen.workers > 1
    assert rate * TIMES["service"]["worker_seconds"] / (chosen.workers - 1) > BUSY


def test_an_overload_waits_where_the_bottleneck_is_and_is_worked_off() -> None:
    rng = np.random.default_rng(0)
    rate = 0.5 / TIMES["service"]["worker_seconds"]
    ample = plan(10 * rate, TIMES)
    few = Plan(database=ample.database, gateways=ample.gateways, workers=1, store=ample.store)
    done = run(burst(rate, rng), few, TIMES, rng)
    # ten times half of what one worker can do, for a minute: four minutes of its work are left at the end
    left = (10 * rate - 1 / TIMES["service"]["worker_seconds"]) * 60
    assert done.stations["workers"].longest == pytest.approx(left, rel=0.15)
    assert all(s.longest < 0.1 * left for name, s in done.stations.items() if name != "workers")
    assert np.isfinite(done.latency).all()


def test_the_limits_are_what_one_of_each_can_do() -> None:
    served = {name: float(value) for name, value in limits(TIMES).items()}
    at = served["a worker"] / YEAR * peak_factor()
    assert at * TIMES["service"]["worker_seconds"] == pytest.approx(BUSY, rel=0.05)
    assert list(served.values()) == sorted(served.values())


def test_what_was_measured_is_whole_and_possible() -> None:
    assert len(TIMES["examine"]) == len(TIMES["read"]) >= 200
    for database in ("sqlite", "postgresql", "postgresql, lz4"):
        assert min(TIMES[database]["keep"]) > 0
        assert TIMES[database]["disk_bytes"] > 0.5 * TIMES["upload_bytes"]
    assert TIMES["sqlite"]["servers"] < 2, "SQLite has one writer"
    assert all(math.isfinite(value) and value > 0 for value in TIMES["service"].values())


@pytest.mark.slow
def test_the_document_shows_what_the_model_prints() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "benchmarks.capacity"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() in (REPOSITORY / "docs" / "scaling.md").read_text()
