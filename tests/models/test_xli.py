from __future__ import annotations

import contextlib
import struct
from typing import Any

import numpy as np
import pytest
from ecgdatakit.parsing.codecs.xli import xli_decode
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.ecg import DecodeError, EcgError
from models.ecg.errors import TruncatedFile, UnsafeFile
from models.ecg.formats.xli import unpack
from tests.models.ecg_files import made_up_signal
from tests.models.philips_files import bits, lzw, xli, xli_lead

STEPS = np.rint(200 * made_up_signal(2)).astype(np.int64)


def packed(codes: list[int], first: int = 0) -> bytes:
    content = bits(codes)
    return struct.pack("<Ihh", len(content), 1, first) + content


@settings(max_examples=60, deadline=None)
@given(steps=arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(3, 60)), elements=st.integers(-4000, 4000)))
def test_what_a_step_by_step_packer_wrote_comes_back(steps: np.ndarray[Any, Any]) -> None:
    np.testing.assert_array_equal(unpack(xli(steps), *steps.shape), steps)


@pytest.mark.parametrize("kind", ["heart", "flat", "noise"])
def test_full_tables_and_long_strings_come_back_and_another_reader_agrees(kind: str) -> None:
    noise = np.random.default_rng(0).integers(-900, 900, STEPS.shape)
    steps = {"heart": STEPS, "flat": 0 * STEPS + 7, "noise": noise}[kind]
    data = xli(steps)
    np.testing.assert_array_equal(unpack(data, *steps.shape), steps)
    np.testing.assert_array_equal(np.stack(xli_decode(data)[: len(steps)]), steps)


def test_unused_channels_are_left_out() -> None:
    assert unpack(xli(STEPS), 3, STEPS.shape[1]).shape == (3, STEPS.shape[1])


def test_fewer_leads_or_samples_than_announced_are_a_cut() -> None:
    data, samples = xli(STEPS), STEPS.shape[1]
    with pytest.raises(TruncatedFile, match="holds 14 leads, not 15"):
        unpack(data, 15, samples)
    with pytest.raises(TruncatedFile, match="2000 bytes, not 2002"):
        unpack(data, 12, samples + 1)
    with pytest.raises(DecodeError, match="2000 bytes, not 1998"):
        unpack(data, 12, samples - 1)
    for end in range(len(data) - 1, 0, -997):
        with pytest.raises(TruncatedFile):
            unpack(data[:end], 14, samples)


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (b"", TruncatedFile, "0 leads"),
        (packed([300, 1023]), DecodeError, "before it is defined"),
        (packed([65, 258, 1023]), DecodeError, "before it is defined"),
        (packed([65, 65, 65, 65]), TruncatedFile, "no end"),
        (packed([65, 65, 1023, 65]), DecodeError, "behind its end"),
        (packed([127, 128, 255, 255, 1023]), DecodeError, "not 8"),
        (packed([127, 255, 127, 255, 0, 255, 0, 255, 1023]), DecodeError, "16 bits"),
        (packed([65] * 500 + [1023]), DecodeError, "more than its 4 samples"),
        (xli_lead([1, 2, 3, 4], version=2), DecodeError, "version 2"),
        (xli_lead([1, 2, 3, 4]) * 65, UnsafeFile, "64 leads"),
    ],
)
def test_damage_is_refused_for_its_own_reason(data: bytes, error: type[EcgError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        unpack(data, 1, 4)


def test_a_short_string_for_many_samples_is_not_unpacked() -> None:
    bomb = packed([*lzw(bytes(300_000))[:768], *[1022] * 1000, 1023])
    with pytest.raises(DecodeError, match="not 2000"):
        unpack(bomb, 1, 1000)


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 4000), other=st.integers(0, 255))
def test_any_other_byte_gives_samples_or_a_reason(position: int, other: int) -> None:
    data = bytearray(xli(STEPS[:2]))
    data[position % len(data)] = other
    with contextlib.suppress(EcgError):
        assert unpack(bytes(data), 2, STEPS.shape[1]).shape == (2, STEPS.shape[1])
