"""HTML pages from the templates: the one Jinja2 environment, and how moments and ages are written on every page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.templating import Jinja2Templates

HERE = Path(__file__).parent
STATIC = HERE / "static"
"""What the gateway serves under `/static`."""


def moment(when: datetime | None) -> str:
    """A date and time for a person.

    An aware moment is told in the gateway's time zone and names it; a naive one is the device's own clock, so it is
    repeated as it stands.
    """
    if when is None:
        return "not stated"
    return f"{when:%Y-%m-%d %H:%M}" if when.tzinfo is None else f"{when.astimezone():%Y-%m-%d %H:%M %Z}"


def person(age: float | None, sex: str | None) -> str:
    """Age in years and sex, as far as they are known."""
    return ", ".join(part for part in (None if age is None else f"{age:.0f} y", sex) if part) or "not stated"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = moment
    environment.globals["person"] = person
    return environment


_templates = Jinja2Templates(env=_environment())


def render(request: Request, template: str, status: int = 200, **context: object) -> HTMLResponse:
    """One page or fragment; it may hold patient data, so nothing between us and the reader keeps it."""
    headers = {"Cache-Control": "no-store"}
    return _templates.TemplateResponse(request, template, dict(context), status_code=status, headers=headers)
