"""Webhooks in the store: who wants to be told of answered ECGs, and what each is still to be told."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from app.store.tables import deliveries, webhooks
from models.report import Status

SECRET_MARK = "whsec_"  # noqa: S105  # what every secret begins with
SECRET_BYTES = 24
"""Standard Webhooks, "Signature scheme": secrets are 24 to 64 random bytes in base64 behind this mark."""


class Webhook(NamedTuple):
    """A subscription, with how much it is still to be told (`pending`) and will not be told any more (`dead`)."""

    id: str
    url: str
    created_at: datetime
    pending: int
    dead: int


class Delivery(NamedTuple):
    """One thing that one webhook is to be told now."""

    webhook_id: str
    url: str
    secret: str
    sequence: int
    at: datetime
    study_id: str
    status: Status
    attempts: int


def add(connection: Connection, url: str) -> tuple[str, str]:
    """Subscribe a URL to what happens from now on; its id and its secret, which is not shown again."""
    webhook_id = uuid.uuid4().hex
    secret = SECRET_MARK + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    connection.execute(webhooks.insert().values(id=webhook_id, url=url, secret=secret, created_at=datetime.now(UTC)))
    return webhook_id, secret


def remove(connection: Connection, webhook_id: str) -> bool:
    """End a subscription and forget what it was to be told; False if there is none by this id."""
    connection.execute(select(webhooks.c.id).where(webhooks.c.id == webhook_id).with_for_update())
    connection.execute(deliveries.delete().where(deliveries.c.webhook_id == webhook_id))
    found = connection.execute(
        webhooks.update()
        .where(webhooks.c.id == webhook_id, webhooks.c.removed_at.is_(None))
        .values(removed_at=datetime.now(UTC), secret="")
    )
    return found.rowcount == 1


def listed(connection: Connection) -> Sequence[Webhook]:
    """All subscriptions, oldest first."""
    columns = (webhooks.c.id, webhooks.c.url, webhooks.c.created_at)
    rows = connection.execute(
        select(
            *columns,
            func.count(deliveries.c.due_at),
            func.sum(case((deliveries.c.sequence.is_not(None) & deliveries.c.due_at.is_(None), 1), else_=0)),
        )
        .outerjoin(deliveries, deliveries.c.webhook_id == webhooks.c.id)
        .where(webhooks.c.removed_at.is_(None))
        .group_by(*columns)
        .order_by(webhooks.c.created_at)
    )
    return [Webhook(*row) for row in rows]


def take_due(
    connection: Connection,
    lease: timedelta,
    *,
    each: int = 32,
    limit: int = 32,
    in_hand: Mapping[str, int] = MappingProxyType({}),
) -> Sequence[Delivery]:
    """What is due now; each becomes due again after the lease, should nobody say how it went.

    Parameters
    ----------
    each : int
        Most of one webhook, with those in hand: one that does not answer holds up no other.
    limit : int
        Most of all that are taken; whose come first is left to chance, so that nobody is always last.
    in_hand : mapping of str to int
        How many deliveries of a webhook, by its id, are under way.
    """
    now = datetime.now(UTC)
    subscribed = select(webhooks.c.id).where(webhooks.c.removed_at.is_(None)).order_by(func.random())
    found: list[Delivery] = []
    for webhook_id in connection.scalars(subscribed).all():
        room = min(each - in_hand.get(webhook_id, 0), limit - len(found))
        found += _due_of(connection, webhook_id, now, room) if room > 0 else []
    for delivery in found:
        connection.execute(
            deliveries.update().where(_is(delivery)).values(due_at=now + lease, attempts=delivery.attempts + 1)
        )
    return found


def _due_of(connection: Connection, webhook_id: str, now: datetime, limit: int) -> Sequence[Delivery]:
    """What is due to one webhook, oldest first."""
    rows = connection.execute(
        select(
            webhooks.c.id,
            webhooks.c.url,
            webhooks.c.secret,
            deliveries.c.sequence,
            deliveries.c.at,
            deliveries.c.study_id,
            deliveries.c.status,
            deliveries.c.attempts,
        )
        .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
        .where(deliveries.c.webhook_id == webhook_id, deliveries.c.due_at <= now)
        .order_by(deliveries.c.due_at)
        .limit(limit)
        .with_for_update(of=deliveries, skip_locked=True)  # several gateways share one PostgreSQL
    )
    return [Delivery(*row) for row in rows]


def delivered(connection: Connection, delivery: Delivery) -> None:
    """It was told: nothing more is due."""
    connection.execute(deliveries.delete().where(_is(delivery)))


def undelivered(connection: Connection, delivery: Delivery, reason: str, pause: timedelta | None) -> None:
    """It was not told: it is due again after a pause, or a dead letter where there is none."""
    due_at = None if pause is None else datetime.now(UTC) + pause
    connection.execute(deliveries.update().where(_is(delivery)).values(due_at=due_at, reason=reason[:128]))


def revive(connection: Connection, webhook_id: str) -> int:
    """Make the dead letters of a webhook due again; how many."""
    dead = deliveries.c.due_at.is_(None) & (deliveries.c.webhook_id == webhook_id)
    return connection.execute(deliveries.update().where(dead).values(due_at=datetime.now(UTC), attempts=0)).rowcount


def _is(delivery: Delivery) -> ColumnElement[bool]:
    return and_(deliveries.c.webhook_id == delivery.webhook_id, deliveries.c.sequence == delivery.sequence)
