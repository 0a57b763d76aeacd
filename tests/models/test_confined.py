"""A file costs its reader, at most: never the service, never another sender's file, and never more than the limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import orjson
import pytest

from models.ecg import LEADS, EcgError, Stated
from models.ecg.confined import Limits, Readers, ReadersBusy
from models.ecg.errors import DecodeError, MissingMetadata, UnsafeFile, UnsupportedFormat
from models.ecg.examination import Examination, examine
from models.ecg.recording import Recording
from tests.models.ecg_files import FILES, content, expected, made_up_signal, name_of


def json_ecg(seed: int = 0, seconds: float = 10.0) -> bytes:
    leads = dict(zip(LEADS, made_up_signal(seconds, seed=seed).round(3).tolist(), strict=True))
    patient = {"age": 61, "sex": "F", "id": "4711"}
    told = {"fs": 500, "unit": "mV", "leads": leads, "patient": patient, "acquired_at": "2026-03-01T10:20:30+01:00"}
    return orjson.dumps(told)


ECG = json_ecg()


@pytest.fixture(scope="module")
def readers() -> Readers:
    with Readers(count=2) as pool:
        yield pool  # type: ignore[misc]  # a fixture


def assert_same(left: Examination, right: Examination) -> None:
    np.testing.assert_array_equal(left.recording.signal, right.recording.signal)
    for name in set(Recording.__dataclass_fields__) - {"signal"}:
        assert getattr(left.recording, name) == getattr(right.recording, name), name
    assert left.quality == right.quality
    assert left.ours == right.ours


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def test_a_confined_reader_says_exactly_what_an_unconfined_one_says(readers: Readers) -> None:
    assert_same(readers.examine(ECG), examine(ECG))


@pytest.mark.parametrize(
    "row", [row for row in expected("dicom", "cardiosoft", "json") if row["action"] == "accept"], ids=name_of
)
def test_a_real_file_passes_the_wire_unchanged(readers: Readers, row: dict[str, str]) -> None:
    assert_same(readers.examine(content(row)), examine(content(row)))


def test_what_the_sender_states_reaches_the_reader(readers: Readers) -> None:
    table = ",".join(LEADS) + "\n" + "\n".join(",".join(f"{v:.3f}" for v in row) for row in made_up_signal().T)
    with pytest.raises(MissingMetadata):
        readers.examine(table.encode())
    assert readers.examine(table.encode(), Stated(sampling_rate=500, unit="mV")).recording.sampling_rate == 500


def test_a_refusal_comes_back_as_the_same_error_in_the_same_words(readers: Readers) -> None:
    with pytest.raises(EcgError) as expected_error:
        examine(json_ecg(seconds=2))
    with pytest.raises(type(expected_error.value)) as found:
        readers.examine(json_ecg(seconds=2))
    assert found.value.detail == expected_error.value.detail


def test_a_file_that_takes_too_long_is_refused_and_the_next_is_read_by_a_new_reader() -> None:
    with Readers(count=1, limits=Limits(seconds=0.05)) as readers:
        slow = (
            b'{"fs": 500, "unit": "mV", "signal": ['
            + b",".join([b"[" + b"0.123456789," * 2_000_000 + b"1]"] * 2)
            + b"]}"
        )
        with pytest.raises(UnsafeFile, match=r"0.05 s"):
            readers.examine(slow)
        assert readers.examine(ECG).recording.duration == 10


def test_a_file_that_needs_too_much_memory_is_refused_and_hurts_nobody() -> None:
    with Readers(count=1, limits=Limits(memory=48 * 2**20)) as readers:
        with pytest.raises(DecodeError, match="memory"):
            readers.examine(b'{"fs": 500, "signal": [[' + b"0," * 5_900_000 + b"1]]}")
        assert readers.examine(ECG).recording.duration == 10


def test_readers_are_replaced_after_so_many_files() -> None:
    others = set(children_of(os.getpid()))
    with Readers(count=1, limits=Limits(files=2)) as readers:
        readers.examine(ECG)
        first = set(children_of(os.getpid())) - others
        assert len({readers.examine(json_ecg(seed)).recording.digest for seed in range(4)}) == 4
        last = set(children_of(os.getpid())) - others
    assert len(first) == 1
    assert not first & last


def test_a_reader_killed_between_two_files_costs_no_sender_anything() -> None:
    already = set(children_of(os.getpid()))
    with Readers(count=1) as readers:
        readers.examine(ECG)
        (child,) = set(children_of(os.getpid())) - already
        os.kill(child, signal.SIGKILL)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert readers.examine(ECG).recording.duration == 10


def test_a_reader_killed_in_the_middle_of_a_file_costs_its_sender_nothing() -> None:
    already = set(children_of(os.getpid()))
    with Readers(count=1) as readers, ThreadPoolExecutor(1) as pool:
        readers.examine(ECG)
        (child,) = set(children_of(os.getpid())) - already
        os.kill(child, signal.SIGSTOP)  # it is asked, and does not answer
        asked = pool.submit(readers.examine, ECG)
        while readers._idle.qsize():
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        assert asked.result().recording.duration == 10


def test_every_sender_gets_the_answer_to_its_own_file(readers: Readers) -> None:
    uploads = [json_ecg(seed) if seed % 3 else b"no ECG %d" % seed for seed in range(24)]

    def ask(upload: bytes) -> str:
        try:
            return readers.examine(upload).recording.digest
        except EcgError as error:
            return error.code

    def ask_here(upload: bytes) -> str:
        try:
            return examine(upload).recording.digest
        except EcgError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, uploads)) == [ask_here(upload) for upload in uploads]


def test_who_waits_too_long_for_a_reader_is_told_to_come_again() -> None:
    with pytest.raises(ReadersBusy):
        Readers(count=1, patience=0.01).examine(ECG)  # none was started


def test_a_reader_knows_no_secret_and_can_write_no_file() -> None:
    os.environ["ECG2CMR_API_KEY"] = "a secret of the gateway"
    already = set(children_of(os.getpid()))
    with Readers(count=1) as readers:
        readers.examine(ECG)
        (child,) = set(children_of(os.getpid())) - already
        assert b"a secret" not in Path(f"/proc/{child}/environ").read_bytes()
        limits = Path(f"/proc/{child}/limits").read_text()
        assert "Max file size             0 " in limits
        assert "Max core file size        0 " in limits
    del os.environ["ECG2CMR_API_KEY"]


def test_readers_end_with_the_service_even_when_it_is_killed() -> None:
    program = "import time; from models.ecg.confined import Readers; r = Readers(count=1); r.start(); time.sleep(60)"
    service = subprocess.Popen([sys.executable, "-c", program])
    while not (children := children_of(service.pid)):
        time.sleep(0.05)
    service.kill()
    service.wait()
    for _ in range(200):
        if not Path(f"/proc/{children[0]}").exists() or "Z" in Path(f"/proc/{children[0]}/stat").read_text().split()[2]:
            return
        time.sleep(0.1)
    raise AssertionError("the reader outlived its service")


@pytest.mark.parametrize(
    "path", sorted((FILES / "adversarial").iterdir()) if FILES.is_dir() else [], ids=lambda p: p.name
)
def test_hostile_files_are_refused_in_words(readers: Readers, path: Path) -> None:
    with pytest.raises((DecodeError, UnsupportedFormat)):
        readers.examine(path.read_bytes())
