"""Webhooks: answered ECGs told to addresses that asked for it, signed, until they say that they heard.

Signed as Standard Webhooks has it (standard-webhooks.md, "Signature scheme"): HMAC-SHA256 over id, timestamp and body.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import httpx
import orjson
from fastapi import APIRouter, Body, Depends, Request
from pydantic import BaseModel
from sqlalchemy import Connection

from app.auth import require
from app.events import answered
from app.problems import InvalidRequest, NotFound
from app.settings import Settings
from app.store import Store, StoreUnavailable, webhooks
from app.store.events import Event
from app.store.webhooks import SECRET_MARK, Delivery

if TYPE_CHECKING:
    from app.main import Gateway

log = logging.getLogger("ecg2cmr.webhooks")
router = APIRouter(prefix="/v1/webhooks", tags=["Operations"], dependencies=[Depends(require("admin"))])

LOOK_SECONDS = 0.5
TIMEOUT_SECONDS = 15.0  # Standard Webhooks, "Deliverability": 15 to 30 s
LEASE = timedelta(seconds=120)
"""Beyond the longest that a delivery takes, with looking up its host: then another gateway may try."""

AT_ONCE = 32
EACH = 4
"""Deliveries to one webhook at once, of all that are under way: so many in 15 s are told to one that never answers."""

MAX_PAUSE = timedelta(hours=24)


class AddressRefused(Exception):
    """A webhook's address is none to which we send; the message says why."""


class Target(BaseModel):
    """Where a webhook leads: an address that the outside world may be told of, by https."""

    url: Annotated[str, Body(max_length=2048)]


def address_of(url: str, *, private: bool) -> tuple[httpx.URL, str]:
    """A webhook's URL, and the IP address that is called for it: checked and called are the same.

    Raises
    ------
    AddressRefused
        If it is no https URL of a public address; with `private` any http address will do.
    """
    try:
        parsed = httpx.URL(url)
        port = parsed.port or {"https": 443, "http": 80}[parsed.scheme]
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(parsed.host, port, type=socket.SOCK_STREAM)]
    except (httpx.InvalidURL, KeyError, UnicodeError) as error:
        raise AddressRefused("the address is no URL of http or https") from error
    except OSError as error:
        raise AddressRefused("the host of the address is not known") from error
    if parsed.userinfo:
        raise AddressRefused("the address holds a password: the signature says who sends")
    if not private and parsed.scheme != "https":
        raise AddressRefused("the address is not https")
    if not private and not all(_is_public(address) for address in found):
        raise AddressRefused("the address is private (ECG2CMR_WEBHOOK_PRIVATE allows it)")
    return parsed, found[0]  # the system lists first what it can reach (RFC 6724)


