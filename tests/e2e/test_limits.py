"""Too much is refused in words that say when to come back; what is urgent is let in and read first."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgpack
from kombu import Connection
from sqlalchemy import select

from app.settings import ARTIFACTS
from app.store import Store
from app.store.tables import jobs
from models.bundle import choose
from models.report import infer_queue
from tests.e2e.conftest import Server, redis_on
from tests.e2e.test_idempotency import ecg


def post(client: httpx.Client, seed: int, **parameters: str) -> httpx.Response:
    return client.post("/v1/ecgs", content=ecg(seed), params=parameters)


def test_a_full_queue_refuses_and_leaves_room_for_what_is_urgent(serve: Callable[..., Server], no_worker: str) -> None:
    server = serve(ECG2CMR_BROKER_URL=no_worker, ECG2CMR_MAX_QUEUE="10")
    with server.client() as client:
        assert [post(client, seed, priority="backfill").status_code for seed in range(7)] == [202] * 5 + [503] * 2
        assert [post(client, seed).status_code for seed in range(10, 16)] == [202] * 4 + [503] * 2
        assert post(client, 20, priority="stat").status_code == 202
        refused = post(client, 21, priority="stat")
        assert refused.status_code == 503
        assert refused.json()["type"] == "/problems/queue-full"
        assert refused.headers["Retry-After"] == "30", "nothing was ever answered: the rate is not known"
        assert len(client.get("/v1/ecgs?limit=200").json()["ecgs"]) == 10


def test_an_unknown_priority_is_refused(server: Server) -> None:
    with server.client() as client:
        assert post(client, 1, priority="now").status_code == 422


def test_the_priority_is_kept_and_told_to_the_broker(serve: Callable[..., Server], tmp_path: Path) -> None:
    with redis_on(tmp_path / "redis.sock"):
        server = serve(ECG2CMR_BROKER_URL=f"redis+socket://{tmp_path / 'redis.sock'}")
        with server.client() as client:
            for seed, priority in enumerate(["backfill", "routine", "stat"]):
                assert post(client, 30 + seed, priority=priority).status_code == 202
        store = Store(f"sqlite:///{server.data_dir / 'ecg2cmr.sqlite'}")
        with store.reading() as connection:
            kept = dict(connection.execute(select(jobs.c.id, jobs.c.priority)).all())
        store.close()
        assert server.stop() == 0
        queue = infer_queue(choose(None, ARTIFACTS).digest)
        taken = []
        with Connection(f"redis+socket://{tmp_path / 'redis.sock'}") as connection, connection.channel() as channel:
            while (message := channel.basic_get(queue)) is not None:
                arguments, _, _ = msgpack.unpackb(message.body)
                taken += [kept[job_id] for job_id, _, _ in arguments[0]]
    assert taken == [0, 3, 9], "what is taken first is what is urgent, though it came last"


def test_a_key_may_send_so_many_and_hears_what_is_left(serve: Callable[..., Server], no_worker: str) -> None:
    server = serve(ECG2CMR_BROKER_URL=no_worker, ECG2CMR_RATE_LIMIT="3/hour")
    with server.client() as client:
        answers = [post(client, seed) for seed in range(5)]
        assert [answer.status_code for answer in answers] == [202] * 3 + [429] * 2
        for answer in answers:
            assert answer.headers["RateLimit-Policy"] == '"ecgs";q=3;w=3600'
        left = [re.fullmatch(r'"ecgs";r=(\d);t=(\d+)', answer.headers["RateLimit"]) for answer in answers]
        assert [found and found[1] for found in left] == ["2", "1", "0", "0", "0"]
        assert 3500 < int(answers[-1].headers["Retry-After"]) <= 3600
        assert answers[-1].json()["type"] == "/problems/too-many-requests"
        assert client.get("/v1/ecgs").status_code == 200, "reading is not limited"


def test_several_gateways_count_together_in_redis(serve: Callable[..., Server], no_worker: str, redis_url: str) -> None:
    together = {"ECG2CMR_RATE_LIMIT": "6/hour", "ECG2CMR_RATE_LIMIT_URL": redis_url, "ECG2CMR_BROKER_URL": no_worker}
    first = serve(**together)
    second = serve(**together, ECG2CMR_DATABASE_URL=f"sqlite:///{first.data_dir / 'ecg2cmr.sqlite'}")
    with first.client() as one, second.client(first.key) as two, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: post(one if seed % 2 else two, seed), range(10)))
    assert sorted(answer.status_code for answer in answers) == [202] * 6 + [429] * 4


def test_a_lost_store_of_rate_limits_stops_nobody(serve: Callable[..., Server], no_worker: str, tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    with redis_on(socket):
        server = serve(
            ECG2CMR_RATE_LIMIT="1/hour", ECG2CMR_RATE_LIMIT_URL=f"redis+unix://{socket}", ECG2CMR_BROKER_URL=no_worker
        )
        with server.client() as client:
            assert [post(client, seed).status_code for seed in range(2)] == [202, 429]
    with server.client() as client:
        assert post(client, 3).status_code == 202
