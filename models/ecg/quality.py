"""Quality: can a heart be read from this recording?"""

from __future__ import annotations

from dataclasses import dataclass

from models.ecg.beats import Activity
from models.ecg.checks import CHECKS, View
from models.ecg.errors import EcgError, FlatLeads, ImplausibleAmplitude, SaturatedLeads, TooNoisy, TooShort
from models.ecg.findings import Finding, Severity
from models.ecg.recording import Recording

__all__ = ["Finding", "Quality", "assess", "refusal"]

_ORDER: tuple[Severity, ...] = ("error", "warning", "info")
_REFUSALS: dict[str, type[EcgError]] = {
    "too-short": TooShort,
    "flat-leads": FlatLeads,
    "saturated-leads": SaturatedLeads,
    "implausible-amplitude": ImplausibleAmplitude,
    "too-noisy": TooNoisy,
}


@dataclass(frozen=True)
class Quality:
    """Whether the recording can be used, and what was found: `usable` unless something is an error."""

    usable: bool
    findings: tuple[Finding, ...]


def assess(recording: Recording, activity: Activity | None = None) -> Quality:
    """Look at a recording from every side.

    Parameters
    ----------
    activity : of this recording, where it is known already

    Returns
    -------
    Quality
        All findings, errors first.
    """
    seen = View(recording, activity or Activity.of(recording))
    findings = [finding for check in CHECKS for finding in check(seen)]
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))
    return Quality(usable=all(finding.severity != "error" for finding in findings), findings=tuple(findings))


def refusal(quality: Quality) -> EcgError | None:
    """The error to raise for a recording that is not usable; None for one that is."""
    for finding in quality.findings:
        if finding.severity == "error":
            return _REFUSALS[finding.code](finding.message)
    return None
