"""How many kills, by which seed; and the stores, shared with the tests of the store itself."""

from __future__ import annotations

import secrets

import pytest

from tests.app.conftest import empty_store, postgresql, store  # noqa: F401  # fixtures
from tests.e2e.conftest import serve  # noqa: F401  # a fixture


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int | None:
    """How many were asked for; None where nobody asks."""
    asked: int | None = request.config.getoption("--kills")
    return asked


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Of everything that is left to chance."""
    given: int | None = request.config.getoption("--seed")
    return secrets.randbelow(10**6) if given is None else given
