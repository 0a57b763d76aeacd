"""The embedded broker may be killed at any time: it comes back, and what was accepted meanwhile is read."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

from tests.e2e.conftest import Server
from tests.e2e.test_main_job import WAIT, as_json, real_leads


def broker_of(server: Server) -> int | None:
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(server.process.pid)], capture_output=True, text=True, check=True
    ).stdout
    found = [int(line.split()[0]) for line in listed.splitlines() if "broker.sock" in line]
    return found[0] if found else None


def test_a_broker_that_is_killed_is_started_again_and_what_was_accepted_meanwhile_is_read(
    serve: Callable[..., Server], real_dicom: bytes
) -> None:
    server = serve(ECG2CMR_REDISPATCH_AFTER="1")
    with server.client() as client:
        assert client.post("/v1/ecgs", content=real_dicom, headers=WAIT).json()["status"] == "done"
        killed = broker_of(server)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        leads = {lead: samples * 1.1 for lead, samples in real_leads(real_dicom).items()}
        accepted = client.post("/v1/ecgs", content=as_json(leads, 1000))
        assert accepted.status_code == 202
        report = client.get(accepted.headers["Location"], headers={"Prefer": "wait=50"}).json()
        assert report["status"] == "done"
        deadline = time.monotonic() + 10
        while not client.get("/readyz").json()["broker"]:
            assert time.monotonic() < deadline, "the gateway finds its broker again"
            time.sleep(0.05)
    assert broker_of(server) not in (None, killed)
    assert server.stop() == 0
