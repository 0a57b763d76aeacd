"""PDF report: an ECG printed into a PDF, whose curves are lines and can be read back exactly; never a scan.

Time runs at the paper speed and voltage at the gain that the report states in words (``25 mm/s``, ``10 mm/mV``), or
draws as calibration pulses of 1 mV and 0.2 s; where it does neither, it is refused. Paper is measured in points of
1/72 inch. Each curve belongs to the lead whose label stands nearest to it. Only leads that run side by side for long
enough are a recording: the usual 3x4 print-out holds 2.5 s of each lead, one after the other. Tried on one real report,
of ecgtizer and PTB-XL; reports that draw each piece of a curve as a line of its own, or letters as outlines, are
refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.ecg.checks import SHORTEST
from models.ecg.errors import DecodeError, MissingLeads, MissingMetadata, TooShort
from models.ecg.formats import picture
from models.ecg.leads import arrange, lead_name
from models.ecg.recording import INDEPENDENT_LEADS, Recording, Remark
from models.ecg.stated import Stated

if TYPE_CHECKING:
    from models.ecg.formats.pdf_page import Page, Word

MILLIMETRE = 72 / 25.4
"""Points."""

SPEEDS, GAINS = (12.5, 25.0, 50.0), (5.0, 10.0, 20.0)
"""mm/s and mm/mV of electrocardiographs (AHA/ACC/HRS recommendations part I, Kligfield 2007; IEC 60601-2-25)."""

PULSE = 0.2
"""Seconds of a calibration pulse of 1 mV."""

_SIGNATURE = b"%PDF-"
_SPEED = re.compile(r"(\d{1,3}(?:[.,]\d{1,2})?)\s*mm\s*/\s*s(?:ec)?\b", re.IGNORECASE)
_GAIN = re.compile(r"(\d{1,3}(?:[.,]\d{1,2})?)\s*mm\s*/\s*mV", re.IGNORECASE)
_FEWEST_POINTS = 50
_SHORTEST_CURVE = 20 * MILLIMETRE
_REACH = 15 * MILLIMETRE
_CLEARLY = 1.1  # how much further away the second nearest curve must be from a label
_INSTEAD = "send the ECG itself, as DICOM, SCP-ECG, HL7 aECG or the XML of the cart"


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """One lead as drawn.

    Attributes
    ----------
    start : float
        Seconds to the right of the first curve of the page. Columns may be drawn a little closer than they were
        recorded: 2.48 s for 2.5 s in a real report.
    seconds : (points,)
        Since the start, increasing.
    millivolts : (points,)
    """

    start: float
    seconds: NDArray[np.float64]
    millivolts: NDArray[np.float64]

    @property
    def duration(self) -> float:
        """Seconds from the first point to the end of the last sample."""
        points = len(self.seconds)
        return float(self.seconds[-1] * points / (points - 1))


Curves = dict[str, Curve]
"""By lead, in the order of the page. A rhythm strip of a lead that has a curve of its own is left out."""


@dataclass(frozen=True, kw_only=True)
class _Paper:
    """Points on the page in one second and in one millivolt, and the heights of 0 mV that pulses show."""

    second: float
    millivolt: float
    zeros: tuple[float, ...]


def matches(data: bytes) -> bool:
    """Whether these are the bytes of a PDF."""
    return data[:1024].lstrip().startswith(_SIGNATURE)


def read(data: bytes, stated: Stated) -> Recording:
    """Read a report that shows all leads at once.

    Raises
    ------
    UnsupportedFormat
        If the PDF draws no curves of leads, as a scan does, and no digitizer is installed.
    MissingMetadata
        If it states neither speed nor gain.
    TooShort
        If it shows the leads one after the other.
    EcgError
        If it is broken, unsafe, or lacks leads.
    """
    found = curves(data)
    if not found:
        return picture.digitized(data, "a PDF without the curves of leads", stated)
    missing = [lead for lead in INDEPENDENT_LEADS if lead not in found]
    if missing:
        raise MissingLeads(f"no curve of {', '.join(missing)} in the PDF, only of {', '.join(found)}; {_INSTEAD}")
    _check_side_by_side(found)
    rate, rows = _resampled(found)
    stated.agreed_unit("mV")
    signal, derived, remarks = arrange(zip(stated.agreed_leads([*found], len(found)), rows, strict=True))
    message = f"read from the curves of a PDF report, {rate:g} points a second: correct within some 20 µV"
    return Recording(
        signal=signal,
        sampling_rate=stated.agreed_rate(rate),
        source_format="PDF report",
        derived=derived,
        remarks=(*remarks, Remark(code="read-from-print", message=message)),
    )


def curves(data: bytes) -> Curves:
    """The curves of the first page that has some with the label of a lead; none for a scan.

    Raises
    ------
    EcgError
        As `read`, but for leads that are missing or not side by side.
    """
    from models.ecg.formats.pdf_page import pages  # noqa: PLC0415  # only PDFs pay for loading pdfminer

    for page in pages(data):
        labelled = _labelled(_candidates(page), page.words)
        if labelled:
            return _measured(labelled, _paper(page))
    return {}


def _candidates(page: Page) -> list[NDArray[np.float64]]:
    """Lines that run from left to right for long enough, in many points."""
    return [
        line
        for line in page.lines
        if len(line) >= _FEWEST_POINTS and _width(line) >= _SHORTEST_CURVE and (np.diff(line[:, 0]) > 0).all()
    ]


def _labelled(lines: Sequence[NDArray[np.float64]], words: Sequence[Word]) -> dict[str, NDArray[np.float64]]:
    """Each curve by its lead: label and curve are the nearest to each other, among those above or below each other."""
    labels = [word for word in words if lead_name(word.text)]
    if not lines or not labels:
        return {}
    distances = np.array([[_distance(word, line) for line in lines] for word in labels])
    found: dict[str, NDArray[np.float64]] = {}
    for row, word in enumerate(labels):
        column = int(distances[row].argmin())
        others = np.delete(distances[row], column)
        mutual = distances[:, column].argmin() == row and np.isfinite(distances[row, column])
        if mutual and others.min(initial=np.inf) < _CLEARLY * distances[row, column]:
            raise DecodeError(f"the label {word.text!r} in the PDF stands between two curves: {_INSTEAD}")
        if mutual:
            lead, line = str(lead_name(word.text)), lines[column]
            found[lead] = min(found.get(lead, line), line, key=_width)
    return found


def _width(line: NDArray[np.float64]) -> float:
    return float(line[-1, 0] - line[0, 0])


def _distance(word: Word, line: NDArray[np.float64]) -> float:
    """Points between the middle of a word and the median of a curve; infinite beside it."""
    beside = not line[0, 0] - _REACH <= word.x <= line[-1, 0]
    return np.inf if beside else abs(word.y - float(np.median(line[:, 1])))


def _paper(page: Page) -> _Paper:
    """Speed and gain as stated in words, else as pulses draw them."""
    text = " ".join(word.text for word in page.words)
    pulses = [pulse for line in page.lines if (pulse := _pulse(line))]
    speed = _stated(text, _SPEED, "paper speeds") or _nearest([width / PULSE for width, _, _ in pulses], SPEEDS)
    gain = _stated(text, _GAIN, "gains") or _nearest([height for _, height, _ in pulses], GAINS)
    if not speed or not gain:
        raise MissingMetadata(
            f"the PDF states neither in words nor by a pulse how fast and how high it draws; {_INSTEAD}"
        )
    zeros = tuple(sorted({zero for _, _, zero in pulses}))
    return _Paper(second=speed * MILLIMETRE, millivolt=gain * MILLIMETRE, zeros=zeros)


def _stated(text: str, pattern: re.Pattern[str], what: str) -> float | None:
    values = {float(found.replace(",", ".")) for found in pattern.findall(text)} - {0.0}
    if len(values) > 1:
        raise DecodeError(f"the PDF states several {what}: {', '.join(f'{value:g}' for value in sorted(values))}")
    return next(iter(values), None)


def _pulse(line: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Width and height in mm, and the height of 0 mV in points, of a line that goes up, stays, and comes down."""
    x, y = line.T
    low, high = float(y.min()), float(y.max())
    up = y > (low + high) / 2
    flat = np.minimum(y - low, high - y).max() < 0.01 * (high - low)
    if high - low < MILLIMETRE or not flat or up[0] or up[-1] or (np.diff(x) < 0).any() or np.diff(up).sum() != 2:
        return None
    rise, fall = np.flatnonzero(np.diff(up))
    width = (x[fall] + x[fall + 1] - x[rise] - x[rise + 1]) / 2
    return float(width) / MILLIMETRE, (high - low) / MILLIMETRE, low


