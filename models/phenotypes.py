"""The catalogue of CMR phenotypes: symbol, name, unit, codes, how the derived ones follow, reference ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.ecg.recording import Sex

Values = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Phenotype:
    """One number that cardiac MRI measures.

    Attributes
    ----------
    symbol : str
        As CMR reports write it; the key everywhere in this project.
    name : str
        In words.
    unit : str
        UCUM.
    derived : bool
        Computed from predicted phenotypes and never predicted itself, so that one report cannot contradict itself.
    digits : int
        Decimals worth showing to a person.
    plausible : (float, float)
        Wide physical limits, living adults included with any disease; a value outside is an error, not a finding.
    loinc : str or None
        A LOINC code that claims no method which did not happen; verified in DICOM PS3.16 as pydicom ships it
        (context groups 3468, 3469, 3835, 12200), except 10230-1 (napkon-cardiology FSH). None: no such code was found.
    """

    symbol: str
    name: str
    unit: str
    derived: bool
    digits: int
    plausible: tuple[float, float]
    loinc: str | None = None


PHENOTYPES: dict[str, Phenotype] = {
    phenotype.symbol: phenotype
    for phenotype in (
        Phenotype(
            symbol="LVEDV", name="Left ventricular end-diastolic volume", unit="mL",
            derived=False, digits=0, plausible=(30, 600), loinc="8821-1",
        ),
        Phenotype(
            symbol="LVESV", name="Left ventricular end-systolic volume", unit="mL",
            derived=False, digits=0, plausible=(5, 550), loinc="8823-7",
        ),
        Phenotype(
            symbol="LVSV", name="Left ventricular stroke volume", unit="mL",
            derived=True, digits=0, plausible=(10, 250),
        ),
        Phenotype(
            symbol="LVEF", name="Left ventricular ejection fraction", unit="%",
            derived=True, digits=0, plausible=(5, 90), loinc="10230-1",
        ),
        Phenotype(
            symbol="CO", name="Cardiac output", unit="L/min",
            derived=True, digits=1, plausible=(0.5, 25),
        ),
        Phenotype(
            symbol="LVM", name="Left ventricular mass", unit="g",
            derived=False, digits=0, plausible=(20, 600), loinc="18087-7",
        ),
        Phenotype(
            symbol="LVWT", name="Left ventricular wall thickness, global mean at end-diastole", unit="mm",
            derived=False, digits=1, plausible=(2, 30),
        ),
        Phenotype(
            symbol="RVEDV", name="Right ventricular end-diastolic volume", unit="mL",
            derived=False, digits=0, plausible=(30, 700), loinc="8822-9",
        ),
        Phenotype(
            symbol="RVESV", name="Right ventricular end-systolic volume", unit="mL",
            derived=False, digits=0, plausible=(5, 600), loinc="8824-5",
        ),
        Phenotype(
            symbol="RVSV", name="Right ventricular stroke volume", unit="mL",
            derived=True, digits=0, plausible=(10, 300),
        ),
        Phenotype(
            symbol="RVEF", name="Right ventricular ejection fraction", unit="%",
            derived=True, digits=0, plausible=(5, 90),
        ),
        Phenotype(
            symbol="LAV", name="Left atrial maximum volume", unit="mL",
            derived=False, digits=0, plausible=(5, 400),
        ),
    )
}  # fmt: skip

PREDICTED: tuple[str, ...] = tuple(symbol for symbol, phenotype in PHENOTYPES.items() if not phenotype.derived)
DERIVED: tuple[str, ...] = tuple(symbol for symbol, phenotype in PHENOTYPES.items() if phenotype.derived)


def derive(predicted: Values, heart_rate: float | None) -> dict[str, NDArray[np.float64]]:
    """The derived phenotypes, by their definitions.

    SV = EDV − ESV; EF = SV / EDV; CO = LVSV · heart rate (Schulz-Menger et al., SCMR post-processing
    recommendations, J Cardiovasc Magn Reson 2020;22:19).

    Parameters
    ----------
    predicted : symbol -> millilitres, any shape
        A ventricle whose two volumes are not both there has no derived phenotypes.
    heart_rate : beats per minute, or None when it could not be measured; then there is no cardiac output.

    Returns
    -------
    symbol -> value in the unit of the catalogue (mL, %, L/min), same shape.
    """
    derived: dict[str, NDArray[np.float64]] = {}
    for ventricle in ("LV", "RV"):
        edv, esv = predicted.get(f"{ventricle}EDV"), predicted.get(f"{ventricle}ESV")
        if edv is None or esv is None:
            continue
        derived[f"{ventricle}SV"] = edv - esv
        derived[f"{ventricle}EF"] = 100.0 * (edv - esv) / edv
    if heart_rate is not None and "LVSV" in derived:
        derived["CO"] = derived["LVSV"] * heart_rate / 1000.0
    return derived


@dataclass(frozen=True, kw_only=True)
class ReferenceRange:
    """Where 95 % of healthy people of one sex and age band lie: mean ± 1.96 SD of the source."""

    symbol: str
    sex: Sex
    min_age: float
    max_age: float
    low: float
    high: float
    source: str


def _normal(symbol: str, sex: Sex, mean: float, sd: float, source: str) -> ReferenceRange:
    return ReferenceRange(
        symbol=symbol, sex=sex, min_age=45, max_age=75, low=mean - 1.96 * sd, high=mean + 1.96 * sd, source=source
    )


_UKB = "804 healthy UK Biobank Caucasians aged 45-74, papillary muscles in the cavity: Petersen et al., JCMR 2017;19:18"

REFERENCE_RANGES: tuple[ReferenceRange, ...] = (
    # Abstract of the paper: LVEF 58 ± 5 (men), 61 ± 5 (women), static with age.
    _normal("LVEF", "M", 58, 5, _UKB),
    _normal("LVEF", "F", 61, 5, _UKB),
    # Table 12 of the paper, read in two independent transcriptions.
    _normal("LVSV", "M", 96, 20, _UKB),
    _normal("LVSV", "F", 75, 14, _UKB),
)
"""Only ranges whose figures were read in the source or in two agreeing transcriptions, and whose modality, age band
and segmentation convention fit the labels. The other phenotypes have no reference range yet."""

NoRange = Literal["no verified range for this phenotype", "sex not stated", "age not stated", "age outside 45-74 years"]


def reference_range(symbol: str, sex: Sex | None, age: float | None) -> ReferenceRange | NoRange:
    """The reference range that fits this person, or why there is none."""
    candidates = [r for r in REFERENCE_RANGES if r.symbol == symbol]
    if not candidates:
        return "no verified range for this phenotype"
    if sex is None:
        return "sex not stated"
    if age is None:
        return "age not stated"
    fitting = (r for r in candidates if r.sex == sex and r.min_age <= age < r.max_age)
    return next(fitting, "age outside 45-74 years")
