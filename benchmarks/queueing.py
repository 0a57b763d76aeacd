"""Queueing: ECGs arrive, wait at stations with so many servers, are served and move on; first come, first served."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the way: at which station, and how long each job is served there, (jobs,) seconds."""

    station: str
    service: Times


@dataclass(frozen=True, kw_only=True)
class Station:
    """What happened at one station.

    Attributes
    ----------
    utilisation : float
        Share of its servers that was busy, from the first arrival to the last departure.
    longest : int
        The most jobs that waited at once.
    mean : float
        Jobs that waited, averaged over time.
    """

    utilisation: float
    longest: int
    mean: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """When each job came and went, (jobs,) seconds, and what happened at the stations."""

    arrivals: Times
    departures: Times
    stations: Mapping[str, Station]

    @property
    def latency(self) -> Times:
        """Seconds from arrival to departure of each job."""
        return self.departures - self.arrivals


class _Servers:
    """A station at work: its free servers, who waits, and what is told of it afterwards."""

    def __init__(self, count: int) -> None:
        self.count = self.free = count
        self.waiting: deque[tuple[int, int, float]] = deque()
        self.busy = self.waited = 0.0
        self.longest = 0

    def told(self, span: float) -> Station:
        return Station(utilisation=self.busy / (self.count * span), longest=self.longest, mean=self.waited / span)


def simulate(arrivals: Times, servers: Mapping[str, int], route: Sequence[Stage]) -> Run:
    """Send every job along the route; a station may be on it several times, and has one queue for all of them.

    Parameters
    ----------
    arrivals : (jobs,) seconds, ascending
    servers : how many each station has
    """
    stations = {name: _Servers(count) for name, count in servers.items()}
    at = [stations[stage.station] for stage in route]
    service = [stage.service.tolist() for stage in route]
    departures = np.empty_like(arrivals)
    # (when, job, stage, whether it leaves it): ascending, so already a heap
    events = [(when, job, 0, False) for job, when in enumerate(arrivals.tolist())]

    def serve(when: float, job: int, stage: int) -> None:
        at[stage].busy += service[stage][job]
        heapq.heappush(events, (when + service[stage][job], job, stage, True))

    def arrive(when: float, job: int, stage: int) -> None:
        here = at[stage]
        if here.free:
            here.free -= 1
            serve(when, job, stage)
        else:
            here.waiting.append((job, stage, when))
            here.longest = max(here.longest, len(here.waiting))

    def leave(when: float, job: int, stage: int) -> None:
        here = at[stage]
        if here.waiting:
            next_job, next_stage, since = here.waiting.popleft()
            here.waited += when - since
            serve(when, next_job, next_stage)
        else:
            here.free += 1
        if stage + 1 < len(route):
            arrive(when, job, stage + 1)
        else:
            departures[job] = when

    while events:
        when, job, stage, leaves = heapq.heappop(events)
        (leave if leaves else arrive)(when, job, stage)
    span = float(departures.max() - arrivals[0])
    return Run(arrivals=arrivals, departures=departures, stations={name: s.told(span) for name, s in stations.items()})


def poisson(rates: Sequence[float], seconds: float, rng: np.random.Generator) -> Times:
    """Arrivals of a Poisson process whose rate (1/s) changes every `seconds`; (jobs,) ascending."""
    counts = rng.poisson(np.asarray(rates) * seconds)
    starts = np.repeat(np.arange(len(rates)) * seconds, counts)
    return np.sort(starts + rng.uniform(0, seconds, counts.sum()))


def erlang_c(rate: float, service: float, servers: int) -> float:
    """Probability that a job must wait in M/M/c (Erlang 1917; Kleinrock, Queueing Systems I, 3.40)."""
    offered = rate * service
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)


def wait_mmc(rate: float, service: float, servers: int) -> float:
    """Mean wait in M/M/c, seconds."""
    return erlang_c(rate, service, servers) * service / (servers - rate * service)


def wait_md1(rate: float, service: float) -> float:
    """Mean wait in M/D/1, seconds (Pollaczek and Khinchine; Kleinrock I, 5.64, with no variance)."""
    used = rate * service
    return used * service / (2 * (1 - used))
