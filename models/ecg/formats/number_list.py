"""Number list: the samples of one lead as text, numbers between blanks, with words for those that are missing."""

from __future__ import annotations

import re
from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, UnsafeFile
from models.ecg.leads import MAX_SAMPLES

_PLAIN = b"0123456789+-. \t\r\n"
_NUMBER = re.compile(r"[-+]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(?:[eE][-+]?\d{1,2})?")
_CHARACTERS = 16  # of one number with its blank; more stand in no ECG
_LARGEST = 1e12
"""A sample is smaller in any unit, and its product with a scale stays finite."""


def numbers(text: str, *, gaps: Container[str], where: str, dimensions: int = 1) -> NDArray[np.float64]:
    """The numbers of a text; NaN for each of the words in `gaps`.

    Parameters
    ----------
    where : what the text is, for the sentence that refuses it
    dimensions : how many samples stand side by side at each instant

    Returns
    -------
    ndarray, (samples × dimensions,)

    Raises
    ------
    UnsafeFile
        If it is longer than any ECG.
    DecodeError
        If there are no numbers, or something else.
    """
    most = MAX_SAMPLES * dimensions
    words = text.split() if len(text) <= _CHARACTERS * most else []
    if len(text) > _CHARACTERS * most or len(words) > most:
        raise UnsafeFile(f"{where} has more than {MAX_SAMPLES} samples, more than any resting ECG")
    if not words:
        raise DecodeError(f"{where} has no samples")
    if not text.isascii() or text.encode().translate(None, _PLAIN):
        words = [_checked(word, gaps, where) for word in words]
    try:
        samples = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise DecodeError(f"{where} is no list of numbers") from error
    if (np.abs(samples) > _LARGEST).any():
        raise DecodeError(f"{where} has numbers that no voltage has")
    return samples


def _checked(word: str, gaps: Container[str], where: str) -> str:
    """A number, or NaN for a gap."""
    if word in gaps:
        return "nan"
    if not _NUMBER.fullmatch(word):
        raise DecodeError(f"{where} has {word[:40]!r} among its samples, which is no number")
    return word
