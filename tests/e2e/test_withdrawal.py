"""An ECG that waits for a model which nobody reads for any more is read by the served one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from app.store import Store, tables
from tests.e2e.conftest import Server


def test_an_ecg_that_was_left_by_a_withdrawn_model_gets_its_report(
    serve: Callable[..., Server], no_worker: str, real_dicom: bytes
) -> None:
    server = serve(ECG2CMR_BROKER_URL=no_worker)
    with server.client() as client:
        accepted = client.post("/v1/ecgs", content=real_dicom)
        assert accepted.status_code == 202
    server.stop()
    past = datetime(2020, 1, 1, tzinfo=UTC)
    store = Store(f"sqlite:///{server.data_dir / 'ecg2cmr.sqlite'}")
    with store.writing() as connection:
        connection.execute(tables.jobs.update().values(model_digest="a" * 64, created_at=past))
        connection.execute(tables.model_history.update().values(at=past))
    store.close()
    server.environment = {}  # with a broker and a worker of its own
    server.start()
    with server.client() as client:
        report = client.get(accepted.headers["Location"], headers={"Prefer": "wait=50"}).json()
    assert report["status"] == "done"
