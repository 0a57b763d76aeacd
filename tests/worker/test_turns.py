"""Messages side by side, and the one that must be alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from models.report import Asked
from worker.turns import Turns

FRESH = [Asked("a", "d", 1), Asked("b", "d", 1)]
AGAIN = [Asked("c", "d", 2), Asked("d", "d", 2)]
SUSPECT = [Asked("e", "d", 2)]


def test_messages_are_worked_on_side_by_side() -> None:
    turns, both = Turns(2), threading.Barrier(2, timeout=30)

    def work(asked: list[Asked]) -> int:
        with turns.taken(asked):
            return both.wait()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(work, [FRESH, AGAIN])) == [0, 1]


def test_one_that_is_asked_again_alone_has_the_process_for_itself() -> None:
    turns, lock, now, seen = Turns(3), threading.Lock(), list[str](), list[list[str]]()

    def work(asked: list[Asked]) -> None:
        with turns.taken(asked):
            with lock:
                now.append(asked[0].job_id)
                seen.append(list(now))
            with lock:
                now.remove(asked[0].job_id)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, [FRESH, SUSPECT, AGAIN] * 200))
    assert len(seen) == 600
    assert all(company == ["e"] for company in seen if "e" in company)
