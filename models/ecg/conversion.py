"""Conversion: a recording as a file of another format, and what that format could not hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.ecg import facts
from models.ecg.decode import decode
from models.ecg.errors import EcgError
from models.ecg.recording import LEADS, Filters, Recording
from models.ecg.writers import FORMATS

_FIELDS = ("age", "sex", "height", "weight", "patient_id", "acquired_at", "device", "filters", "paced", "statements")


@dataclass(frozen=True)
class Converted:
    """The new file, and what a reader of it gets.

    Attributes
    ----------
    content : bytes
    difference : float or None
        Largest difference of any sample, microvolts; None if the file cannot be compared.
    losses : tuple of str
        One sentence for each thing that the reader does not get, or gets differently.
    """

    content: bytes
    difference: float | None
    losses: tuple[str, ...]


def convert(recording: Recording, name: str) -> Converted:
    """Write as the format of `models.ecg.writers.FORMATS`, read that again, and compare.

    Raises
    ------
    Unwritable
        If the format has no place for the signal.
    """
    content = FORMATS[name].write(recording)
    try:
        again = decode(content)
    except EcgError as error:
        return Converted(content, None, (f"not compared, as the file is not read here: {error.detail}",))
    if again.signal.shape != recording.signal.shape:
        shapes = f"{again.signal.shape[1]} samples instead of {recording.signal.shape[1]}"
        return Converted(content, None, (shapes, *_losses(recording, again)))
    difference = 1e3 * float(np.abs(again.signal - recording.signal).max())
    return Converted(content, difference, tuple(_losses(recording, again)))


def _losses(before: Recording, after: Recording) -> Iterator[str]:
    if after.sampling_rate != before.sampling_rate:
        yield f"sampling rate {before.sampling_rate:.10g} Hz became {after.sampling_rate:.10g} Hz"
    recomputed = [lead for lead in LEADS if lead in after.derived and lead not in before.derived]
    if recomputed:
        yield f"{', '.join(recomputed)} not stored: computed again from I and II"
    kept = [lead for lead in LEADS if lead in before.derived and lead not in after.derived]
    if kept:
        yield f"{', '.join(kept)}, computed from I and II, are stored as if they were recorded"
    for field in _FIELDS:
        was, became = getattr(before, field), getattr(after, field)
        if was != became:
            yield _change(field.replace("_", " "), was, became)
    yield from _measurements(before, after)


def _change(name: str, was: object, became: object) -> str:
    told = "dropped" if became in (None, (), Filters()) else f"became {_words(became)}"
    return f"{name} {_words(was)}: {told}"


def _words(value: object) -> str:
    if isinstance(value, Filters):
        return facts.filters(value) or "of no stated filter"
    if isinstance(value, tuple):
        return facts.shown("; ".join(value) or "none", 60)
    return facts.shown(f"{value:g}" if isinstance(value, float) else str(value), 60)


def _measurements(before: Recording, after: Recording) -> Iterator[str]:
    was, became = before.measured.known(), after.measured.known()
    lost = [name.replace("_", " ") for name in was if name not in became]
    if lost:
        yield f"measured by the device, dropped: {', '.join(lost)}"
    for name, value in became.items():
        if name in was and was[name] != value:
            yield f"measured by the device, {name.replace('_', ' ')} {was[name]:g}: became {value:g}"
