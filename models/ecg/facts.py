"""Facts: what a recording says of itself, in the words of a person; one wording for paper and terminal."""

from __future__ import annotations

from models.ecg.measurements import Measurements
from models.ecg.recording import LEADS, Filters, Recording
from models.ecg.text import line

NOT_STATED = "not stated"

_SEXES = {"F": "female", "M": "male"}
_PACING = {True: "paced", False: "not paced", None: NOT_STATED}
MEASURED = {
    "heart_rate": ("heart rate", "/min"),
    "rr_interval": ("RR", "ms"),
    "p_duration": ("P", "ms"),
    "pr_interval": ("PR", "ms"),
    "qrs_duration": ("QRS", "ms"),
    "qt_interval": ("QT", "ms"),
    "qtc": ("QTc", "ms"),
    "qtc_bazett": ("QTc Bazett", "ms"),
    "qtc_fridericia": ("QTc Fridericia", "ms"),
    "qtc_framingham": ("QTc Framingham", "ms"),
    "qtc_hodges": ("QTc Hodges", "ms"),
    "p_axis": ("P axis", "°"),
    "qrs_axis": ("QRS axis", "°"),
    "t_axis": ("T axis", "°"),
}
"""Label and unit of each of `models.ecg.measurements.Measurements`, in the order of a printed ECG."""


def shown(text: str, longest: int = 1000) -> str:
    """Text of a file as it may be shown: no control character reaches a terminal, no line is endless."""
    printable = line(text)
    return printable if len(printable) <= longest else printable[: longest - 1] + "…"


def patient(recording: Recording) -> str:
    """Age, sex, height and weight, as far as they are stated; the identifier is another matter."""
    said = (
        None if recording.age is None else age(recording.age),
        _SEXES.get(recording.sex or ""),
        None if recording.height is None else f"{recording.height:.4g} cm",
        None if recording.weight is None else f"{recording.weight:.4g} kg",
    )
    return ", ".join(filter(None, said))


def age(years: float) -> str:
    """In years, or months before the second birthday."""
    return f"{years:.3g} years" if years >= 2 else f"{12 * years:.2g} months"


def moment(recording: Recording) -> str:
    """When it was recorded, and in which zone."""
    if recording.acquired_at is None:
        return ""
    zone = "" if recording.acquired_at.tzinfo else " (no time zone stated)"
    return f"{recording.acquired_at.isoformat(sep=' ')}{zone}"


def signal(recording: Recording) -> str:
    """How long and how fast."""
    samples = recording.signal.shape[1]
    return f"{recording.duration:.1f} s at {recording.sampling_rate:g} Hz ({samples} samples)"


def filters(stated: Filters) -> str:
    """The band that is left, as the dashboard words it."""
    words = (
        f"above {stated.high_pass:g} Hz" if stated.high_pass else "",
        f"below {stated.low_pass:g} Hz" if stated.low_pass else "",
        f"notch {stated.notch:g} Hz" if stated.notch else "",
    )
    return ", ".join(filter(None, words))


def pacing(recording: Recording) -> str:
    """Whether the file says that the heart was paced."""
    return _PACING[recording.paced]


def stored(recording: Recording) -> tuple[str, ...]:
    """The leads that the file holds itself."""
    return tuple(lead for lead in LEADS if lead not in recording.derived)


def left_out(recording: Recording) -> tuple[str, ...]:
    """Leads of the file that are none of the twelve."""
    return tuple(lead for remark in recording.remarks if remark.code == "extra-leads" for lead in remark.leads)


def measured(ours: Measurements, device: Measurements) -> list[tuple[str, str, str, str]]:
    """Name, our value, the device's and the unit of all that either measured; "" where it did not.

    The device's are given to the digit, ours as whole numbers: no ruler reads an ECG finer than that.
    """
    mine, theirs = ours.known(), device.known()
    return [
        (label, f"{mine[name]:.0f}" if name in mine else "", f"{theirs[name]:g}" if name in theirs else "", unit)
        for name, (label, unit) in MEASURED.items()
        if name in mine or name in theirs
    ]
