"""Who may do what: API keys with scopes, as a bearer token or, in a browser, as a short-lived session cookie."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import Request, Response

from app.problems import CrossSite, Forbidden, Unauthorized
from app.store import keys
from app.store.keys import Principal, Scope

if TYPE_CHECKING:
    from app.main import Gateway

SESSION_COOKIE = "ecg2cmr_session"
SESSION_SCOPES: tuple[Scope, ...] = ("ecgs:read", "ecgs:write", "models:read")
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


class LoginNeeded(Exception):
    """A page was asked for without a session."""


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


def _find(request: Request, key: str) -> Principal | None:
    with _gateway(request).store.reading() as connection:
        return keys.find(connection, key)


def principal(request: Request) -> Principal:
    """Whoever sends this request.

    Raises
    ------
    Unauthorized
        Without a key, or with one that is unknown, revoked or expired.
    CrossSite
        For a change that another site's page asks for with the user's cookie.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        found = _find(request, token.strip())
        if found is None:
            raise Unauthorized("the key is unknown, revoked or expired")
        return found
    session = request.cookies.get(SESSION_COOKIE)
    if session is None:
        raise Unauthorized("the request carries no key")
    if request.method not in SAFE_METHODS:
        refuse_cross_site(request)
    found = _find(request, session)
    if found is None:
        raise Unauthorized("the session has ended: log in again")
    return found


def refuse_cross_site(request: Request) -> None:
    """Let a browser change things only from our own pages (OWASP CSRF cheat sheet: Fetch Metadata, then Origin)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in {"same-origin", "none"}:
            raise CrossSite(f"a {site} request may not change anything")
        return
    origin = request.headers.get("origin")
    if origin is None or urlsplit(origin).netloc != request.headers.get("host"):
        raise CrossSite(f"the request comes from {origin or 'an unknown page'}")


def require(scope: Scope) -> Callable[[Request], Principal]:
    """A FastAPI dependency: a principal with this scope."""

    def dependency(request: Request) -> Principal:
        found = principal(request)
        if scope not in found.scopes:
            raise Forbidden(f"the key '{found.name}' has no scope '{scope}'")
        return found

    return dependency


def signed_in(request: Request) -> Principal:
    """A FastAPI dependency for pages: the session's principal, or the way to the login page."""
    try:
        return require("ecgs:read")(request)
    except Unauthorized as error:
        raise LoginNeeded from error


def open_session(response: Response, request: Request, key: str) -> bool:
    """Log a browser in: exchange a valid key for a session cookie. False if the key opens nothing.

    The session is itself a key, with the clinician's scopes that the presented key has, and it expires.
    """
    refuse_cross_site(request)
    found = _find(request, key.strip())
    if found is None or "ecgs:read" not in found.scopes:
        return False
    settings = _gateway(request).settings
    lifetime = timedelta(hours=settings.session_hours)
    with _gateway(request).store.writing() as connection:
        keys.forget_expired(connection)
        session = keys.create(
            connection,
            name=f"session of {found.name}"[:64],
            scopes=[scope for scope in SESSION_SCOPES if scope in found.scopes],
            lifetime=lifetime,
        )
    response.set_cookie(
        SESSION_COOKIE,
        session,
        max_age=int(lifetime.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=settings.secure_cookies,
    )
    return True


def close_session(response: Response, request: Request) -> None:
    """Log a browser out: its session opens nothing any more."""
    refuse_cross_site(request)
    session = request.cookies.get(SESSION_COOKIE)
    if session is not None:
        found = _find(request, session)
        if found is not None:
            with _gateway(request).store.writing() as connection:
                keys.revoke(connection, found.key_id)
    response.delete_cookie(SESSION_COOKIE)
