"""In flight: the recordings that lie in Redis for jobs that nobody has answered, and for which jobs there is room.

What finds no room stays in the store. Redis holds a bounded part of the queue, however long it grows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from app.store.outbox import PRIORITIES

SHARES: Mapping[int, float] = {
    PRIORITIES["stat"]: float("inf"),
    PRIORITIES["routine"]: 0.9,
    PRIORITIES["backfill"]: 0.5,
}
"""How full it may be for a job to be sent: what is urgent always is, and an archive leaves room for the ward."""

ROOM_AGAIN = 0.75
"""How much of that may be left when jobs are fetched from the store: so many at once that looking is worth it."""


@dataclass(kw_only=True)
class InFlight:
    """Of one gateway, for one thread.

    Attributes
    ----------
    bound : int
        Bytes of all recordings together.
    lifetime : float
        Seconds after which Redis itself forgets a recording.
    """

    bound: int
    lifetime: float
    _sizes: dict[str, tuple[float, int]] = field(default_factory=dict)  # job -> since when, bytes; the oldest first
    _bytes: int = 0

    def add(self, job_id: str, size: int, now: float) -> None:
        """A job that goes to Redis."""
        self.remove([job_id])
        self._sizes[job_id] = (now, size)
        self._bytes += size

    def remove(self, job_ids: Collection[str]) -> None:
        """Jobs that were answered, or did not get there."""
        for job_id in job_ids:
            _, size = self._sizes.pop(job_id, (0.0, 0))
            self._bytes -= size

    @property
    def job_ids(self) -> list[str]:
        """The jobs that are counted."""
        return list(self._sizes)

    def room(self, priority: int, now: float, share: float = 1.0) -> bool:
        """Whether a job of this priority may be sent; with a `share`, whether there is more room than for one."""
        while self._sizes and now - next(iter(self._sizes.values()))[0] > self.lifetime:
            self.remove([next(iter(self._sizes))])
        return self._bytes < share * SHARES[priority] * self.bound

    def least(self, now: float) -> int:
        """The least urgent priority for which there is room."""
        return max(priority for priority in SHARES if self.room(priority, now))
