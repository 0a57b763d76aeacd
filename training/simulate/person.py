"""Person: sex, age and body of a participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.ecg.recording import Sex

HEIGHT: Mapping[Sex, tuple[float, float]] = {"M": (175.5, 6.6), "F": (162.8, 6.2)}
"""Mean and SD in cm, as in UK Biobank [R]."""

BMI: Mapping[Sex, tuple[float, float]] = {"M": (25.2, 0.11), "F": (23.5, 0.12)}
"""Median and SD of the logarithm, healthy people.

Chosen so that the body-surface area is 1.95 m² in men and 1.68 m² in women: what Petersen et al. 2017 divided by,
since their mean volumes are 166 and 124 mL, 85 and 74 mL/m².
"""


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


def bounded_normal(rng: np.random.Generator, mean: float, sd: float) -> float:
    """A normal draw held within 2.5 standard deviations, so that no anatomy is absurd."""
    return mean + sd * min(max(float(rng.standard_normal()), -2.5), 2.5)


def sample_person(sex: Sex, age: float, heavier: float, rng: np.random.Generator) -> Person:
    """A body of northern Europe.

    Parameters
    ----------
    heavier : factor on the healthy body-mass index; people with heart disease are heavier than `BMI` says.
    """
    height = bounded_normal(rng, *HEIGHT[sex])
    median, spread = BMI[sex]
    bmi = heavier * median * float(np.exp(bounded_normal(rng, 0.0, spread * heavier**3)))
    bmi = min(max(bmi, 17.0), 45.0)
    return Person(sex=sex, age=age, height=height, weight=bmi * (height / 100) ** 2)
