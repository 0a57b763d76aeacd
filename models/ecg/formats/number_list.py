"""Number list: the samples of a lead as text, whole numbers between commas or blanks, to an array at once."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, TruncatedFile, UnsafeFile
from models.ecg.leads import MAX_SAMPLES

LARGEST = 2**31
"""Steps; no converter has more than 32 bits."""

_ALPHABET = b"0123456789+-, \t\r\n"


def whole_numbers(text: str, separator: str, what: str) -> NDArray[np.float64]:
    """The numbers of a list, each of them and nothing else.

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
    raw = text.encode("ascii", "replace").strip()
    if separator == ",":
        raw = raw.removesuffix(b",")
    count = raw.count(b",") + 1 if separator == "," else len(raw.split())
    check_count(count, what)
    if not raw or raw.translate(None, _ALPHABET) or not _signs_have_digits(raw):
        raise DecodeError(f"{what} is no list of whole numbers")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # what NumPy 1 gave where NumPy 2 refuses
            steps = np.fromstring(raw, np.int64, sep=separator)
    except (ValueError, DeprecationWarning) as error:
        raise DecodeError(f"{what} is no list of whole numbers") from error
    if len(steps) != count or np.abs(steps).max() > LARGEST:
        raise DecodeError(f"{what} is no list of whole numbers")
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
