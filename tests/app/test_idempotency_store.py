"""One claim an idempotency key, whoever comes first, and one answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import IntegrityError

from app.store import Store, answers
from app.store.answers import Claim, KeptAnswer

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
CLAIM = Claim("k" * 32, "one", "f" * 64, datetime.now(UTC) + DAY)
LOST = CLAIM._replace(locked_until=datetime.now(UTC) - MINUTE)
"""That of a gateway which is gone, or takes longer than its lock."""


def claim(store: Store, claimed: Claim = CLAIM, lifetime: timedelta = DAY) -> KeptAnswer | None:
    with store.writing() as connection:
        return answers.claim(connection, claimed, lifetime)


def keep(store: Store, claimed: Claim = CLAIM, body: bytes = b"{}") -> None:
    with store.writing() as connection:
        answers.keep(connection, claimed, 202, {"location": "/v1/ecgs/1"}, body)


def release(store: Store, claimed: Claim = CLAIM) -> None:
    with store.writing() as connection:
        answers.release(connection, claimed)


def test_a_key_is_claimed_once_and_then_has_its_answer(store: Store) -> None:
    assert claim(store) is None
    waiting = claim(store)
    assert waiting is not None
    assert waiting.status is None
    keep(store)
    assert claim(store) == KeptAnswer("f" * 64, 202, {"location": "/v1/ecgs/1"}, b"{}")


def test_a_key_belongs_to_one_api_key_and_knows_its_request(store: Store) -> None:
    assert claim(store) is None
    assert claim(store, CLAIM._replace(api_key_id="l" * 32)) is None
    other = claim(store, CLAIM._replace(fingerprint="0" * 64))
    assert other is not None
    assert other.fingerprint == "f" * 64


def test_a_claim_that_was_lost_with_its_gateway_is_taken_over_by_the_same_request_only(store: Store) -> None:
    assert claim(store, LOST) is None
    assert claim(store, CLAIM._replace(fingerprint="0" * 64)) is not None
    assert claim(store) is None
    assert claim(store) is not None, "it is under way again"


def test_who_outlived_its_lock_neither_ends_nor_answers_the_claim_of_its_successor(store: Store) -> None:
    assert claim(store, LOST) is None
    assert claim(store) is None
    release(store, LOST)
    keep(store, LOST, b"late")
    under_way = claim(store)
    assert under_way is not None, "it is the successor's"
    assert under_way.status is None
    keep(store)
    keep(store, LOST, b"late")
    assert claim(store) == KeptAnswer("f" * 64, 202, {"location": "/v1/ecgs/1"}, b"{}")


def test_who_outlived_its_lock_and_has_no_successor_answers_all_the_same(store: Store) -> None:
    assert claim(store, LOST) is None
    keep(store, LOST)
    assert claim(store) == KeptAnswer("f" * 64, 202, {"location": "/v1/ecgs/1"}, b"{}")


def test_an_answer_expires_and_a_released_claim_is_free(store: Store) -> None:
    assert claim(store, lifetime=-MINUTE) is None
    assert claim(store) is None, "it has expired"
    release(store)
    assert claim(store) is None
    keep(store)
    release(store)
    assert claim(store) is not None, "an answer is kept"


def test_of_many_at_once_one_has_the_claim(store: Store) -> None:
    def attempt(_: int) -> bool:
        try:
            return claim(store) is None
        except IntegrityError:  # another one had it first
            return False

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(64))) == 1
