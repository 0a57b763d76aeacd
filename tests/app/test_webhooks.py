"""Webhooks that do not answer hold up nobody but themselves."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from queue import SimpleQueue

import pytest

from app.settings import Settings
from app.store import Store, events, webhooks
from app.webhooks import AT_ONCE, EACH, Courier

MINUTE = timedelta(seconds=60)


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A real server that does as it likes with each connection; its URL."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # of who has hung up
                answer(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def courier(store: Store, timeout: float = 60.0) -> Iterator[None]:
    settings = Settings(webhook_private=True, webhook_attempts=1)
    running = Courier(store, settings, timeout)
    running.start()
    try:
        yield
    finally:
        running.stop()


def add(store: Store, url: str) -> str:
    with store.writing() as connection:
        return webhooks.add(connection, url)[0]


def append(store: Store, count: int) -> None:
    with store.writing() as connection:
        for number in range(count):
            events.append(connection, f"s{number}", "done")


def dead(store: Store) -> int:
    with store.reading() as connection:
        return sum(webhook.dead for webhook in webhooks.listed(connection))


def until(holds: Callable[[], bool]) -> None:
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    pytest.fail("it does not come to pass")


def test_one_that_never_answers_delays_no_other(store: Store) -> None:
    heard: SimpleQueue[bytes] = SimpleQueue()
    let_go = threading.Event()

    def hear(connection: socket.socket) -> None:
        heard.put(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with listening(lambda _: let_go.wait() and None) as silent, listening(hear) as hearing:
        add(store, silent)
        append(store, 2 * AT_ONCE)  # older than whatever the other is to be told
        add(store, hearing)
        append(store, 2 * AT_ONCE)
        with courier(store):
            try:
                told = [heard.get(timeout=30) for _ in range(2 * AT_ONCE)]
            finally:
                let_go.set()
    assert all(b"webhook-signature" in request.lower() for request in told)


def test_one_that_answers_byte_by_byte_is_given_up(store: Store) -> None:
    enough = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not enough.wait(0.01):
            connection.sendall(b"x")

    with listening(drip) as url:
        add(store, url)
        append(store, 1)
        with courier(store, timeout=0.5):
            try:
                until(lambda: dead(store) == 1)  # before it has said all
            finally:
                enough.set()


def test_no_webhook_has_more_in_hand_than_its_share(store: Store) -> None:
    one, two = add(store, "https://one.example/"), add(store, "https://two.example/")
    append(store, 3 * EACH)

    def taken(limit: int, in_hand: dict[str, int]) -> Counter[str]:
        with store.writing() as connection:
            due = webhooks.take_due(connection, MINUTE, each=EACH, limit=limit, in_hand=in_hand)
        return Counter(delivery.webhook_id for delivery in due)

    assert taken(AT_ONCE, {one: EACH}) == {two: EACH}
    assert taken(AT_ONCE, {one: 1, two: EACH + 1}) == {one: EACH - 1}
    assert taken(1, {}).total() == 1
    assert taken(0, {}).total() == 0


def test_what_is_due_to_one_webhook_is_taken_oldest_first(store: Store) -> None:
    add(store, "https://one.example/")
    for _ in range(3):
        append(store, 1)
    taken = []
    for _ in range(3):
        with store.writing() as connection:
            taken += [delivery.sequence for delivery in webhooks.take_due(connection, MINUTE, each=1)]
    assert taken == [1, 2, 3]