def _is_public(address: str) -> bool:
    """Of one machine of the outside world; the addresses of groups count as global."""
    parsed = ipaddress.ip_address(address)
    return parsed.is_global and not parsed.is_multicast


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`."""
    key = base64.b64decode(secret.removeprefix(SECRET_MARK))
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Courier(threading.Thread):
    """Delivers what is due to webhooks, again and again after growing pauses; none waits for the answer of another."""

    def __init__(self, store: Store, settings: Settings, timeout: float = TIMEOUT_SECONDS) -> None:
        super().__init__(name="courier", daemon=True)
        self._store = store
        self._settings = settings
        self._timeout = timeout
        self._stopping = threading.Event()
        self._tls = httpx.create_ssl_context(trust_env=False)

    def stop(self) -> None:
        """Finish the deliveries in hand and end."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Deliver until stopped."""
        under_way: dict[Future[None], str] = {}
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="courier") as pool:
            while not self._stopping.is_set():
                for delivery in self._take(Counter(under_way.values())):
                    under_way[pool.submit(self._deliver, delivery)] = delivery.webhook_id
                if not under_way:
                    self._stopping.wait(LOOK_SECONDS)
                for ended in wait(under_way, LOOK_SECONDS, FIRST_COMPLETED).done:
                    del under_way[ended]
                    ended.result()  # a bug ends this thread

    def _take(self, in_hand: Counter[str]) -> Sequence[Delivery]:
        free = AT_ONCE - in_hand.total()
        try:
            with self._store.writing() as connection:
                return webhooks.take_due(connection, LEASE, each=EACH, limit=free, in_hand=in_hand)
        except StoreUnavailable as error:
            log.warning("the store does not answer: %s", error)
            return []

    def _deliver(self, delivery: Delivery) -> None:
        reason = self._attempt(delivery)
        try:
            with self._store.writing() as connection:
                self._write_down(connection, delivery, reason)
        except StoreUnavailable as error:
            log.warning("how a delivery went cannot be written down, it is due after its lease: %s", error)

    def _write_down(self, connection: Connection, delivery: Delivery, reason: str | None) -> None:
        if reason is None:
            webhooks.delivered(connection, delivery)
        elif reason == str(int(HTTPStatus.GONE)):  # Standard Webhooks, "Deliverability": it wants no more
            webhooks.remove(connection, delivery.webhook_id)
        else:
            webhooks.undelivered(connection, delivery, reason, self._pause(delivery.attempts + 1))

    def _attempt(self, delivery: Delivery) -> str | None:
        """Why the webhook did not hear it, or None if it did."""
        try:
            url, address = address_of(delivery.url, private=self._settings.webhook_private)
            return asyncio.run(self._post(delivery, url, address))
        except AddressRefused as error:
            return str(error)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            return type(error).__name__

    async def _post(self, delivery: Delivery, url: httpx.URL, address: str) -> str | None:
        body, message_id, now = message(delivery), f"evt_{delivery.sequence}", int(time.time())
        headers = {
            "Host": url.netloc.decode(),
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(delivery.secret, message_id, now, body),
        }
        called = url.copy_with(host=address)
        named = {"sni_hostname": url.host}  # the certificate is that of the name, not of the address
        async with (
            asyncio.timeout(self._timeout),  # of all of it; that of httpx is of each step, hence asyncio
            httpx.AsyncClient(verify=self._tls, timeout=self._timeout, trust_env=False) as client,
            client.stream("POST", called, content=body, headers=headers, extensions=named) as response,
        ):
            return None if response.is_success else str(response.status_code)  # whatever it says is not read

    def _pause(self, attempts: int) -> timedelta | None:
        """How long until the next attempt; None after the last."""
        if attempts >= self._settings.webhook_attempts:
            return None
        return min(timedelta(seconds=self._settings.webhook_pause * 4 ** (attempts - 1)), MAX_PAUSE)


def message(delivery: Delivery) -> bytes:
    """What is sent: which ECG was answered, and where to read it with a key; nothing of the patient."""
    event = Event(delivery.sequence, delivery.at, delivery.study_id, delivery.status)
    told = answered(event)
    return orjson.dumps({"type": f"ecg.{told.status}", "timestamp": told.at, "data": told.model_dump()})


class Subscribed(BaseModel):
    """A new webhook; its secret is shown this once."""

    id: str
    url: str
    secret: str


class Subscription(BaseModel):
    """A webhook, with how many events it is still to be told and how many are dead letters."""

    id: str
    url: str
    created_at: datetime
    pending: int
    dead: int


class Revived(BaseModel):
    """How many dead letters will be tried again."""

    revived: int


@router.post("", status_code=201, summary="Add a webhook")
def add(request: Request, target: Target) -> Subscribed:
    """Have each answered ECG told to an address from now on."""
    gateway: Gateway = request.app.state.gateway
    try:
        address_of(target.url, private=gateway.settings.webhook_private)
    except AddressRefused as error:
        raise InvalidRequest(str(error)) from error
    with gateway.store.writing() as connection:
        webhook_id, secret = webhooks.add(connection, target.url)
    return Subscribed(id=webhook_id, url=target.url, secret=secret)


@router.get("", summary="List webhooks")
def listed(request: Request) -> list[Subscription]:
    """All webhooks, oldest first."""
    gateway: Gateway = request.app.state.gateway
    with gateway.store.reading() as connection:
        return [Subscription(**webhook._asdict()) for webhook in webhooks.listed(connection)]


@router.delete("/{webhook_id}", status_code=204, summary="Remove a webhook")
def remove(request: Request, webhook_id: str) -> None:
    """Tell an address no more, of what is pending neither."""
    gateway: Gateway = request.app.state.gateway
    with gateway.store.writing() as connection:
        if not webhooks.remove(connection, webhook_id):
            raise NotFound("there is no webhook by this id")


@router.post("/{webhook_id}:retry", summary="Try dead letters again")
def retry(request: Request, webhook_id: str) -> Revived:
    """Make the dead letters of a webhook due again, as if new."""
    gateway: Gateway = request.app.state.gateway
    with gateway.store.writing() as connection:
        return Revived(revived=webhooks.revive(connection, webhook_id))
