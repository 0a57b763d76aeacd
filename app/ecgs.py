"""The REST resource /v1/ecgs: submit an ECG, read its report, embedding and waveform."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from starlette.formparsers import MultiPartException, MultiPartParser

from app.auth import require
from app.idempotency import Reply, once
from app.limits import sender
from app.problems import BodyTooLarge, InvalidRequest, NoResult, NotFound
from app.store.keys import Principal
from app.store.outbox import PRIORITIES, Priority
from app.studies import Kept, Studies, studies
from app.waiters import Waiting
from models.ecg import EcgError, Stated
from models.ecg.archive import pack
from models.report import ModelIdentity, Report

if TYPE_CHECKING:
    from app.main import Gateway

router = APIRouter(prefix="/v1/ecgs", tags=["ECGs"])

POLL_SECONDS = 0.5
"""How often a waiting request looks at the store itself, in case another gateway recorded its result."""

MAX_PARTS = 16
MEDIA_TYPES = {
    "application/octet-stream": "any format that is read: the content decides, not the label. Those without a"
    " media type of their own come so: SCP-ECG (EN 1064), EDF, EDF+, BDF, ISHNE 1.0, MFER, NumPy, MATLAB",
    "application/dicom": "12-lead, General, General 32-bit, Ambulatory ECG or Hemodynamic Waveform Storage",
    "application/xml": "the export of a resting ECG: GE MUSE, GE CardioSoft or CASE, Philips (1.03 to 1.04.02),"
    " Schiller SEMA, Mortara ELI, HL7 annotated ECG",
    "application/fhir+json": "an Observation with SampledData of R4 or R5, or a Bundle with one",
    "application/json": '{"sampling_rate_hz": 500, "unit": "mV", "leads": {"I": [...], ...}}; or a FHIR resource',
    "text/csv": "a header of lead names; '# fs=500' and '# unit=mV' above it, or the query parameters",
    "text/tab-separated-values": "the same with tabs",
    "application/vnd.apache.parquet": "a column a lead; rate and unit in its metadata, or the query parameters",
    "application/pdf": "a report whose curves are lines and hold at least 7 s of all leads at once",
    "application/zip": "one file of any of these, or the header and signal files of a WFDB record",
    "application/gzip": "one file of any of these",
}
BINARY = {"schema": {"type": "string", "format": "binary"}}

StudiesDep = Annotated[Studies, Depends(studies)]
Sender = Annotated[Principal, Depends(sender)]
# Not the header Priority of RFC 9218: browsers set that one themselves, for the order of answers.
PriorityQuery = Annotated[Priority, Query(description="What is read first: stat, then routine, then backfill.")]


class Queued(BaseModel):
    """An ECG that was accepted and is not read yet."""

    id: str
    status: Literal["queued"] = "queued"


class Embedding(BaseModel):
    """The representation of the ECG that the estimates were read from."""

    id: str
    model: ModelIdentity
    size: int
    values: list[float]


class Headline(BaseModel):
    """An estimate in the study list."""

    value: float
    unit: str
    low: float
    high: float


class StudySummary(BaseModel):
    """One line of the study list."""

    id: str
    received_at: str
    acquired_at: str | None
    patient_id: str | None
    age: float | None
    sex: str | None
    device: str | None
    source_format: str
    status: str
    sampling_rate: float = Field(description="hertz")
    duration: float = Field(description="seconds")
    headline: dict[str, Headline]
    warnings: int


class StudyList(BaseModel):
    """Studies, newest first; `next` is the `before` of the next page."""

    ecgs: list[StudySummary]
    next: int | None


SUBMIT_BODY: dict[str, Any] = {  # an OpenAPI fragment, whose values are of any JSON type
    "requestBody": {
        "required": True,
        "description": "One resting 12-lead ECG.",
        "content": {
            **{
                media: {**BINARY, "schema": {**BINARY["schema"], "description": told}}
                for media, told in MEDIA_TYPES.items()
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": BINARY["schema"]}},
                    "description": "one file, or the header and signal files of one WFDB record",
                }
            },
        },
    },
    "x-codeSamples": [
        {
            "lang": "Shell",
            "label": "A real ECG, waiting for the report",
            "source": "curl -sS -X POST http://127.0.0.1:8000/v1/ecgs"
            " -H \"Authorization: Bearer $ECG2CMR_API_KEY\" -H 'Prefer: wait=10' --data-binary @ecg.dcm",
        }
    ],
}


@router.post(
    "",
    summary="Submit an ECG",
    response_model=Report,
    responses={202: {"model": Queued, "description": "Accepted and kept; the report will be at `Location`."}},
    openapi_extra=SUBMIT_BODY,
)
async def submit(
    request: Request,
    studies: StudiesDep,
    sender: Sender,
    sampling_rate: Annotated[float | None, Query(gt=0, description="Hertz, when the file does not state it.")] = None,
    unit: Annotated[
        str | None, Query(max_length=8, description="mV, uV, nV or V, when the file does not state it.")
    ] = None,
    leads: Annotated[
        str | None, Query(max_length=256, description="Column names, comma-separated, when the file has none.")
    ] = None,
    priority: PriorityQuery = "routine",
    idempotency_key: Annotated[
        str | None, Header(description="One string in quotes; the request comes to the same answer when repeated.")
    ] = None,
) -> Response:
    """Decode, judge and keep one ECG, then have it read.

    The ECG is safe in the store before the answer leaves. With `Prefer: wait=N` the answer is the report (200) if it is
    there within N seconds; otherwise it is 202 with the `Location` of the report. The same ECG sent again is the same
    study, whatever format it comes in; with `Idempotency-Key` the same request gets the same answer.
    """
    gateway: Gateway = request.app.state.gateway
    stated = Stated(sampling_rate=sampling_rate, unit=unit, leads=tuple(leads.split(",")) if leads else None)
    upload = await _body(request, gateway.settings.max_body_bytes)

    async def answer() -> Reply:
        kept = await run_in_threadpool(keep, gateway, upload, stated, priority)
        return Reply(await _answer(request, studies, kept), kept.study_id)

    return await once(request, sender, upload, answer)


def keep(gateway: Gateway, upload: bytes, stated: Stated, priority: Priority) -> Kept:
    """Decode, judge and keep one ECG, if there is room for it; the caller has its job sent."""
    with gateway.backlog.room(priority):
        try:
            examined = gateway.readers.examine(upload, stated)
        except EcgError as error:
            gateway.metrics.ingest_rejected.labels("rest", error.code).inc()
            raise
        kept: Kept = gateway.studies.keep(upload, examined, PRIORITIES[priority])
    gateway.metrics.ingest_bytes.labels("rest", examined.recording.source_format).inc(len(upload))
    return kept


async def _answer(request: Request, studies: Studies, kept: Kept) -> Response:
    """The report if it comes in the time that the sender waits, else where it will be."""
    gateway: Gateway = request.app.state.gateway
    wait = _preferred_wait(request, gateway.settings.max_wait)
    with gateway.waiters.waiting(kept.study_id) as answered:
        if kept.due is not None:
            gateway.dispatcher.dispatch(kept.due)
        report = await _await_report(studies, kept, answered, wait, fresh=kept.due is not None)
    headers = {"Location": f"/v1/ecgs/{kept.study_id}"}
    if wait:
        headers["Preference-Applied"] = f"wait={wait:g}"
    if report is None or report.status == "queued":
        return _json(Queued(id=kept.study_id), 202, headers)
    return _json(report, 200, headers)


async def _body(request: Request, limit: int) -> bytes:
    """The uploaded file: the raw body, or the parts of a form (several files become one archive)."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise BodyTooLarge(f"{announced} bytes were announced, {limit} are allowed")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLarge(f"more than {limit} bytes were sent")
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await _file_of_form(request, bytes(body))
    return bytes(body)


