"""Population: who the participant is, which disease the heart has, and the volumes and mass it must measure.

Healthy means and standard deviations are those of the UK Biobank reference cohort (Petersen et al., JCMR
2017;19:18). The prevalences are enriched: diseased hearts are far commoner here than in any real population.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from models.ecg.recording import Sex

PREVALENCES = {
    "normal": 0.52,
    "LVH": 0.10,
    "HCM": 0.05,
    "DCM": 0.08,
    "LBBB": 0.05,
    "RBBB": 0.06,
    "MI": 0.08,
    "RVdil": 0.03,
    "PH": 0.03,
}
"""Share of each pathology: enough of every class to learn from, not what a clinic or a biobank would see."""

_HEALTHY: dict[Sex, dict[str, tuple[float, float]]] = {
    "M": {"lv_edv": (85, 15), "lv_ef": (58, 5), "lv_mass": (53, 9), "rv_ef": (54, 6), "la": (36, 9)},
    "F": {"lv_edv": (74, 12), "lv_ef": (61, 5), "lv_mass": (42, 7), "rv_ef": (58, 6), "la": (36, 9)},
}
"""Mean and SD: mL/m², %, g/m², %, mL/m² (Petersen et al. 2017)."""

_EDV_LOSS_PER_YEAR: dict[Sex, float] = {"M": 0.45, "F": 0.30}
"""mL/m² a year: volumes fall with age in both sexes (Petersen et al. 2017); the slope is ours."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """Sex, age in years, height in cm and weight in kg."""

    sex: Sex
    age: float
    height: float
    weight: float

    @property
    def bmi(self) -> float:
        """Body-mass index, kg/m²."""
        return self.weight / (self.height / 100) ** 2

    @property
    def bsa(self) -> float:
        """Body-surface area, m² (Mosteller, N Engl J Med 1987;317:1098)."""
        return float(np.sqrt(self.height * self.weight / 3600))


@dataclass(frozen=True, kw_only=True)
class Disease:
    """What the pathology does to the shape, the conduction and the repolarisation of the heart.

    Attributes
    ----------
    septal_bulge, apical_bulge : float
        Extra wall thickness there, as a fraction of the normal wall (hypertrophic cardiomyopathy).
    septal_flattening : float
        Inward shift of the septum as a fraction of the radius (right-ventricular pressure load).
    rounding : float
        What is taken off the length-to-width ratio of the left ventricle.
    rv_thickening : float
        Millimetres added to the right-ventricular free wall.
    scar_territory : str
        Coronary artery of the infarct: "LAD", "RCA", "LCX", or "" without one.
    scar_extent : float
        0 to 1.
    conduction : float
        Factor on every conduction velocity of the ventricles.
    lv_strain, rv_strain : float
        How far repolarisation has turned round under load: 0 none, about 1 an inverted lateral (right) T wave.
    """

    pathology: str
    severity: float
    septal_bulge: float = 0.0
    apical_bulge: float = 0.0
    septal_flattening: float = 0.0
    rounding: float = 0.0
    rv_thickening: float = 0.0
    scar_territory: str = ""
    scar_extent: float = 0.0
    conduction: float = 1.0
    lv_strain: float = 0.0
    rv_strain: float = 0.0
    left_bundle: bool = True
    right_bundle: bool = True
    left_anterior_fascicle: bool = True


@dataclass(frozen=True, kw_only=True)
class Volumes:
    """Chamber volumes in mL and left-ventricular mass in g; the geometry is solved for them."""

    lv_edv: float
    lv_esv: float
    lv_mass: float
    rv_edv: float
    rv_esv: float
    la: float
    ra: float

    @property
    def lv_ejected(self) -> float:
        """Left-ventricular ejection fraction, 0 to 1."""
        return 1 - self.lv_esv / self.lv_edv


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One person of the population, the disease, the volumes and the resting heart rate (beats per minute)."""

    person: Person
    disease: Disease
    volumes: Volumes
    heart_rate: float


@dataclass
class _Indices:
    """Indexed volumes (mL/m²), mass (g/m²) and ejection fractions (%) while the disease works on them."""

    lv_edv: float
    lv_ef: float
    lv_mass: float
    rv_ef: float
    la: float
    ra_to_la: float
    rv_stroke: float = 1.0


