"""Which model was served since when: appended to, never changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, Row, select

from app.store.tables import model_history
from models.report import ModelIdentity


class Served(NamedTuple):
    """A model and the moment from which it was served."""

    at: datetime
    model: ModelIdentity


def append(connection: Connection, model: ModelIdentity) -> None:
    """Note that a model is served from now on, unless it already is."""
    last = newest(connection)
    if last is None or last.model.digest != model.digest:
        connection.execute(
            model_history.insert().values(
                at=datetime.now(UTC), name=model.name, version=model.version, digest=model.digest
            )
        )


def all_served(connection: Connection) -> list[Served]:
    """The whole history, oldest first."""
    rows = connection.execute(select(model_history).order_by(model_history.c.sequence))
    return [_served(row) for row in rows]


def newest(connection: Connection) -> Served | None:
    """The model that was noted last; None before the first."""
    row = connection.execute(select(model_history).order_by(model_history.c.sequence.desc()).limit(1)).one_or_none()
    return None if row is None else _served(row)


def named(connection: Connection, digest: str) -> ModelIdentity | None:
    """The model of a digest, if it was ever served."""
    row = connection.execute(select(model_history).where(model_history.c.digest == digest).limit(1)).one_or_none()
    return None if row is None else _served(row).model


def _served(row: Row[tuple[object, ...]]) -> Served:
    return Served(row.at, ModelIdentity(name=row.name, version=row.version, digest=row.digest))
