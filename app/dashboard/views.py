"""The pages of the dashboard, and the fragments that keep them fresh."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.auth import close_session, open_session, signed_in
from app.dashboard.pages import render
from app.dashboard.panel import chance, digits_of, panel_of
from app.dashboard.ruler import lines_of
from app.problems import NotFound
from app.studies import Studies, studies

PAGE_SIZE = 50

router = APIRouter(include_in_schema=False)
pages = APIRouter(dependencies=[Depends(signed_in)])
"""What only somebody who may read studies sees."""

Service = Annotated[Studies, Depends(studies)]
Before = Annotated[int | None, Query()]
Target = Annotated[str, Form(alias="next", pattern=r"^/studies(/[A-Za-z0-9-]+)?$")]
"""Where to go after signing in: a page of ours, never an address that somebody else chose."""


@router.get("/")
def home() -> Response:
    """The study list is the front page."""
    return RedirectResponse("/studies", status_code=303)


@router.get("/login")
def login(request: Request, target: Annotated[str, Query(alias="next")] = "/studies") -> HTMLResponse:
    """Ask for an API key."""
    return render(request, "login.html", target=target, refused=False)


@router.post("/login")
def sign_in(request: Request, key: Annotated[str, Form()], target: Target = "/studies") -> Response:
    """Open a session, or say that the key opens nothing."""
    response = RedirectResponse(target, status_code=303)
    if open_session(response, request, key):
        return response
    return render(request, "login.html", status=401, target=target, refused=True)


@router.post("/logout")
def sign_out(request: Request) -> Response:
    """Close the session."""
    response = RedirectResponse("/login", status_code=303)
    close_session(response, request)
    return response


@pages.get("/studies")
def study_list(request: Request, service: Service, before: Before = None) -> HTMLResponse:
    """The newest studies, or the page of older ones that `before` starts."""
    return _list(request, service, "studies.html", before)


@pages.get("/studies/rows")
def study_rows(request: Request, service: Service, before: Before = None) -> HTMLResponse:
    """The lines of that list alone; asked for again while one of them waits for its result."""
    return _list(request, service, "_rows.html", before)


@pages.get("/studies/{study_id}")
def study(request: Request, service: Service, study_id: str) -> HTMLResponse:
    """One ECG: the drawing, and what the model reads in it."""
    return _study(request, service, "study.html", study_id)


@pages.get("/studies/{study_id}/result")
def study_result(request: Request, service: Service, study_id: str) -> HTMLResponse:
    """The result alone; asked for again while the model has not answered."""
    return _study(request, service, "_result.html", study_id)


def _list(request: Request, service: Studies, template: str, before: int | None) -> HTMLResponse:
    page = service.list(PAGE_SIZE, before)
    waiting = any(row.status == "queued" for row in page.rows)
    return render(request, template, page=page, before=before, waiting=waiting, digits_of=digits_of)


def _study(request: Request, service: Studies, template: str, study_id: str) -> HTMLResponse:
    row, report = service.get(study_id), service.report(study_id)
    if row is None or report is None:
        raise NotFound("there is no study by this id")
    ruler = lines_of(report.measurements) if report.measurements else []
    return render(request, template, row=row, report=report, panel=panel_of(report), ruler=ruler, chance=chance)


router.include_router(pages)
