"""Events: each ECG that was answered, in the order of the answers; and the deliveries to webhooks that follow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, literal, select, tuple_

from app.store.tables import deliveries, events, webhooks
from models.report import Status

SETTLING = timedelta(seconds=5)
"""How long a transaction that took a number may still be under way; ours take milliseconds."""

PAGE = 200
"""Events that are read at a time."""

RATE_OVER = 100
"""Answers over which the service rate is measured: its error is a tenth if they come at random."""


class Event(NamedTuple):
    """That an ECG was answered: `status` is done, rejected or failed."""

    sequence: int
    at: datetime
    study_id: str
    status: Status


_APPEND = events.insert().returning(events.c.sequence)

_TOLD = {
    **{name: bindparam(name, type_=events.c[name].type) for name in ("sequence", "at", "study_id", "status")},
    "webhook_id": webhooks.c.id,
    "attempts": literal(0),
    "due_at": bindparam("at", type_=events.c.at.type),
}
_DELIVER = insert(deliveries).from_select(
    [*_TOLD],
    # Whoever removes a webhook waits for us or we for them: nothing is left to be told to one that is removed.
    select(*_TOLD.values()).where(webhooks.c.removed_at.is_(None)).with_for_update(read=True, key_share=True),
)


def append(connection: Connection, study_id: str, status: Status) -> None:
    """Write down that an ECG was answered, and that every webhook is to be told, in the caller's transaction."""
    event = {"at": datetime.now(UTC), "study_id": study_id, "status": status}
    sequence = connection.execute(_APPEND, event).scalar_one()
    connection.execute(_DELIVER, {"sequence": sequence, **event})


def last(connection: Connection) -> int:
    """The number of the newest event, 0 without any."""
    return connection.scalar(select(func.max(events.c.sequence))) or 0


def after(connection: Connection, sequence: int, limit: int = PAGE) -> Sequence[Event]:
    """The events that follow one, oldest first, none of which can be preceded by one that is yet to appear.

    Numbers are given when a row is written, but rows appear when their transactions commit, which may be in another
    order (PostgreSQL). Where a number is missing, what follows is held back until the gap can no longer be filled.
    """
    query = select(events.c.sequence, events.c.at, events.c.study_id, events.c.status)
    rows = connection.execute(query.where(events.c.sequence > sequence).order_by(events.c.sequence).limit(limit))
    settled = datetime.now(UTC) - SETTLING
    found: list[Event] = []
    for event in (Event(*row) for row in rows):
        if event.sequence != sequence + 1 and event.at > settled:
            break
        found.append(event)
        sequence = event.sequence
    return found


def rate(connection: Connection) -> float | None:
    """Answers a second, over the newest hundred and the time since; None before the first."""
    newest = select(events.c.at).order_by(events.c.sequence.desc()).limit(RATE_OVER).subquery()
    count, oldest = connection.execute(select(func.count(), func.min(newest.c.at))).one()
    if not count:
        return None
    seconds = (datetime.now(UTC) - oldest).total_seconds()
    return float(count / max(seconds, 1e-3))


def forget(connection: Connection, older_than: datetime, limit: int = 1000) -> int:
    """Delete old events and webhooks' old dead letters, how many; what is due to webhooks stays due."""
    dead = select(deliveries.c.sequence, deliveries.c.webhook_id).where(
        deliveries.c.due_at.is_(None), deliveries.c.at < older_than
    )
    old = select(events.c.sequence).where(events.c.at < older_than)
    found = [each.limit(limit).with_for_update(skip_locked=True) for each in (old, dead)]
    forgotten = connection.execute(events.delete().where(events.c.sequence.in_(found[0])))
    undelivered = tuple_(deliveries.c.sequence, deliveries.c.webhook_id)
    buried = connection.execute(deliveries.delete().where(undelivered.in_(found[1])))
    return forgotten.rowcount + buried.rowcount
