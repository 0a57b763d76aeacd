"""An ECG is forgotten over HTTP, by whoever may."""

from __future__ import annotations

from collections.abc import Callable

from app.store import Store, keys
from tests.e2e.conftest import Server


def test_a_forgotten_ecg_is_gone_and_only_an_administrator_may_forget(
    serve: Callable[..., Server], real_dicom: bytes
) -> None:
    server = serve(ECG2CMR_BLOBS_URL="memory://e2e")
    store = Store(f"sqlite:///{server.data_dir / 'ecg2cmr.sqlite'}")
    with store.writing() as connection:
        sender = keys.create(connection, name="cart", scopes=["ecgs:read", "ecgs:write"])
    store.close()
    with server.client(sender) as cart, server.client() as administrator:
        sent = cart.post("/v1/ecgs", content=real_dicom, headers={"Prefer": "wait=30"})
        assert sent.json()["status"] == "done", "its bytes lay outside"
        resource = f"/v1/ecgs/{sent.json()['id']}"
        assert cart.get(f"{resource}/waveform").status_code == 200
        assert cart.delete(resource).status_code == 403
        assert administrator.delete(resource).status_code == 204
        assert administrator.delete(resource).status_code == 404
        assert cart.get(resource).status_code == 404
        assert cart.get(f"{resource}/waveform").status_code == 404
        assert "ecg2cmr_dead_letters" in cart.get("/metrics").text
