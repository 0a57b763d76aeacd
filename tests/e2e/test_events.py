"""Whoever listens, or asked to be called, is told once of each answered ECG, and of nothing about the patient."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import NamedTuple

import httpx
import pytest

from tests.e2e.conftest import Server
from tests.e2e.test_idempotency import ecg


def told(lines: Iterator[str], count: int) -> list[dict[str, str]]:
    """So many server-sent events: their fields."""
    found, event = [], {}
    while len(found) < count:
        name, _, value = next(lines).partition(": ")
        if name:
            event[name] = value
        elif "data" in event:
            found.append(event)
            event = {}
    return found


def send(client: httpx.Client, seed: int) -> str:
    answer = client.post("/v1/ecgs", content=ecg(seed), headers={"Prefer": "wait=30"})
    assert answer.json()["status"] == "done"
    return str(answer.json()["id"])


def test_a_listener_hears_of_each_answer_and_of_those_it_missed(server: Server) -> None:
    with server.client() as client, server.client() as sender:
        with client.stream("GET", "/v1/events") as stream:
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            lines = stream.iter_lines()
            assert next(lines) == ": listening"  # only then is it sure to hear of what follows
            first, second = send(sender, 301), send(sender, 302)
            heard = told(lines, 2)
        assert [json.loads(event["data"])["id"] for event in heard] == [first, second]
        assert json.loads(heard[0]["data"]).keys() == {"id", "status", "location", "at"}
        assert json.loads(heard[0]["data"])["location"] == f"/v1/ecgs/{first}"
        assert [event["event"] for event in heard] == ["ecg", "ecg"]

        third = send(sender, 303)
        with client.stream("GET", "/v1/events", headers={"Last-Event-ID": heard[0]["id"]}) as stream:
            missed = told(stream.iter_lines(), 2)
    assert [json.loads(event["data"])["id"] for event in missed] == [second, third]
    assert int(heard[0]["id"]) < int(missed[0]["id"]) < int(missed[1]["id"])


def test_beyond_the_bound_nobody_listens_until_another_leaves(serve: Callable[..., Server]) -> None:
    server = serve(ECG2CMR_MAX_LISTENERS="2")
    with server.client() as client, server.client() as sender:
        with client.stream("GET", "/v1/events") as one, client.stream("GET", "/v1/events") as two:
            streams = [one.iter_lines(), two.iter_lines()]
            assert [next(lines) for lines in streams] == [": listening"] * 2
            refused = sender.get("/v1/events")
            assert (refused.status_code, refused.json()["type"]) == (503, "/problems/too-many-listeners")
            assert refused.headers["Retry-After"]
            study = send(sender, 305)
            assert [json.loads(told(lines, 1)[0]["data"])["id"] for lines in streams] == [study] * 2
        deadline = time.monotonic() + 30
        while True:  # a line that was cut is noticed in a moment
            with client.stream("GET", "/v1/events") as stream:
                if stream.status_code == 200:
                    break
            assert time.monotonic() < deadline, "the seats are never free again"


def test_who_may_not_read_ecgs_may_not_listen(server: Server) -> None:
    assert httpx.get(f"{server.url}/v1/events").status_code == 401
    with server.client() as client:
        assert client.get("/v1/events", headers={"Last-Event-ID": "none"}).status_code == 422
        assert client.get("/v1/webhooks").status_code == 200
    assert httpx.get(f"{server.url}/v1/webhooks").status_code == 401


class Call(NamedTuple):
    headers: dict[str, str]
    body: bytes


@contextmanager
def receiver(answers: list[int]) -> Iterator[tuple[str, SimpleQueue[Call]]]:
    """A real web server that answers with one status after the other, and then with 200."""
    calls: SimpleQueue[Call] = SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            calls.put(Call({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(answers.pop(0) if answers else 200)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/hook", calls
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def verified(call: Call, secret: str) -> dict[str, object]:
    """What was told, after checking the signature as Standard Webhooks says, independently of our code."""
    signed = b"%s.%s.%s" % (call.headers["webhook-id"].encode(), call.headers["webhook-timestamp"].encode(), call.body)
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    assert call.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    assert abs(time.time() - int(call.headers["webhook-timestamp"])) < 300
    document: dict[str, object] = json.loads(call.body)
    return document


def until(holds: Callable[[], bool]) -> None:
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    pytest.fail("it does not come to pass")


def quick(serve: Callable[..., Server], pause: str = "0.1") -> Server:
    return serve(ECG2CMR_WEBHOOK_PRIVATE="1", ECG2CMR_WEBHOOK_PAUSE=pause, ECG2CMR_WEBHOOK_ATTEMPTS="3")


def subscribed(client: httpx.Client, url: str) -> tuple[str, str]:
    answer = client.post("/v1/webhooks", json={"url": url})
    assert answer.status_code == 201
    assert "secret" not in client.get("/v1/webhooks").text
    return answer.json()["id"], answer.json()["secret"]


def state(client: httpx.Client) -> tuple[int, int]:
    """How many events the only webhook is still to be told, and how many are dead letters."""
    (only,) = client.get("/v1/webhooks").json()
    return only["pending"], only["dead"]


def test_a_webhook_is_told_again_until_it_hears_and_can_verify_who_says_so(serve: Callable[..., Server]) -> None:
    with receiver([500, 302]) as (url, calls), quick(serve).client() as client:
        _, secret = subscribed(client, url)
        study_id = send(client, 311)
        heard = [calls.get(timeout=30) for _ in range(3)]
        until(lambda: state(client) == (0, 0))
    documents = [verified(call, secret) for call in heard]
    assert documents[0] == documents[1] == documents[2]
    assert len({call.headers["webhook-id"] for call in heard}) == 1
    assert documents[0].keys() == {"type", "timestamp", "data"}
    assert documents[0]["type"] == "ecg.done"
    data = documents[0]["data"]
    assert isinstance(data, dict)
    assert data.keys() == {"id", "status", "location", "at"}
    assert (data["id"], data["location"]) == (study_id, f"/v1/ecgs/{study_id}")
    assert calls.empty(), "a redirection is not followed"


def test_what_is_never_heard_is_a_dead_letter_that_can_be_tried_again(serve: Callable[..., Server]) -> None:
    with receiver([500] * 3) as (url, calls), quick(serve).client() as client:
        webhook_id, _ = subscribed(client, url)
        send(client, 321)
        until(lambda: state(client) == (0, 1))
        assert calls.qsize() == 3
        assert client.post(f"/v1/webhooks/{webhook_id}:retry").json() == {"revived": 1}
        until(lambda: state(client) == (0, 0))
        assert calls.qsize() == 4


def test_a_webhook_ends_when_it_is_removed_or_is_gone(serve: Callable[..., Server]) -> None:
    with receiver([410]) as (url, calls), quick(serve).client() as client:
        subscribed(client, url)
        send(client, 331)
        until(lambda: client.get("/v1/webhooks").json() == [])
        webhook_id, _ = subscribed(client, url)
        assert client.delete(f"/v1/webhooks/{webhook_id}").status_code == 204
        assert client.delete(f"/v1/webhooks/{webhook_id}").status_code == 404
        send(client, 332)
        assert calls.qsize() == 1


def test_deliveries_survive_a_kill(serve: Callable[..., Server]) -> None:
    with receiver([500]) as (url, calls):
        server = quick(serve, pause="1")
        with server.client() as client:
            subscribed(client, url)
            study_id = send(client, 341)
            first = calls.get(timeout=30)
        server.kill()
        server.start()
        again = calls.get(timeout=180)  # after its lease, should the kill have come before the failure was written down
        assert json.loads(again.body)["data"]["id"] == study_id == json.loads(first.body)["data"]["id"]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hook",
        "https://127.0.0.1/hook",
        "https://localhost/hook",
        "https://10.0.0.1/hook",
        "https://224.0.0.1/hook",
        "https://[::1]/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:127.0.0.1]/hook",
        "https://user:password@127.0.0.1/hook",
        "ftp://127.0.0.1/hook",
        "https://",
        "hook",
    ],
)
def test_a_private_address_is_refused(server: Server, url: str) -> None:
    with server.client() as client:
        refused = client.post("/v1/webhooks", json={"url": url})
        assert refused.status_code == 422, refused.text
        assert client.get("/v1/webhooks").json() == []
