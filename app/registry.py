"""The REST resource /v1/models: the served model, its card, its measured performance and the history of models."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from app.auth import require
from app.problems import NotFound
from app.store import history
from models.bundle import CARD, ConditionModel, Input, Intervals, OutOfDistribution, Output, Performance, Variant
from models.report import ModelIdentity

if TYPE_CHECKING:
    from app.main import Gateway

router = APIRouter(prefix="/v1/models", tags=["Models"], dependencies=[Depends(require("models:read"))])


class ServedModel(BaseModel):
    """The model that answers now: everything its manifest states."""

    model: ModelIdentity
    role: str
    created: str
    licence: str
    simulated: bool
    intended_use: str
    limits: list[str]
    notices: list[str]
    input: Input
    outputs: list[Output]
    interval: Intervals
    embedding_size: int
    ood: OutOfDistribution
    performance: list[Performance]
    conditions: list[ConditionModel]
    variants: list[Variant]


class ModelChange(BaseModel):
    """A model and the moment from which it was served."""

    at: datetime
    model: ModelIdentity


class Models(BaseModel):
    """The served model and what was served before."""

    models: list[ServedModel]
    history: list[ModelChange]


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


@router.get("", summary="The served model and its history")
def models(request: Request) -> Models:
    """The served model with its measured performance, and which model was served since when."""
    gateway = _gateway(request)
    manifest = gateway.bundle.manifest
    with gateway.store.reading() as connection:
        served = history.all_served(connection)
    champion = ServedModel(
        model=gateway.bundle.identity,
        role="champion",
        embedding_size=manifest.embedding.size,
        **{
            name: getattr(manifest, name)
            for name in ServedModel.model_fields
            if name not in {"model", "role", "embedding_size"}
        },
    )
    return Models(models=[champion], history=[ModelChange(at=s.at, model=s.model) for s in served])


@router.get("/{name}/{version}/card", summary="The model card", response_class=PlainTextResponse)
def card(request: Request, name: str, version: str) -> PlainTextResponse:
    """The model card of the served model (Markdown)."""
    bundle = _gateway(request).bundle
    if (name, version) != (bundle.manifest.name, bundle.manifest.version):
        raise NotFound(f"no model {name} {version} is served")
    return PlainTextResponse((bundle.path / CARD).read_text(), media_type="text/markdown; charset=utf-8")
