"""SCP leads: what the lead numbers of SCP-ECG (EN 1064:2005, table of clause 5.6) mean; MFER has the same ones."""

from __future__ import annotations

from models.ecg.leads import lead_name

_BEYOND = {9: "V7", 10: "V2R", 11: "V3R", 12: "V4R", 13: "V5R", 14: "V6R", 15: "V7R", 16: "X", 17: "Y", 18: "Z"}
_BEYOND |= {66: "V8", 67: "V9", 68: "V8R", 69: "V9R"}
_NAMES = _BEYOND | {number: name for number in range(256) if (name := lead_name(f"5.6.3-9-{number}"))}


def label_of(number: int) -> str | None:
    """The name of a lead, which `models.ecg.leads.lead_name` knows if it is one of the twelve; None for a rare one."""
    return _NAMES.get(number)
