"""Label values: which number in somebody's label maps means which structure."""

from __future__ import annotations

from collections.abc import Mapping

from training.label_maps import BACKGROUND, LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY
from training.manifest import CohortError

LabelValues = Mapping[int, int]
"""Class in the files -> class of `training.label_maps`; 0 is the background in both."""

STRUCTURES = {"lv": LV_CAVITY, "myocardium": LV_MYOCARDIUM, "rv": RV_CAVITY, "other": BACKGROUND}

OWN: LabelValues = {value: value for value in (LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY)}


class WrongLabelValues(CohortError):
    """A list of label values that cannot be understood, or leaves a structure out."""


def label_values_of(text: str) -> LabelValues:
    """Read ``1=RV,2=myocardium,3=LV``; a class that does not count is ``other``.

    Raises
    ------
    WrongLabelValues
        If a part is not so, or LV, myocardium or RV is missing.
    """
    values: dict[int, int] = {}
    for part in text.split(","):
        value, _, structure = (piece.strip() for piece in part.partition("="))
        if not value.isdecimal() or not 0 < int(value) < 256 or structure.lower() not in STRUCTURES:
            raise WrongLabelValues(f"{part.strip()!r} is no label value: write, say, 1=RV,2=myocardium,3=LV")
        values[int(value)] = STRUCTURES[structure.lower()]
    if not set(OWN) <= set(values.values()):
        raise WrongLabelValues("label values must name LV, myocardium and RV; what does not count is 'other'")
    return values
