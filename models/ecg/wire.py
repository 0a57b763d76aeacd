"""Wire: what a confined reader is asked and what it answers, as bytes that cannot do anything but be read."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import msgpack
import numpy as np
from pydantic import TypeAdapter, ValidationError

from models.ecg.errors import EcgError, UnreadableFile, UnsafeFile, kinds_of
from models.ecg.examination import Examination
from models.ecg.recording import LEADS
from models.ecg.stated import Stated

_SIGNAL = 1  # MessagePack's application type for the samples: float64, little endian, lead by lead
_MOMENT = 2  # and for a date with its time, as Python writes and reads it

# The other side has read a file from anybody: what it says is checked like any input.
_EXAMINATION = TypeAdapter(Examination)


def pack_question(data: bytes, stated: Stated) -> bytes:
    """A file and what its sender says beside it."""
    packed: bytes = msgpack.packb([data, stated.sampling_rate, stated.unit, stated.leads])
    return packed


def unpack_question(question: bytes) -> tuple[bytes, Stated]:
    """What `pack_question` packed."""
    data, rate, unit, leads = msgpack.unpackb(question)
    return data, Stated(sampling_rate=rate, unit=unit, leads=None if leads is None else tuple(leads))


def pack_answer(examine: Callable[[], Examination]) -> bytes:
    """The examination, or why there is none; memory that ran out is the file's doing, anything unforeseen is ours."""
    try:
        packed: bytes = msgpack.packb([None, asdict(examine())], default=_packed)
    except EcgError as error:
        packed = msgpack.packb([error.code, error.detail])
    except MemoryError:
        packed = msgpack.packb([UnsafeFile.code, "reading the file takes more memory than any ECG does"])
    except Exception as error:  # the parent logs it: a bug must be seen, but not stop the reader or the sender
        packed = msgpack.packb([UnreadableFile.code, _place_of(error)])
    return packed


def _place_of(error: Exception) -> str:
    """Kind and place of an error; not its words, which may quote a patient."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"


def unpack_answer(answer: bytes) -> Examination:
    """The examination that `pack_answer` packed.

    Raises
    ------
    EcgError
        The one that the reader refused the file with.
    """
    code, content = msgpack.unpackb(answer, ext_hook=_unpacked)
    if code is not None:
        raise next(kind for kind in kinds_of(EcgError) if kind.code == code)(content)
    try:
        return _EXAMINATION.validate_python(content)
    except ValidationError as error:
        raise UnreadableFile("its reader answered with what is no recording") from error


def _packed(value: object) -> object:
    """What MessagePack has no type for."""
    if isinstance(value, np.ndarray):
        return msgpack.ExtType(_SIGNAL, value.astype("<f8", copy=False).tobytes())
    if isinstance(value, datetime):
        return msgpack.ExtType(_MOMENT, value.isoformat().encode())
    raise TypeError(f"a {type(value).__name__} has no place in an answer")


def _unpacked(kind: int, data: bytes) -> object:
    if kind == _MOMENT:
        return datetime.fromisoformat(data.decode())
    if kind != _SIGNAL:
        raise ValueError(f"type {kind} has no place in an answer")
    return np.frombuffer(data, "<f8").reshape(len(LEADS), -1)
