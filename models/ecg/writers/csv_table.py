"""CSV: comment lines of what is known, a row of lead names, and one row a sample (`models.ecg.formats.csv_table`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from models.ecg.recording import LEADS, Recording
from models.ecg.writers.microvolts import UNIT, microvolts


def write(recording: Recording) -> bytes:
    """One table in UTF-8, exact to 10 nV; which leads were derived is not told."""
    comments = (f"# {key}={text}" for key, text in _said(recording))
    rows = (",".join(map(str, row)) for row in microvolts(recording).T.tolist())
    return "\n".join([*comments, ",".join(LEADS), *rows, ""]).encode()


def _said(recording: Recording) -> Iterator[tuple[str, str]]:
    numbers: dict[str, float | None] = {"fs": recording.sampling_rate, "age": recording.age}
    numbers |= {"height": recording.height, "weight": recording.weight}
    numbers |= dataclasses.asdict(recording.filters) | recording.measured.known()
    texts = {
        "samples": str(recording.signal.shape[1]),
        "unit": UNIT,
        "sex": recording.sex,
        "patient_id": recording.patient_id,
        "device": recording.device,
    }
    texts["acquired_at"] = recording.acquired_at.isoformat() if recording.acquired_at else None
    texts["paced"] = None if recording.paced is None else ("yes" if recording.paced else "no")
    yield from (
        (key, np.format_float_positional(value, trim="-")) for key, value in numbers.items() if value is not None
    )
    yield from ((key, text) for key, text in texts.items() if text)
    yield from (("statement", text) for text in recording.statements)
