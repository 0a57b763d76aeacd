"""JSON: a recording with everything that is known of it, as `models.ecg.formats.json_document` reads it."""

from __future__ import annotations

import dataclasses

import orjson

from models.ecg.recording import LEADS, Recording
from models.ecg.writers.microvolts import UNIT, microvolts


def write(recording: Recording) -> bytes:
    """One document, exact to 10 nV; what is not known is left out, as are the remarks of the reader.

    III, aVR, aVL and aVF are written with the others, and named where they were derived.
    """
    filters = dataclasses.asdict(recording.filters)
    patient: dict[str, object] = {"id": recording.patient_id, "age": recording.age, "sex": recording.sex}
    patient |= {"height": recording.height, "weight": recording.weight}
    document: dict[str, object] = {
        "sampling_rate_hz": recording.sampling_rate,
        "unit": UNIT,
        "patient": _known(patient),
        "acquired_at": recording.acquired_at and recording.acquired_at.isoformat(),
        "device": recording.device,
        "filters": _known(filters),
        "paced": recording.paced,
        "measurements": recording.measured.known(),
        "statements": recording.statements,
        "derived": recording.derived,
        "leads": dict(zip(LEADS, microvolts(recording).tolist(), strict=True)),
    }
    return orjson.dumps({key: value for key, value in document.items() if value not in (None, {}, ())})


def _known(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
