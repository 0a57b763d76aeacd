"""A request that comes again is answered as the first was; equal ECGs are one job, however many come at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page
from sqlalchemy import create_engine, func, select, text
from typer.testing import CliRunner

from app.cli import cli
from app.store import Store
from app.store.tables import jobs, outbox, studies
from models.ecg import Recording
from models.ecg.writers import FORMATS
from tests.app.conftest import postgresql  # noqa: F401  # a fixture
from tests.e2e.conftest import Server
from tests.e2e.test_dashboard import choose, sign_in
from tests.models.ecg_files import made_up_signal


def ecg(seed: int) -> bytes:
    return FORMATS["JSON"].write(Recording(signal=made_up_signal(seed=seed), sampling_rate=500.0))


def post(client: httpx.Client, body: bytes, key: str | None = None, **parameters: str) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/v1/ecgs", content=body, headers=headers, params=parameters)


def test_the_same_request_gets_the_same_answer_and_another_one_is_refused(server: Server) -> None:
    with server.client() as client:
        first = post(client, ecg(101), '"one"')
        assert first.status_code in {200, 202}
        again = post(client, ecg(101), '"one"')
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["Location"] == first.headers["Location"]
        for other in (post(client, ecg(102), '"one"'), post(client, ecg(101), '"one"', priority="stat")):
            assert other.status_code == 422
            assert other.json()["type"] == "/problems/idempotency-key-reused"


def test_an_ecg_that_is_refused_is_refused_again_in_the_same_words(server: Server) -> None:
    with server.client() as client:
        first, again = (post(client, b"no ECG", '"refused"') for _ in range(2))
    assert first.status_code == again.status_code == 415
    assert first.content == again.content
    assert again.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("key", ["bare", '""', '"ü"', '"a", "b"', '"open', f'"{"x" * 256}"', "'single'"])
def test_a_key_that_is_no_string_of_a_structured_field_is_refused(server: Server, key: str) -> None:
    with server.client() as client:
        refused = client.post("/v1/ecgs", content=ecg(103), headers=[("Idempotency-Key", key.encode("latin-1"))])
    assert refused.status_code == 400
    assert refused.json()["type"] == "/problems/idempotency-key-invalid"


def test_a_key_is_that_of_one_sender_however_it_is_escaped(server: Server) -> None:
    with server.client() as client:
        assert post(client, ecg(104), r'"a\"b\\"; sent=1').status_code in {200, 202}
        assert post(client, ecg(105), r'"a\"b\\"').status_code == 422
        assert post(client, ecg(105), r'"a\"b"').status_code in {200, 202}


def test_a_form_that_is_sent_again_is_the_same_request_whatever_separates_its_parts(server: Server) -> None:
    with server.client() as client:
        sent = [
            client.post("/v1/ecgs", files=[("file", ("ecg.json", ecg(106)))], headers={"Idempotency-Key": '"form"'})
            for _ in range(2)
        ]
    boundaries = [answer.request.headers["Content-Type"] for answer in sent]
    assert boundaries[0] != boundaries[1]
    assert sent[0].content == sent[1].content


def test_a_service_may_want_a_key_with_each_ecg(serve: Callable[..., Server], no_worker: str) -> None:
    server = serve(ECG2CMR_REQUIRE_IDEMPOTENCY_KEY="1", ECG2CMR_BROKER_URL=no_worker)
    with server.client() as client:
        refused = post(client, ecg(1))
        assert refused.status_code == 400
        assert refused.json()["type"] == "/problems/idempotency-key-missing"
        assert post(client, ecg(1), '"one"').status_code == 202
        assert client.post("/v1/ecgs:batch", content=ecg(2)).json()["status"] == 202, "its lines are not kept"


def test_our_own_clients_send_a_key_with_each_ecg(
    serve: Callable[..., Server], no_worker: str, page: Page, tmp_path: Path
) -> None:
    server = serve(ECG2CMR_REQUIRE_IDEMPOTENCY_KEY="1", ECG2CMR_BROKER_URL=no_worker, ECG2CMR_MAX_WAIT="0")
    file = tmp_path / "ecg.json"
    file.write_bytes(ecg(1))
    sent = CliRunner().invoke(cli, ["submit", str(file), "--url", server.url, "--key", server.key])
    assert sent.exit_code == 0, sent.output
    sign_in(page, server)
    choose(page, "ecg.json", ecg(2))
    page.wait_for_url("**/studies/*")


@pytest.fixture(params=["sqlite", "postgresql"])
def gateways(
    request: pytest.FixtureRequest, serve: Callable[..., Server], no_worker: str
) -> Iterator[tuple[list[Server], Store]]:
    """One gateway on SQLite, two on one PostgreSQL."""
    if request.param == "sqlite":
        alone = serve(ECG2CMR_BROKER_URL=no_worker, ECG2CMR_READERS="2")
        running, url = [alone], f"sqlite:///{Path(alone.data_dir) / 'ecg2cmr.sqlite'}"
    else:
        located: str = request.getfixturevalue("postgresql")
        name = f"t{uuid.uuid4().hex}"
        administration = create_engine(located.format(database="postgres"), isolation_level="AUTOCOMMIT")
        with administration.connect() as connection:
            connection.execute(text(f"create database {name}"))
        administration.dispose()
        url = located.format(database=name)
        both = {"ECG2CMR_BROKER_URL": no_worker, "ECG2CMR_DATABASE_URL": url, "ECG2CMR_READERS": "1"}
        first = serve(**both)
        running = [first, serve(**both, ECG2CMR_API_KEY=first.key)]
    store = Store(url)
    yield running, store
    store.close()


def at_once(servers: list[Server], key: str, body: bytes, keys: list[str | None]) -> list[httpx.Response]:
    """As many equal requests as there are idempotency keys, all let go at the same moment."""
    start = threading.Barrier(len(keys))

    def one(number: int) -> httpx.Response:
        with servers[number % len(servers)].client(key) as client:
            start.wait()
            return post(client, body, keys[number])

    with ThreadPoolExecutor(len(keys)) as pool:
        return list(pool.map(one, range(len(keys))))


def counts(store: Store) -> list[int]:
    with store.reading() as connection:
        return [connection.scalar(select(func.count()).select_from(t)) or 0 for t in (studies, jobs, outbox)]


def test_64_equal_requests_at_once_are_one_job(gateways: tuple[list[Server], Store]) -> None:
    servers, store = gateways
    answers = at_once(servers, servers[0].key, ecg(1), [None] * 64)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert counts(store) == [1, 1, 1]

    answers = at_once(servers, servers[0].key, ecg(2), ['"the same"'] * 64)
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.content for answer in answers if answer.status_code == 202}) == 1
    assert {a.headers.get("Retry-After") for a in answers if a.status_code == 409} <= {"1"}
    assert counts(store) == [2, 2, 2]

    answers = at_once(servers, servers[0].key, ecg(3), [f'"{number}"' for number in range(64)])
    assert {answer.status_code for answer in answers} == {202}
    assert counts(store) == [3, 3, 3]
