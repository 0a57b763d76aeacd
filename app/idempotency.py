"""Idempotency: a request that comes again under its Idempotency-Key gets the answer of the first, and nothing else.

As draft-ietf-httpapi-idempotency-key-header-07 has it. The second guard needs no key: an ECG that is known by its
content is the same study (`app.store.studies`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import anyio
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import IntegrityError

from app.problems import (
    IdempotencyKeyInUse,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    respond,
)
from app.store import Store, answers
from app.store.answers import Claim, KeptAnswer
from app.store.keys import Principal
from models.ecg import EcgError

if TYPE_CHECKING:
    from app.main import Gateway

HEADER = "Idempotency-Key"
ANSWERING_SECONDS = 120.0
"""Seconds beyond `Prefer: wait` that a request may take: readers give up after 30, the store after 10."""

_PARAMETERS = r"(?:;[ ]*[a-z*][a-z0-9_.*-]*(?:=[^;]*)?)*"
_STRING = re.compile(r'[ ]*"((?:[ !#-\[\]-~]|\\["\\])*)"' + _PARAMETERS + r"[ ]*")  # RFC 9651 sections 3.3.3 and 3.1.2


class Reply(NamedTuple):
    """What a request was answered, and the study that the answer quotes, if it does."""

    response: Response
    study_id: str | None


def key_of(request: Request, *, required: bool) -> str | None:
    """The key of a request, None if it has none.

    Raises
    ------
    IdempotencyKeyMissing, IdempotencyKeyInvalid
        If it has none but should, or one that is not written as the draft says.
    """
    lines = request.headers.getlist(HEADER)
    if not lines:
        if required:
            raise IdempotencyKeyMissing("this service takes no ECG without the header Idempotency-Key")
        return None
    found = _STRING.fullmatch(", ".join(lines))
    key = re.sub(r"\\(.)", r"\1", found[1]) if found else ""
    if not 0 < len(key) <= 255:
        raise IdempotencyKeyInvalid("the header Idempotency-Key is not one string of 1 to 255 characters in quotes")
    return key


async def once(request: Request, sender: Principal, upload: bytes, answer: Callable[[], Awaitable[Reply]]) -> Response:
    """The answer to a request: that of the request that came before under the same key, else a new one, which is kept.

    An ECG that is refused for what it is, is refused again; what failed for want of time or room may be tried again.
    """
    gateway: Gateway = request.app.state.gateway
    key = key_of(request, required=gateway.settings.require_idempotency_key)
    if key is None:
        return (await answer()).response
    fingerprint = await run_in_threadpool(_fingerprint, request, upload)
    locked_until = datetime.now(UTC) + timedelta(seconds=gateway.settings.max_wait + ANSWERING_SECONDS)
    claim = Claim(sender.key_id, key, fingerprint, locked_until)
    lifetime = timedelta(hours=gateway.settings.idempotency_hours)
    known = await run_in_threadpool(_claim, gateway.store, claim, lifetime)
    if known is not None:
        return _replay(claim, known)
    try:
        reply = await _answer_or_refusal(request, answer)
        await run_in_threadpool(_keep, gateway.store, claim, reply)
    except BaseException:
        with anyio.CancelScope(shield=True):  # the sender may have hung up, and will come again
            await run_in_threadpool(_release, gateway.store, claim)
        raise
    return reply.response


def _fingerprint(request: Request, upload: bytes) -> str:
    """SHA-256 of what is asked for: the file and what is stated beside it, however the body was wrapped."""
    asked = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    asked.update(upload)
    return asked.hexdigest()


def _claim(store: Store, claim: Claim, lifetime: timedelta) -> KeptAnswer | None:
    for _ in range(2):
        try:
            with store.writing() as connection:
                return answers.claim(connection, claim, lifetime)
        except IntegrityError:  # another gateway claimed the same key at this moment: now it is known
            continue
    raise IdempotencyKeyInUse("many requests come with this key at the same time")


def _replay(claim: Claim, known: KeptAnswer) -> Response:
    if known.fingerprint != claim.fingerprint:
        raise IdempotencyKeyReused("the key came with another ECG, or with other parameters")
    if known.status is None or known.body is None:
        raise IdempotencyKeyInUse("the first request with this key has no answer yet")
    return Response(known.body, known.status, known.headers)


async def _answer_or_refusal(request: Request, answer: Callable[[], Awaitable[Reply]]) -> Reply:
    try:
        return await answer()
    except EcgError as error:
        return Reply(respond(request, error), None)


def _keep(store: Store, claim: Claim, reply: Reply) -> None:
    """Keep an answer, unless what it quotes was forgotten while it was made."""
    response = reply.response
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    try:
        with store.writing() as connection:
            answers.keep(connection, claim, response.status_code, headers, bytes(response.body), reply.study_id)
    except IntegrityError:
        _release(store, claim)


def _release(store: Store, claim: Claim) -> None:
    with store.writing() as connection:
        answers.release(connection, claim)
