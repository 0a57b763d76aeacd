"""The way to Redis: whatever happens to it, what was accepted is read once it is there again, without any restart."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from app.store import Store
from models.wire import recording_key
from tests.e2e.conftest import Server, free_port
from tests.faults.cluster import Cluster, await_that
from tests.faults.ecgs import recording, upload
from tests.faults.processes import children
from tests.faults.proxy import Proxy
from tests.faults.verdict import judge, settle

pytestmark = pytest.mark.slow


def test_a_half_open_connection_delays_reports_and_loses_none(store: Store, tmp_path: Path) -> None:
    port = free_port()
    with (
        Proxy(port) as proxy,
        Cluster(
            tmp_path, store, redis_port=port, broker_url=f"redis://127.0.0.1:{proxy.port}/0",
            ECG2CMR_VISIBILITY_TIMEOUT="10",
        ) as cluster,
        cluster.client() as client,
    ):  # fmt: skip
        before = client.post("/v1/ecgs", content=upload(recording(0)))
        cluster.await_report(before.headers["Location"])
        accepted = {0: {before.json()["id"]}}
        first = cluster.gateways[0].pid
        proxy.cut()
        for number in range(1, 11):
            answer = client.post("/v1/ecgs", content=upload(recording(number)))
            assert answer.status_code == 202, "what is wrong with the broker is nothing to a sender"
            accepted[number] = {answer.json()["id"]}
        noticed = tmp_path / "gateway0.log"  # each attempt of redis-py has 5 s, and it makes several
        await_that(lambda: "the broker does not answer" in noticed.read_text(), 90, cluster.told)
        proxy.mend()
        settle(cluster)
        assert judge(cluster, accepted) == {"done": 11}
        assert cluster.gateways[0].pid == first
        assert set(cluster.workers[0].ends) <= {1}, "Celery may give up, and is started again"


@pytest.mark.parametrize("marked", ["broker.sock", "-m worker"], ids=["broker", "worker"])
def test_each_part_of_the_embedded_service_comes_back_when_it_is_killed(
    serve: Callable[..., Server], marked: str
) -> None:
    server = serve(ECG2CMR_READERS="1", ECG2CMR_REDISPATCH_AFTER="2")
    with server.client() as client:
        first = client.post("/v1/ecgs", content=upload(recording(0)), headers={"Prefer": "wait=50"})
        assert first.json()["status"] == "done"
        (part,) = children(server.process.pid, marked)
        os.kill(part, signal.SIGKILL)
        for number in range(1, 4):
            report = client.post("/v1/ecgs", content=upload(recording(number)), headers={"Prefer": "wait=50"}).json()
            assert report["status"] == "done"
        assert children(server.process.pid, marked) != [part]


def test_what_an_emptied_broker_has_lost_is_asked_again_at_once_and_not_when_its_lease_ends(
    store: Store, tmp_path: Path
) -> None:
    with (
        Cluster(tmp_path, store, ECG2CMR_REDISPATCH_AFTER="600") as cluster,
        cluster.client() as client,
        redis.Redis.from_url(cluster.redis_url) as broker,
    ):
        before = client.post("/v1/ecgs", content=upload(recording(0)))
        cluster.await_report(before.headers["Location"])
        with cluster.workers[0].down():
            later = client.post("/v1/ecgs", content=upload(recording(1)))
            name = recording_key("*")
            await_that(lambda: bool(broker.keys(name)), 30, cluster.told)
            broker.flushall()
        cluster.await_report(later.headers["Location"])


def test_an_archive_beyond_the_bound_of_the_broker_does_not_hold_up_the_ward_and_is_read_to_its_end(
    store: Store, tmp_path: Path
) -> None:
    bound = 4 * len(recording(0).to_bytes())
    with Cluster(tmp_path, store, ECG2CMR_WIRE_BYTES=str(bound)) as cluster, cluster.client() as client:
        with cluster.workers[0].down(), redis.Redis.from_url(cluster.redis_url) as broker:
            archive = [
                client.post("/v1/ecgs?priority=backfill", content=upload(recording(number))) for number in range(40)
            ]
            routine = client.post("/v1/ecgs", content=upload(recording(50)))
            await_that(lambda: len(broker.keys(recording_key("*"))) >= 3, 30, cluster.told)
            assert len(broker.keys(recording_key("*"))) <= 4
        cluster.await_report(routine.headers["Location"])
        settle(cluster)
        accepted = {number: {answer.json()["id"]} for number, answer in enumerate(archive)}
        assert judge(cluster, {**accepted, 50: {routine.json()["id"]}}) == {"done": 41}