def bounded_normal(rng: np.random.Generator, mean: float, sd: float) -> float:
    """A normal draw held within 2.5 standard deviations, so that no anatomy is absurd."""
    return mean + sd * float(np.clip(rng.standard_normal(), -2.5, 2.5))


def sample_subject(rng: np.random.Generator) -> Subject:
    """Draw one person, disease and set of target volumes."""
    person = _person(rng)
    indices = _healthy(person, rng)
    disease = _disease(indices, rng)
    volumes = _volumes(indices, person, rng)
    fast = 9.0 if indices.lv_ef < 40 else 0.0  # heart failure beats faster
    rate = rng.normal(66.0 if person.sex == "F" else 62.0, 9.0) + fast
    return Subject(person=person, disease=disease, volumes=volumes, heart_rate=float(np.clip(rate, 42, 105)))


def _person(rng: np.random.Generator) -> Person:
    """45 to 80 years as in UK Biobank; heights and BMI of northern Europe."""
    sex: Sex = "M" if rng.random() < 0.5 else "F"
    age = float(rng.uniform(45, 80))
    height = bounded_normal(rng, 176 if sex == "M" else 163, 6.5)
    bmi = float(np.clip(np.exp(rng.normal(np.log(26.5), 0.15)), 18.5, 42))
    return Person(sex=sex, age=age, height=height, weight=bmi * (height / 100) ** 2)


def _healthy(person: Person, rng: np.random.Generator) -> _Indices:
    """Correlated healthy indices: r(EDV, mass) = .6, r(EDV, EF) = -.2, r(LVEF, RVEF) = .4, r(EDV, LA) = .4."""
    size, squeeze, muscle, right, atrium, ratio = np.clip(rng.standard_normal(6), -2.6, 2.6)
    scores = {
        "lv_edv": 0.92 * size,
        "lv_ef": -0.20 * size + 0.98 * squeeze,
        "lv_mass": 0.60 * size + 0.80 * muscle,
        "rv_ef": 0.40 * squeeze + 0.92 * right,
        "la": 0.40 * size + 0.92 * atrium,
    }
    drawn = {name: mean + sd * float(scores[name]) for name, (mean, sd) in _HEALTHY[person.sex].items()}
    drawn["lv_edv"] -= _EDV_LOSS_PER_YEAR[person.sex] * (person.age - 62)
    return _Indices(**drawn, ra_to_la=1.15 + 0.15 * float(ratio))


def _disease(indices: _Indices, rng: np.random.Generator) -> Disease:
    pathology = str(rng.choice(list(PREVALENCES), p=list(PREVALENCES.values())))
    severity = float(rng.beta(2.0, 2.2))
    if pathology == "normal":
        disease = Disease(pathology="normal", severity=0.0)
    else:
        disease = _EFFECTS[pathology](indices, severity, rng)
    hemiblock = pathology in ("normal", "LVH", "DCM", "MI") and disease.left_bundle and rng.random() < 0.05
    return replace(disease, left_anterior_fascicle=not hemiblock)


def _hypertension(indices: _Indices, severity: float, rng: np.random.Generator) -> Disease:
    indices.lv_mass *= 1.30 + 0.65 * severity
    indices.lv_edv *= 1.0 + 0.08 * rng.standard_normal()
    indices.lv_ef += rng.normal(1, 4)
    indices.la *= 1.1 + 0.4 * severity
    strain = max(0.0, severity - 0.25) * rng.uniform(0.5, 1.3)
    return Disease(pathology="LVH", severity=severity, lv_strain=strain, conduction=1 - 0.06 * severity)


def _hypertrophic(indices: _Indices, severity: float, rng: np.random.Generator) -> Disease:
    indices.lv_mass *= 1.35 + 0.75 * severity
    indices.lv_edv *= 0.90
    indices.lv_ef += rng.normal(5, 3)
    indices.la *= 1.25 + 0.4 * severity
    apical = rng.random() < 0.3
    return Disease(
        pathology="HCM",
        severity=severity,
        apical_bulge=1.0 + 1.2 * severity if apical else 0.0,
        septal_bulge=0.0 if apical else 0.7 + 1.0 * severity,
        lv_strain=0.25 + severity * rng.uniform(0.5, 1.3),
        conduction=1 - 0.10 * severity,
    )


