"""Fixtures that every part of the suite may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """For `tests/faults`; options must be known before any folder of tests is."""
    faults = parser.getgroup("faults")
    faults.addoption("--kills", type=int, help="how many kills the campaign has on each store (default: 25 in all)")
    faults.addoption("--overload-seconds", type=float, default=10.0, help="how long there is ten times the load")
    faults.addoption("--seed", type=int, help="of a campaign that is to be repeated")


def missing(what: str) -> None:
    """A machine without `what`: a failure in CI, a skip on somebody's laptop."""
    if os.environ.get("ECG2CMR_CI"):
        pytest.fail(f"CI needs {what}")
    pytest.skip(f"{what} is not installed (scripts/test says how)")


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real ECG and CMR files, kept beside the repository because their licences differ from ours."""
    folder = Path(os.environ.get("ECG2CMR_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real recordings are not at {folder} (set ECG2CMR_SHARED_DATA to their folder)")
    return folder
