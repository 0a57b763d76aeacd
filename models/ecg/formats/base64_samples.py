"""Base64 samples: how XML documents write the words of a converter."""

from __future__ import annotations

import binascii

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, TruncatedFile
from models.ecg.formats.number_list import check_count

_BLANKS = str.maketrans("", "", " \t\r\n")


def decode_base64(text: str, what: str) -> bytes:
    """The bytes of base64 (RFC 4648) with line breaks anywhere; `what` names them in the error.

    Raises
    ------
    DecodeError
        If any other sign stands in it, or it is empty.
    """
    if not text.isascii():
        raise DecodeError(f"{what} is no base64")
    try:
        content = binascii.a2b_base64(text.translate(_BLANKS), strict_mode=True)
    except binascii.Error as error:
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
    check_count(len(content) // 2, what)
    return np.frombuffer(content, "<i2").astype(np.float64)
