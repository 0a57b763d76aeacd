"""Observed: every answer is counted and timed by its route, and carries the security headers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import limits

if TYPE_CHECKING:
    from app.main import Gateway

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Observed:
    """ASGI middleware: it looks at the head of an answer as it passes, so that bodies, streams too, flow untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, answering = time.perf_counter(), False

        async def passing(message: Message) -> None:
            nonlocal answering
            if message["type"] == "http.response.start":
                answering = True
                _count(scope, message["status"], time.perf_counter() - started)
                _add_headers(scope, MutableHeaders(scope=message))
            await send(message)

        try:
            await self._app(scope, receive, passing)
        except Exception:  # a bug of ours: Starlette answers 500 outside of us
            if not answering:
                _count(scope, 500, time.perf_counter() - started)
            raise


def _count(scope: Scope, status: int, seconds: float) -> None:
    gateway: Gateway = scope["app"].state.gateway
    route = getattr(scope.get("route"), "path", "unmatched")  # the template, never a path with an id
    gateway.metrics.requests.labels(route, scope["method"], str(status)).inc()
    gateway.metrics.request_seconds.labels(route, scope["method"]).observe(seconds)


def _add_headers(scope: Scope, headers: MutableHeaders) -> None:
    headers.update(limits.headers(scope))
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    static = scope["path"].startswith("/static/")  # no patient data; its file names carry no version
    headers.setdefault("Cache-Control", "no-cache" if static else "no-store")
