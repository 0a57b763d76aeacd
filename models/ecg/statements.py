"""Statements: what a device, or a person at it, wrote about an ECG in words."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 1000
"""Characters that are kept of one statement; the longest met in real files has 200."""

MOST = 100
"""Statements that are kept of one file; the most met in real files are 22."""

_PACED = re.compile(r"\b(?:paced|pacing|pacemaker)\b", re.IGNORECASE)
_NEGATED = re.compile(r"\b(?:no|not|non|without|absent|un)\b", re.IGNORECASE)


def kept(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Statements as a recording keeps them: blanks joined, empty ones and repetitions left out, within the limits."""
    joined = (" ".join((text or "").split())[:LONGEST] for text in texts)
    return tuple(dict.fromkeys(text for text in joined if text))[:MOST]


def paced(texts: Iterable[str]) -> bool | None:
    """True if a statement speaks of pacing without denying it; no such statement is no answer."""
    return True if any(_PACED.search(text) and not _NEGATED.search(text) for text in texts) else None
