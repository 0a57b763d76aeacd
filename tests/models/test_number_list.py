"""A list of samples is read to the last digit, or refused: never a number fewer, never another."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ecg.errors import DecodeError, UnsafeFile
from models.ecg.formats.number_list import LARGEST, whole_numbers
from models.ecg.leads import MAX_SAMPLES

STRICT = {
    ",": re.compile(r"\s*[-+]?\d+(?:\s*,\s*[-+]?\d+)*\s*,?\s*"),
    " ": re.compile(r"\s*[-+]?\d+(?:\s+[-+]?\d+)*\s*"),
}


@given(st.lists(st.integers(-LARGEST, LARGEST), min_size=1), st.sampled_from([", ", ",", " ,\n\t"]))
def test_every_number_between_commas_is_read(numbers: list[int], separator: str) -> None:
    assert whole_numbers(separator.join(map(str, numbers)), ",", "lead I").tolist() == numbers


@given(st.lists(st.integers(-LARGEST, LARGEST), min_size=1), st.sampled_from([" ", "\n", "  \t "]))
def test_every_number_between_blanks_is_read(numbers: list[int], separator: str) -> None:
    assert whole_numbers(separator.join(map(str, numbers)), " ", "lead I").tolist() == numbers


@given(st.text("0123456789+-, \n.eE", max_size=20), st.sampled_from([",", " "]))
def test_any_text_is_read_as_a_strict_grammar_reads_it_or_refused(text: str, separator: str) -> None:
    numbers = [int(number) for number in re.findall(r"[-+]?\d+", text)]
    if STRICT[separator].fullmatch(text) and max(map(abs, numbers)) <= LARGEST:
        assert whole_numbers(text, separator, "lead I").tolist() == numbers
    else:
        with pytest.raises(DecodeError):
            whole_numbers(text, separator, "lead I")


def test_more_samples_than_any_ecg_are_refused() -> None:
    with pytest.raises(UnsafeFile):
        whole_numbers(",".join(np.zeros(MAX_SAMPLES + 1, int).astype(str)), ",", "lead I")
