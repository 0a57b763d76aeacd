"""Errors as RFC 9457 problems: one table from cause to status, one page of documentation per cause."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from app.dashboard.pages import render
from app.store import StoreUnavailable
from models.ecg import EcgError, UnsupportedFormat
from models.ecg.confined import ReadersBusy
from models.ecg.errors import kinds_of

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that cannot be served, for a reason that its sender should know.

    Subclasses set the stable name of the cause, its HTTP status, a title and what to do about it.
    """

    code = "internal-error"
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    title = "The service failed"
    advice = "Try again later; if it persists, tell the operator the time of the request."

    def __init__(self, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}


class Unauthorized(Problem):
    """No key, or one that opens nothing."""

    code = "unauthorized"
    status = HTTPStatus.UNAUTHORIZED
    title = "A valid API key is needed"
    advice = "Send the header 'Authorization: Bearer KEY' with a key made by 'ecg2cmr admin create-key'."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"WWW-Authenticate": 'Bearer realm="ecg2cmr"'})


class Forbidden(Problem):
    """A valid key without the scope that this needs."""

    code = "forbidden"
    status = HTTPStatus.FORBIDDEN
    title = "The key does not allow this"
    advice = "Use a key with the scope named in the detail."


class CrossSite(Problem):
    """A browser session used from another site."""

    code = "cross-site-request"
    status = HTTPStatus.FORBIDDEN
    title = "The request comes from another site"
    advice = "Use the dashboard itself, or an API key in the Authorization header."


class NotFound(Problem):
    """Nothing is known by this id or path."""

    code = "not-found"
    status = HTTPStatus.NOT_FOUND
    title = "There is nothing here"
    advice = "Check the id; GET /v1/ecgs lists the studies."


class NoResult(Problem):
    """The study is known, but the model has not read it (yet)."""

    code = "no-result"
    status = HTTPStatus.CONFLICT
    title = "There is no result yet"
    advice = "GET the study and read its status; while it is 'queued', ask again."


class BodyTooLarge(Problem):
    """More bytes than any 10 s ECG has."""

    code = "body-too-large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title = "The request body is too large"
    advice = "Send one resting ECG; Holter recordings are not read here."


class InvalidRequest(Problem):
    """A parameter or header that makes no sense."""

    code = "invalid-request"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "A parameter of the request is not valid"
    advice = "See /openapi.json for the parameters of each resource."


class MethodNotAllowed(Problem):
    """The resource exists, but not for this method."""

    code = "method-not-allowed"
    status = HTTPStatus.METHOD_NOT_ALLOWED
    title = "The resource does not allow this method"
    advice = "See /openapi.json for the methods of each resource."


class Unavailable(Problem):
    """The store does not answer: nothing was accepted, nothing is half-written."""

    code = "store-unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The store does not answer"
    advice = "Nothing was kept: send the ECG again in a moment."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"Retry-After": "5"})


class Busy(Unavailable):
    """More uploads at once than can be examined."""

    code = "busy"
    title = "Too many uploads at once"


class QueueFull(Problem):
    """As many ECGs wait for their answer as may."""

    code = "queue-full"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "Too many ECGs are waiting to be read"
    advice = "Nothing was kept: send the ECG again after the seconds of Retry-After; those already sent are not lost."

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail, {"Retry-After": str(retry_after)})


class DiskFull(Problem):
    """A zip of ECGs for which there is no room while it is unpacked."""

    code = "disk-full"
    status = HTTPStatus.INSUFFICIENT_STORAGE
    title = "There is no room to unpack this zip"
    advice = (
        "Send the ECGs as lines of JSON, which need no disk, or in smaller zips, or later; those answered are kept."
    )


class TooManyRequests(Problem):
    """One API key sends more than it may."""

    code = "too-many-requests"
    status = HTTPStatus.TOO_MANY_REQUESTS
    title = "This key sends ECGs faster than it may"
    advice = "Nothing was kept: send the ECG again after the seconds of Retry-After; RateLimit-Policy says the pace."


class TooManyListeners(Problem):
    """As many listen to the events of this gateway as may."""

    code = "too-many-listeners"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "Too many are listening to events"
    advice = "Listen again after the seconds of Retry-After; Last-Event-ID brings what was missed meanwhile."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"Retry-After": "30"})


class IdempotencyKeyMissing(Problem):
    """An ECG without an idempotency key, at a service that wants one with each."""

    code = "idempotency-key-missing"
    status = HTTPStatus.BAD_REQUEST
    title = "The Idempotency-Key is missing"
    advice = "Send the header 'Idempotency-Key: \"KEY\"' with a new key for each ECG, and the same one when you retry."