def _dilated(indices: _Indices, severity: float, rng: np.random.Generator) -> Disease:
    """Both ventricles dilate: the right one by a lower ejection fraction at the same stroke volume."""
    indices.lv_edv *= 1.30 + 0.75 * severity
    indices.lv_ef = 46 - 28 * severity + rng.normal(0, 4)
    indices.lv_mass *= 1.20 + 0.45 * severity
    indices.rv_ef -= 7 + 18 * severity
    indices.la *= 1.3 + 0.5 * severity
    return Disease(
        pathology="DCM",
        severity=severity,
        rounding=0.12 + 0.22 * severity,
        conduction=0.94 - 0.17 * severity,
        lv_strain=0.3 * rng.random() + 0.5 * severity,
        left_bundle=rng.random() > 0.30,
    )


def _left_block(indices: _Indices, severity: float, rng: np.random.Generator) -> Disease:
    indices.lv_ef -= 5 + 9 * severity * rng.random()
    indices.lv_edv *= 1.08 + 0.2 * severity
    indices.lv_mass *= 1.1
    return Disease(pathology="LBBB", severity=severity, left_bundle=False, conduction=1 - 0.08 * severity)


def _right_block(indices: _Indices, severity: float, rng: np.random.Generator) -> Disease:
    return Disease(pathology="RBBB", severity=severity, right_bundle=False)


def _infarct(indices: _Indices, severity: float, rng: np.random.Generator) -> Disease:
    territory = str(rng.choice(["LAD", "RCA", "LCX"], p=[0.45, 0.35, 0.20]))
    indices.lv_ef -= 6 + 22 * severity * (1.2 if territory == "LAD" else 0.8)
    indices.lv_edv *= 1.05 + 0.35 * severity
    indices.lv_mass *= 1.03 + 0.1 * severity
    indices.la *= 1.1 + 0.2 * severity
    return Disease(pathology="MI", severity=severity, scar_territory=territory, scar_extent=0.35 + 0.65 * severity)


def _right_dilation(indices: _Indices, severity: float, rng: np.random.Generator) -> Disease:
    """Six in ten carry a volume load (shunt or regurgitation), so that the right stroke volume exceeds the left."""
    indices.rv_ef -= 6 + 14 * severity
    if rng.random() < 0.6:
        indices.rv_stroke = 1 + 0.55 * severity
    return Disease(pathology="RVdil", severity=severity)


def _pulmonary_hypertension(indices: _Indices, severity: float, rng: np.random.Generator) -> Disease:
    indices.rv_ef -= 8 + 18 * severity
    indices.lv_edv *= 0.92
    indices.ra_to_la *= 1.2 + 0.4 * severity
    return Disease(
        pathology="PH",
        severity=severity,
        rv_thickening=1.5 + 4.5 * severity,
        septal_flattening=0.10 + 0.22 * severity,
        rv_strain=0.3 + 0.9 * severity,
    )


_EFFECTS: dict[str, Callable[[_Indices, float, np.random.Generator], Disease]] = {
    "LVH": _hypertension,
    "HCM": _hypertrophic,
    "DCM": _dilated,
    "LBBB": _left_block,
    "RBBB": _right_block,
    "MI": _infarct,
    "RVdil": _right_dilation,
    "PH": _pulmonary_hypertension,
}


def _volumes(indices: _Indices, person: Person, rng: np.random.Generator) -> Volumes:
    """Millilitres and grams; without a shunt both ventricles eject the same, to 3 %."""
    lv_edv = float(np.clip(indices.lv_edv, 40, 240)) * person.bsa
    stroke = lv_edv * float(np.clip(indices.lv_ef, 12, 80)) / 100
    rv_stroke = stroke * indices.rv_stroke * bounded_normal(rng, 1.0, 0.03)
    rv_edv = float(np.clip(rv_stroke / np.clip(indices.rv_ef / 100, 0.15, 0.75), 60, 480))
    la = float(np.clip(indices.la, 14, 110)) * person.bsa
    return Volumes(
        lv_edv=lv_edv,
        lv_esv=lv_edv - stroke,
        lv_mass=float(np.clip(indices.lv_mass, 24, 190)) * person.bsa,
        rv_edv=rv_edv,
        rv_esv=max(rv_edv - rv_stroke, 0.2 * rv_edv),
        la=la,
        ra=la * indices.ra_to_la,
    )
