"""What crosses Redis comes out as it went in, and bytes of anybody else are dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.report import Answer, Failure, Inference, ModelIdentity, Ood, Started
from models.wire import NotAnAnswer, pack_answer, unpack_answer

MODEL = ModelIdentity(name="toy", version="1.0.0", digest="d" * 64)


def inference(embedding: list[float]) -> Answer:
    read = Inference(
        model=MODEL,
        estimates=[],
        abstained=[],
        ood=Ood(score=0.1, flag=False),
        heart_rate=60.1,
        embedding=embedding,
        notices=["n"],
    )
    return Answer(job_id="j", ecg_digest="e", seconds=0.1, outcome=read)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_an_answer_is_exact_but_for_an_embedding_that_is_float32(embedding: list[float]) -> None:
    answer = inference(embedding)
    assert unpack_answer(pack_answer(answer)) == answer


def test_a_failure_has_no_embedding() -> None:
    answer = Answer(job_id="j", ecg_digest="e", seconds=0, outcome=Failure(model=MODEL, detail="x"))
    assert unpack_answer(pack_answer(answer)) == answer


def test_word_of_an_attempt_begun_is_not_taken_for_its_answer() -> None:
    started = Started(job_id="j", attempt=2)
    assert unpack_answer(pack_answer(started)) == started


@given(st.binary())
def test_bytes_that_are_no_answer_are_told_as_such(garbage: bytes) -> None:
    with pytest.raises(NotAnAnswer):
        unpack_answer(garbage)


def test_every_half_of_an_answer_is_none() -> None:
    packed = pack_answer(inference(np.arange(5.0).tolist()))
    for length in range(len(packed)):
        with pytest.raises(NotAnAnswer):
            unpack_answer(packed[:length])
