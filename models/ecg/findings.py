"""Findings: what can be noticed about a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing a person should know about a recording.

    Attributes
    ----------
    code : str
        Stable name.
    severity : "info", "warning" or "error"
        An error forbids the recording.
    leads : tuple of str
        Where; empty if everywhere.
    message : str
        For a person.
    value : float or None
        What was measured, in the unit that the message names.
    """

    code: str
    severity: Severity
    message: str
    leads: tuple[str, ...] = ()
    value: float | None = None
