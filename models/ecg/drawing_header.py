"""Header of the paper: whose ECG it is, what was measured, and what the device says of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from models.ecg import facts
from models.ecg.drawing_parts import BODY, CAPTION, STRONG, TITLE, Text
from models.ecg.measurements import Measurements
from models.ecg.recording import Recording

MARGIN = 5.0
"""Millimetres around the paper."""

_MEASURED_X, _SAID_X = 92.0, 178.0  # mm, where the second and the third column begin
_TITLE_LETTERS, _LETTERS, _SAID_LETTERS = 30, 52, 41  # that fit into a column; devices speak in capitals
_OURS, _DEVICES, _GAP = 47.0, 75.0, 1.5  # mm from the second column on, and from a value to its unit
_FIRST, _LINE = 4.0, 4.1  # mm to the first baseline, and from one to the next
_LINES = 9  # that a column has at most
_LESS_WANTED = {"RR", "P", "QTc Framingham", "QTc Hodges"}


def header(recording: Recording, ours: Measurements) -> tuple[list[Text], float]:
    """Texts in three columns, and the millimetres at which the paper may begin below them.

    What is not known is left out. Long statements are wrapped, and what has no place is counted: nothing is cut
    without a word.
    """
    columns = [*_who(recording)], [*_measured(recording, ours)], [*_said(recording)]
    texts = [text for column in columns for text in column]
    return texts, round(max(text.y for text in texts)) + 3.0


def _y(number: int) -> float:
    return MARGIN + _FIRST + number * _LINE


def _who(recording: Recording) -> Iterator[Text]:
    """Identifier, patient, time, device and file."""
    title = f"Patient {recording.patient_id}" if recording.patient_id else "12-lead ECG"
    yield Text(font=TITLE, x=MARGIN, y=_y(0), text=facts.shown(title, _TITLE_LETTERS))
    pacing = f"the file says: {facts.pacing(recording)}" if recording.paced is not None else ""
    lines = (
        facts.patient(recording),
        facts.moment(recording),
        recording.device or "",
        f"{recording.source_format}, {facts.signal(recording)}",
        pacing,
    )
    for number, words in enumerate(filter(None, lines), 1):
        yield Text(font=BODY, x=MARGIN, y=_y(number) + 0.6, text=facts.shown(words, _LETTERS))


def _measured(recording: Recording, ours: Measurements) -> Iterator[Text]:
    """Our measurements beside the device's; a column for each that measured something."""
    rows = _selected(facts.measured(ours, recording.measured))
    columns = [
        (place, font, [values, *(row[column] for row in rows)])
        for column, place, font, values in ((1, _OURS, STRONG, "ours"), (2, _DEVICES, BODY, "device"))
        if any(row[column] for row in rows)
    ]
    for place, font, (caption, *values) in columns:
        yield Text(font=CAPTION, x=_MEASURED_X + place, y=_y(0), text=caption, anchor="end")
        for number, value in enumerate(values, 1):
            yield Text(font=font, x=_MEASURED_X + place, y=_y(number), text=value or "–", anchor="end")
    for number, (label, _, _, unit) in enumerate(rows, 1):
        yield Text(font=CAPTION, x=_MEASURED_X, y=_y(number), text=label)
        yield Text(font=CAPTION, x=_MEASURED_X + columns[-1][0] + _GAP, y=_y(number), text=unit)


def _selected(rows: list[tuple[str, str, str, str]]) -> list[tuple[str, str, str, str]]:
    """What a clinician looks for first, the axes in one row; the table of all is what `inspect` prints."""
    axes = [row for row in rows if row[3] == "°"]
    kept = [row for row in rows if row[3] != "°" and row[0] not in _LESS_WANTED]
    if not axes:
        return kept
    label = f"{'/'.join(name.removesuffix(' axis') for name, *_ in axes)} axis"
    mine, theirs = ("/".join(row[column] or "–" for row in axes) for column in (1, 2))
    return [*kept, (label, mine if mine.strip("/–") else "", theirs if theirs.strip("/–") else "", "°")]


def _said(recording: Recording) -> Iterator[Text]:
    """The statements, wrapped; a last line counts the lines that have no place."""
    lines = [part for said in recording.statements for part in textwrap.wrap(facts.shown(said), _SAID_LETTERS)]
    if not lines:
        return
    yield Text(font=CAPTION, x=_SAID_X, y=_y(0), text="The device says")
    fitting = len(lines) if len(lines) < _LINES else _LINES - 2
    for number, words in enumerate(lines[:fitting], 1):
        yield Text(font=BODY, x=_SAID_X, y=_y(number), text=words)
    if len(lines) > fitting:
        yield Text(font=CAPTION, x=_SAID_X, y=_y(fitting + 1), text=f"and {len(lines) - fitting} lines more")
