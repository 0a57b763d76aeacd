"""Text: what people and devices wrote into a file, fit to be stored, shown and compared."""

from __future__ import annotations

import re
from datetime import datetime

NUMBER = re.compile(r"[-+]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(?:[eE][-+]?\d{1,2})?")
"""A finite number as documents write it; twelve digits are more than any device has."""

EARLIEST_YEAR = 1887
"""Of the first human ECG (Waller, J Physiol 1887;8:229); an earlier date is a default of some clock."""


def line(text: str) -> str:
    """One line: blanks joined; what cannot be printed (controls, halves of characters) shown as such, never dropped."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in " ".join(text.split()))


def moment(text: str | None) -> datetime | None:
    """A date, with time and zone as far as they are said (ISO 8601); None for anything else."""
    try:
        found = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return found if found.year >= EARLIEST_YEAR else None
