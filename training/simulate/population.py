"""Population: who the participant is, which disease the heart has, how it beats, and what it must measure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from models.ecg.recording import Sex
from models.phenotypes import PHENOTYPES
from training.simulate.disease import Disease
from training.simulate.healthy import Chambers, sample_healthy, usual_atrium
from training.simulate.pathology import HEAVIER, fall_ill
from training.simulate.person import Person, bounded_normal, sample_person
from training.simulate.setting import ENRICHED, Pathology, RhythmShares, Setting

__all__ = ["Disease", "ImpossibleHeart", "Person", "Subject", "Volumes", "bounded_normal", "sample_subject"]

RhythmName = Literal["sinus", "AF", "paced"]

_ELONGATION, _BASE = 1.72, 0.45  # of the average ventricle in `anatomy`: length over width; base above the equator
_DENSITY = 1.05  # g/mL, as CMR converts wall volume to mass
_THINNEST, _THICKEST = 2.0, 35.0  # mm, mean wall; no living heart is known beyond either
_RV_TO_LV = 4.0  # the pericardium holds no larger right ventricle beside the left one


class ImpossibleHeart(ValueError):
    """Volumes or mass that no heart can have; the sentence says which."""


@dataclass(frozen=True, kw_only=True)
class Volumes:
    """Chamber volumes in mL and left-ventricular mass in g; the geometry is solved for them.

    Raises
    ------
    ImpossibleHeart
        If no heart can be like that.
    """

    lv_edv: float
    lv_esv: float
    lv_mass: float
    rv_edv: float
    rv_esv: float
    la: float
    ra: float

    def __post_init__(self) -> None:
        for side, edv, esv in (("left", self.lv_edv, self.lv_esv), ("right", self.rv_edv, self.rv_esv)):
            if not 0 < esv < edv:
                raise ImpossibleHeart(f"the {side} ventricle would eject from {edv:.0f} mL to {esv:.0f} mL")
        for symbol, value in self._phenotypes().items():
            low, high = PHENOTYPES[symbol].plausible
            if not low <= value <= high:
                raise ImpossibleHeart(f"{symbol} of {value:.0f} {PHENOTYPES[symbol].unit} is outside {low} to {high}")
        if self.rv_edv > _RV_TO_LV * self.lv_edv:
            raise ImpossibleHeart(f"RVEDV of {self.rv_edv:.0f} mL has no room beside {self.lv_edv:.0f} mL of LVEDV")
        thin, thick = mean_wall(self.lv_edv, self.lv_mass), mean_wall(self.lv_esv, self.lv_mass)
        if thin < _THINNEST or thick > _THICKEST:
            raise ImpossibleHeart(
                f"{self.lv_mass:.0f} g around {self.lv_edv:.0f} mL make a wall of {thin:.1f} mm, {thick:.1f} in systole"
            )

    def _phenotypes(self) -> dict[str, float]:
        return {
            "LVEDV": self.lv_edv,
            "LVESV": self.lv_esv,
            "LVEF": 100 * self.lv_ejected,
            "LVM": self.lv_mass,
            "RVEDV": self.rv_edv,
            "RVESV": self.rv_esv,
            "RVEF": 100 * (1 - self.rv_esv / self.rv_edv),
            "LAV": self.la,
        }

    @property
    def lv_ejected(self) -> float:
        """Left-ventricular ejection fraction, 0 to 1."""
        return 1 - self.lv_esv / self.lv_edv


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One person of the population with disease, volumes and the way the heart beats at rest.

    Attributes
    ----------
    heart_rate : float
        Ventricular, beats per minute.
    rhythm : str
        "sinus", "AF" (atrial fibrillation) or "paced" (from the right ventricular apex).
    first_degree : bool
        First-degree atrioventricular block: PR above 200 ms.
    ventricular_ectopy, atrial_ectopy : bool
        Premature beats are frequent enough to be met in ten seconds.
    redrawn : int
        How many impossible hearts were thrown away before this one.
    """

    person: Person
    disease: Disease
    volumes: Volumes
    heart_rate: float
    rhythm: RhythmName = "sinus"
    first_degree: bool = False
    ventricular_ectopy: bool = False
    atrial_ectopy: bool = False
    redrawn: int = 0


def sample_subject(rng: np.random.Generator, setting: Setting = ENRICHED) -> Subject:
    """Draw one person, disease, rhythm and set of target volumes.

    Raises
    ------
    ImpossibleHeart
        If more than `setting.max_redraws` hearts in a row were impossible: the setting itself must be wrong.
    """
    for redrawn in range(setting.max_redraws + 1):
        try:
            return replace(_draw(rng, setting), redrawn=redrawn)
        except ImpossibleHeart as impossible:
            last = impossible
    raise ImpossibleHeart(f"{setting.max_redraws + 1} impossible hearts in a row in {setting.name}; the last: {last}")


