"""Many ECGs in one request, each answered as it would be alone, in their order, as it is kept."""

from __future__ import annotations

import base64
import http.client
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Server
from tests.e2e.test_idempotency import ecg


def answers(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def line(name: str, data: bytes, **more: object) -> bytes:
    return json.dumps({"name": name, "content_base64": base64.b64encode(data).decode(), **more}).encode() + b"\n"


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def send(client: httpx.Client, body: bytes | Iterator[bytes]) -> list[dict[str, Any]]:
    return answers(client.post("/v1/ecgs:batch", content=body))


def test_lines_are_documents_or_files_and_each_has_its_answer(server: Server, shared_data: Path) -> None:
    table = (shared_data / "ecg-files" / "csv" / "00009_hr.csv").read_bytes()
    body = b"".join(
        [
            ecg(201) + b"\n",
            line("a file", ecg(202)),
            b"\n",
            line("stated", table, sampling_rate=500, unit="mV"),
            line("unstated", table),
            b"no ECG\r\n",
            line("odd", ecg(203), colour="red"),
            b'{"content_base64": "?"}\n',
            ecg(201),
        ]
    )
    with server.client() as client:
        told = send(client, body)
        assert [(each["name"], each["status"]) for each in told] == [
            ("line 1", 202),
            ("a file", 202),
            ("stated", 202),
            ("unstated", 422),
            ("line 6", 415),
            ("line 7", 422),
            ("line 8", 422),
            ("line 9", 202),
        ]
        assert told[3]["problem"]["type"] == "/problems/missing-metadata"
        assert told[0]["id"] == told[7]["id"], "the same ECG is the same study"
        report = client.get(told[1]["location"], headers={"Prefer": "wait=30"}).json()
        assert (report["id"], report["status"]) == (told[1]["id"], "done")


def test_an_answer_comes_before_the_next_ecg_is_sent(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", "/v1/ecgs:batch")
    connection.putheader("Authorization", f"Bearer {server.key}")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    assert connection.sock is not None
    heard = connection.sock.makefile("rb")
    for seed in (211, 212):
        sent = ecg(seed) + b"\n"
        connection.send(f"{len(sent):x}\r\n".encode() + sent + b"\r\n")
        while not (answer := heard.readline()).startswith(b"{"):
            assert answer, "the answer ended"
        assert json.loads(answer)["status"] == 202
    connection.send(b"0\r\n\r\n")
    connection.close()


def test_a_zip_of_many_files_pairs_wfdb_records_and_refuses_each_alone(server: Server, shared_data: Path) -> None:
    folder = shared_data / "ecg-files" / "wfdb"
    files = {
        "a/one.json": ecg(221),
        "b/notes.txt": b"no ECG",
        "b/w16.dat": (folder / "w16.dat").read_bytes(),
        "b/w16.hea": (folder / "w16.hea").read_bytes(),
        "__MACOSX/._one.json": b"litter",
        "../../climbs.json": ecg(222),
    }
    with server.client() as client:
        told = send(client, zipped(files))
    assert [(each["name"], each["status"]) for each in told] == [
        ("a/one.json", 202),
        ("b/notes.txt", 415),
        ("b/w16.hea", 202),
        ("climbs.json", 202),
    ]


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_broken_zip_is_refused_as_a_whole(server: Server, cut: float) -> None:
    whole = zipped({f"{number}.json": ecg(number) for number in range(3)})
    with server.client() as client:
        told = send(client, whole[: int(cut * len(whole))])
        assert [(each["name"], each["status"]) for each in told] == [("batch", 422)]
        assert send(client, b"") == []


def test_each_ecg_and_the_whole_are_bounded(serve: Callable[..., Server], no_worker: str) -> None:
    small = ecg(1)
    server = serve(
        ECG2CMR_BROKER_URL=no_worker, ECG2CMR_MAX_BODY_BYTES=str(2 * len(small)), ECG2CMR_MAX_BATCH_BYTES="10000000"
    )
    with server.client() as client:
        lines = [b"x" * 20_000_000 + b"\n", small + b"\n", b"[" + b"1," * len(small) + b"1]\n"]
        told = send(client, iter(lines))
        assert [each["status"] for each in told] == [413, 202, 413]
        told = send(client, zipped({"bomb.json": b" " * 9_000_000, "one.json": small}))
        assert [(each["name"], each["status"]) for each in told] == [("bomb.json", 413), ("one.json", 202)]
        told = send(client, zipped({"1": b" " * 6_000_000, "2": b" " * 6_000_000}))
        assert [(each["name"], each["status"]) for each in told] == [("batch", 413)]
        assert client.post("/v1/ecgs:batch", content=small, headers={"Authorization": "Bearer x"}).status_code == 401


def test_a_batch_waits_for_room_and_says_when_there_is_none(serve: Callable[..., Server], no_worker: str) -> None:
    server = serve(ECG2CMR_BROKER_URL=no_worker, ECG2CMR_MAX_QUEUE="8", ECG2CMR_MAX_WAIT="1")
    with server.client() as client:
        told = send(client, b"\n".join(ecg(seed) for seed in range(6)))
    assert sorted(each["status"] for each in told) == [202] * 4 + [503] * 2
    refused = {each["problem"]["type"] for each in told if each["status"] == 503}
    assert refused == {"/problems/queue-full"}, "whichever two they were: several are examined at once"


def test_a_batch_goes_at_the_pace_that_its_key_may_send(serve: Callable[..., Server], no_worker: str) -> None:
    server = serve(ECG2CMR_BROKER_URL=no_worker, ECG2CMR_RATE_LIMIT="4/second")
    with server.client() as client:
        told = send(client, b"\n".join(ecg(seed) for seed in range(10)))
    assert [each["status"] for each in told] == [202] * 10
