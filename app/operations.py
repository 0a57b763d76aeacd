"""For operators: is it alive, is it ready, how is it doing, and what does each problem mean."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from app.dashboard.pages import render
from app.problems import NotFound, causes
from app.store import StoreUnavailable

if TYPE_CHECKING:
    from app.main import Gateway

router = APIRouter(tags=["Operations"])


class Health(BaseModel):
    """Whether the process does all of its work: it answers, sends jobs and records answers."""

    status: Literal["alive", "broken"]


class Readiness(BaseModel):
    """Whether ECGs are accepted (`store`) and whether they are being read (`broker`)."""

    ready: bool
    store: bool
    broker: bool


@router.get("/healthz", summary="Is the process alive?", responses={503: {"model": Health}})
async def healthz(request: Request) -> Response:
    """200 while the process does its work; 503 when one of its threads ended by a bug, until the process has."""
    gateway: Gateway = request.app.state.gateway
    threads = (gateway.dispatcher, gateway.recorder, gateway.listener, gateway.courier, gateway.housekeeper)
    alive = all(thread.is_alive() for thread in threads)
    health = Health(status="alive" if alive else "broken")
    return JSONResponse(health.model_dump(), status_code=200 if alive else 503)


@router.get("/readyz", summary="May ECGs be sent?", responses={503: {"model": Readiness}})
def readyz(request: Request) -> Response:
    """200 when ECGs are accepted. A missing broker is shown but does not refuse: jobs wait safely in the store."""
    gateway: Gateway = request.app.state.gateway
    try:
        gateway.store.check()
        store = True
    except StoreUnavailable:
        store = False
    readiness = Readiness(ready=store, store=store, broker=gateway.recorder.connected.is_set())
    return JSONResponse(readiness.model_dump(), status_code=200 if store else 503)


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
def metrics(request: Request) -> Response:
    """Counters and gauges in Prometheus text format."""
    gateway: Gateway = request.app.state.gateway
    return Response(generate_latest(gateway.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/problems", summary="All problem types")
def problem_types() -> list[dict[str, str | int]]:
    """Every cause that a problem document can name."""
    return [asdict(cause) for cause in causes().values()]


@router.get("/problems/{code}", summary="One problem type", response_model=None)
def problem_type(request: Request, code: str) -> Response:
    """What a problem type means and what to do about it; a page for browsers, JSON for programs."""
    cause = causes().get(code)
    if cause is None:
        raise NotFound(f"there is no problem type {code[:64]!r}")
    if "text/html" in request.headers.get("accept", ""):
        return render(request, "problem_type.html", cause=cause)
    return JSONResponse(asdict(cause))
