"""Statements: what a device, or a person at it, wrote about an ECG in words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from models.ecg.text import line

LONGEST = 1000
"""Characters that are kept of one statement; the longest met in real files has 200."""

MOST = 100
"""Statements that are kept of one file; the most met in real files are 22."""

_PACED = re.compile(r"\b(?:paced|pacing|pacemaker)\b", re.IGNORECASE)
_DENIED = re.compile(
    r"\b(?:no|not|non|without|absent|un|rule out|exclude|possibly|possible)\b[\s-]+(?:\w{1,20}[\s-]+){0,3}"
    r"(?:paced|pacing|pacemaker)\b",
    re.IGNORECASE,
)
_NATURAL = re.compile(
    r"\b(?:wandering|ectopic|atrial|junctional|nodal|sinus|supraventricular)\s+(?:atrial\s+|supraventricular\s+)?"
    r"pacemaker\b",
    re.IGNORECASE,
)


def kept(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Statements as a recording keeps them: each a line, empty ones and repetitions left out, within the limits."""
    joined = (line(text or "")[:LONGEST] for text in texts)
    return tuple(dict.fromkeys(text for text in joined if text))[:MOST]


def paced(texts: Iterable[str]) -> bool | None:
    """True if a statement says that the heart was paced; no such statement is no answer.

    Neither a denial or doubt just before the word counts, nor a pacemaker that is the heart's own.
    """
    return True if any(_PACED.search(_NATURAL.sub("", _DENIED.sub("", text))) for text in texts) else None
