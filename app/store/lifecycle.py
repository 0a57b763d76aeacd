"""Life cycle: the states of a job, in one table of which may follow which; whatever the table does not name is refused.

    received ──▶ queued ──▶ running ──▶ done | rejected | failed
        ▲          │           │                        │
        └──────────┴───────────┴────────────────────────┘   given up, and to be asked again

received : kept in the store, and on no broker that we know of
queued : given to the broker under a lease; nobody has said that it was begun
running : a worker has said that it began, under a lease
done, rejected : the model has answered; nothing follows
failed : with a named reason, as a rule a dead letter; it starts anew only when somebody asks for it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from sqlalchemy import Connection, bindparam

from app.store.tables import jobs
from models.report import Status

State = Literal["received", "queued", "running", "done", "rejected", "failed"]
STATES: tuple[State, ...] = get_args(State)

FOLLOWS: Mapping[State, frozenset[State]] = {
    # An answer may come after the lease ended: reading is a pure function of ECG and model, so it is as good as any.
    "received": frozenset({"queued", "done", "rejected", "failed"}),
    "queued": frozenset({"received", "queued", "running", "done", "rejected", "failed"}),
    "running": frozenset({"received", "queued", "done", "rejected", "failed"}),
    "done": frozenset(),
    "rejected": frozenset(),
    "failed": frozenset({"received"}),
}

UNFINISHED: tuple[State, ...] = ("received", "queued", "running")
"""States in which a job has an outbox row, and is asked until it leaves them."""

Reason = Literal["worker-failure", "worker-lost", "recording-lost", "model-withdrawn"]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""Why a job failed: its last attempt raised, or was never heard of again; or the store has lost what was to be read; or
its model is served no more."""

WITHDRAWN: Reason = "model-withdrawn"
"""The one reason that is no dead letter: another model was asked to read the ECG (`app.store.withdrawal`)."""


_MOVE = jobs.update().where(jobs.c.id == bindparam("job_id"), jobs.c.status == bindparam("before"))


class IllegalTransition(Exception):
    """A bug of ours: a job was to go from one state to another that may not follow it."""


def move(connection: Connection, job_id: str, before: State, after: State, **changes: object) -> bool:
    """Move a job to another state, with other columns of its row; False if it is not in the state before any more.

    Raises
    ------
    IllegalTransition
        If `after` may not follow `before`.
    """
    _check(before, after)
    moved = connection.execute(_MOVE, {"job_id": job_id, "before": before, "status": after, **changes})
    return moved.rowcount == 1


def return_to_store(connection: Connection, job_ids: Sequence[str] | None) -> None:
    """Jobs that were given to a broker, or all that were, are with us alone again."""
    given: tuple[State, ...] = ("queued", "running")
    for before in given:
        _check(before, "received")
    query = jobs.update().where(jobs.c.status.in_(given)).values(status="received")
    connection.execute(query if job_ids is None else query.where(jobs.c.id.in_(job_ids)))


def _check(before: State, after: State) -> None:
    if after not in FOLLOWS[before]:
        raise IllegalTransition(f"a job that is {before} cannot be {after}")


def shown(state: State | None) -> Status:
    """A state as senders see it: until there is an answer, they wait."""
    match state:
        case "done" | "rejected" | "failed":
            return state
        case _:
            return "queued"
