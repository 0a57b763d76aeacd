"""Workers that are lost: their ECGs are read by another, and one that ends every worker ends nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from app.store import Store
from tests.faults import slow_bundle
from tests.faults.cluster import Cluster, await_that
from tests.faults.ecgs import recording, recording_of_peak, upload
from tests.faults.verdict import judge, settle
from worker.watchdog import HUNG

pytestmark = pytest.mark.slow

AGAIN_SECONDS = 15.0
"""In which the job of a dead worker runs again (R2 of the reliability goals)."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of one over which some ECGs take long."""
    return str(slow_bundle.make(tmp_path_factory.mktemp("slow")).path)


def test_the_job_of_a_dead_worker_runs_again_within_fifteen_seconds(store: Store, tmp_path: Path, bundle: str) -> None:
    """Under the settings that are shipped."""
    shipped = {"ECG2CMR_VISIBILITY_TIMEOUT": "10", "ECG2CMR_REDISPATCH_AFTER": "30"}
    with (
        Cluster(tmp_path, store, workers=1, ECG2CMR_BUNDLE=bundle, **shipped) as cluster,
        cluster.client() as client,
        redis.Redis.from_url(cluster.redis_url) as broker,
    ):
        warm = client.post("/v1/ecgs", content=upload(recording(0)))
        assert cluster.await_report(warm.headers["Location"])["status"] == "done"
        accepted = client.post("/v1/ecgs", content=upload(recording_of_peak(slow_bundle.SLOW)))
        await_that(lambda: broker.keys("ecg2cmr.begun.*"), 10, cluster.told, pause=0.001)
        cluster.workers[0].kill()
        killed = time.monotonic()
        report = cluster.await_report(accepted.headers["Location"])
        seconds = time.monotonic() - killed
        print(f"read {seconds:.1f} s after its first worker was killed", flush=True)
        assert report["status"] == "done"
        assert cluster.workers[0].ends == [-9], "it was killed in the middle of its work"
        assert seconds < AGAIN_SECONDS


def test_an_ecg_that_ends_every_worker_is_a_dead_letter_and_its_neighbours_are_read(
    store: Store, tmp_path: Path, bundle: str
) -> None:
    settings = {"ECG2CMR_VISIBILITY_TIMEOUT": "2", "ECG2CMR_REDISPATCH_AFTER": "30", "ECG2CMR_BUNDLE": bundle}
    with Cluster(tmp_path, store, workers=1, **settings) as cluster, cluster.client() as client:
        with cluster.workers[0].down():  # what waits for it comes in messages of several
            poison = client.post("/v1/ecgs", content=upload(recording_of_peak(slow_bundle.POISON))).json()["id"]
            accepted = {-1: {poison}}
            for number in range(40):
                answer = client.post("/v1/ecgs", content=upload(recording(number)))
                accepted[number] = {answer.json()["id"]}
        settle(cluster)
        assert judge(cluster, accepted) == {"done": 40, "failed": 1}
        report = client.get(f"/v1/ecgs/{poison}").json()
        assert (report["status"], report["reason"].split(":")[0]) in {
            ("failed", "worker-failure"),
            ("failed", "worker-lost"),
        }
        assert cluster.workers[0].ends == [-9, HUNG, HUNG, HUNG], "three attempts, and no more"
        listed = admin(store, "dead-letters")
        assert poison in listed
        assert report["reason"].split(":")[0] in listed
        after = client.post("/v1/ecgs", content=upload(recording(41)))
        assert cluster.await_report(after.headers["Location"])["status"] == "done"


def admin(store: Store, command: str) -> str:
    """What the command line says."""
    environment = {**os.environ, "ECG2CMR_DATABASE_URL": store.url}
    return subprocess.run(
        [sys.executable, "-m", "app", "admin", command], env=environment, capture_output=True, text=True, check=True
    ).stdout
