"""What is accepted is kept whole, once, and asked for until it is answered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from app.store import Store, StoreUnavailable, dead_letters, keys, lifecycle, outbox, studies, tables
from app.studies import Studies
from models.ecg import Quality, Recording
from models.ecg.examination import Examination
from models.ecg.measurements import Measurements
from models.ecg.quality import Finding as QualityFinding
from models.report import Answer, EcgMeasurements, Failure, Inference, ModelIdentity, Ood, Rejection, Started


@dataclass(frozen=True)
class SimpleManifest:
    notices: list[str]


@dataclass(frozen=True)
class SimpleBundle:
    digest: str
    manifest: SimpleManifest | None = None


MODEL = ModelIdentity(name="toy", version="1.0.0", digest="d" * 64)
OTHER = ModelIdentity(name="toy", version="1.0.1", digest="e" * 64)


def examined(recording: Recording) -> Examination:
    return Examination(
        recording=recording,
        quality=Quality(usable=True, findings=()),
        ours=Measurements(heart_rate=61, qrs_duration=92),
    )


def accept(store: Store, recording: Recording, model: ModelIdentity = MODEL) -> studies.Accepted:
    with store.writing() as connection:
        return studies.accept(
            connection,
            upload=b"bytes",
            examined=examined(recording),
            model_digest=model.digest,
            redispatch_after=60,
        )


def inference(model: ModelIdentity = MODEL) -> Inference:
    return Inference(
        model=model,
        estimates=[],
        abstained=[],
        ood=Ood(score=1, flag=False),
        heart_rate=60,
        embedding=[1, 2],
        notices=[],
    )


def answer(job_id: str | None, recording: Recording, outcome: Inference | Rejection | Failure) -> Answer:
    assert job_id is not None
    return Answer(job_id=job_id, ecg_digest=recording.digest, seconds=0.01, outcome=outcome)


def record(store: Store, message: Answer) -> outbox.Recorded | None:
    with store.writing() as connection:
        return outbox.record(connection, message)


def rows(store: Store) -> dict[str, int]:
    with store.reading() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (tables.studies, tables.blobs, tables.jobs, tables.outbox, tables.results)
        }


def test_the_migrations_make_exactly_the_tables_of_the_code(store: Store) -> None:
    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_an_accepted_ecg_is_one_study_one_job_and_one_outbox_row(store: Store, recording: Recording) -> None:
    first = accept(store, recording)
    assert first.created
    assert first.job_id
    again = accept(store, recording)
    assert (again.study_id, again.created, again.job_id) == (first.study_id, False, None)
    assert rows(store) == {"studies": 1, "blobs": 1, "jobs": 1, "outbox": 1, "results": 0}


def test_what_was_measured_and_stated_is_kept_with_the_study(store: Store, recording: Recording) -> None:
    told = replace(recording, measured=Measurements(qt_interval=400), statements=("Sinus rhythm",))
    study_id = accept(store, told).study_id
    bundle = SimpleBundle(digest=MODEL.digest, manifest=SimpleManifest(notices=[]))
    report = Studies(store, bundle, 60).report(study_id)  # type: ignore[arg-type]  # no more of it is used here
    assert report is not None
    assert report.measurements == EcgMeasurements(
        ours={"heart_rate": 61, "qrs_duration": 92}, device={"qt_interval": 400}, statements=["Sinus rhythm"]
    )


def test_an_error_of_the_database_does_not_say_whose_ecg_it_is(store: Store, recording: Recording) -> None:
    accept(store, replace(recording, patient_id="Jane-1970"))
    with store.reading() as connection:
        row = connection.execute(select(tables.studies)).one()._mapping
    with pytest.raises(IntegrityError) as refused, store.writing() as connection:
        connection.execute(tables.studies.insert().values({k: v for k, v in row.items() if k != "sequence"}))
    assert "Jane-1970" not in str(refused.value)


def test_a_failing_transaction_leaves_nothing_behind(store: Store, recording: Recording) -> None:
    class Crash(Exception):
        pass

    def crash() -> None:
        with store.writing() as connection:
            studies.accept(
                connection,
                upload=b"",
                examined=examined(recording),
                model_digest=MODEL.digest,
                redispatch_after=60,
            )
            raise Crash

    with pytest.raises(Crash):
        crash()
    assert set(rows(store).values()) == {0}


def test_the_stored_recording_is_the_accepted_one(store: Store, recording: Recording) -> None:
    accepted = accept(store, recording)
    with store.reading() as connection:
        stored = studies.recording(connection, accepted.study_id)
    assert stored is not None
    read = Recording.from_bytes(stored)
    assert read.digest == recording.digest
    np.testing.assert_allclose(read.signal, recording.signal, atol=0.5e-5)


def test_a_job_without_an_answer_becomes_due_again_later_and_later(store: Store, recording: Recording) -> None:
    accepted = accept(store, recording)
    pauses = []
    for _ in range(3):
        with store.writing() as connection:
            assert not outbox.take_due(connection, redispatch_after=60), "not due yet"
            outbox.make_due(connection)
            due = outbox.take_due(connection, redispatch_after=60)
            assert [(job.job_id, job.ecg_digest, job.model_digest) for job in due] == [
                (accepted.job_id, recording.digest, MODEL.digest)
            ]
            row = connection.execute(select(tables.outbox)).one()
            taken = connection.scalar(select(tables.jobs.c.created_at))
            assert taken is not None
            pauses.append(row.due_at - taken)
    assert pauses[0] > timedelta(seconds=100)
    assert pauses[1] / pauses[0] == pytest.approx(2, rel=0.05)
    assert pauses[2] / pauses[1] == pytest.approx(2, rel=0.05)


def test_what_is_sent_again_keeps_its_priority_and_the_urgent_comes_first(store: Store, recording: Recording) -> None:
    stat, routine, backfill = (outbox.PRIORITIES[name] for name in get_args(outbox.Priority))
    accepted = []
    for number, priority in enumerate((backfill, routine, stat, routine), 1):
        with store.writing() as connection:
            taken = studies.accept(
                connection,
                upload=b"bytes",
                examined=examined(replace(recording, signal=recording.signal * number)),
                model_digest=MODEL.digest,
                redispatch_after=-60,  # due at once
                priority=priority,
            )
        accepted.append(taken.job_id)
    with store.writing() as connection:
        due = outbox.take_due(connection, 60)
    assert [job.priority for job in due] == [stat, routine, routine, backfill]
    assert [job.job_id for job in due] == [accepted[2], accepted[1], accepted[3], accepted[0]], "then the oldest"


def test_a_dead_letter_that_is_sent_again_has_the_priority_of_now(store: Store, recording: Recording) -> None:
    accepted = accept(store, recording)
    for attempt in (1, 2, 3):
        fail(store, accepted.job_id, recording, attempt)
        send(store)
    with store.writing() as connection:
        studies.accept(
            connection,
            upload=b"bytes",
            examined=examined(recording),
            model_digest=MODEL.digest,
            redispatch_after=60,
            priority=outbox.PRIORITIES["stat"],
        )
        outbox.make_due(connection)
        assert [job.priority for job in outbox.take_due(connection, 60)] == [0]


def test_a_doubled_answer_changes_nothing(store: Store, recording: Recording) -> None:
    accepted = accept(store, recording)
    message = answer(accepted.job_id, recording, inference())
    recorded = record(store, message)
    assert recorded is not None
    assert (recorded.study_id, recorded.status) == (accepted.study_id, "done")
    after = rows(store)
    assert record(store, message) is None
    assert rows(store) == after == {"studies": 1, "blobs": 1, "jobs": 1, "outbox": 0, "results": 1}
    with store.reading() as connection:
        embedding = studies.embedding(connection, MODEL.digest, accepted.study_id)
    assert embedding is not None
    assert np.frombuffer(embedding, "<f4").tolist() == [1, 2]


def test_an_answer_of_another_model_or_ecg_or_job_is_not_recorded(store: Store, recording: Recording) -> None:
    accepted = accept(store, recording)
    for wrong in (
        answer(accepted.job_id, recording, inference(OTHER)),
        answer("0" * 32, recording, inference()),
        answer(accepted.job_id, recording, inference()).model_copy(update={"ecg_digest": "f" * 64}),
    ):
        assert record(store, wrong) is None
    assert rows(store)["results"] == 0
    assert rows(store)["outbox"] == 1


def fail(store: Store, job_id: str | None, recording: Recording, attempt: int) -> outbox.Recorded | None:
    message = answer(job_id, recording, Failure(model=MODEL, detail="a bug"))
    return record(store, message.model_copy(update={"attempt": attempt}))


def send(store: Store) -> list[outbox.Due]:
    """Send everything again, as after a lease."""
    with store.writing() as connection:
        outbox.make_due(connection)
        return outbox.take_due(connection, redispatch_after=60)


def test_the_third_failed_attempt_is_a_dead_letter_that_is_asked_again_on_request(
    store: Store, recording: Recording
) -> None:
    accepted = accept(store, recording)
    assert fail(store, accepted.job_id, recording, 1) is None
    assert fail(store, accepted.job_id, recording, 1) is None, "a doubled failure is the same attempt"
    assert [due.attempt for due in send(store)] == [2]
    assert fail(store, accepted.job_id, recording, 1) is None, "of an earlier lease"
    assert fail(store, accepted.job_id, recording, 2) is None
    assert [due.attempt for due in send(store)] == [3]
    failed = fail(store, accepted.job_id, recording, 3)
    assert failed is not None
    assert (failed.study_id, failed.status) == (accepted.study_id, "failed")
    assert send(store) == []
    with store.writing() as connection:
        (letter,) = dead_letters.listed(connection)
        assert (letter.study_id, letter.reason, letter.detail) == (accepted.study_id, "worker-failure", "a bug")
        assert dead_letters.counts(connection) == {"worker-failure": 1}
        assert dead_letters.retry(connection, "0" * 32) == 0
        assert dead_letters.retry(connection, accepted.study_id) == 1
    assert [due.attempt for due in send(store)] == [4], "the number of a lease is never given twice"
    record(store, answer(accepted.job_id, recording, inference()))
    assert rows(store) == {"studies": 1, "blobs": 1, "jobs": 1, "outbox": 0, "results": 1}


def test_a_failed_job_starts_anew_when_the_ecg_is_sent_again(store: Store, recording: Recording) -> None:
    accepted = accept(store, recording)
    for attempt in (1, 2, 3):
        fail(store, accepted.job_id, recording, attempt)
        send(store)
    again = accept(store, recording)
    assert again == (accepted.study_id, False, accepted.job_id, 4)
    done = record(store, answer(again.job_id, recording, inference()))
    assert done is not None
    assert done.status == "done"
    assert rows(store) == {"studies": 1, "blobs": 1, "jobs": 1, "outbox": 0, "results": 1}


def test_a_worker_that_began_three_times_and_was_lost_is_a_dead_letter(store: Store, recording: Recording) -> None:
    accepted = accept(store, recording)
    assert accepted.job_id
    with store.writing() as connection:
        for attempt in (1, 2, 3):
            started = Started(job_id=accepted.job_id, attempt=attempt)
            assert not outbox.begin(connection, started.model_copy(update={"attempt": 0}), lease=-1), "another lease"
            assert outbox.begin(connection, started, lease=-1)
            assert not outbox.begin(connection, started, lease=-1), "doubled"
            if attempt < outbox.MAX_ATTEMPTS:
                assert [due.attempt for due in outbox.take_due(connection, 60)] == [attempt + 1]
        assert [buried.study_id for buried in outbox.bury_lost(connection)] == [accepted.study_id]
        assert dead_letters.counts(connection) == {"worker-lost": 1}
        assert outbox.take_due(connection, 60) == []


def test_a_lease_that_ends_before_anybody_began_spends_no_attempt(store: Store, recording: Recording) -> None:
    accept(store, recording)
    assert [len(send(store)) for _ in range(20)] == [1] * 20


def test_an_inference_made_under_an_earlier_lease_ends_the_job(store: Store, recording: Recording) -> None:
    accepted = accept(store, recording)
    send(store)
    late = answer(accepted.job_id, recording, inference()).model_copy(update={"attempt": 1})
    recorded = record(store, late)
    assert recorded is not None
    assert recorded.status == "done"


def test_every_state_is_in_the_table_and_what_it_does_not_name_is_refused(store: Store, recording: Recording) -> None:
    assert set(lifecycle.FOLLOWS) == set(lifecycle.STATES)
    accepted = accept(store, recording)
    assert accepted.job_id
    with store.writing() as connection:
        for before, allowed in lifecycle.FOLLOWS.items():
            connection.execute(tables.jobs.update().values(status=before))
            for after in set(lifecycle.STATES) - allowed:
                with pytest.raises(lifecycle.IllegalTransition):
                    lifecycle.move(connection, accepted.job_id, before, after)
        assert not lifecycle.move(connection, accepted.job_id, "queued", "running"), "it is in another state"


def test_a_new_model_reads_a_known_ecg_and_both_results_stay(store: Store, recording: Recording) -> None:
    record(store, answer(accept(store, recording).job_id, recording, inference()))
    again = accept(store, recording, OTHER)
    assert not again.created
    record(store, answer(again.job_id, recording, inference(OTHER)))
    assert rows(store) == {"studies": 1, "blobs": 1, "jobs": 2, "outbox": 0, "results": 2}


def test_of_many_gateways_that_accept_one_ecg_at_once_one_makes_the_study(store: Store, recording: Recording) -> None:
    bundle = SimpleBundle(digest=MODEL.digest)
    gateways = [Studies(store, bundle, 60) for _ in range(8)]  # type: ignore[arg-type]  # only the digest is used here
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda gateway: gateway.keep(b"bytes", examined(recording)), gateways))
    assert len({k.study_id for k in kept}) == 1
    assert sum(k.created for k in kept) == 1
    assert sum(k.due is not None for k in kept) == 1, "one job is sent, by one of them"
    assert rows(store) == {"studies": 1, "blobs": 1, "jobs": 1, "outbox": 1, "results": 0}


def test_of_many_gateways_that_hear_one_answer_at_once_one_records_it(store: Store, recording: Recording) -> None:
    message = answer(accept(store, recording).job_id, recording, inference())
    with ThreadPoolExecutor(8) as pool:
        recorded = list(pool.map(lambda _: record(store, message), range(8)))
    assert sum(r is not None for r in recorded) == 1
    assert rows(store)["results"] == 1


def test_of_many_gateways_that_look_for_work_at_once_each_finds_other_work(store: Store) -> None:
    made = {accept(store, Recording(signal=np.full((12, 10), i / 10), sampling_rate=500.0)).job_id for i in range(40)}
    with store.writing() as connection:
        outbox.make_due(connection)

    def look(_: int) -> list[str]:
        with store.writing() as connection:
            return [due.job_id for due in outbox.take_due(connection, 60, limit=5)]

    with ThreadPoolExecutor(8) as pool:
        found = [job_id for taken in pool.map(look, range(16)) for job_id in taken]
    assert len(found) == len(set(found))
    with store.writing() as connection:  # whoever came while all rows were held found none
        found += [due.job_id for due in outbox.take_due(connection, 60)]
    assert set(found) == made


def test_studies_are_listed_newest_first_in_pages(store: Store) -> None:
    made = [
        accept(store, Recording(signal=np.full((12, 10), float(i)), sampling_rate=500.0)).study_id for i in range(5)
    ]
    with store.reading() as connection:
        first = studies.page(connection, MODEL.digest, 3, None)
        second = studies.page(connection, MODEL.digest, 3, first[-1].sequence)
    assert [row.id for row in first] + [row.id for row in second] == made[::-1]


def test_a_key_is_kept_as_a_hash_and_can_be_revoked_and_expires(store: Store) -> None:
    with store.writing() as connection:
        key = keys.create(connection, name="cart", scopes=["ecgs:write"])
        short = keys.create(connection, name="short", scopes=["ecgs:read"], lifetime=timedelta(seconds=-1))
        found = keys.find(connection, key)
        assert found is not None
        assert (found.name, found.scopes) == ("cart", frozenset({"ecgs:write"}))
        assert keys.find(connection, key + "x") is None
        assert keys.find(connection, short) is None, "expired"
        assert keys.revoke(connection, found.key_id)
        assert not keys.revoke(connection, found.key_id)
        assert keys.find(connection, key) is None
        assert key not in str(connection.execute(select(tables.api_keys)).all())


def test_only_expired_keys_are_forgotten(store: Store) -> None:
    with store.writing() as connection:
        kept = keys.create(connection, name="kept", scopes=["ecgs:read"])
        session = keys.create(connection, name="session", scopes=["ecgs:read"], lifetime=timedelta(hours=1))
        keys.create(connection, name="old", scopes=["ecgs:read"], lifetime=timedelta(seconds=-1))
        keys.forget_expired(connection)
        assert [key.name for key in keys.listed(connection)] == ["kept", "session"]
        assert keys.find(connection, kept)
        assert keys.find(connection, session)


def test_a_store_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "a-folder.sqlite"
    folder.mkdir()
    with pytest.raises(StoreUnavailable):
        Store(f"sqlite:///{folder}").migrate()


def found(recording: Recording) -> Examination:
    """With something to say of everything."""
    finding = QualityFinding(
        code="noise", severity="warning", leads=("V1",), message="noisy", value=float(np.float32(0.1))
    )
    return replace(examined(recording), quality=Quality(usable=True, findings=(finding,)))


@pytest.mark.parametrize("outcome", [inference(), Rejection(model=MODEL, code="too-short", detail="1.0 s were sent")])
def test_who_waits_is_told_what_the_store_would_say(
    store: Store, recording: Recording, outcome: Inference | Rejection
) -> None:
    bundle = SimpleBundle(digest=MODEL.digest, manifest=SimpleManifest(notices=["a notice"]))
    made = Studies(store, bundle, 60)  # type: ignore[arg-type]  # no more of it is used here
    kept = made.keep(b"bytes", found(recording))
    assert kept.due is not None
    assert made.report_of(kept, None) is None, "nothing was recorded here"
    assert made.report_of(kept, outcome.model_copy(update={"model": OTHER})) is None, "another model was not asked for"
    record(store, answer(kept.due.job_id, recording, outcome))
    told = made.report_of(kept, outcome)
    assert told is not None
    assert told == made.report(kept.study_id)
    assert made.report_of(made.keep(b"bytes", found(recording)), outcome) is None, (
        "a known study is read from the store"
    )