class IdempotencyKeyInvalid(Problem):
    """The idempotency key is no string as structured header fields write it (RFC 9651 section 3.3.3)."""

    code = "idempotency-key-invalid"
    status = HTTPStatus.BAD_REQUEST
    title = "The Idempotency-Key cannot be read"
    advice = "Send 1 to 255 characters of printable ASCII in double quotes, for example a random UUID."


class IdempotencyKeyReused(Problem):
    """An idempotency key that came with another request before."""

    code = "idempotency-key-reused"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "The Idempotency-Key was used for another request"
    advice = "Nothing was kept: send a new key with each ECG, and the same one only to repeat a request unchanged."


class IdempotencyKeyInUse(Problem):
    """The request of this idempotency key is being answered at this moment."""

    code = "idempotency-key-in-use"
    status = HTTPStatus.CONFLICT
    title = "The request with this Idempotency-Key is still being answered"
    advice = "Send it again after the seconds of Retry-After: it will get the answer of the first one."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"Retry-After": "1"})


@dataclass(frozen=True)
class Cause:
    """One documented cause: what `/problems/{code}` says."""

    code: str
    status: int
    title: str
    advice: str
    description: str


def status_of(error: EcgError | type[EcgError]) -> int:
    """HTTP status of an error in an ECG: 415 for what is no known format, 422 for what cannot be used."""
    kind = error if isinstance(error, type) else type(error)
    return HTTPStatus.UNSUPPORTED_MEDIA_TYPE if issubclass(kind, UnsupportedFormat) else HTTPStatus.UNPROCESSABLE_ENTITY


def causes() -> dict[str, Cause]:
    """Every cause that a problem can name, by its code."""
    found = {}
    for kind in kinds_of(EcgError):
        found[kind.code] = Cause(kind.code, status_of(kind), kind.title, kind.advice, (kind.__doc__ or "").strip())
    for problem in kinds_of(Problem):
        said = (problem.__doc__ or "").strip()
        found[problem.code] = Cause(problem.code, problem.status, problem.title, problem.advice, said)
    return found


Foreseen = EcgError | Problem | StoreUnavailable | ReadersBusy
FORESEEN = (EcgError, Problem, StoreUnavailable, ReadersBusy)


def told(error: Foreseen) -> EcgError | Problem:
    """A foreseen error as what its sender is told of it."""
    if isinstance(error, StoreUnavailable):
        return Unavailable("the database cannot be reached or is busy")
    if isinstance(error, ReadersBusy):
        return Busy("every reader of uploads is at work")
    return error


def document(error: EcgError | Problem) -> dict[str, str | int]:
    """The problem document (RFC 9457); `type` is a path of this service, where the cause is explained."""
    status = int(error.status if isinstance(error, Problem) else status_of(error))
    return {
        "type": f"/problems/{error.code}",
        "title": error.title,
        "status": status,
        "detail": error.detail,
        "advice": error.advice,
    }


def respond(request: Request, error: EcgError | Problem) -> Response:
    """The problem document; a browser that asked for a page gets the same words as a page."""
    problem = document(error)
    status = int(problem["status"])
    headers = error.headers if isinstance(error, Problem) else {}
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        page = render(request, "problem.html", status, title=error.title, detail=error.detail, advice=error.advice)
        page.headers.update(headers)
        return page
    return JSONResponse(problem, status, headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every foreseen error with its problem."""

    @app.exception_handler(EcgError)
    def ecg_error(request: Request, error: EcgError) -> Response:
        return respond(request, error)

    @app.exception_handler(Problem)
    def problem(request: Request, error: Problem) -> Response:
        return respond(request, error)

    @app.exception_handler(StoreUnavailable)
    def store_unavailable(request: Request, error: StoreUnavailable) -> Response:
        return respond(request, told(error))

    @app.exception_handler(ReadersBusy)
    def busy(request: Request, error: ReadersBusy) -> Response:
        return respond(request, told(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        faults = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        return respond(request, InvalidRequest(faults))

    @app.exception_handler(StarletteHTTPException)
    def http_error(request: Request, error: StarletteHTTPException) -> Response:
        if error.status_code == HTTPStatus.NOT_FOUND:
            return respond(request, NotFound(f"nothing is at {request.url.path}"))
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            return respond(request, MethodNotAllowed(f"{request.method} is not possible at {request.url.path}"))
        return respond(request, InvalidRequest(str(error.detail)))

    @app.exception_handler(Exception)
    def unforeseen(request: Request, _error: Exception) -> Response:
        # The traceback goes to the log (Starlette re-raises it there); the sender learns nothing of our inside.
        answer = respond(request, Problem("an unforeseen error happened"))
        answer.headers.update({"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})  # beyond app.observed
        return answer
