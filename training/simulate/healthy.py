"""Healthy: chamber volumes, mass and ejection fractions of people without heart disease, jointly.

The means and SDs of Petersen et al. 2017 (`published`) pin down more than ten margins, because ESV = EDV (1 - EF),
SV = EDV EF and, without a shunt, RVEDV = SV / RVEF. To first order in the coefficients of variation c,

    c²(ESV)   = c²(EDV) + (s/(1 - EF))² - 2 r c(EDV) s/(1 - EF)      r = corr(LVEDV, LVEF), s = SD(LVEF)
    c²(RVEDV) = c²(SV) + (t/RVEF)² - 2 q c(SV) t/RVEF               q = corr(SV, RVEF), t = SD(RVEF)
    c²(RVESV) = c²(SV) + (t/(RVEF (1 - RVEF)))² - 2 q c(SV) t/(RVEF (1 - RVEF))

Solved with the published SDs: r = -.05 in men and -.12 in women (-.10 here, for LVSV's sake); q = .34 and .34 in men,
.30 and .23 in women. Absolute and indexed SD together give how a volume grows with body size: V = BSA^b leaves
c²(V) - c²(V/BSA) = (2b - 1) c²(BSA), so that b is about 1 for LVEDV (0.7 in women) and 1.5 for mass (0.9 in women).

Volumes and mass are log-normal, ejection fractions normal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.ecg.recording import Sex
from training.simulate.person import BMI, HEIGHT, Person, bounded_normal
from training.simulate.published import PETERSEN

AGE = 62.0, 9.0
"""Mean and SD, years, at which the published means hold here."""


EJECTION_ERROR = 1.7
"""Points of ejection fraction: SD of the error when volumes are counted on 10 mm slices, measured on our label maps.

The published SDs contain such an error, so that the hearts themselves must differ by less.
"""


@dataclass(frozen=True, kw_only=True)
class Chambers:
    """What the pathology works on.

    Attributes
    ----------
    lv_edv, lv_mass, la : float
        mL, g, mL (at its largest).
    lv_ef, rv_ef : float
        Ejection fractions, 0 to 1.
    ra_to_la : float
        Right atrial over left atrial volume.
    rv_stroke : float
        Right over left ventricular stroke volume: 1, to 3 % of measurement error, but for a shunt or a leak.
    """

    lv_edv: float
    lv_ef: float
    lv_mass: float
    rv_ef: float
    la: float
    ra_to_la: float
    rv_stroke: float


@dataclass(frozen=True, kw_only=True)
class _Size:
    """A log-normal quantity: ln = centre + by_bsa ln(BSA/usual) + by_age (age - usual) + residual z."""

    centre: float
    by_bsa: float
    by_age: float
    residual: float

    def at(self, person: Person, score: float) -> float:
        """Its value in this person."""
        body = np.log(person.bsa) - _LOG_BSA[person.sex][0]
        return float(
            np.exp(self.centre + self.by_bsa * body + self.by_age * (person.age - AGE[0]) + self.residual * score)
        )


def _log_bsa(sex: Sex) -> tuple[float, float]:
    """Mean and SD of ln BSA = (3 ln height + ln BMI)/2 + constant, to first order."""
    (height, height_sd), (bmi, bmi_sd) = HEIGHT[sex], BMI[sex]
    mean = 0.5 * (np.log(height) + np.log(bmi * (height / 100) ** 2 / 3600))
    return float(mean), float(0.5 * np.hypot(3 * height_sd / height, bmi_sd))


_LOG_BSA: Mapping[Sex, tuple[float, float]] = {"M": _log_bsa("M"), "F": _log_bsa("F")}


def _size(symbol: str, sex: Sex, by_bsa: float, by_age: float) -> _Size:
    """The log-normal with the published mean and SD, of which body and age explain their part."""
    target = PETERSEN[symbol][sex]
    total = float(np.log1p((target.sd / target.mean) ** 2))
    explained = (by_bsa * _LOG_BSA[sex][1]) ** 2 + (by_age * AGE[1]) ** 2
    return _Size(
        centre=float(np.log(target.mean) - total / 2),
        by_bsa=by_bsa,
        by_age=by_age,
        residual=float(np.sqrt(total - explained)),
    )


# Volumes fall with age in both sexes, mass in men only (Petersen et al. 2017, abstract); the slopes are ours.
_EDV: Mapping[Sex, _Size] = {"M": _size("LVEDV", "M", 1.0, -0.005), "F": _size("LVEDV", "F", 0.7, -0.004)}
_MASS: Mapping[Sex, _Size] = {"M": _size("LVM", "M", 1.5, -0.003), "F": _size("LVM", "F", 0.9, 0.0)}
_LA: Mapping[Sex, _Size] = {"M": _size("LAV", "M", 0.9, 0.0), "F": _size("LAV", "F", 0.9, 0.0)}

_EDV_AND_EF: Mapping[Sex, float] = {"M": -0.05, "F": -0.10}
_RVEF_ON_LVEF: Mapping[Sex, float] = {"M": 0.42, "F": 0.40}
_RVEF_ON_EDV: Mapping[Sex, float] = {"M": 0.21, "F": 0.12}
"""Regression of the standard scores, which gives corr(SV, RVEF) = .34 and .27 as derived above; r(LVEF, RVEF) is .4."""

_MASS_AND_EDV, _LA_AND_EDV = 0.60, 0.35  # correlations of what is left when body and age are known; ours


def sample_healthy(person: Person, rng: np.random.Generator) -> Chambers:
    """Draw the chambers of a healthy person of this sex, age and size."""
    sex = person.sex
    size, squeeze, muscle, right, atrium, ratio = (float(z) for z in np.clip(rng.standard_normal(6), -3, 3))
    lv_edv = _EDV[sex].at(person, size)
    big = (np.log(lv_edv) - _EDV[sex].centre) / np.sqrt(np.log1p(_variation("LVEDV", sex) ** 2))
    strong = _mixed(_EDV_AND_EF[sex], big, squeeze)
    on_left, on_size = _RVEF_ON_LVEF[sex], _RVEF_ON_EDV[sex]
    rest = np.sqrt(1 - on_left**2 - on_size**2 - 2 * on_left * on_size * _EDV_AND_EF[sex])
    return Chambers(
        lv_edv=lv_edv,
        lv_ef=_ejected("LVEF", sex, strong),
        lv_mass=_MASS[sex].at(person, _mixed(_MASS_AND_EDV, size, muscle)),
        rv_ef=_ejected("RVEF", sex, float(on_left * strong + on_size * big + rest * right)),
        la=_LA[sex].at(person, _mixed(_LA_AND_EDV, size, atrium)),
        ra_to_la=1.15 + 0.15 * ratio,
        rv_stroke=bounded_normal(rng, PETERSEN["RVSV"][sex].mean / PETERSEN["LVSV"][sex].mean, 0.03),
    )


def usual_atrium(person: Person) -> float:
    """Median left atrial volume of healthy people of this sex and size, mL."""
    return _LA[person.sex].at(person, 0.0)


def _mixed(correlation: float, first: float, second: float) -> float:
    return float(correlation * first + np.sqrt(1 - correlation**2) * second)


def _variation(symbol: str, sex: Sex) -> float:
    target = PETERSEN[symbol][sex]
    return target.sd / target.mean


def _ejected(symbol: str, sex: Sex, score: float) -> float:
    target = PETERSEN[symbol][sex]
    return float(target.mean + np.sqrt(target.sd**2 - EJECTION_ERROR**2) * score) / 100