def mean_wall(cavity: float, mass: float) -> float:
    """Wall thickness, mm, of an evenly thick truncated ellipsoid around `cavity` mL that weighs `mass` g.

    The root t of (a + t)² (c + t) = outer volume / form, by Newton's method.
    """
    form = np.pi * (2 / 3 + _BASE - _BASE**3 / 3)
    slender = 2 * _ELONGATION / (1 + _BASE)
    radius = float((cavity * 1e3 / (form * slender)) ** (1 / 3))
    length, outer, t = slender * radius, (cavity + mass / _DENSITY) * 1e3 / form, 0.0
    for _ in range(8):
        across, along = radius + t, length + t
        t -= float((across**2 * along - outer) / (2 * across * along + across**2))
    return t


def _draw(rng: np.random.Generator, setting: Setting) -> Subject:
    pathology = _one_of(setting, rng)
    sex: Sex = "M" if rng.random() < setting.men else "F"
    person = sample_person(sex, bounded_normal(rng, *setting.age), HEAVIER[pathology], rng)
    chambers, disease = fall_ill(sample_healthy(person, rng), pathology, setting, rng)
    rhythm = _rhythm(chambers.la / usual_atrium(person), person.age, setting.rhythms, rng)
    if rhythm == "AF":  # an atrium that fibrillates grows (Sanfilippo et al., Circulation 1990;82:792)
        chambers = replace(chambers, la=1.2 * chambers.la)
    shares, sinus = setting.rhythms, rhythm == "sinus"
    return Subject(
        person=person,
        disease=disease,
        volumes=_volumes(chambers),
        heart_rate=_heart_rate(rhythm, person, chambers.lv_ef, rng),
        rhythm=rhythm,
        first_degree=bool(rng.random() < _older(person.age, 1.5, shares.first_degree)) and sinus,
        ventricular_ectopy=bool(rng.random() < _older(person.age, 1.3, shares.ventricular)),
        atrial_ectopy=bool(rng.random() < _older(person.age, 1.4, shares.atrial)) and sinus,
    )


def _one_of(setting: Setting, rng: np.random.Generator) -> Pathology:
    """A class, with its share."""
    reached = np.cumsum(list(setting.pathologies.values()))
    return list(setting.pathologies)[int(np.searchsorted(reached[:-1], rng.random(), side="right"))]


def _older(age: float, factor: float, share: float) -> float:
    """A share that grows by `factor` with each decade beyond 62, never above 0.6."""
    return min(0.6, share * float(factor ** ((age - 62) / 10)))


def _rhythm(enlargement: float, age: float, shares: RhythmShares, rng: np.random.Generator) -> RhythmName:
    """Fibrillation doubles with each decade of age (Framingham: Wolf et al., Stroke 1991;22:983 [R]) and grows with LA.

    Each 5 mm of left atrial diameter raise its risk by 39 % (Vaziri et al., Circulation 1994;89:724 [R]): about the
    1.2th power of the volume. It is so that classes with large atria fibrillate more. Pacing grows with age alike.
    """
    u = rng.random()
    fibrillation = min(0.6, _older(age, 2.0, shares.fibrillation) * enlargement**1.2)
    if u < fibrillation:
        return "AF"
    return "paced" if u < fibrillation + _older(age, 1.8, shares.paced) else "sinus"


def _heart_rate(rhythm: RhythmName, person: Person, ejected: float, rng: np.random.Generator) -> float:
    """Sinus: 66 ± 9 in women (PMC3825808 [A]), 62 in men [R]; faster in a failing heart. AF, treated: 82 ± 15 [R]."""
    if rhythm == "AF":
        return bounded_normal(rng, 82.0, 15.0)
    if rhythm == "paced":  # most pacemakers are set to 60 to 70 a minute [R]
        return max(60.0, bounded_normal(rng, 67.0, 6.0))
    faster = 6.0 * float(np.clip((0.50 - ejected) / 0.20, 0, 1))
    return max(42.0, bounded_normal(rng, (66.0 if person.sex == "F" else 62.0) + faster, 9.0))


def _volumes(chambers: Chambers) -> Volumes:
    """Millilitres and grams; without a shunt both ventricles eject the same, to 3 %."""
    stroke = chambers.lv_edv * chambers.lv_ef
    rv_edv = stroke * chambers.rv_stroke / chambers.rv_ef
    return Volumes(
        lv_edv=chambers.lv_edv,
        lv_esv=chambers.lv_edv - stroke,
        lv_mass=chambers.lv_mass,
        rv_edv=rv_edv,
        rv_esv=rv_edv * (1 - chambers.rv_ef),
        la=chambers.la,
        ra=chambers.la * chambers.ra_to_la,
    )
