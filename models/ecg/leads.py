"""Lead naming: every spelling met in real files becomes one of twelve names, or an extra lead; never by position."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError
from models.ecg.recording import LEADS, Remark, twelve_leads

MAX_LEADS = 64
"""Channels of any kind: twelve leads and what haemodynamics and rhythm strips add; more is no resting ECG."""

MAX_SAMPLES = 500_000
"""Of one lead: 8 min at 1000 Hz, far beyond a resting ECG, and little memory in twelve leads; more is a Holter."""

# SCP-ECG lead numbers (EN 1064:2020, table of section 3), which DICOM writes as SCPECG 5.6.3-9-n or MDC 2:n (CID 3001).
_BY_NUMBER = {
    **dict(zip(range(1, 9), ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"), strict=True)),
    **dict(zip(range(61, 66), ("III", "aVR", "aVL", "aVF", "-aVR"), strict=True)),
}
_BY_NAME = {lead.lower(): lead for lead in LEADS} | {"-avr": "-aVR", "avrneg": "-aVR"}
_CODE = re.compile(r"(?:5\.6\.3-9-|2:)(\d{1,5})(?!\d)")
# Notes that change nothing go; "(inverted)" is none. Blanks go, as in "a V R", but "I II" is no lead III.
_DECORATION = re.compile(
    r"mdc_ecg_lead_|\b(?:lead|ecg|ekg)\b|[(\[](?:einthoven|goldberger|wilson|derived|[munµμ]?v)[)\]]|-ref\b"
    r"|(?<!i)[\s_.:]+|[\s_.:]+(?!i)"
)


def lead_name(label: str) -> str | None:
    """The lead that a label means.

    Parameters
    ----------
    label : str
        As met in a file: ``I``, ``Lead I (Einthoven)``, ``ECG I-REF``, ``EKG V1``, ``MDC_ECG_LEAD_AVR``, ``avr``,
        ``a V R``, ``5.6.3-9-62`` (SCPECG), ``2:62`` (MDC).

    Returns
    -------
    str or None
        A name in `LEADS`, or ``-aVR`` for the inverted lead of the Cabrera order, or None for every other lead.
    """
    return _lead_name(label.strip()[:80])


@lru_cache(maxsize=256)  # a device writes the same labels every time
def _lead_name(label: str) -> str | None:
    code = _CODE.match(label)
    if code:
        return _BY_NUMBER.get(int(code[1]))
    return _BY_NAME.get(_DECORATION.sub("", label.lower()))


def arrange(
    channels: Iterable[tuple[str, NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], tuple[str, ...], tuple[Remark, ...]]:
    """Take the twelve leads out of labelled channels, by name.

    Parameters
    ----------
    channels : pairs of label and (samples,) millivolts
        NaN where a sample is missing. −aVR is turned over; leads beyond the twelve are left out with a remark.

    Returns
    -------
    signal, derived, remarks
        As `models.ecg.recording.twelve_leads`.

    Raises
    ------
    DecodeError
        If a lead is there twice.
    MissingLeads
        If a lead is missing that cannot be derived.
    """
    leads: dict[str, NDArray[np.float64]] = {}
    extra: list[str] = []
    for label, samples in channels:
        name = lead_name(label)
        if name is None:
            extra.append(label.strip()[:40])
            continue
        lead = name.removeprefix("-")
        if lead in leads:
            raise DecodeError(f"lead {lead} is there twice")
        leads[lead] = -samples if name.startswith("-") else samples
    signal, derived, remarks = twelve_leads(leads)
    return signal, derived, remarks + _left_out(extra)


def _left_out(extra: list[str]) -> tuple[Remark, ...]:
    if not extra:
        return ()
    return (Remark(code="extra-leads", leads=tuple(extra), message=f"left out: {', '.join(extra)}"),)
