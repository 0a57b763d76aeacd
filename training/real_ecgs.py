"""Real ECGs: what a bundle says of them, by diagnosis, read as a user's would be; no truth is known about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.ecg import EcgError, assess, decode, refusal
from models.ecg.writers import wfdb_record
from models.phenotypes import PHENOTYPES
from models.report import Inference
from models.runtime import Model
from training.bootstrap import LEVEL, Span
from training.realism.real import NORMAL_IN_CINC, NORMAL_IN_LUDB, NoRealEcgs, cinc_files, ludb_recordings

Floats = NDArray[np.float64]

NORMAL, OTHER = "normal", "other diagnoses"
FEWEST = 5
"""ECGs below which a group has no interval."""

_WORDS: Mapping[str, tuple[str, ...]] = {
    "LVH": ("Left ventricular hypertrophy",),
    "LBBB": ("Complete left bundle branch block",),
    "RBBB": ("Complete right bundle branch block",),
    "infarct or ischaemia": ("STEMI", "Ischemia", "Scar formation", "Undefined ischemia"),
    "atrial fibrillation": ("Rhythm: Atrial fibrillation",),
    "left atrium enlarged": ("Left atrial hypertrophy", "Left atrial overload"),
    "RVH": ("Right ventricular hypertrophy",),
    "paced": ("UNIpolar", "BIpolar", "Biventricular pacing"),
}
"""How the diagnoses of LUDB begin (Kalyakulina et al., IEEE Access 2020;8:186181)."""

_CODES: Mapping[str, frozenset[str]] = {
    "LVH": frozenset({"164873001"}),
    "LBBB": frozenset({"164909002", "733534002"}),
    "RBBB": frozenset({"59118001", "713427006"}),
    "infarct or ischaemia": frozenset(
        {"164865005", "164867002", "57054005", "54329005", "164861001", "426434006", "425419005", "425623009"}
        | {"413444003", "413844008"}
    ),
    "atrial fibrillation": frozenset({"164889003"}),
    "left atrium enlarged": frozenset({"253352002", "67741000119109", "446813000"}),
    "RVH": frozenset({"89792004"}),
    "paced": frozenset({"10370003", "251268003"}),
}
"""SNOMED CT codes in the headers of the PhysioNet/CinC Challenge 2021 (its tables dx_mapping_scored and _unscored)."""

DIRECTIONS: tuple[tuple[str, str, int], ...] = (
    ("LVH", "LVM", 1),
    ("LVH", "LVWT", 1),
    ("LBBB", "LVEF", -1),
    ("LBBB", "LVEDV", 1),
    ("infarct or ischaemia", "LVEF", -1),
    ("infarct or ischaemia", "LVESV", 1),
    ("atrial fibrillation", "LAV", 1),
    ("left atrium enlarged", "LAV", 1),
    ("RVH", "RVEF", -1),
)
"""Where a group of such patients is expected to lie against people with a normal ECG. On average: many patients with
ischaemia, and many whose ECG says hypertrophy, have a normal ventricle on CMR."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Seen:
    """What became of one file.

    Attributes
    ----------
    groups : diagnoses it has
    refused : code of the refusal, None where the model answered
    warnings : codes of what was noticed in the signal
    """

    name: str
    groups: frozenset[str]
    refused: str | None
    warnings: tuple[str, ...] = ()
    inference: Inference | None = None

    @property
    def silent(self) -> bool:
        """Whether no estimate was given."""
        return self.inference is None or not self.inference.estimates

    @property
    def unremarked(self) -> bool:
        """Whether estimates were given without any warning."""
        return not (self.silent or self.warnings or (self.inference is not None and self.inference.ood.flag))

    def value(self, symbol: str) -> float:
        """One estimate; NaN where it was withheld."""
        estimates = self.inference.estimates if self.inference else []
        return next((one.value for one in estimates if one.symbol == symbol), np.nan)


def labelled(folder: Path) -> Iterator[tuple[str, frozenset[str], bytes]]:
    """Name, diagnoses and file of every ECG of LUDB and CinC 2021 below a folder.

    Raises
    ------
    NoRealEcgs
        If there are none.
    """
    found = False
    for number, (words, recording) in enumerate(ludb_recordings(folder / "ludb")):
        found = True
        yield f"LUDB row {number}", _groups(words, NORMAL_IN_LUDB, _spoken), wfdb_record.write(recording)
    for name, codes, data in cinc_files(folder / "cinc2021_sample"):
        found = True
        yield name, _groups(codes, NORMAL_IN_CINC, _coded), data
    if not found:
        raise NoRealEcgs(f"{folder} holds no ECGs in ludb/ or cinc2021_sample/")


