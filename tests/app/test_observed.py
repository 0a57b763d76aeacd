"""Every answer is counted, also that to a request over which we stumbled."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import httpx
from fastapi import FastAPI

from app import problems
from app.metrics import Metrics
from app.observed import SECURITY_HEADERS, Observed
from app.store import Store
from models.report import ModelIdentity

MODEL = ModelIdentity(name="toy", version="1.0.0", digest="d" * 64)


def test_a_bug_is_a_problem_for_its_sender_and_counted_as_500(store: Store) -> None:
    metrics = Metrics(store, MODEL)
    app = FastAPI()
    app.state.gateway = SimpleNamespace(metrics=metrics)
    app.add_middleware(Observed)
    problems.install(app)

    @app.get("/good")
    def good() -> str:
        return "good"

    @app.get("/bad")
    def bad() -> str:
        raise KeyError("a patient")

    async def ask() -> dict[str, httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return {path: await client.get(path) for path in ("/good", "/bad", "/bad")}

    answers = asyncio.run(ask())
    assert answers["/good"].headers.items() >= {k.lower(): v for k, v in SECURITY_HEADERS.items()}.items()
    assert answers["/bad"].status_code == 500
    assert answers["/bad"].headers["X-Content-Type-Options"] == "nosniff"
    assert "patient" not in answers["/bad"].text
    for path, code, count in (("/good", "200", 1), ("/bad", "500", 2)):
        labels = {"route": path, "method": "GET", "code": code}
        assert metrics.registry.get_sample_value("ecg2cmr_requests_total", labels) == count
