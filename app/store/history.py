"""Which model was served since when: appended to, never changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from app.store.tables import model_history
from models.report import ModelIdentity


class Served(NamedTuple):
    """A model and the moment from which it was served."""

    at: datetime
    model: ModelIdentity


def append(connection: Connection, model: ModelIdentity) -> None:
    """Note that a model is served from now on, unless it already is."""
    last = connection.scalar(select(model_history.c.digest).order_by(model_history.c.sequence.desc()).limit(1))
    if last != model.digest:
        connection.execute(
            model_history.insert().values(
                at=datetime.now(UTC), name=model.name, version=model.version, digest=model.digest
            )
        )


def all_served(connection: Connection) -> list[Served]:
    """The whole history, oldest first."""
    rows = connection.execute(select(model_history).order_by(model_history.c.sequence))
    return [Served(r.at, ModelIdentity(name=r.name, version=r.version, digest=r.digest)) for r in rows]
