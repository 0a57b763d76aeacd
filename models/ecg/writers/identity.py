"""Identity: how a file names itself and the person, the same way every time."""

from __future__ import annotations

import uuid

from models.ecg.recording import Recording
from models.ecg.writers.errors import TextNotAllowed

_LONGEST = 64  # characters of a DICOM LO (PS3.5 section 6.2); MUSE states no limit


def uid(*parts: object) -> str:
    """A DICOM UID of what is identified: the same parts have the same UID (UUID-derived, PS3.5 section B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, repr(tuple(map(str, parts)))).int}"


def content_of(recording: Recording) -> tuple[object, ...]:
    """All of a recording that files hold: two that differ here are different objects."""
    return (
        recording.digest,
        recording.patient_id,
        recording.age,
        recording.sex,
        recording.acquired_at,
        recording.device,
        recording.filters,
        recording.paced,
        recording.height,
        recording.weight,
        *recording.measured.known().items(),
        *recording.statements,
    )


def printable(text: str | None) -> str:
    r"""An identifier as a field of a file holds it; "" for none.

    Raises
    ------
    TextNotAllowed
        If it is longer than 64 characters, or holds the ``\`` that separates DICOM values.
    """
    text = text or ""
    if len(text) > _LONGEST or "\\" in text:
        raise TextNotAllowed(f"{text[:80]!r} is no identifier: up to {_LONGEST} characters without '\\'")
    return text
