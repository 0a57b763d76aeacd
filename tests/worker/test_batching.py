"""ECGs share a worker without sharing their faults, and get the same answer however they share it."""

from __future__ import annotations

import pytest

from models.bundle import choose
from models.report import Failure, Inference, Rejection
from models.runtime import Model
from worker.batching import Machine, _together
from worker.settings import ARTIFACTS, Settings

BUNDLE = choose(None, ARTIFACTS)
BLOBS = [recording.to_bytes() for recording in BUNDLE.golden.recordings]


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine.load(BUNDLE, Settings(threads=2))


def same(outcome: Inference | Rejection | Failure, other: Inference | Rejection | Failure) -> bool:
    assert isinstance(outcome, Inference)
    assert isinstance(other, Inference)
    return [e.value for e in outcome.estimates] == pytest.approx([e.value for e in other.estimates], rel=1e-4)


def test_an_ecg_reads_the_same_alone_among_others_and_in_a_batch(machine: Machine) -> None:
    among = [reading.outcome for reading in machine.read(BLOBS)]
    for blob, outcome in zip(BLOBS, among, strict=True):
        assert same(machine.read([blob])[0].outcome, outcome)
    batch = [reading.outcome for reading in _together(machine.crowd, BLOBS)]
    assert all(map(same, batch, among))


@pytest.mark.parametrize("read", [Machine.read, lambda machine, blobs: _together(machine.crowd, blobs)])
def test_a_poisoned_row_is_a_failure_of_its_own(machine: Machine, read) -> None:  # type: ignore[no-untyped-def]
    kinds = [reading.outcome.kind for reading in read(machine, [BLOBS[0], b"\x93poison", BLOBS[1], b""])]
    assert kinds == ["inference", "failure", "inference", "failure"]


def test_a_lone_ecg_gets_all_cores_and_one_among_others_does_not() -> None:
    crowd, lone = (Model.load(BUNDLE, provider="cpu", threads=n) for n in (1, 2))
    machine = Machine(crowd, lone, 2)
    with machine._holding(1) as alone:
        assert alone
        with machine._holding(1) as second:
            assert not second
    assert machine.read([]) == []