async def _file_of_form(request: Request, body: bytes) -> bytes:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(request.headers, stream(), max_files=MAX_PARTS, max_fields=MAX_PARTS).parse()
    except (MultiPartException, KeyError) as error:
        raise InvalidRequest(f"the form cannot be read: {error}") from error
    files: dict[str, bytes] = {}
    for _, part in form.multi_items():
        if not isinstance(part, str):
            files[part.filename or f"part{len(files)}"] = await part.read()
    await form.close()
    if not files:
        raise InvalidRequest("the form holds no file: send it as the part named 'file'")
    return next(iter(files.values())) if len(files) == 1 else pack(files)


def _preferred_wait(request: Request, longest: float) -> float:
    """Seconds of `Prefer: wait=N` (RFC 7240 section 4.3), at most `longest`; 0 without it."""
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", request.headers.get("prefer", ""), re.IGNORECASE)
    return min(float(found[1]), longest) if found else 0.0


async def _await_report(studies: Studies, kept: Kept, answered: Waiting, wait: float, *, fresh: bool) -> Report | None:
    """The report as soon as there is one, at the latest after `wait` seconds. A fresh job is not looked up in vain."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    report = None if fresh else await run_in_threadpool(studies.report, kept.study_id)
    while (report is None or report.status == "queued") and (left := deadline - loop.time()) > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(answered.wait(), min(left, POLL_SECONDS))
        answered.clear()  # what another model answered ends nothing here
        report = studies.report_of(kept, answered.outcome) or await run_in_threadpool(studies.report, kept.study_id)
    return report


def _json(document: BaseModel, status: int, headers: dict[str, str]) -> Response:
    return Response(document.model_dump_json(), status, headers, media_type="application/json")


@router.get("", summary="List studies", dependencies=[Depends(require("ecgs:read"))])
def list_studies(
    studies: StudiesDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(description="The `next` of the page before.")] = None,
) -> StudyList:
    """Studies, newest first."""
    page = studies.list(limit, before)
    return StudyList(
        ecgs=[
            StudySummary(
                **{
                    **asdict(row),
                    "received_at": row.received_at.isoformat(),
                    "acquired_at": row.acquired_at.isoformat() if row.acquired_at else None,
                    "headline": {
                        symbol: Headline(value=e.value, unit=e.unit, low=e.interval.low, high=e.interval.high)
                        for symbol, e in row.headline.items()
                    },
                }
            )
            for row in page.rows
        ],
        next=page.next,
    )


def _unknown(study_id: str) -> NotFound:
    return NotFound(f"no ECG has the id {study_id[:64]!r}")


@router.get("/{study_id}", summary="Read a report", dependencies=[Depends(require("ecgs:read"))])
async def report(request: Request, study_id: str, studies: StudiesDep) -> Report:
    """The report about one ECG; `Prefer: wait=N` waits up to N seconds for a queued one."""
    gateway: Gateway = request.app.state.gateway
    wait = _preferred_wait(request, gateway.settings.max_wait)
    with gateway.waiters.waiting(study_id) as answered:
        found = await run_in_threadpool(studies.report, study_id)
        if found is not None and found.status == "queued" and wait:
            kept = Kept(study_id, created=False, due=None)
            found = await _await_report(studies, kept, answered, wait, fresh=True)
    if found is None:
        raise _unknown(study_id)
    return found


@router.delete("/{study_id}", summary="Forget an ECG", status_code=204, dependencies=[Depends(require("admin"))])
def forget(study_id: str, studies: StudiesDep) -> None:
    """Remove an ECG with its bytes, jobs and results for good; only that it was here is kept, without patient data."""
    if not studies.forget(study_id):
        raise _unknown(study_id)


@router.get("/{study_id}/embedding", summary="Read the embedding", dependencies=[Depends(require("ecgs:read"))])
def embedding(study_id: str, studies: StudiesDep) -> Embedding:
    """The embedding of one ECG under the served model."""
    found = studies.report(study_id)
    if found is None:
        raise _unknown(study_id)
    values = studies.embedding(study_id)
    if values is None or found.model is None:
        raise NoResult(f"the ECG is {found.status}")
    return Embedding(id=study_id, model=found.model, size=values.size, values=values.tolist())


@router.get("/{study_id}/waveform", summary="Read the waveform", dependencies=[Depends(require("ecgs:read"))])
def waveform(
    request: Request,
    study_id: str,
    studies: StudiesDep,
    kind: Annotated[
        Literal["original", "preprocessed"], Query(description="As decoded, or as the model sees it.")
    ] = "original",
) -> Response:
    """The twelve leads in millivolts, as they were decoded or as the model sees them."""
    gateway: Gateway = request.app.state.gateway
    recording = studies.recording(study_id)
    if recording is None:
        raise _unknown(study_id)
    preprocessing = gateway.bundle.preprocessing
    signal, rate, duration = recording.signal.round(5), recording.sampling_rate, recording.duration
    filters = studies.filters(study_id)
    if kind == "preprocessed":
        signal, rate = preprocessing(recording).astype(float).round(5), preprocessing.sampling_rate
        duration = min(duration, preprocessing.duration)  # what follows in the tensor is padding, not signal
        filters = {"high_pass": preprocessing.high_pass, "low_pass": preprocessing.low_pass, "notch": None}
    document = {
        "id": study_id,
        "kind": kind,
        "unit": "mV",
        "sampling_rate": rate,
        "duration": duration,
        "filters": filters,
        "leads": dict(zip(recording.leads, signal, strict=True)),
    }
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")
