"""Many gateways on one store, all at once: none hurts another, and what is accepted still has exactly one end."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sqlalchemy import select

from app.store import Store, StoreUnavailable, outbox, retention, tables
from app.store.lifecycle import UNFINISHED
from app.studies import Studies
from models.ecg import Recording
from models.report import Failure, Started
from tests.app.test_store import MODEL, SimpleBundle, answer, examined, inference

RECORDINGS = {r.digest: r for r in (Recording(signal=np.full((12, 10), i / 10), sampling_rate=500) for i in range(4))}


def gateway(store: Store, seed: int, steps: int = 40) -> int:
    """Accept, relay, record and forget as chance has it; how often the store asked to come again."""
    chance, again = random.Random(seed), 0
    studies = Studies(store, SimpleBundle(digest=MODEL.digest), 60)  # type: ignore[arg-type]  # no more of it is used here
    for _ in range(steps):
        try:
            step(store, studies, chance)
        except StoreUnavailable:  # two transactions waited for each other, and one gave way: nothing of it is there
            again += 1
    return again


def step(store: Store, studies: Studies, chance: random.Random) -> None:
    kept = studies.keep(b"upload", examined(chance.choice(list(RECORDINGS.values()))))
    with store.writing() as connection:
        if chance.random() < 0.3:
            outbox.make_due(connection)
        taken = outbox.take_due(connection, 60, limit=4)
    for due in [*taken, *([kept.due] if kept.due else [])]:
        with store.writing() as connection:
            if chance.random() < 0.5:
                outbox.begin(connection, Started(job_id=due.job_id, attempt=due.attempt), 60)
        outcome = Failure(model=MODEL, detail="x") if chance.random() < 0.6 else inference()
        with store.writing() as connection:
            outbox.record(connection, answer(due.job_id, RECORDINGS[due.ecg_digest], outcome))
    if chance.random() < 0.2:
        with store.writing() as connection:
            retention.forget(connection, kept.study_id)


def test_a_crowd_of_gateways_leaves_every_job_asked_for_or_ended(store: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        again = sum(pool.map(lambda seed: gateway(store, seed), range(6)))
    assert again < 60, "giving way is the exception"
    query = (
        select(tables.jobs, tables.outbox.c.due_at, tables.results.c.recorded_at)
        .outerjoin(tables.outbox, tables.outbox.c.job_id == tables.jobs.c.id)
        .outerjoin(tables.results, tables.results.c.job_id == tables.jobs.c.id)
    )
    with store.reading() as connection:
        jobs = connection.execute(query).all()
        assert len(jobs) == len(connection.execute(select(tables.studies.c.id)).all()) <= len(RECORDINGS)
    for job in jobs:
        assert (job.due_at is not None) == (job.status in UNFINISHED)
        assert (job.recorded_at is not None) == (job.status == "done")
        assert (job.reason is not None) == (job.status == "failed")