def _nearest(measured: Sequence[float], usual: Sequence[float]) -> float | None:
    """The usual value that all pulses are within a tenth of; None where there is none."""
    fitting = [value for value in usual if measured and all(abs(each - value) <= 0.1 * value for each in measured)]
    return fitting[0] if fitting else None


def _measured(labelled: dict[str, NDArray[np.float64]], paper: _Paper) -> Curves:
    """Seconds and millivolts of each curve."""
    left = min(float(line[0, 0]) for line in labelled.values())
    return {
        lead: Curve(
            start=float(line[0, 0] - left) / paper.second,
            seconds=(line[:, 0] - line[0, 0]) / paper.second,
            millivolts=(line[:, 1] - _zero(line, paper)) / paper.millivolt,
        )
        for lead, line in labelled.items()
    }


def _zero(line: NDArray[np.float64], paper: _Paper) -> float:
    """Height of 0 mV: that of the nearest pulse, else the median of the curve."""
    median = float(np.median(line[:, 1]))
    nearest = min(paper.zeros, key=lambda zero: abs(zero - median), default=median)
    return nearest if abs(nearest - median) < 1.5 * paper.millivolt else median


def _check_side_by_side(found: Curves) -> None:
    """All leads at once, for long enough; a print-out of columns is neither."""
    shortest = min(curve.duration for curve in found.values())
    if max(curve.start for curve in found.values()) > 0.1:
        raise TooShort(
            f"the curves of the PDF were read: they hold {shortest:.1f} s of each lead, one after the other, which a "
            f"model that needs 10 s of all leads at once cannot take; {_INSTEAD}"
        )
    if shortest < SHORTEST:
        raise TooShort(f"the curves of the PDF were read: they hold {shortest:.1f} s of each lead; {_INSTEAD}")


def _resampled(found: Curves) -> tuple[float, list[NDArray[np.float64]]]:
    """Rate and leads at the instants that all share, as many as the curve of most points has."""
    start = max(curve.start for curve in found.values())
    end = min(curve.start + float(curve.seconds[-1]) for curve in found.values())
    finest = min(float(curve.seconds[-1]) / (len(curve.seconds) - 1) for curve in found.values())
    rate = round(1 / finest, 1)
    instants = start + np.arange(round((end - start) * rate) + 1) / rate
    return rate, [np.interp(instants - curve.start, curve.seconds, curve.millivolts) for curve in found.values()]
