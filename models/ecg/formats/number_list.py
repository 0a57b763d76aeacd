"""Number list: the samples of a lead as text, numbers between commas or blanks, to an array at once."""

from __future__ import annotations

import warnings
from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile
from models.ecg.leads import MAX_SAMPLES
from models.ecg.text import NUMBER

LARGEST = 2**31
"""Steps; no converter has more than 32 bits."""

MAX_NUMBERS = 2_000_000
"""Of all leads of a document: of twelve, 2.7 min at 1000 Hz."""

_WHOLE = b"0123456789+-, \t\r\n"
_PLAIN = b"0123456789+-. \t\r\n"
_CHARACTERS = 16  # of one number with its blank; more stand in no ECG
_HIGHEST = 1e12  # a sample is smaller in any unit, and its product with a scale stays finite


def whole_numbers(text: str, separator: str, what: str) -> NDArray[np.float64]:
    """The whole numbers of a list, each of them and nothing else.

    Parameters
    ----------
    text : str
    separator : "," or " "
        A comma, with or without blanks around it and perhaps behind the last number; or any run of blanks.
    what : str
        What the list is, for the error.

    Raises
    ------
    UnsafeFile
        If there are more than `MAX_SAMPLES`.
    DecodeError
        If one of them is no whole number, or one that no converter gives.
    """
    raw = _raw(text, MAX_SAMPLES, what).strip()
    if separator == ",":
        raw = raw.removesuffix(b",")
    count = raw.count(b",") + 1 if separator == "," else _words_in(raw)
    check_count(count, what)
    return _steps(raw, separator, count, what)


def numbers(text: str, *, gaps: Container[str], what: str, dimensions: int = 1) -> NDArray[np.float64]:
    """The numbers between blanks, whole or not; NaN for each of the words in `gaps`.

    Parameters
    ----------
    what : what the list is, for the error
    dimensions : how many samples stand side by side at each instant

    Returns
    -------
    ndarray, (samples × dimensions,)

    Raises
    ------
    UnsafeFile
        If there are more than `MAX_SAMPLES` in each dimension, or `MAX_NUMBERS` in all.
    DecodeError
        If there are no numbers, or something else.
    """
    most = min(MAX_SAMPLES * dimensions, MAX_NUMBERS)
    raw = _raw(text, most, what)
    count = _words_in(raw)
    if count > most:
        raise _too_long(most, what)
    if not count:
        raise DecodeError(f"{what} has no samples")
    if not raw.translate(None, _WHOLE):
        return _steps(raw, " ", count, what)
    words = raw.decode().split()
    if raw.translate(None, _PLAIN):
        words = [_checked(word, gaps, what) for word in words]
    try:
        samples = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise DecodeError(f"{what} is no list of numbers") from error
    if (np.abs(samples) > _HIGHEST).any():
        raise DecodeError(f"{what} has numbers that no voltage has")
    return samples


def _raw(text: str, most: int, what: str) -> bytes:
    """The text of so many numbers, in which a sign that none of them has is a question mark."""
    if len(text) > _CHARACTERS * most:
        raise _too_long(most, what)
    return text.encode("ascii", "replace")


def _words_in(raw: bytes) -> int:
    """How many words stand between blanks, which no list of them has to be built for."""
    blank = np.frombuffer(b" " + raw, np.uint8) <= ord(" ")
    return int(np.count_nonzero(blank[:-1] > blank[1:]))


def _checked(word: str, gaps: Container[str], what: str) -> str:
    """A number, or NaN for a gap."""
    if word in gaps:
        return "nan"
    if not NUMBER.fullmatch(word):
        raise DecodeError(f"{what} has {word[:40]!r} among its samples, which is no number")
    return word


def _steps(raw: bytes, separator: str, count: int, what: str) -> NDArray[np.float64]:
    """As many whole numbers as were counted; NumPy reads them four times as fast as words."""
    refused = DecodeError(f"{what} is no list of whole numbers")
    if not raw or raw.translate(None, _WHOLE) or not _signs_have_digits(raw):
        raise refused
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # what NumPy 1 gave where NumPy 2 refuses
            steps = np.fromstring(raw, np.int64, sep=separator)
    except (ValueError, DeprecationWarning) as error:
        raise refused from error
    if len(steps) != count or steps.max() > LARGEST or steps.min() < -LARGEST:
        raise refused
    return steps.astype(np.float64)


def _signs_have_digits(raw: bytes) -> bool:
    """Whether a digit follows each sign; NumPy reads a sign alone as zero."""
    codes = np.frombuffer(raw + b" ", np.uint8)
    following = codes[np.flatnonzero((codes == ord("-")) | (codes == ord("+"))) + 1]
    return bool(((following >= ord("0")) & (following <= ord("9"))).all())


def check_count(samples: int, what: str) -> None:
    """Refuse more samples in a lead than any resting ECG has, before anything is made of them.

    Raises
    ------
    UnsafeFile
        If there are more than `MAX_SAMPLES`.
    """
    if samples > MAX_SAMPLES:
        raise _too_long(MAX_SAMPLES, what)


def _too_long(most: int, what: str) -> UnsafeFile:
    return UnsafeFile(f"{what} has more than {most} samples, more than any resting ECG")


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
