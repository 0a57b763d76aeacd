"""Inspection: everything that was understood of one ECG, for a person and for a program."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from models.ecg import facts
from models.ecg.examination import Examination
from models.ecg.quality import Quality, refusal
from models.ecg.recording import LEADS, Recording


def report(seen: Examination) -> str:
    """All of it in aligned lines."""
    recording = seen.recording
    blocks = (
        _aligned(_facts(recording), indent=2),
        _measured(seen),
        ["device says", *(f'  "{facts.shown(said)}"' for said in recording.statements)] if recording.statements else [],
        _quality(seen.quality),
    )
    return "\n\n".join("\n".join(block) for block in blocks if block)


def summary(seen: Examination) -> tuple[str, ...]:
    """One row of a table: verdict, format, rate, duration, heart rate, and how many warnings there are."""
    recording, findings = seen.recording, seen.quality.findings
    rate = "" if seen.ours.heart_rate is None else f"{seen.ours.heart_rate:.0f}/min"
    warnings = sum(finding.severity == "warning" for finding in findings)
    wrong = refusal(seen.quality)
    told = wrong.detail if wrong else {0: "", 1: "1 warning"}.get(warnings, f"{warnings} warnings")
    return (
        "usable" if seen.quality.usable else "refused",
        recording.source_format,
        f"{recording.sampling_rate:g} Hz",
        f"{recording.duration:.1f} s",
        rate,
        told,
    )


def document(seen: Examination) -> dict[str, object]:
    """All of it as JSON has it: SI-like units in the names, null where nothing is known, no samples."""
    recording = seen.recording
    return {
        "usable": seen.quality.usable,
        "format": recording.source_format,
        "sampling_rate_hz": recording.sampling_rate,
        "duration_s": recording.duration,
        "samples": recording.signal.shape[1],
        "leads": {
            "stored": list(facts.stored(recording)),
            "derived": list(recording.derived),
            "left_out": list(facts.left_out(recording)),
        },
        "patient": {
            "id": recording.patient_id,
            "age_years": recording.age,
            "sex": recording.sex,
            "height_cm": recording.height,
            "weight_kg": recording.weight,
        },
        "acquired_at": recording.acquired_at.isoformat() if recording.acquired_at else None,
        "device": recording.device,
        "filters_hz": dataclasses.asdict(recording.filters),
        "paced": recording.paced,
        "measured_by_us": seen.ours.known(),
        "measured_by_device": recording.measured.known(),
        "statements": list(recording.statements),
        "digest": recording.digest,
        "findings": [dataclasses.asdict(finding) for finding in seen.quality.findings],
    }


def table(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Rows as lines, each column as wide as its widest cell."""
    return _aligned(list(rows), indent=0)


def _aligned(rows: Iterable[tuple[str, ...]], indent: int) -> Iterator[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield (" " * indent + "  ".join(cells)).rstrip()


def _facts(recording: Recording) -> list[tuple[str, str]]:
    stored, extra = facts.stored(recording), facts.left_out(recording)
    leads = "all twelve" if len(stored) == len(LEADS) else ", ".join(stored)
    computed = f", computed from I and II: {', '.join(recording.derived)}" if recording.derived else ""
    identifier = f"{recording.patient_id}, " if recording.patient_id else ""
    told = [
        ("format", recording.source_format),
        ("signal", facts.signal(recording)),
        ("leads", f"{leads} stored{computed}"),
        ("left out", ", ".join(extra)),
        ("patient", f"{identifier}{facts.patient(recording)}".removesuffix(", ") or facts.NOT_STATED),
        ("recorded", facts.moment(recording) or facts.NOT_STATED),
        ("device", recording.device or facts.NOT_STATED),
        ("filters", facts.filters(recording.filters) or facts.NOT_STATED),
        ("pacing", facts.pacing(recording)),
        ("digest", recording.digest),
    ]
    return [(name, facts.shown(value)) for name, value in told if value]


def _measured(seen: Examination) -> list[str]:
    rows = facts.measured(seen.ours, seen.recording.measured)
    if not rows:
        return []
    cells = [(label, mine.rjust(6), theirs.rjust(6), unit) for label, mine, theirs, unit in rows]
    return list(_aligned([("measured", "  ours", "device", ""), *((f"  {cell[0]}", *cell[1:]) for cell in cells)], 0))


def _quality(quality: Quality) -> list[str]:
    verdict = "usable" if quality.usable else "not usable"
    rows = [(finding.severity, finding.code, facts.shown(finding.message)) for finding in quality.findings]
    return [f"quality: {verdict}{'' if rows else ', nothing noticed'}", *_aligned(rows, indent=2)]
