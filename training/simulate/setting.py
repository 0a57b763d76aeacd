"""Setting: where participants come from, and so which hearts and rhythms are common there.

Marks of the shares: "A" read in an abstract, "R" recalled and to be verified, "ours" chosen by us.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Pathology = Literal["normal", "LVH", "HCM", "DCM", "LBBB", "RBBB", "LAFB", "MI", "RVdil", "PH"]


@dataclass(frozen=True, kw_only=True)
class RhythmShares:
    """Share of people of 62 years with left atria of healthy size who show this in ten seconds.

    Attributes
    ----------
    fibrillation, paced : float
        Atrial fibrillation; right ventricular pacing.
    first_degree : float
        Of those in sinus rhythm: PR above 200 ms.
    ventricular, atrial : float
        With at least one ventricular (atrial) premature beat.
    """

    fibrillation: float
    paced: float
    first_degree: float
    ventricular: float
    atrial: float


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One place where hearts are met.

    Attributes
    ----------
    pathologies : mapping
        Share of each class; together 1.
    rhythms : RhythmShares
    men : float
        Share of men.
    age : (float, float)
        Mean and SD, years; nobody beyond 2.5 SD.
    severity : (float, float)
        Of disease: a beta distribution between 0 and 1.
    failing : float
        Share of hypertensive and of left-bundle-blocked hearts that have begun to fail.
    max_redraws : int
        How many impossible hearts may be drawn one after the other before that is an error.

    Raises
    ------
    ValueError
        If the shares do not add up to 1 or name an unknown class.
    """

    name: str
    pathologies: Mapping[Pathology, float]
    rhythms: RhythmShares
    men: float
    age: tuple[float, float]
    severity: tuple[float, float]
    failing: float
    max_redraws: int = 20

    def __post_init__(self) -> None:
        unknown = set(self.pathologies) - set(get_args(Pathology))
        if unknown:
            raise ValueError(f"setting {self.name}: {', '.join(sorted(unknown))} is no class of the simulation")
        total = sum(self.pathologies.values())
        if abs(total - 1) > 1e-9 or min(self.pathologies.values()) < 0:
            raise ValueError(f"setting {self.name}: the shares of the classes add up to {total:.3f}, not to 1")


UKB = Setting(
    name="ukb",
    pathologies={
        "normal": 0.912,
        "LVH": 0.030,  # R: UK Biobank is a healthy-volunteer sample; a third have hypertension, few have raised mass
        "HCM": 0.002,  # A: 1 in 500 (Maron et al., CARDIA, Circulation 1995;92:785)
        "DCM": 0.003,  # R: about 1 in 250 to 1 in 400 (Hershberger et al., Nat Rev Cardiol 2013;10:531)
        "LBBB": 0.005,  # R: below 1 % at 50, several % at 80 (Eriksson et al., Circulation 1998;98:2494)
        "RBBB": 0.012,  # R: about 1 % at 50 (the same)
        "LAFB": 0.010,  # R: about 1 to 2 % of the middle-aged
        "MI": 0.020,  # R: about 2 % of UK Biobank at imaging
        "RVdil": 0.003,  # ours
        "PH": 0.003,  # R: about 1 % of the over-65s (Hoeper et al., Lancet Respir Med 2016;4:306), fewer come to a scan
    },
    # R: AF 2 % at 62 (Framingham), PR > 200 ms 2 % (Cheng et al., JAMA 2009;301:2571), ectopic beats 1 to 6 % in two
    # minutes (ARIC: Simpson et al., Am Heart J 2002;143:535), fewer in ten seconds; devices are mostly not scanned.
    rhythms=RhythmShares(fibrillation=0.018, paced=0.002, first_degree=0.025, ventricular=0.015, atrial=0.015),
    men=0.48,  # R: UK Biobank imaging
    age=(63.5, 7.5),  # R: UK Biobank imaging, 45 to 82
    severity=(1.6, 2.8),  # ours: mild disease
    failing=0.05,  # ours
)
"""People like those whom UK Biobank scans: nine in ten have a normal heart."""

ENRICHED = Setting(
    name="enriched",
    pathologies={
        "normal": 0.51,
        "LVH": 0.10,
        "HCM": 0.05,
        "DCM": 0.08,
        "LBBB": 0.05,
        "RBBB": 0.05,
        "LAFB": 0.02,
        "MI": 0.08,
        "RVdil": 0.03,
        "PH": 0.03,
    },
    rhythms=RhythmShares(fibrillation=0.045, paced=0.015, first_degree=0.06, ventricular=0.05, atrial=0.05),
    men=0.5,
    age=(62.0, 9.0),
    severity=(2.0, 2.2),
    failing=0.2,
)
"""Enough of every class and rhythm to learn from, not what a clinic or a biobank would see; all numbers are ours."""

HEART_FAILURE = Setting(
    name="heart-failure",
    # R: half ischaemic or more, then dilated, then hypertensive. Here ours, with `severity` and `failing`: fitted to
    # mean, SD and share below 35 % of LVEF in MUSIC, and to bundle branch block in a quarter to a third.
    pathologies={"DCM": 0.37, "MI": 0.36, "LVH": 0.19, "LBBB": 0.08},
    # R: AF in a fifth to a quarter of chronic heart failure; PR > 200 ms in a sixth; ectopy in a tenth.
    rhythms=RhythmShares(fibrillation=0.09, paced=0.03, first_degree=0.14, ventricular=0.11, atrial=0.06),
    men=0.73,  # M: MUSIC
    age=(63.0, 12.0),  # M: MUSIC
    severity=(1.75, 1.2),
    failing=0.42,
)
"""A heart-failure clinic, to be compared with `published.MUSIC`."""

ACDC = Setting(
    name="acdc",
    pathologies={"normal": 0.2, "DCM": 0.2, "HCM": 0.2, "MI": 0.2, "RVdil": 0.2},
    rhythms=RhythmShares(fibrillation=0.03, paced=0.0, first_degree=0.06, ventricular=0.04, atrial=0.04),
    men=0.6,  # ours
    age=(56.0, 12.0),  # ours
    severity=(4.5, 1.8),  # ours: each group of ACDC is overt disease
    failing=0.2,
)
"""Five classes in equal shares and far advanced, to be compared with `published.ACDC`."""

SETTINGS: Mapping[str, Setting] = {setting.name: setting for setting in (UKB, ENRICHED, HEART_FAILURE, ACDC)}
