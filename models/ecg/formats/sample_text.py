"""Sample text: how XML documents write samples, as base64 of 16-bit words or as whole numbers between commas."""

from __future__ import annotations

import binascii
import re

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile
from models.ecg.leads import MAX_SAMPLES

_BLANKS = str.maketrans("", "", " \t\r\n")
_SIGNS = re.compile(r"[-+0-9,\s]+")
_LARGEST = 10_000_000


def decode_base64(text: str, what: str) -> bytes:
    """The bytes of base64 (RFC 4648) with line breaks anywhere; `what` names them in the error.

    Raises
    ------
    DecodeError
        If any other sign stands in it, or it is empty.
    """
    try:
        content = binascii.a2b_base64(text.translate(_BLANKS), strict_mode=True)
    except ValueError as error:  # binascii.Error is one; so is text that is not ASCII
        raise DecodeError(f"{what} is no base64: {error}") from error
    if not content:
        raise DecodeError(f"{what} is empty")
    return content


def words(content: bytes, what: str) -> NDArray[np.float64]:
    """Signed 16-bit words, little-endian.

    Raises
    ------
    TruncatedFile
        If half a word is missing.
    UnsafeFile
        If there are more than a resting ECG has.
    """
    if len(content) % 2:
        raise TruncatedFile(f"{what} ends within a sample")
    _check_count(len(content) // 2, what)
    return np.frombuffer(content, "<i2").astype(np.float64)


def whole_numbers(text: str, what: str) -> NDArray[np.float64]:
    """Whole numbers between commas, wrapped anywhere; one comma may stand behind the last.

    Raises
    ------
    DecodeError
        If there is something else.
    UnsafeFile
        If there are more than a resting ECG has.
    """
    text = text.strip().removesuffix(",")
    _check_count(text.count(",") + 1, what)
    refused = DecodeError(f"{what} is no list of whole numbers")
    if not _SIGNS.fullmatch(text):
        raise refused
    try:
        numbers = np.array(text.split(","), dtype=np.float64)
    except ValueError as error:  # signs that make no number
        raise refused from error
    if np.abs(numbers).max() >= _LARGEST:
        raise refused
    return numbers


def _check_count(samples: int, what: str) -> None:
    if samples > MAX_SAMPLES:
        raise UnsafeFile(f"{what} has more than {MAX_SAMPLES} samples, more than any resting ECG")


def check_length(samples: int, announced: float | None, what: str) -> None:
    """Compare with the number that the file announces, where it does.

    Raises
    ------
    TruncatedFile
        If there are fewer.
    DecodeError
        If there are more.
    """
    if announced is not None and announced != samples:
        wrong = TruncatedFile if samples < announced else DecodeError
        raise wrong(f"{what} has {samples} of the {announced:g} samples that the file announces")
