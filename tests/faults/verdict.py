"""Verdict: what must be true of a store and its gateways after everything that happened to them."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import orjson
from sqlalchemy import func, select

from app.store import Store, outbox, tables
from app.store.lifecycle import REASONS
from tests.faults.cluster import Cluster

SETTLE_SECONDS = 180.0


class Result(NamedTuple):
    """A result as it stands in the store."""

    recorded_at: object
    outcome: str
    embedding: bytes | None


class Witness:
    """Remembers every result that it ever saw; one that changes or goes is a broken promise."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, Result] = {}

    def look(self) -> int:
        """Compare the store with what was seen before; how many results there are."""
        now = {}
        with self._store.reading() as connection:
            for row in connection.execute(select(tables.results)):
                outcome = hashlib.sha256(orjson.dumps(row.outcome, option=orjson.OPT_SORT_KEYS)).hexdigest()
                now[row.job_id] = Result(row.recorded_at, outcome, row.embedding)
        changed = [job_id for job_id, result in self._seen.items() if now.get(job_id) != result]
        assert not changed, f"results changed after they were recorded: {changed}"
        self._seen = now
        return len(now)


def settle(cluster: Cluster) -> float:
    """Wait until no job is unanswered; the seconds that it took."""
    started = time.monotonic()
    while waiting := _waiting(cluster.store):
        assert time.monotonic() - started < SETTLE_SECONDS, f"never answered: {waiting}\n{cluster.told()}"
        time.sleep(0.2)
    return time.monotonic() - started


def _waiting(store: Store) -> list[object]:
    query = select(tables.jobs, tables.outbox).outerjoin(tables.outbox, tables.outbox.c.job_id == tables.jobs.c.id)
    with store.reading() as connection:
        if not outbox.pending(connection)[0]:
            return []
        return list(connection.execute(query.where(tables.jobs.c.finished_at.is_(None))).mappings())


def judge(cluster: Cluster, accepted: Mapping[int, set[str]]) -> Counter[str]:
    """Every ECG is one study with one end, over HTTP and in the store; how many there are of each end."""
    doubled = {number: ids for number, ids in accepted.items() if len(ids) != 1}
    assert not doubled, f"equal ECGs became several studies: {doubled}"
    studies = {ids.copy().pop() for ids in accepted.values()}
    assert len(studies) == len(accepted), "different ECGs became one study"
    ends = _ends_in_store(cluster.store)
    assert set(ends) == studies, "the store holds exactly what was accepted"
    assert _ends_over_http(cluster, studies) == ends
    return Counter(ends.values())


def _ends_in_store(store: Store) -> dict[str, str]:
    """The end of each study, once it is sure that there is exactly one."""
    query = (
        select(tables.studies.c.id, tables.jobs, tables.outbox.c.due_at, tables.results.c.recorded_at)
        .outerjoin(tables.jobs, tables.jobs.c.study_id == tables.studies.c.id)
        .outerjoin(tables.outbox, tables.outbox.c.job_id == tables.jobs.c.id)
        .outerjoin(tables.results, tables.results.c.job_id == tables.jobs.c.id)
    )
    with store.reading() as connection:
        rows = connection.execute(query).all()
        told = select(tables.events.c.study_id, func.count()).where(tables.events.c.status == "done")
        events = {row[0]: row[1] for row in connection.execute(told.group_by(tables.events.c.study_id))}
    ends: dict[str, str] = {}
    for row in rows:
        assert row.id not in ends, f"study {row.id} has two jobs"
        assert row.due_at is None, f"job {row.id_1} is still asked for"
        assert (row.recorded_at is not None) + (row.reason is not None) == 1, f"not one end: {row}"
        assert row.reason is None or (row.status == "failed" and row.reason in REASONS), f"no named reason: {row}"
        assert events.get(row.id, 0) == (row.status == "done"), f"told {events.get(row.id, 0)} times: {row}"
        ends[row.id] = row.status
    return ends


def _ends_over_http(cluster: Cluster, studies: set[str]) -> dict[str, str]:
    ends = {}
    for number in range(len(cluster.ports)):
        with cluster.client(number) as client:
            health = client.get("/healthz")
            assert health.status_code == 200, f"a thread of the gateway ended: {health.text}\n{cluster.told()}"
            for study in studies:
                report = client.get(f"/v1/ecgs/{study}").json()
                assert bool(report["estimates"]) == (report["status"] == "done")
                assert report["status"] != "failed" or report["reason"].startswith(REASONS)
                assert ends.setdefault(study, report["status"]) == report["status"], "gateways contradict each other"
    return ends
