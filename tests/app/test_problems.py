"""Every foreseen error has one stable type, a status and words for a person."""

from __future__ import annotations

import re

import pytest

from app.problems import Problem, causes, status_of
from models.ecg.errors import EcgError


def descendants(root: type[Exception]) -> set[type[Exception]]:
    return {root}.union(*(descendants(child) for child in root.__subclasses__()))


def test_every_error_of_the_tree_is_documented_under_a_name_of_its_own() -> None:
    errors = descendants(EcgError) | descendants(Problem)
    codes = [error.code for error in errors]  # type: ignore[attr-defined]  # both trees have one
    assert sorted(codes) == sorted(causes())
    assert len(codes) == len(set(codes)), "two causes share a name"


@pytest.mark.parametrize("code", sorted(causes()))
def test_a_cause_can_be_understood_by_a_person(code: str) -> None:
    cause = causes()[code]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
    assert len(cause.title) > 10
    assert cause.advice.endswith((".", "mV", "V"))
    assert len(cause.description) > 10
    assert 400 <= cause.status < 600


def test_a_senders_mistake_is_never_a_server_error() -> None:
    assert {status_of(error) for error in descendants(EcgError)} == {415, 422}  # type: ignore[arg-type]