def _groups(
    diagnoses: frozenset[str], normal: frozenset[str], has: Callable[[str, frozenset[str]], bool]
) -> frozenset[str]:
    if diagnoses and diagnoses <= normal:
        return frozenset({NORMAL})
    return frozenset(group for group in _WORDS if has(group, diagnoses)) or frozenset({OTHER})


def _spoken(group: str, diagnoses: frozenset[str]) -> bool:
    return any(diagnosis.startswith(_WORDS[group]) for diagnosis in diagnoses)


def _coded(group: str, diagnoses: frozenset[str]) -> bool:
    return bool(_CODES[group] & diagnoses)


def look(model: Model, name: str, groups: frozenset[str], data: bytes) -> Seen:
    """Send one file the way a user's goes: decoded, its signal judged, read by the model."""
    try:
        recording = decode(data)
    except EcgError as error:
        return Seen(name=name, groups=groups, refused=error.code)
    quality = assess(recording)
    warnings = tuple(finding.code for finding in quality.findings if finding.severity == "warning")
    refused = refusal(quality)
    if refused is not None:
        return Seen(name=name, groups=groups, refused=refused.code, warnings=warnings)
    (answer,) = model.read([recording])
    if not isinstance(answer, Inference):
        return Seen(name=name, groups=groups, refused=answer.code, warnings=warnings)
    return Seen(name=name, groups=groups, refused=None, warnings=warnings, inference=answer)


def unphysiological(seen: Iterable[Seen]) -> list[str]:
    """Every estimate that is not a number, or outside the physical limits of its phenotype; there must be none."""
    faults = []
    for one in seen:
        for estimate in one.inference.estimates if one.inference else []:
            low, high = PHENOTYPES[estimate.symbol].plausible
            numbers = (estimate.value, estimate.interval.low, estimate.interval.high)
            if not (np.isfinite(numbers).all() and low <= estimate.value <= high):
                faults.append(f"{one.name}: {estimate.symbol} {estimate.value:g} {estimate.unit}")
    return faults


@dataclass(frozen=True, kw_only=True)
class Direction:
    """Whether a group lies where such patients are expected to.

    Attributes
    ----------
    difference : median of the group less that of people with a normal ECG
    span : 95 % of the draws; None where a group is too small
    expected : 1 for higher, -1 for lower
    """

    group: str
    symbol: str
    n: int
    normals: int
    difference: float
    span: Span | None
    expected: int

    @property
    def verdict(self) -> str:
        """In words."""
        if self.span is None:
            return "too few ECGs"
        if self.span[0] <= 0 <= self.span[1]:
            return "no difference seen"
        return "as expected" if np.sign(self.difference) == self.expected else "against expectation"


def directions(seen: Iterable[Seen]) -> list[Direction]:
    """All expectations, for the groups that are there."""
    everybody = list(seen)
    found = []
    for group, symbol, expected in DIRECTIONS:
        mine, normal = of_group(everybody, group, symbol), of_group(everybody, NORMAL, symbol)
        if len(mine) and len(normal):
            found.append(
                Direction(
                    group=group,
                    symbol=symbol,
                    n=len(mine),
                    normals=len(normal),
                    difference=float(np.median(mine) - np.median(normal)),
                    span=_span(mine, normal),
                    expected=expected,
                )
            )
    return found


def of_group(seen: Iterable[Seen], group: str, symbol: str) -> Floats:
    """The estimates that were given of one phenotype in one group."""
    values = np.array([one.value(symbol) for one in seen if group in one.groups])
    known: Floats = values[np.isfinite(values)]
    return known


def _span(mine: Floats, normal: Floats) -> Span | None:
    if min(len(mine), len(normal)) < FEWEST:
        return None
    drawn = stats.bootstrap(
        (mine, normal),
        lambda a, b, axis: np.median(a, axis=axis) - np.median(b, axis=axis),
        confidence_level=LEVEL,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)
