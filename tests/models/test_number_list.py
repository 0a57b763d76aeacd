"""A list of samples is read to the last digit, or refused: never a number fewer, never another."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ecg.errors import DecodeError, UnsafeFile
from models.ecg.formats.number_list import LARGEST, MAX_NUMBERS, numbers, whole_numbers
from models.ecg.leads import MAX_SAMPLES

STRICT = {
    ",": re.compile(r"\s*[-+]?\d+(?:\s*,\s*[-+]?\d+)*\s*,?\s*"),
    " ": re.compile(r"\s*[-+]?\d+(?:\s+[-+]?\d+)*\s*"),
}


@given(st.lists(st.integers(-LARGEST, LARGEST), min_size=1), st.sampled_from([", ", ",", " ,\n\t"]))
def test_every_number_between_commas_is_read(steps: list[int], separator: str) -> None:
    assert whole_numbers(separator.join(map(str, steps)), ",", "lead I").tolist() == steps


@given(st.lists(st.integers(-LARGEST, LARGEST), min_size=1), st.sampled_from([" ", "\n", "  \t "]))
def test_every_number_between_blanks_is_read(steps: list[int], separator: str) -> None:
    assert whole_numbers(separator.join(map(str, steps)), " ", "lead I").tolist() == steps


@given(st.text("0123456789+-, \n.eE", max_size=20), st.sampled_from([",", " "]))
def test_any_text_is_read_as_a_strict_grammar_reads_it_or_refused(text: str, separator: str) -> None:
    steps = [int(number) for number in re.findall(r"[-+]?\d+", text)]
    if STRICT[separator].fullmatch(text) and max(map(abs, steps)) <= LARGEST:
        assert whole_numbers(text, separator, "lead I").tolist() == steps
    else:
        with pytest.raises(DecodeError):
            whole_numbers(text, separator, "lead I")


def test_more_samples_than_any_ecg_are_refused() -> None:
    with pytest.raises(UnsafeFile):
        whole_numbers(",".join(np.zeros(MAX_SAMPLES + 1, int).astype(str)), ",", "lead I")


@pytest.mark.parametrize("separator", [",", " "])
def test_a_text_that_is_too_long_is_refused_before_it_is_taken_apart(separator: str) -> None:
    text = f"1{separator}" * 8 * MAX_SAMPLES + "1"
    tracemalloc.start()
    with pytest.raises(UnsafeFile):
        whole_numbers(text, separator, "lead I")
    with pytest.raises(UnsafeFile):
        numbers(text, gaps=(), what="lead I")
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_many_numbers_side_by_side_are_counted_before_they_are_taken_apart() -> None:
    text = "22 " * (MAX_NUMBERS + 1)
    tracemalloc.start()
    with pytest.raises(UnsafeFile):
        numbers(text, gaps=(), what="the ECG", dimensions=64)
    assert tracemalloc.get_traced_memory()[1] < 10 * MAX_NUMBERS
    tracemalloc.stop()


@given(st.text("12 \t\n\r\x0b\x0c\x1c\x1f", max_size=20))
def test_blanks_are_those_of_python(text: str) -> None:
    if text.split():
        assert numbers(text, gaps=(), what="lead I").tolist() == [float(word) for word in text.split()]
