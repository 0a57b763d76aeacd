"""Capacity: how many gateways and workers so many ECGs a year need, how long a sender waits, and what breaks first.

    .venv/bin/python -m benchmarks.capacity                                  # 10⁵ to 10⁹ ECGs a year
    .venv/bin/python -m benchmarks.capacity --year 1e7 --gateways 1 --workers 2 --store sqlite

The service is a network of queues (benchmarks/queueing.py): examination in the readers, the gateway's own process, the
store (keep), Redis, the worker, the store again (record). Their service times are those of
benchmarks/service_times.json, drawn from what was measured. Simulated is the busiest hour of the week, then a minute in
which ten times as many ECGs come. `ECGs a year` counts resting ECGs; nothing else loads the machines.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal  # Any: what service_times.json holds, numbers in nested objects

import numpy as np

from app.settings import Settings
from benchmarks.queueing import Run, Stage, Times, poisson, simulate

Database = Literal["sqlite", "postgresql", "postgresql, lz4"]

YEAR = 365.25 * 86400
READERS = 2
"""A gateway's readers, as deploy/kubernetes sets them."""

BUSY = 0.6
"""How busy a station may be in the busiest hour: beyond, waits grow as 1 / (1 - busy)."""

SQLITE_BYTES = 1e12
"""Of a year's ECGs in one SQLite file: our choice, because it is copied whole to be backed up. Its own limit is 281 TB
(sqlite.org/limits.html)."""

BURST, BURST_SECONDS = 10, 60.0

DAY = (1, 1, 1, 1, 1, 1, 2, 5, 9, 10, 10, 9, 7, 8, 9, 8, 6, 4, 3, 3, 2, 2, 1, 1)
WEEK = (1.0, 1.0, 1.0, 1.0, 1.0, 0.4, 0.4)
"""How ECGs spread over the hours of a day and the days of a week. An assumption, of a hospital's office hours: put the
counts of yours here."""

SHORT, LONG = 20_000, 600.0
"""At least so many ECGs and seconds are simulated of the busiest hour."""


