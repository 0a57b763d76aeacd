"""The life cycle, explored: whatever is lost, doubled, late or cut short, in whatever order, nothing accepted is lost.

A step may crash: its transaction is rolled back, as after `kill -9`. Messages may be lost, delivered twice, or come
after everything else. In the end a healthy worker is given its time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, func, select

from app.store import Store, dead_letters, history, outbox, retention, studies, tables, withdrawal
from app.store.lifecycle import STATES, UNFINISHED, WITHDRAWN
from models.ecg import Quality, Recording
from models.ecg.examination import Examination
from models.ecg.measurements import UNMEASURED
from models.report import Answer, Failure, Inference, ModelIdentity, Ood, Rejection, Started

MODEL = ModelIdentity(name="toy", version="1.0.0", digest="d" * 64)
NEXT = ModelIdentity(name="toy", version="2.0.0", digest="e" * 64)
MODELS = {model.digest: model for model in (MODEL, NEXT)}
RECORDINGS = [Recording(signal=np.full((12, 10), i / 10), sampling_rate=500) for i in range(3)]
OUTCOMES = {
    "inference": Inference(
        model=MODEL, estimates=[], abstained=[], ood=Ood(score=1, flag=False), heart_rate=60, embedding=[1], notices=[]
    ),
    "rejection": Rejection(model=MODEL, code="too-short", detail="1 s"),
    "failure": Failure(model=MODEL, detail="a bug"),
}
LEASE = 60.0

T = TypeVar("T")

seldom = st.sampled_from([False, False, False, True])
which = st.integers(0, 7)


class Crash(Exception):
    """The process is gone before it could commit."""


class LifeCycle(RuleBasedStateMachine):
    """A store, a broker that loses and doubles, and workers that answer, fail, or die."""

    def __init__(self, store: Store, met: set[str]) -> None:
        super().__init__()
        self.store = store
        self.met = met  # states that the exploration came to

    @initialize(natures=st.permutations([*OUTCOMES, "kills"]))
    def nothing_yet(self, natures: list[str]) -> None:
        self.natures = {recording.digest: nature for recording, nature in zip(RECORDINGS, natures, strict=False)}
        with self.store.writing() as connection:
            for table in reversed(tables.metadata.sorted_tables):
                connection.execute(table.delete())
            history.append(connection, MODEL)
        self.served = MODEL
        self.accepted: dict[str, int] = {}  # which recording each study is
        self.sent: list[outbox.Due] = []  # on the broker; taking one does not remove it: it may be handed out twice
        self.told: list[Answer | Started] = []  # on the way back
        self.ends: dict[str, tuple[object, ...]] = {}
        self.endings: Counter[str] = Counter()  # how often each study came to an end; a dead letter may again

    def commit(self, crash: bool, step: Callable[[Connection], T]) -> T | None:
        """A transaction, or the attempt at one."""
        try:
            with self.store.writing() as connection:
                done = step(connection)
                if crash:
                    raise Crash
        except Crash:
            return None
        return done

    @rule(number=st.integers(0, 2), crash=seldom, lost=seldom)
    def accept(self, number: int, crash: bool, lost: bool) -> None:
        recording = RECORDINGS[number]
        examined = Examination(recording=recording, quality=Quality(usable=True, findings=()), ours=UNMEASURED)
        kept = self.commit(
            crash,
            lambda connection: studies.accept(
                connection, upload=b"file", examined=examined, model_digest=self.served.digest, redispatch_after=LEASE
            ),
        )
        if kept is None:
            return
        self.accepted[kept.study_id] = number
        if kept.job_id is not None:
            self.ends.pop(kept.job_id, None)  # a dead letter that starts anew
            if not lost:
                due = outbox.Due(
                    kept.job_id, recording.digest, self.served.digest, recording.to_bytes(), attempt=kept.attempt
                )
                self.sent.append(due)

    @rule(crash=seldom, lost=seldom)
    def relay(self, crash: bool, lost: bool) -> None:
        due = self.commit(crash, take_due)
        if due is not None and not lost:
            self.sent.extend(due)

    @precondition(lambda self: self.sent)
    @rule(index=which, outcome=st.sampled_from([*OUTCOMES, "start", "die"]))
    def work(self, index: int, outcome: str) -> None:
        due = self.sent[index % len(self.sent)]
        if outcome == "start":
            self.told.append(Started(job_id=due.job_id, attempt=due.attempt))
        elif outcome != "die":
            self.told.append(answer(due, outcome))

    @precondition(lambda self: self.accepted)
    @rule()
    def attempt(self) -> None:
        """A whole turn of everything that waits: each ECG does to its worker what it always does."""
        self.time_passes()
        for due in self.commit(False, take_due) or []:
            nature = self.natures[due.ecg_digest]
            with self.store.writing() as connection:
                outbox.begin(connection, Started(job_id=due.job_id, attempt=due.attempt), LEASE)
                if nature != "kills":
                    outbox.record(connection, answer(due, nature), retry_pause=LEASE)

    @precondition(lambda self: self.told)
    @rule(index=which, crash=seldom, again=seldom)
    def hear(self, index: int, crash: bool, again: bool) -> None:
        """A message reaches a gateway; one that is not acknowledged comes again."""
        message = self.told[index % len(self.told)]
        self.commit(crash, lambda connection: hear(connection, message))
        if not crash and not again:
            self.told.remove(message)

    @precondition(lambda self: self.told and self.sent)
    @rule(index=which, back=st.booleans())
    def lose(self, index: int, back: bool) -> None:
        messages: list[outbox.Due] | list[Answer | Started] = self.told if back else self.sent
        messages.pop(index % len(messages))

    @precondition(lambda self: len(self.told) + len(self.sent) > 5)
    @rule()
    def wipe_the_broker(self) -> None:
        self.sent.clear()
        self.told.clear()

    @rule()
    def time_passes(self) -> None:
        """Every lease ends."""
        with self.store.writing() as connection:
            connection.execute(tables.outbox.update().values(due_at=datetime.now(UTC) - timedelta(seconds=1)))

    @rule(crash=seldom)
    def restart(self, crash: bool) -> None:
        self.commit(crash, outbox.make_due)

    @rule(change=st.booleans(), crash=seldom)
    def roll_out(self, change: bool, crash: bool) -> None:
        """Another model is served, or back to the one before; or a rolling update goes on."""
        model = NEXT if (self.served == MODEL) == change else MODEL

        def step(connection: Connection) -> bool:
            history.append(connection, model)
            self.met.update(["withdrawn"] * withdrawal.withdraw(connection, model.digest, after=timedelta()))
            return True

        if self.commit(crash, step):
            self.served = model

    @precondition(lambda self: any(end[0] == "failed" for end in self.ends.values()))
    @rule(crash=seldom)
    def retry(self, crash: bool) -> None:
        if self.commit(crash, dead_letters.retry):
            self.ends = {job_id: end for job_id, end in self.ends.items() if end[0] != "failed"}

    @precondition(lambda self: len(self.accepted) == len(RECORDINGS))
    @rule(crash=seldom)
    def forget(self, crash: bool) -> None:
        study_id = min(self.accepted, key=lambda accepted: self.accepted[accepted])
        if self.commit(crash, lambda connection: retention.forget(connection, study_id)):
            del self.accepted[study_id]
            del self.endings[study_id]

    @invariant()
    def every_accepted_ecg_is_asked_of_a_model_or_has_exactly_one_end_by_each(self) -> None:
        found = self.jobs()
        assert {job.study_id for job in found if job.reason != WITHDRAWN} == set(self.accepted)
        assert len(found) == len({(job.study_id, job.model_digest) for job in found})
        for job in found:
            self.met.add(job.status)
            assert (job.due_at is not None) == (job.status in UNFINISHED)
            assert (job.result is not None) == (job.status in ("done", "rejected"))
            assert (job.reason is not None) == (job.status == "failed")
            assert job.due_at is None or job.attempts < outbox.MAX_ATTEMPTS

    @invariant()
    def an_end_never_changes_and_is_told_once(self) -> None:
        found = self.jobs()
        ends = {
            job.id: (job.status, job.reason, job.detail, job.finished_at, job.recorded_at)
            for job in found
            if job.status not in UNFINISHED and job.reason != WITHDRAWN  # of which nobody is told
        }
        for job_id, end in ends.items():
            assert self.ends.get(job_id, end) == end
        self.endings.update(job.study_id for job in found if job.id in ends.keys() - self.ends.keys())
        self.ends = ends
        with self.store.reading() as connection:
            assert Counter(connection.scalars(select(tables.events.c.study_id))) == self.endings

    def jobs(self):  # type: ignore[no-untyped-def]  # rows of a select
        query = (
            select(tables.jobs, tables.outbox, tables.results.c.job_id.label("result"), tables.results.c.recorded_at)
            .outerjoin(tables.outbox, tables.outbox.c.job_id == tables.jobs.c.id)
            .outerjoin(tables.results, tables.results.c.job_id == tables.jobs.c.id)
        )
        with self.store.reading() as connection:
            return connection.execute(query).all()

    def teardown(self) -> None:
        """With a healthy broker and worker everything comes to its end."""
        self.time_passes()
        self.relay(crash=False, lost=False)
        for due in self.sent:
            nature = self.natures[due.ecg_digest]
            with self.store.writing() as connection:
                outbox.record(connection, answer(due, "rejection" if nature == "rejection" else "inference"))
        assert all(job.status not in UNFINISHED for job in self.jobs())
        self.every_accepted_ecg_is_asked_of_a_model_or_has_exactly_one_end_by_each()
        self.an_end_never_changes_and_is_told_once()
        with self.store.reading() as connection:
            for table in (tables.studies, tables.blobs):
                assert connection.scalar(select(func.count()).select_from(table)) == len(self.accepted)


def answer(due: outbox.Due, outcome: str) -> Answer:
    said = OUTCOMES[outcome].model_copy(update={"model": MODELS[due.model_digest]})
    return Answer(job_id=due.job_id, ecg_digest=due.ecg_digest, seconds=0.1, outcome=said, attempt=due.attempt)


def take_due(connection: Connection) -> list[outbox.Due]:
    """What is due, in an order that does not depend on ids, which are random: hypothesis repeats itself."""
    outbox.bury_lost(connection)
    return sorted(outbox.take_due(connection, LEASE), key=lambda due: due[1:3] + due[4:7])


def hear(connection: Connection, message: Answer | Started) -> None:
    if isinstance(message, Started):
        outbox.begin(connection, message, LEASE)
    else:
        outbox.record(connection, message, retry_pause=LEASE)


def test_every_accepted_ecg_ends_in_one_report_or_one_named_failure_whatever_happens(store: Store) -> None:
    explored = settings(
        max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    met: set[str] = set()
    run_state_machine_as_test(lambda: LifeCycle(store, met), settings=explored)
    assert met >= {*STATES, "withdrawn"}, "what was not met was not tested"
