"""The store under pressure: a full disk, a locked database, a clock that jumps: senders are told, nothing is lost."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Column, Connection, select

from app.store import Store, outbox, tables
from tests.app.test_store import accept, answer, inference, record
from tests.faults.cluster import Cluster
from tests.faults.ecgs import recording, upload
from tests.faults.verdict import judge, settle

Disk = tuple[Path, Callable[[Cluster], None], Callable[[Cluster], None]]
"""A folder on it, what fills it, and what makes room again."""


@pytest.fixture(params=["small disk", "quota"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A file system of 64 MB (where the tests may mount one), or a limit on the size of files (setrlimit(2))."""
    if request.param == "quota":
        yield tmp_path, lambda cluster: _limit_files(cluster, tmp_path), _unlimit_files
        return
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder], check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    ballast = folder / "ballast"
    try:
        yield folder, lambda _: _fill(ballast), lambda _: ballast.unlink()
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        for size in (2**20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(b"\0" * size)


def _limit_files(cluster: Cluster, folder: Path) -> None:
    """No file of the gateway may become larger than its write-ahead log is now."""
    size = (folder / "store.sqlite-wal").stat().st_size
    resource.prlimit(cluster.gateways[0].pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _unlimit_files(cluster: Cluster) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(cluster.gateways[0].pid, resource.RLIMIT_FSIZE, unlimited)


@pytest.mark.slow
def test_on_a_full_disk_senders_are_told_and_what_was_accepted_is_kept(disk: Disk, tmp_path: Path) -> None:
    folder, fill, free = disk
    store = Store(f"sqlite:///{folder / 'store.sqlite'}")
    store.migrate()
    with Cluster(tmp_path, store) as cluster, cluster.client() as client:
        accepted = {number: {_accepted(client, number)} for number in range(10)}
        settle(cluster)
        fill(cluster)
        refused = 0
        for number in range(10, 60):
            response = client.post("/v1/ecgs", content=upload(recording(number)))
            if response.status_code == HTTPStatus.ACCEPTED:  # there was room for it in a hole somewhere
                accepted[number] = {response.json()["id"]}
                continue
            assert response.status_code in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE)
            assert response.headers["Content-Type"] == "application/problem+json"
            assert "Retry-After" in response.headers
            refused += 1
        assert refused > 10
        assert client.get("/healthz").status_code == 200
        assert client.get(f"/v1/ecgs/{min(accepted[0])}").json()["status"] == "done"
        free(cluster)
        accepted |= {number: {_accepted(client, number)} for number in range(10, 20)}
        settle(cluster)
        assert judge(cluster, accepted) == {"done": len(accepted)}
        assert cluster.gateways[0].ends == [], "it went on by itself"
    store.close()


def _accepted(client: httpx.Client, number: int) -> str:
    response = client.post("/v1/ecgs", content=upload(recording(number)))
    assert response.status_code in (HTTPStatus.OK, HTTPStatus.ACCEPTED), response.text
    found: str = response.json()["id"]
    return found


@pytest.mark.slow
def test_a_database_that_is_locked_for_long_is_told_as_such_and_taken_up_again(tmp_path: Path) -> None:
    """Longer than the busy timeout of 10 s (app.store.engine)."""
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    store.migrate()
    with Cluster(tmp_path, store) as cluster, cluster.client() as client:
        accepted = {0: {_accepted(client, 0)}}
        with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            response = client.post("/v1/ecgs", content=upload(recording(1)), headers={"Idempotency-Key": '"1"'})
            assert response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            assert response.json()["type"] == "/problems/store-unavailable"
            assert "Retry-After" in response.headers
            assert client.get("/healthz").status_code == 200
            other.execute("ROLLBACK")
        accepted |= {number: {_accepted(client, number)} for number in range(1, 5)}
        settle(cluster)
        assert judge(cluster, accepted) == {"done": 5}
    store.close()


@pytest.mark.parametrize("hours", [-5, 5])
def test_after_a_jump_of_the_clock_what_waits_is_asked_again_once_and_soon(store: Store, hours: int) -> None:
    """The clock of a running process cannot be set, so that what the store remembers moves the other way instead."""
    recordings = [recording(number) for number in range(100)]
    waiting = [accept(store, recorded).job_id for recorded in recordings]
    with store.writing() as connection:
        for table in (tables.jobs, tables.outbox):
            for name in {"created_at", "due_at"} & set(table.c.keys()):
                _shift(connection, table.c[name], timedelta(hours=-hours))
        asked = [due.job_id for _ in range(5) for due in outbox.take_due(connection, 30)]
    assert sorted(asked) == sorted(str(job_id) for job_id in waiting), "each of them, and none of them twice"
    for job_id, recorded in zip(waiting, recordings, strict=True):
        ended = record(store, answer(job_id, recorded, inference()))
        assert ended is not None
        assert ended.status == "done"


def _shift(connection: Connection, column: Column[datetime], by: timedelta) -> None:
    """Move every moment of a column."""
    moments = connection.scalars(select(column).distinct()).all()
    for moment in sorted(moments, reverse=by > timedelta()):
        connection.execute(column.table.update().where(column == moment).values({column: moment + by}))