def peak_factor() -> float:
    """The busiest hour of the week against the mean."""
    return max(DAY) / (sum(DAY) / 24) * max(WEEK) / (sum(WEEK) / 7)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many of everything; `store` is how many times the measured PostgreSQL the store must be able to do."""

    database: Database
    gateways: int
    workers: int
    store: int


def plan(rate: float, times: dict[str, Any]) -> Plan:
    """The smallest plan in which no station is busier than `BUSY` at this rate (1/s) of the busiest hour.

    SQLite serves one gateway, and a year of at most `SQLITE_BYTES`.
    """

    def needed(seconds: float, servers: float = 1.0) -> int:
        return max(1, math.ceil(rate * seconds / (BUSY * servers)))

    gateways = max(needed(times["service"]["gateway_seconds"]), needed(mean(times["examine"]), READERS))
    bytes_a_year = rate / peak_factor() * YEAR * times["sqlite"]["disk_bytes"]
    small = gateways == 1 and needed(of_store(times["sqlite"])) == 1 and bytes_a_year <= SQLITE_BYTES
    database: Database = "sqlite" if small else "postgresql, lz4"
    return Plan(
        database=database,
        gateways=gateways,
        workers=needed(times["service"]["worker_seconds"]),
        store=needed(of_store(times[database]), at_once(times[database])),
    )


def mean(values: list[float]) -> float:
    """Of measured seconds."""
    return float(np.mean(values))


def of_store(measured: dict[str, Any]) -> float:
    """Seconds of both transactions of one ECG."""
    return mean(measured["keep"]) + mean(measured["record"])


def at_once(measured: dict[str, Any]) -> int:
    """Transactions that the measured store effectively serves at the same time."""
    return math.floor(measured["servers"])


def route(jobs: int, database: Database, times: dict[str, Any], rng: np.random.Generator) -> list[Stage]:
    """The way of an ECG, with service times drawn from the measured ones."""
    service = times["service"]
    messaging = max(0.0, service["worker_seconds"] - mean(times["read"]))

    def drawn(values: list[float], more: float = 0.0) -> Times:
        return rng.choice(np.asarray(values), jobs) + more

    return [
        Stage(station="readers", service=drawn(times["examine"])),
        Stage(station="gateways", service=drawn([service["gateway_seconds"]])),
        Stage(station="store", service=drawn(times[database]["keep"])),
        Stage(station="redis", service=drawn([service["redis_seconds"]])),
        Stage(station="workers", service=drawn(times["read"], messaging)),
        Stage(station="store", service=drawn(times[database]["record"])),
    ]


def run(arrivals: Times, chosen: Plan, times: dict[str, Any], rng: np.random.Generator) -> Run:
    """Simulate a plan."""
    servers = {
        "readers": chosen.gateways * READERS,
        "gateways": chosen.gateways,
        "store": chosen.store * at_once(times[chosen.database]),
        "redis": 1,
        "workers": chosen.workers,
    }
    return simulate(arrivals, servers, route(len(arrivals), chosen.database, times, rng))


def busiest_hour(rate: float, rng: np.random.Generator) -> Times:
    """Arrivals at the rate of the busiest hour, long enough for percentiles."""
    return poisson([rate], max(LONG, SHORT / rate), rng)


def burst(rate: float, rng: np.random.Generator) -> Times:
    """The busiest hour, and in it one minute of ten times its rate."""
    return poisson([rate, BURST * rate, *[rate] * 20], BURST_SECONDS, rng)


def told(year: float, chosen: Plan, times: dict[str, Any]) -> dict[str, Any]:
    """Everything that is known of a plan at this many ECGs a year."""
    rng = np.random.default_rng(1)
    rate = year / YEAR * peak_factor()
    calm = run(busiest_hour(rate, rng), chosen, times, rng)
    hard = run(burst(rate, rng), chosen, times, rng)
    wait = {name: station.longest for name, station in hard.stations.items()}
    uploads = wait["readers"] + wait["gateways"]
    service, database = times["service"], times[chosen.database]
    over = 2 * BURST_SECONDS
    caught_up = hard.departures[hard.arrivals < over].max(initial=0.0) - over
    return {
        "ECGs a year": f"{year:.0e}",
        "mean, busiest hour (1/s)": f"{year / YEAR:.3g}, {rate:.3g}",
        "store": chosen.database if chosen.store == 1 else f"{chosen.database} x {chosen.store}",
        "gateways, workers": f"{chosen.gateways}, {chosen.workers}",
        "busy: " + ", ".join(calm.stations): ", ".join(f"{s.utilisation:.2f}" for s in calm.stations.values()),
        "p50, p95, p99 (ms)": ", ".join(f"{1000 * q:.0f}" for q in np.percentile(calm.latency, (50, 95, 99))),
        "waiting for a worker, mean, most": f"{calm.stations['workers'].mean:.2f}, {calm.stations['workers'].longest}",
        "burst: p99 (s), done after (s)": f"{np.percentile(hard.latency, 99):.1f}, {max(0.0, caught_up):.0f}",
        "burst: most in readers, gateways, store, workers": ", ".join(
            str(wait[name]) for name in ("readers", "gateways", "store", "workers")
        ),
        "burst: uploads in gateways' memory (GB)": f"{uploads * times['upload_bytes'] / 1e9:.2f}",
        "burst: Redis holds (MB)": f"{held(wait['workers'], chosen, times) / 1e6:.0f}",
        "no worker for an hour: Redis holds (MB)": f"{held(3600 * rate, chosen, times) / 1e6:.0f}",
        "and the store (GB)": f"{3600 * rate * database['disk_bytes'] / 1e9:.2f}",
        "Redis in and out (Mbit/s)": f"{rate * (service['redis_in_bytes'] + service['redis_out_bytes']) * 8 / 1e6:.1f}",
        "disk a year (TB)": f"{year * database['disk_bytes'] / 1e12:.3g}",
        "write-ahead log (MB/s)": f"{rate * database.get('log_bytes', database['disk_bytes']) / 1e6:.2f}",
    }


def held(ecgs: float, chosen: Plan, times: dict[str, Any]) -> float:
    """Bytes in Redis while so many ECGs wait: gateways keep the rest in the store."""
    return min(ecgs * times["service"]["redis_waiting_bytes"], chosen.gateways * Settings().wire_bytes)


def limits(times: dict[str, Any]) -> dict[str, str]:
    """ECGs a year at which one of each part is `BUSY` in the busiest hour."""
    service = times["service"]
    capacity = {
        "SQLite": 1 / of_store(times["sqlite"]),
        "a gateway's readers": READERS / mean(times["examine"]),
        "a gateway's process": 1 / service["gateway_seconds"],
        "PostgreSQL": at_once(times["postgresql"]) / of_store(times["postgresql"]),
        "PostgreSQL with lz4": at_once(times["postgresql, lz4"]) / of_store(times["postgresql, lz4"]),
        "a worker": 1 / service["worker_seconds"],
        "Redis": 1 / service["redis_seconds"],
    }
    yearly = {name: BUSY * rate * YEAR / peak_factor() for name, rate in capacity.items()}
    return {name: f"{value:.1e}" for name, value in sorted(yearly.items(), key=lambda item: item[1])}


def table(columns: list[dict[str, Any]]) -> str:
    """As Markdown, a row for each figure."""
    head, *rows = ([name, *(str(column[name]) for column in columns)] for name in columns[0])
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print what is needed."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--times", type=Path, default=Path(__file__).with_name("service_times.json"))
    arguments.add_argument("--year", type=float, nargs="*", default=[1e5, 1e6, 1e7, 1e8, 1e9], help="ECGs a year")
    arguments.add_argument("--gateways", type=int)
    arguments.add_argument("--workers", type=int)
    arguments.add_argument("--store", choices=["sqlite", "postgresql", "postgresql, lz4"])
    options = arguments.parse_args()
    times = json.loads(options.times.read_text())
    print(f"{times['machine']}; busiest hour {peak_factor():.2f} x the mean; limit {BUSY:.0%} busy\n")
    print("ECGs a year that one can serve: " + ", ".join(f"{k} {v}" for k, v in limits(times).items()) + "\n")
    columns = []
    for year in options.year:
        best = plan(year / YEAR * peak_factor(), times)
        chosen = Plan(
            database=options.store or best.database,
            gateways=options.gateways or best.gateways,
            workers=options.workers or best.workers,
            store=1 if options.store else best.store,
        )
        columns.append(told(year, chosen, times))
    print(table(columns))


if __name__ == "__main__":
    main()
