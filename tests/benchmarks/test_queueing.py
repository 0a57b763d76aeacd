"""The simulation of queues agrees with the closed forms that there are."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.queueing import Stage, erlang_c, poisson, simulate, wait_md1, wait_mmc

JOBS = 200_000


@pytest.mark.parametrize(("servers", "used"), [(1, 0.5), (1, 0.8), (4, 0.7), (16, 0.9)])
def test_the_wait_of_m_m_c_is_erlangs(servers: int, used: float) -> None:
    rng = np.random.default_rng(1)
    service = 0.1
    rate = used * servers / service
    arrivals = np.cumsum(rng.exponential(1 / rate, JOBS))
    times = rng.exponential(service, JOBS)
    run = simulate(arrivals, {"worker": servers}, [Stage(station="worker", service=times)])
    waits = run.latency - times
    assert waits.mean() == pytest.approx(wait_mmc(rate, service, servers), rel=0.1)
    assert (waits > 1e-9).mean() == pytest.approx(erlang_c(rate, service, servers), rel=0.05)
    assert run.stations["worker"].utilisation == pytest.approx(used, rel=0.02)
    # Little's law: those who wait = rate times their wait
    assert run.stations["worker"].mean == pytest.approx(JOBS / (arrivals[-1] - arrivals[0]) * waits.mean(), rel=0.01)


@pytest.mark.parametrize("used", [0.3, 0.6, 0.85])
def test_the_wait_of_m_d_1_is_pollaczeks(used: float) -> None:
    rng = np.random.default_rng(2)
    service = 0.02
    arrivals = np.cumsum(rng.exponential(service / used, JOBS))
    run = simulate(arrivals, {"store": 1}, [Stage(station="store", service=np.full(JOBS, service))])
    assert (run.latency - service).mean() == pytest.approx(wait_md1(used / service, service), rel=0.06)


def test_stations_in_a_row_are_independent_as_jackson_says() -> None:
    rng = np.random.default_rng(3)
    arrivals = np.cumsum(rng.exponential(1.0, JOBS))
    route = [Stage(station=name, service=rng.exponential(0.7, JOBS)) for name in ("first", "second")]
    run = simulate(arrivals, {"first": 1, "second": 2}, route)
    expected = 2 * 0.7 + wait_mmc(1.0, 0.7, 1) + wait_mmc(1.0, 0.7, 2)
    assert run.latency.mean() == pytest.approx(expected, rel=0.05)


def test_a_station_that_is_visited_twice_has_one_queue() -> None:
    arrivals = np.zeros(2)
    route = [Stage(station=name, service=np.full(2, 1.0)) for name in ("store", "worker", "store")]
    run = simulate(arrivals, {"store": 1, "worker": 2}, route)
    # 0: store 0-1, worker 1-2, store 2-3;  1: store 1-2, worker 2-3, store 3-4
    assert run.departures.tolist() == [3.0, 4.0]
    assert run.stations["store"].utilisation == 1.0
    assert run.stations["store"].longest == 1


def test_the_rate_of_arrivals_follows_its_profile() -> None:
    rates = [1.0, 10.0, 0.0, 5.0]
    arrivals = poisson(rates, 1000.0, np.random.default_rng(4))
    counts = np.histogram(arrivals, bins=[0, 1000, 2000, 3000, 4000])[0]
    assert counts[2] == 0
    assert np.abs(counts - np.asarray(rates) * 1000).max() < 5 * np.sqrt(10_000)
    assert (np.diff(arrivals) >= 0).all()
