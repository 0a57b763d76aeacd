"""One claim an idempotency key, whoever comes first, and one answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy.exc import IntegrityError

from app.store import Store, answers
from app.store.answers import Claim, KeptAnswer

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
CLAIM = Claim("k" * 32, "one", "f" * 64)


def claim(
    store: Store, claimed: Claim = CLAIM, lock: timedelta = MINUTE, lifetime: timedelta = DAY
) -> KeptAnswer | None:
    with store.writing() as connection:
        return answers.claim(connection, claimed, lock=lock, lifetime=lifetime)


def keep(store: Store) -> None:
    with store.writing() as connection:
        answers.keep(connection, CLAIM, 202, {"location": "/v1/ecgs/1"}, b"{}")


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
    assert claim(store, lock=-MINUTE) is None
    assert claim(store, CLAIM._replace(fingerprint="0" * 64)) is not None
    assert claim(store) is None
    assert claim(store) is not None, "it is under way again"


def test_an_answer_expires_and_a_released_claim_is_free(store: Store) -> None:
    assert claim(store, lifetime=-MINUTE) is None
    assert claim(store) is None, "it has expired"
    with store.writing() as connection:
        answers.release(connection, CLAIM)
    assert claim(store) is None
    keep(store)
    with store.writing() as connection:
        answers.release(connection, CLAIM)
    assert claim(store) is not None, "an answer is kept"


def test_of_many_at_once_one_has_the_claim(store: Store) -> None:
    def attempt(_: int) -> bool:
        try:
            return claim(store) is None
        except IntegrityError:  # another one had it first
            return False

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(64))) == 1
