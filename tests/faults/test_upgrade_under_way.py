"""A store of an earlier version, with ECGs in the middle of their way: the service of this version reads them all."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import MetaData

from app.store import Store
from tests.app.test_upgrade import old_rows, upgrade
from tests.faults.cluster import Cluster
from tests.faults.ecgs import recording, released
from tests.faults.verdict import judge, settle

WAITING = 12


@pytest.mark.parametrize("revision", ["0002", "0003"])
def test_what_was_under_way_ends_in_reports(empty_store: Store, tmp_path: Path, revision: str) -> None:
    """Of 0003, a third of them begun by a worker that is gone, once or twice before."""
    with empty_store.writing() as connection:
        upgrade(connection, "0002")
        waiting = [
            old_rows(connection, number, "queued", recording(number), released().digest)
            for number in range(1, WAITING + 1)
        ]
        upgrade(connection, revision)
        if revision == "0003":
            was = MetaData()
            was.reflect(connection, only=["jobs", "outbox"])
            jobs, outbox = was.tables["jobs"], was.tables["outbox"]
            for number, old in enumerate(waiting):
                status = ("received", "queued", "running")[number % 3]
                connection.execute(jobs.update().where(jobs.c.id == old.job_id).values(status=status, token=number))
                spent = {"attempts": number % 2, "due_at": datetime.now(UTC)}
                connection.execute(outbox.update().where(outbox.c.job_id == old.job_id).values(spent))
    with Cluster(tmp_path, empty_store) as cluster:
        settle(cluster)
        assert judge(cluster, {number: {old.study_id} for number, old in enumerate(waiting)}) == {"done": WAITING}
