"""Coalescing: which jobs share a message to a worker. There is no timer: a lone ECG never waits for company.

While few messages are unanswered every job leaves at once. Beyond that jobs gather until an answer comes back or a
message is full, because a message costs Celery the same whatever it carries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from app.store.outbox import Due


class Lane(NamedTuple):
    """What the jobs of one message have in common."""

    priority: int
    model_digest: str
    suspect: str | None


@dataclass(kw_only=True)
class Coalescer:
    """Jobs that wait for a message, and messages that wait for an answer; for one thread.

    Attributes
    ----------
    messages : int
        Unanswered messages below which a job leaves at once: enough to keep a worker of two cores busy while the next
        is on its way (`benchmarks/serving.py`).
    full : int
        Jobs of a full message.
    patience : float
        Seconds after which a message no longer counts as unanswered: its answer may be lost.
    """

    messages: int = 4
    full: int = 8
    patience: float = 1.0
    _waiting: dict[Lane, list[Due]] = field(default_factory=lambda: defaultdict(list))  # by lane
    _unanswered: dict[frozenset[str], float] = field(default_factory=dict)  # job ids -> when the message left

    def add(self, job: Due) -> None:
        """A job that is to be sent."""
        self._waiting[_lane(job)].append(job)

    def answered(self, job_ids: Collection[str]) -> None:
        """These jobs were answered; a worker answers all jobs of a message at once."""
        gone = [message for message in self._unanswered if not message.isdisjoint(job_ids)]
        for message in gone:
            del self._unanswered[message]

    def ready(self, now: float) -> Iterator[list[Due]]:
        """The messages that are to be sent now, each of one lane, the most urgent first."""
        self._unanswered = {jobs: left for jobs, left in self._unanswered.items() if now - left < self.patience}
        for lane in sorted(self._waiting, key=lambda lane: lane.priority):
            while self._may_leave(lane):
                waiting = self._waiting[lane]
                message, self._waiting[lane] = waiting[: self.full], waiting[self.full :]
                self._unanswered[frozenset(job.job_id for job in message)] = now
                yield message
            if not self._waiting[lane]:
                del self._waiting[lane]

    def _may_leave(self, lane: Lane) -> bool:
        waiting = len(self._waiting[lane])
        return waiting >= self.full or (waiting > 0 and len(self._unanswered) < self.messages)

    def pause(self, now: float) -> float | None:
        """Seconds after which to look again though nothing happened; None if nobody waits."""
        if not any(self._waiting.values()):
            return None
        return max(min(self._unanswered.values(), default=now) + self.patience - now, 0.0)

    def abandon(self) -> list[Due]:
        """Everything that waits: it is forgotten here, and the store asks again."""
        waiting = [job for jobs in self._waiting.values() for job in jobs]
        self._waiting.clear()
        return waiting


def _lane(job: Due) -> Lane:
    """Jobs of one lane may share a message; what may have ended a worker has one for itself."""
    return Lane(job.priority, job.model_digest, job.job_id if job.suspect else None)
