"""A lone ECG leaves at once; many share messages; nobody is forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.coalescing import Coalescer
from app.store.outbox import Due


def job(number: int, model: str = "m", *, suspect: bool = False, priority: int = 3) -> Due:
    return Due(f"j{number}", "e", model, recording=b"", suspect=suspect, priority=priority)


def ids(messages: list[list[Due]]) -> list[list[str]]:
    return [[due.job_id for due in message] for message in messages]


def test_jobs_leave_alone_and_at_once_until_enough_messages_are_unanswered() -> None:
    coalescer, sent = Coalescer(messages=2, full=3), []
    for number in range(4):
        coalescer.add(job(number))
        sent += ids(list(coalescer.ready(0.0)))
    assert sent == [["j0"], ["j1"]]
    assert coalescer.pause(0.0) == coalescer.patience
    coalescer.answered(["j1"])
    assert ids(list(coalescer.ready(0.0))) == [["j2", "j3"]]


def test_a_full_message_leaves_whatever_is_unanswered() -> None:
    coalescer = Coalescer(messages=1, full=3)
    for number in range(8):
        coalescer.add(job(number))
    assert ids(list(coalescer.ready(0.0))) == [["j0", "j1", "j2"], ["j3", "j4", "j5"]]


def test_an_answer_that_is_lost_holds_nobody_for_longer_than_the_patience() -> None:
    coalescer = Coalescer(messages=1, patience=1.0)
    coalescer.add(job(0))
    assert ids(list(coalescer.ready(0.0))) == [["j0"]]
    coalescer.add(job(1))
    assert list(coalescer.ready(0.9)) == []
    assert ids(list(coalescer.ready(1.1))) == [["j1"]]


def test_jobs_of_two_models_never_share_a_message() -> None:
    coalescer = Coalescer(messages=1, full=2)
    for number, model in enumerate("abab"):
        coalescer.add(job(number, model))
    assert ids(list(coalescer.ready(0.0))) == [["j0", "j2"], ["j1", "j3"]]


def test_the_urgent_leave_first_and_share_no_message_with_others() -> None:
    coalescer = Coalescer(messages=2, full=8)
    for number, priority in enumerate((9, 3, 0, 3, 0)):
        coalescer.add(job(number, priority=priority))
    assert ids(list(coalescer.ready(0.0))) == [["j2", "j4"], ["j1", "j3"]]
    coalescer.answered(["j2"])
    assert ids(list(coalescer.ready(0.0))) == [["j0"]]


def test_what_may_have_ended_a_worker_travels_alone() -> None:
    coalescer = Coalescer(messages=9, full=8)
    for number in range(5):
        coalescer.add(job(number, suspect=number in (1, 3)))
    assert ids(list(coalescer.ready(0.0))) == [["j0", "j2", "j4"], ["j1"], ["j3"]]


@given(st.lists(st.one_of(st.just("new"), st.integers(0, 30), st.floats(0, 2))))
def test_every_job_leaves_once_and_in_order(events: list[str | int | float]) -> None:
    coalescer, now, made, left = Coalescer(messages=2, full=3), 0.0, 0, list[str]()
    for event in events:
        if event == "new":
            coalescer.add(job(made))
            made += 1
        elif isinstance(event, int):
            coalescer.answered([f"j{event}"])
        else:
            now += float(event)
        left += [due.job_id for message in coalescer.ready(now) for due in message]
    left += [due.job_id for due in coalescer.abandon()]
    assert left == [f"j{number}" for number in range(made)]
    assert coalescer.pause(now) is None
