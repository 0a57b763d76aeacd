"""Bytes lie where the operator says, and what is forgotten is gone: from the rows, from outside, and for good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from typer.testing import CliRunner

from app.cli import cli
from app.housekeeping import Housekeeper
from app.store import Store, StoreUnavailable, answers, blobs, events, outbox, studies, tables, webhooks
from app.store.answers import Claim
from app.studies import Studies
from models.ecg import Recording
from tests.app.test_store import MODEL, SimpleBundle, answer, examined, inference, record

PLACES = ["directory", "file", "memory", "s3"]
PAST = datetime(2020, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLAIM = Claim("k" * 32, "one", "f" * 64, datetime.now(UTC) + HOUR)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """A server that speaks S3, and the URL of a bucket on it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        httpx.put(f"http://{host}:{port}/ecgs").raise_for_status()
        yield "s3://ecgs"
    server.stop()


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a place for blobs in which there are none."""
    folder = tmp_path / "blobs"
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}{folder}"
    return {"directory": str(folder), "file": folder.as_uri(), "memory": f"memory://{folder}"}[request.param]


@pytest.fixture
def outside(store: Store, place: str) -> Iterator[Store]:
    """A store whose blobs lie outside."""
    opened = Store(store.url, place)
    yield opened
    opened.close()


def keep(store: Store, recording: Recording, upload: bytes = b"upload") -> str:
    kept = Studies(store, SimpleBundle(digest=MODEL.digest), 60).keep(upload, examined(recording))  # type: ignore[arg-type]  # no more of it is used here
    return kept.study_id


def forget(store: Store, study_id: str) -> bool:
    return Studies(store, SimpleBundle(digest=MODEL.digest), 60).forget(study_id)  # type: ignore[arg-type]  # no more of it is used here


def is_kept(store: Store, data: bytes) -> bool:
    assert store.blobs is not None
    return store.blobs.has(blobs.digest(data))


def count(store: Store, table: str) -> int:
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(tables.metadata.tables[table])) or 0


def make_loose_due(store: Store) -> None:
    with store.writing() as connection:
        connection.execute(tables.loose_blobs.update().values(due_at=PAST))


def another(recording: Recording) -> Recording:
    return Recording(signal=np.asarray(recording.signal) * 2, sampling_rate=500.0)


def test_bytes_outside_are_sent_and_read_as_those_inside(outside: Store, recording: Recording) -> None:
    study_id = keep(outside, recording)
    assert is_kept(outside, b"upload")
    with outside.writing() as connection:
        row = connection.execute(select(tables.blobs)).one()
        assert (row.upload, row.recording) == (None, None)
        assert studies.recording(connection, study_id) == recording.to_bytes()
        outbox.make_due(connection)
        (due,) = outbox.take_due(connection, 60)
    assert due.outside is not None
    assert outside.blob(due.outside) == recording.to_bytes()
    assert count(outside, "loose_blobs") == 0


def test_bytes_inside_stay_readable_when_the_place_is_changed(
    store: Store, tmp_path: Path, recording: Recording
) -> None:
    study_id = keep(store, recording)
    opened = Store(store.url, str(tmp_path / "blobs"))
    with opened.reading() as connection:
        assert studies.recording(connection, study_id) == recording.to_bytes()
    opened.close()


def test_without_its_place_an_outside_recording_is_an_outage_and_not_a_loss(
    outside: Store, store: Store, recording: Recording
) -> None:
    study_id = keep(outside, recording)
    with pytest.raises(StoreUnavailable, match="ECG2CMR_BLOBS_URL"), store.reading() as connection:
        studies.recording(connection, study_id)


@pytest.mark.parametrize("harm", ["lost", "damaged"])
def test_bytes_that_are_lost_or_damaged_are_not_read_and_keep_no_other_from_being_asked(
    outside: Store, recording: Recording, harm: str
) -> None:
    study_id = keep(outside, recording)
    keep(outside, another(recording), b"another")
    assert outside.blobs is not None
    name = blobs.digest(recording.to_bytes())
    if harm == "lost":
        outside.blobs.remove(name)
    else:
        outside.blobs.write(name, b"something else")
    with outside.writing() as connection:
        outbox.make_due(connection)
        due = {job.outside: job.job_id for job in outbox.take_due(connection, 60)}
        assert studies.recording(connection, study_id) is None
    assert {outside.blob(each) for each in due if each} == {None, another(recording).to_bytes()}
    outside.write(lambda connection: outbox.lose(connection, due[name]))
    with outside.reading() as connection:
        reasons = connection.execute(select(tables.jobs.c.status, tables.jobs.c.reason)).all()
    assert sorted(reasons, key=str) == [("failed", "recording-lost"), ("queued", None)]


def test_bytes_of_a_crash_before_the_commit_are_swept_and_no_others(outside: Store, recording: Recording) -> None:
    keep(outside, recording)
    outside.write_ahead(b"upload", b"orphan")
    with outside.writing() as connection:
        assert blobs.sweep(connection) == 0, "its transaction may still be under way"
    make_loose_due(outside)
    Housekeeper(outside, None, None).tidy()
    assert is_kept(outside, b"upload")
    assert not is_kept(outside, b"orphan")
    assert count(outside, "loose_blobs") == 0


def accept(store: Store, recording: Recording) -> str:
    with store.writing() as connection:
        accepted = studies.accept(
            connection, upload=b"upload", examined=examined(recording), model_digest=MODEL.digest, redispatch_after=60
        )
    return accepted.study_id


def test_a_sweep_leaves_what_is_about_to_be_referred_to_again(outside: Store, recording: Recording) -> None:
    first = keep(outside, recording)
    outside.write_ahead(b"upload", recording.to_bytes())
    assert forget(outside, first), "whose bytes are the same"
    again = accept(outside, recording)
    with outside.reading() as connection:
        assert studies.recording(connection, again) == recording.to_bytes()
    assert is_kept(outside, b"upload")


def test_bytes_that_were_written_too_long_ago_may_be_gone_and_refuse_the_ecg(
    outside: Store, recording: Recording
) -> None:
    outside.write_ahead(b"upload", recording.to_bytes())
    make_loose_due(outside)
    with pytest.raises(StoreUnavailable, match="too long ago"):
        accept(outside, recording)
    assert count(outside, "studies") == 0


def test_the_transaction_that_refers_to_bytes_does_not_ask_for_them(
    outside: Store, tmp_path: Path, recording: Recording
) -> None:
    outside.write_ahead(b"upload", recording.to_bytes())
    (tmp_path / "gone").write_text("a file where the folder should be: nothing can be asked or written there")
    gone = Store(outside.url, str(tmp_path / "gone"))
    study_id = accept(gone, recording)
    gone.close()
    with outside.reading() as connection:
        assert studies.recording(connection, study_id) == recording.to_bytes()


def test_a_place_that_fails_in_a_shared_transaction_is_an_outage_too(
    outside: Store, store: Store, recording: Recording
) -> None:
    study_id = keep(outside, recording)
    with pytest.raises(StoreUnavailable, match="ECG2CMR_BLOBS_URL"):
        store.write(lambda connection: studies.recording(connection, study_id))


def test_what_somebody_asks_to_be_forgotten_is_gone_at_once_whatever_else_waits(
    outside: Store, recording: Recording
) -> None:
    study_id = keep(outside, recording)
    for digit in "0123456789abcdef":  # some by their name before it, some after it
        with outside.writing() as connection:
            blobs.loosen(connection, [digit * 64, f"{digit}0{digit * 62}"])
    assert forget(outside, study_id)
    assert not is_kept(outside, recording.to_bytes())
    assert not is_kept(outside, b"upload")
    assert count(outside, "loose_blobs") > 0, "which is the housekeeper's"


def test_of_a_forgotten_ecg_only_a_tombstone_is_left(outside: Store, recording: Recording) -> None:
    forgotten, other = keep(outside, recording), keep(outside, another(recording))
    with outside.reading() as connection:
        job_id = connection.scalar(select(tables.jobs.c.id).where(tables.jobs.c.study_id == forgotten))
    record(outside, answer(job_id, recording, inference()))
    assert forget(outside, forgotten)
    assert not forget(outside, forgotten)
    assert not is_kept(outside, recording.to_bytes())
    assert is_kept(outside, b"upload"), "the other study came in the same file"
    tables_left = ("studies", "blobs", "jobs", "outbox", "results", "loose_blobs")
    assert [count(outside, table) for table in tables_left] == [1, 1, 1, 1, 0, 0]
    with outside.reading() as connection:
        stone = connection.execute(select(tables.tombstones)).one()._mapping
    assert set(stone) == {"sequence", "study_id", "forgotten_at", "cause"}
    assert (stone["study_id"], stone["cause"]) == (forgotten, "asked")
    assert forget(outside, other)
    assert not is_kept(outside, b"upload")


def test_what_was_told_of_a_forgotten_ecg_is_forgotten_with_it(store: Store, recording: Recording) -> None:
    with store.writing() as connection:
        webhooks.add(connection, "https://one.example/")
    kept = {}
    for number, each in enumerate((recording, another(recording))):
        kept[number] = keep(store, each)
        with store.writing() as connection:
            job_id = connection.scalar(select(tables.jobs.c.id).where(tables.jobs.c.study_id == kept[number]))
            claimed = CLAIM._replace(key=str(number))
            assert answers.claim(connection, claimed, HOUR) is None
            answers.keep(connection, claimed, 202, {}, kept[number].encode(), kept[number])
        record(store, answer(job_id, each, inference()))
    assert forget(store, kept[0])
    with store.reading() as connection:
        for table in (tables.kept_answers, tables.events, tables.deliveries):
            assert connection.scalars(select(table.c.study_id)).all() == [kept[1]]
    with store.writing() as connection:
        assert answers.claim(connection, CLAIM._replace(key="0"), HOUR) is None, "as if never sent"


def test_an_answer_about_what_was_forgotten_while_it_was_made_is_not_kept(store: Store, recording: Recording) -> None:
    study_id = keep(store, recording)
    with store.writing() as connection:
        answers.claim(connection, CLAIM, HOUR)
    assert forget(store, study_id)
    with pytest.raises(IntegrityError), store.writing() as connection:
        answers.keep(connection, CLAIM, 202, {}, b"{}", study_id)


def test_answers_events_and_dead_letters_of_webhooks_are_kept_as_long_as_the_operator_says(store: Store) -> None:
    with store.writing() as connection:
        webhooks.add(connection, "https://one.example/")
        for _ in range(3):
            events.append(connection, "s", "done")
        connection.execute(tables.events.update().where(tables.events.c.sequence < 3).values(at=PAST))
        connection.execute(tables.deliveries.update().where(tables.deliveries.c.sequence < 3).values(at=PAST))
        connection.execute(tables.deliveries.update().where(tables.deliveries.c.sequence == 1).values(due_at=None))
        for number in (-1, 1):
            claimed = CLAIM._replace(key=str(number))
            answers.claim(connection, claimed, HOUR * number)
    Housekeeper(store, None, None, 7).tidy()
    with store.reading() as connection:
        assert connection.scalars(select(tables.events.c.sequence)).all() == [3]
        assert connection.scalars(select(tables.deliveries.c.sequence).order_by("sequence")).all() == [2, 3]
        assert connection.scalars(select(tables.kept_answers.c.idempotency_key)).all() == ["1"]


def test_an_answer_that_comes_after_its_ecg_was_forgotten_changes_nothing(store: Store, recording: Recording) -> None:
    study_id = keep(store, recording)
    with store.reading() as connection:
        job_id = connection.scalar(select(tables.jobs.c.id))
    assert forget(store, study_id)
    assert record(store, answer(job_id, recording, inference())) is None
    assert count(store, "results") == 0
    assert keep(store, recording) != study_id, "sent again, it is a new study"


def test_studies_older_than_they_are_kept_are_forgotten_once_they_are_read(store: Store, recording: Recording) -> None:
    old, new = keep(store, recording), keep(store, another(recording))
    with store.writing() as connection:
        connection.execute(tables.studies.update().where(tables.studies.c.id == old).values(received_at=PAST))
        job_id = connection.scalar(select(tables.jobs.c.id).where(tables.jobs.c.study_id == old))
    Housekeeper(store, None, 30).tidy()
    assert count(store, "studies") == 2, "the old one waits to be read"
    record(store, answer(job_id, recording, inference()))
    Housekeeper(store, None, None).tidy()
    assert count(store, "studies") == 2, "nobody asked for it"
    Housekeeper(store, None, 30).tidy()
    with store.reading() as connection:
        assert connection.scalars(select(tables.studies.c.id)).all() == [new]
        assert connection.scalars(select(tables.tombstones.c.cause)).all() == ["policy"]


def test_old_uploads_are_dropped_and_their_recordings_stay(outside: Store, recording: Recording) -> None:
    old = keep(outside, recording, b"old")
    keep(outside, another(recording), b"new")
    with outside.writing() as connection:
        past = datetime.now(UTC) - timedelta(days=31)
        connection.execute(tables.studies.update().where(tables.studies.c.id == old).values(received_at=past))
    Housekeeper(outside, 30, None).tidy()
    assert not is_kept(outside, b"old")
    assert is_kept(outside, b"new")
    with outside.reading() as connection:
        assert studies.recording(connection, old) == recording.to_bytes()


def test_a_forgotten_upload_is_overwritten_in_an_embedded_store(tmp_path: Path, recording: Recording) -> None:
    secret = b"Jane Doe, born 1970-01-01" * 500
    with_file = tmp_path / "store.sqlite"
    store = Store(f"sqlite:///{with_file}")
    store.migrate()
    study_id = keep(store, recording, secret)
    assert forget(store, study_id)
    store.close()  # the last connection writes the log back
    assert secret[:25] not in with_file.read_bytes()


def test_the_command_line_lists_retries_and_forgets(tmp_path: Path, recording: Recording) -> None:
    folder = ["--data-dir", str(tmp_path)]
    store = Store(f"sqlite:///{tmp_path / 'ecg2cmr.sqlite'}")
    store.migrate()
    study_id = keep(store, recording)
    with store.writing() as connection:
        failed = {"status": "failed", "reason": "worker-lost", "detail": "x", "finished_at": PAST}
        connection.execute(tables.jobs.update().values(**failed))
        connection.execute(tables.outbox.delete())
    run = CliRunner().invoke
    assert run(cli, ["admin", "dead-letters", *folder]).output.startswith(f"{study_id}  2020-01-01 00:00  worker-lost")
    assert run(cli, ["admin", "retry", study_id, *folder]).exit_code == 0
    assert run(cli, ["admin", "retry", "all", *folder]).exit_code == 1
    assert run(cli, ["admin", "dead-letters", *folder]).output == ""
    assert run(cli, ["admin", "forget", study_id, *folder]).exit_code == 0
    assert run(cli, ["admin", "forget", study_id, *folder]).exit_code == 1
    assert count(store, "studies") == 0
    store.close()


def test_a_place_that_fsspec_does_not_know_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="ECG2CMR_BLOBS_URL"):
        Store(f"sqlite:///{tmp_path / 'store.sqlite'}", "nowhere://bucket")


def test_a_place_that_takes_nothing_refuses_the_ecg_and_keeps_nothing(
    store: Store, tmp_path: Path, recording: Recording
) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be")
    opened = Store(store.url, str(tmp_path / "blobs"))
    with pytest.raises(StoreUnavailable):
        keep(opened, recording)
    assert count(opened, "studies") == 0
    opened.close()
