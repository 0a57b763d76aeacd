"""What lies in Redis is bounded, what is urgent goes first, and what is lost is not counted for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.in_flight import SHARES, InFlight

STAT, ROUTINE, BACKFILL = sorted(SHARES)


def test_what_was_answered_makes_room_and_what_was_never_there_does_not() -> None:
    flight = InFlight(bound=10, lifetime=30)
    flight.add("a", 8, 0.0)
    assert flight.room(ROUTINE, 0.0)
    flight.add("b", 6, 0.0)
    assert not flight.room(ROUTINE, 0.0)
    flight.remove(["c"])
    assert not flight.room(ROUTINE, 0.0)
    flight.remove(["a", "a"])
    assert flight.room(ROUTINE, 0.0)
    assert not flight.room(ROUTINE, 0.0, share=0.5)


def test_an_archive_leaves_room_for_the_ward_and_what_is_urgent_always_finds_it() -> None:
    flight = InFlight(bound=10, lifetime=30)
    assert flight.least(0.0) == BACKFILL
    flight.add("a", 5, 0.0)
    assert flight.least(0.0) == ROUTINE
    flight.add("b", 5, 0.0)
    assert flight.least(0.0) == STAT


def test_what_was_never_answered_counts_until_redis_forgets_it() -> None:
    flight = InFlight(bound=1, lifetime=30)
    flight.add("a", 6, 0.0)
    flight.add("b", 6, 20.0)
    flight.add("a", 6, 25.0)  # sent again
    assert not flight.room(ROUTINE, 55.0)
    assert flight.room(ROUTINE, 56.0)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.booleans())))
def test_its_bytes_are_those_of_the_jobs_it_holds(steps: list[tuple[str, int, bool]]) -> None:
    flight, held = InFlight(bound=4, lifetime=1e9), dict[str, int]()
    for job_id, size, answered in steps:
        if answered:
            flight.remove([job_id])
            held.pop(job_id, None)
        else:
            flight.add(job_id, size, 0.0)
            held[job_id] = size
        assert flight.room(BACKFILL, 0.0) == (sum(held.values()) < 2)
        assert sorted(flight.job_ids) == sorted(held)
