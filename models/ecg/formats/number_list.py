"""Number list: the samples of a lead as text, whole numbers between commas or blanks, to an array at once."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, UnsafeFile
from models.ecg.leads import MAX_SAMPLES

LARGEST = 9_999_999
"""Steps; seven digits, more than any converter has (24 bits are 8,388,607)."""

_ALPHABET = b"0123456789+-, \t\r\n"


def whole_numbers(text: str, separator: str, where: str) -> NDArray[np.float64]:
    """The numbers of a list, each of them and nothing else.

    Parameters
    ----------
    text : str
    separator : "," or " "
        A comma, around which there may be blanks, or any run of blanks.
    where : str
        What the list is, for the error.

    Raises
    ------
    UnsafeFile
        If there are more than `MAX_SAMPLES`.
    DecodeError
        If one of them is no whole number of up to seven digits.
    """
    raw = text.encode("ascii", "replace").strip()
    count = raw.count(b",") + 1 if separator == "," else len(raw.split())
    if count > MAX_SAMPLES:
        raise UnsafeFile(f"{where} has more than {MAX_SAMPLES} samples, more than any resting ECG")
    if not raw or raw.translate(None, _ALPHABET) or not _signs_have_digits(raw):
        raise DecodeError(f"{where} is no list of whole numbers")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # what NumPy 1 gave where NumPy 2 refuses
            steps = np.fromstring(raw, np.int64, sep=separator)
    except (ValueError, DeprecationWarning) as error:
        raise DecodeError(f"{where} is no list of whole numbers") from error
    if len(steps) != count or np.abs(steps).max() > LARGEST:
        raise DecodeError(f"{where} is no list of whole numbers")
    return steps.astype(np.float64)


def _signs_have_digits(raw: bytes) -> bool:
    """Whether a digit follows each sign; NumPy reads a sign alone as zero."""
    codes = np.frombuffer(raw + b" ", np.uint8)
    following = codes[np.flatnonzero((codes == ord("-")) | (codes == ord("+"))) + 1]
    return bool(((following >= ord("0")) & (following <= ord("9"))).all())
