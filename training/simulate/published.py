"""Published: what others measured in real people; a simulated cohort is compared with these numbers.

Marks: "A", read in an abstract or table; "R", recalled from the literature and not read again: verify it before it is
printed as a fact; "M", measured by this project on the open table that the source names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from models.ecg.recording import Sex

Mark = Literal["A", "R", "M"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """The mean of a quantity in one group of people, or its median where the table says so."""

    mean: float
    unit: str
    source: str
    mark: Mark


@dataclass(frozen=True, kw_only=True)
class Spread(Published):
    """A mean with its standard deviation."""

    sd: float


_PETERSEN = "Petersen et al., J Cardiovasc Magn Reson 2017;19:18: 804 healthy UK Biobank Caucasians, 45-74 years"


def _petersen(unit: str, mark: Mark, men: tuple[float, float], women: tuple[float, float]) -> Mapping[Sex, Spread]:
    return {
        "M": Spread(mean=men[0], sd=men[1], unit=unit, source=_PETERSEN, mark=mark),
        "F": Spread(mean=women[0], sd=women[1], unit=unit, source=_PETERSEN, mark=mark),
    }


PETERSEN: Mapping[str, Mapping[Sex, Spread]] = {
    "LVEDV": _petersen("mL", "R", (166, 32), (124, 21)),
    "LVESV": _petersen("mL", "R", (69, 16), (49, 11)),
    "LVSV": _petersen("mL", "R", (96, 20), (75, 14)),
    "LVEF": _petersen("%", "A", (58, 5), (61, 5)),
    "LVM": _petersen("g", "R", (103, 21), (70, 13)),
    "RVEDV": _petersen("mL", "R", (182, 36), (130, 24)),
    "RVESV": _petersen("mL", "R", (85, 22), (55, 15)),
    "RVSV": _petersen("mL", "R", (97, 20), (75, 14)),
    "RVEF": _petersen("%", "R", (54, 6), (58, 6)),
    "LAV": _petersen("mL", "R", (71, 19), (62, 17)),
}
"""Phenotype, sex: mean and SD of healthy people. Papillary muscles are counted in the cavity (JCMR 2020 update)."""

PETERSEN_INDEXED: Mapping[str, Mapping[Sex, Spread]] = {
    "LVEDV": _petersen("mL/m2", "R", (85, 15), (74, 12)),
    "LVESV": _petersen("mL/m2", "R", (36, 8), (29, 6)),
    "LVM": _petersen("g/m2", "A", (53, 9), (42, 7)),
}
"""The same divided by body-surface area."""

_RIJNBEEK = "rounded from Rijnbeek et al., J Electrocardiol 2014;47:914 and normalecg.org (13,354 ECGs), and Macfarlane"


def _medians(mv: Mapping[str, float]) -> Mapping[str, Published]:
    return {name: Published(mean=value, unit="mV", source=_RIJNBEEK, mark="R") for name, value in mv.items()}


ECG_MEDIANS: Mapping[str, Published] = {
    **_medians({"R_I": 0.55, "R_II": 0.85, "R_III": 0.45, "R_aVL": 0.35, "R_aVF": 0.6}),
    **_medians({"R_V1": 0.2, "R_V2": 0.45, "R_V3": 0.85, "R_V4": 1.4, "R_V5": 1.4, "R_V6": 1.1}),
    **_medians({"S_V1": 0.9, "S_V2": 1.4, "S_V3": 1.0, "S_V4": 0.6, "S_V5": 0.3, "S_V6": 0.15}),
    **_medians({"T_I": 0.2, "T_II": 0.28, "T_III": 0.1, "T_aVR": -0.25}),
    **_medians({"T_V1": 0.08, "T_V2": 0.4, "T_V3": 0.42, "T_V4": 0.42, "T_V5": 0.34, "T_V6": 0.26}),
    **_medians({"P_II": 0.13}),
    "QRS": Spread(mean=92, sd=12, unit="ms", source=f"{_RIJNBEEK}; the SD is a target of ours", mark="R"),
    "axis": Published(mean=38, unit="deg", source=_RIJNBEEK, mark="R"),
    "P": Spread(mean=108, sd=15, unit="ms", source=f"{_RIJNBEEK}; the SD is a target of ours", mark="R"),
}
"""Medians of healthy adults: `R_V1` is the amplitude of R in V1 in mV, S is counted positive; durations in ms."""

_TABLE_2 = "table 2 of PMC3825808: healthy women"

ECG_OF_WOMEN: Mapping[str, Spread] = {
    "rate": Spread(mean=66, sd=9, unit="1/min", source=_TABLE_2, mark="A"),
    "PR": Spread(mean=158, sd=34, unit="ms", source=_TABLE_2, mark="A"),
    "QRS": Spread(mean=85, sd=8, unit="ms", source=_TABLE_2, mark="A"),
    "QT": Spread(mean=413, sd=14, unit="ms", source=_TABLE_2, mark="A"),
}
"""Means of healthy women; QT is their rate-adjusted QT."""

ACDC_SOURCE = "phenotype table of the 100 ACDC training patients (data: Bernard et al., IEEE TMI 2018;37:2514)"


def _acdc(lv_edv: float, lv_ef: float, rv_edv: float, rv_ef: float, lv_mass: float) -> Mapping[str, Published]:
    rows = {"LVEDV": (lv_edv, "mL"), "LVEF": (lv_ef, "%"), "RVEDV": (rv_edv, "mL"), "RVEF": (rv_ef, "%")}
    rows["LVM"] = (lv_mass, "g")
    return {name: Published(mean=mean, unit=unit, source=ACDC_SOURCE, mark="M") for name, (mean, unit) in rows.items()}


ACDC: Mapping[str, Mapping[str, Published]] = {
    "normal": _acdc(130, 60, 153, 55, 98),
    "DCM": _acdc(285, 18, 178, 32, 162),
    "HCM": _acdc(129, 67, 118, 60, 169),
    "MI": _acdc(172, 31, 119, 56, 117),
    "RVdil": _acdc(107, 55, 196, 31, 74),
}
"""Our pathology, phenotype: mean of the twenty patients of that group."""

ACDC_SPEARMAN: Mapping[tuple[str, str], float] = {
    ("LVEDV", "LVEF"): -0.64,
    ("LVEDV", "LVM"): 0.68,
    ("LVEDV", "RVEDV"): 0.23,
    ("RVEDV", "RVEF"): -0.41,
    ("LVEF", "RVEF"): 0.40,
}
"""Rank correlations over all hundred patients of `ACDC_SOURCE`, twenty of each group; mark M."""

_MUSIC = "MUSIC table, 992 patients with chronic heart failure: resting ECG and echocardiography (PhysioNet)"

MUSIC: Mapping[str, Spread] = {
    "LVEF": Spread(mean=36.9, sd=14.1, unit="%", source=_MUSIC, mark="M"),
    "LVEDD": Spread(mean=61.0, sd=10.2, unit="mm", source=_MUSIC, mark="M"),
    "QRS": Spread(mean=125.5, sd=35.1, unit="ms", source=_MUSIC, mark="M"),
}
"""Means and SDs of real heart failure."""

MUSIC_LVEF_RANGE = 10.0, 70.0
"""Per cent: lowest and highest LVEF in `MUSIC`."""

MUSIC_SHARE_OF_LVEF: Mapping[float, float] = {35.0: 547 / 989, 50.0: 787 / 989}
"""Share of the patients with LVEF at or below 35 %, and below 50 %."""

MUSIC_SPEARMAN: Mapping[tuple[str, str], float] = {
    ("QRS", "LVEF"): -0.30,
    ("QTc", "LVEF"): -0.20,
    ("PR", "LVEF"): -0.11,
    ("male", "LVEF"): -0.16,
    ("LVEDD", "LVEF"): -0.60,
    ("QRS", "LVEDD"): 0.31,
    ("male", "LVEDD"): 0.27,
}
"""Rank correlations in `MUSIC`; mark M."""

MUSIC_MEASUREMENT_R2: Mapping[str, float] = {"LVEF": 0.17, "LVEDD": 0.19, "LVESD": 0.17, "septum": 0.07}
"""Cross-validated R² from ECG measurements, age and sex alone. A simulation that gives much more is too easy."""

MUSIC_MEASUREMENT_AUC: Mapping[float, float] = {35.0: 0.67, 40.0: 0.73, 50.0: 0.76}
"""AUC of the same for LVEF at or below 35 % and 40 %, and below 50 %."""

_HEALTHY_71 = "71 healthy people, J Electrocardiol 2006;39:67"

ECG_CMR_PEARSON: Mapping[tuple[str, str], Published] = {
    ("QRS", "LVM"): Published(mean=0.59, unit="1", source=_HEALTHY_71, mark="A"),
    ("Sokolow-Lyon", "LVM"): Published(mean=0.25, unit="1", source=_HEALTHY_71, mark="A"),
}
"""Correlations of single ECG indices with CMR in healthy people."""
