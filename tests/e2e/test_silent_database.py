"""A gateway whose database falls silent says so and goes on afterwards; one with a bug ends, to be started again."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text

from tests.app.conftest import postgresql  # noqa: F401  # a fixture
from tests.app.test_store_silent import frozen
from tests.e2e.conftest import Server


@pytest.fixture
def database(postgresql: str) -> str:  # noqa: F811  # as a fixture is asked for
    """The URL of a new database."""
    name = f"t{uuid.uuid4().hex}"
    administration = create_engine(postgresql.format(database="postgres"), isolation_level="AUTOCOMMIT")
    with administration.connect() as connection:
        connection.execute(text(f"create database {name}"))
    administration.dispose()
    return postgresql.format(database=name)


def test_a_frozen_database_refuses_ecgs_and_ends_no_thread(
    serve: Callable[..., Server],
    postgresql: str,  # noqa: F811  # as a fixture is asked for
    database: str,
    real_dicom: bytes,
) -> None:
    server = serve(ECG2CMR_DATABASE_URL=f"{database}&connect_timeout=2")
    with server.client() as client:
        with ThreadPoolExecutor(21) as crowd, frozen(postgresql):
            asked = [crowd.submit(client.get, "/v1/ecgs") for _ in range(20)]
            asked.append(crowd.submit(client.post, "/v1/ecgs", content=real_dicom))
            told = [each.result() for each in asked]
        assert {(each.status_code, each.json()["type"]) for each in told} == {(503, "/problems/store-unavailable")}
        assert client.post("/v1/ecgs", content=real_dicom, headers={"Prefer": "wait=30"}).json()["status"] == "done"
        assert client.get("/healthz").status_code == 200
    assert server.stop() == 0


def test_a_gateway_one_of_whose_threads_dies_by_a_bug_ends_and_says_so(
    serve: Callable[..., Server], database: str
) -> None:
    server = serve(ECG2CMR_DATABASE_URL=database)
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(text("alter table outbox rename to elsewhere"))
    engine.dispose()
    assert server.process.wait(30) == 1
    assert "the thread dispatcher ended by a bug" in (server.data_dir / "serve.log").read_text()
    server.log.close()
