"""API keys in the store: only the SHA-256 of a key is kept, so that a stolen database opens nothing."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, get_args

from sqlalchemy import Connection, bindparam, select

from app.store.tables import api_keys

Scope = Literal["ecgs:read", "ecgs:write", "models:read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


_FIND = select(api_keys.c.id, api_keys.c.name, api_keys.c.scopes, api_keys.c.expires_at, api_keys.c.revoked_at).where(
    api_keys.c.key_hash == bindparam("hash")
)


class Principal(NamedTuple):
    """Whoever presented a valid key."""

    key_id: str
    name: str
    scopes: frozenset[str]


def _hash(key: str) -> str:
    # Keys we make hold 256 random bits, which no dictionary contains: a fast hash is enough (OWASP, Password Storage
    # Cheat Sheet, distinguishes chosen passwords from random tokens).
    return hashlib.sha256(key.encode()).hexdigest()


def create(
    connection: Connection,
    *,
    name: str,
    scopes: Sequence[Scope],
    key: str | None = None,
    lifetime: timedelta | None = None,
) -> str:
    """Store a key (a new random one unless given) and return it: this is the only time it can be read."""
    key = key or f"ecg2cmr_{secrets.token_urlsafe(32)}"
    now = datetime.now(UTC)
    connection.execute(
        api_keys.insert().values(
            id=uuid.uuid4().hex,
            name=name,
            key_hash=_hash(key),
            scopes=list(scopes),
            created_at=now,
            expires_at=now + lifetime if lifetime else None,
        )
    )
    return key


def find(connection: Connection, key: str) -> Principal | None:
    """Whom a key belongs to; None if it is unknown, revoked or expired."""
    row = connection.execute(_FIND, {"hash": _hash(key)}).one_or_none()
    if row is None or row.revoked_at is not None:
        return None
    if row.expires_at is not None and row.expires_at <= datetime.now(UTC):
        return None
    return Principal(row.id, row.name, frozenset(row.scopes))


def forget_expired(connection: Connection) -> None:
    """Delete keys that have expired: sessions come and go, and nobody asks for old ones."""
    connection.execute(api_keys.delete().where(api_keys.c.expires_at <= datetime.now(UTC)))


def revoke(connection: Connection, key_id: str) -> bool:
    """Make a key useless from now on; False if there is none by this id."""
    found = connection.execute(
        api_keys.update()
        .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=datetime.now(UTC))
    )
    return found.rowcount == 1


class KeyRow(NamedTuple):
    """A key as an administrator sees it: never the key itself."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def listed(connection: Connection) -> list[KeyRow]:
    """All keys, oldest first."""
    columns = api_keys.c
    rows = connection.execute(
        select(
            columns.id, columns.name, columns.scopes, columns.created_at, columns.expires_at, columns.revoked_at
        ).order_by(columns.created_at)
    )
    return [KeyRow(*row) for row in rows]


def any_exists(connection: Connection) -> bool:
    """Whether a key was ever made."""
    return connection.execute(select(api_keys.c.id).limit(1)).one_or_none() is not None
