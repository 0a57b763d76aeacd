"""Proxy: a way to Redis over TCP that can be cut as a pulled cable or a dropped firewall entry cuts it: in silence."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

from tests.e2e.conftest import free_port

LOOK_SECONDS = 0.05


class Proxy:
    """Forwards connections to a port of this machine.

    Whoever is connected when the way is cut hears nothing any more, not even that it ended, and is deaf for ever; who
    connects while it is cut is accepted and hears nothing either. Those who connect after it was mended are served.
    """

    def __init__(self, to_port: int) -> None:
        self.port = free_port()
        self._to_port = to_port
        self._cut = threading.Event()
        self._closed = threading.Event()
        self._deaf: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._listening.close()
        for end in self._deaf:
            end.close()

    def cut(self) -> None:
        """From here on nothing passes."""
        self._cut.set()

    def mend(self) -> None:
        """New connections pass again."""
        self._cut.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        if self._cut.is_set():
            self._deaf.append(near)
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._to_port))
        except OSError:
            near.close()
            return
        if self._forward(near, far):
            near.close()
            far.close()
        else:
            self._deaf += [near, far]

    def _forward(self, near: socket.socket, far: socket.socket) -> bool:
        """Pass on what either end says until one of them leaves; False if the way was cut before."""
        other = {near: far, far: near}
        while not self._cut.is_set() and not self._closed.is_set():
            for end in select.select([near, far], [], [], LOOK_SECONDS)[0]:
                if self._cut.is_set():
                    break
                try:
                    said = end.recv(65536)
                    other[end].sendall(said)
                except OSError:
                    return True
                if not said:
                    return True
        return self._closed.is_set()
