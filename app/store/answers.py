"""Kept answers: what requests with an idempotency key were answered, so that they are answered alike again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, select, tuple_

from app.store.tables import kept_answers as answers


class Claim(NamedTuple):
    """A request by its idempotency key, which belongs to one API key, and the SHA-256 of what it asks for.

    It is whoever answers it until `locked_until`; who takes it over has another, and the first one's ends nothing.
    """

    api_key_id: str
    key: str
    fingerprint: str
    locked_until: datetime


class KeptAnswer(NamedTuple):
    """What is known of a claim: its answer, if it has one, else that it is being answered."""

    fingerprint: str
    status: int | None
    headers: dict[str, str] | None
    body: bytes | None


def claim(connection: Connection, claimed: Claim, lifetime: timedelta) -> KeptAnswer | None:
    """None if the caller is to answer this request; else what is known of the one with the same key.

    A request that is still without an answer when its lock ends was lost with its gateway, and may be answered anew.

    Raises
    ------
    sqlalchemy.exc.IntegrityError
        If another request claims the same key at this moment.
    """
    now = datetime.now(UTC)
    connection.execute(answers.delete().where(_is(claimed), answers.c.expires_at <= now))
    columns = (answers.c.fingerprint, answers.c.status, answers.c.headers, answers.c.body)
    row = connection.execute(select(*columns, answers.c.locked_until).where(_is(claimed))).one_or_none()
    if row is None:
        connection.execute(
            answers.insert().values(
                api_key_id=claimed.api_key_id,
                idempotency_key=claimed.key,
                fingerprint=claimed.fingerprint,
                locked_until=claimed.locked_until,
                expires_at=now + lifetime,
            )
        )
        return None
    *known, locked_until = row
    found = KeptAnswer(*known)
    if found.status is not None or locked_until > now or found.fingerprint != claimed.fingerprint:
        return found
    lost = _is(claimed) & (answers.c.locked_until == locked_until)
    taken = connection.execute(answers.update().where(lost).values(locked_until=claimed.locked_until))
    return None if taken.rowcount == 1 else found


def keep(
    connection: Connection,
    claimed: Claim,
    status: int,
    headers: dict[str, str],
    body: bytes,
    study_id: str | None = None,
) -> None:
    """Keep the answer to a claim, unless another request took it over; the study that it quotes is forgotten with it.

    Raises
    ------
    sqlalchemy.exc.IntegrityError
        If the study was forgotten by now.
    """
    told = {"status": status, "headers": headers, "body": body, "study_id": study_id}
    connection.execute(answers.update().where(_held(claimed)).values(told))


def release(connection: Connection, claimed: Claim) -> None:
    """Forget a claim that came to no answer, unless another request took it over: the request may come again."""
    connection.execute(answers.delete().where(_held(claimed), answers.c.status.is_(None)))


def forget_expired(connection: Connection, limit: int = 1000) -> int:
    """Delete answers that are kept no longer; how many."""
    key = (answers.c.api_key_id, answers.c.idempotency_key)
    expired = select(*key).where(answers.c.expires_at <= datetime.now(UTC)).limit(limit)
    return connection.execute(
        answers.delete().where(tuple_(*key).in_(expired.with_for_update(skip_locked=True)))
    ).rowcount


def _is(claimed: Claim) -> ColumnElement[bool]:
    return and_(answers.c.api_key_id == claimed.api_key_id, answers.c.idempotency_key == claimed.key)


def _held(claimed: Claim) -> ColumnElement[bool]:
    return _is(claimed) & (answers.c.locked_until == claimed.locked_until)
