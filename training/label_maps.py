"""Label maps: what is measured on the segmentation of a short-axis cine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.simulate.imaging import chamber_volumes, mean_wall

BACKGROUND, LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY = range(4)
"""Classes; those of the simulator (`training.simulate.rendering`). ACDC counts 1 = right ventricle: map it first."""

Labels = NDArray[np.uint8]
Spacing = tuple[float, float, float]


def volumes_of(labels: Labels, spacing: Spacing) -> dict[str, float]:
    """LV and RV cavity in mL, LV wall (LVM) in g, of one phase, as the simulated scans are measured.

    Every slice counts for its area times the distance to the next slice (the sum of discs, Schulz-Menger et al., JCMR
    2020;22:19); `spacing` is from centre to centre, so that the gap is counted.

    Parameters
    ----------
    labels : (slices, rows, columns)
    spacing : millimetres between slices, rows and columns
    """
    counted = chamber_volumes(labels, spacing)
    return {name: counted[name] for name in ("LV", "LVM", "RV")}


def measured(labels: Labels, spacing: Spacing, ed: int, es: int) -> dict[str, float]:
    """LVEDV, LVESV, LVM (at end-diastole), LVWT, RVEDV, RVESV: the keys of `models.phenotypes`.

    A cavity that is not in the map makes its phenotypes NaN, and not a volume of 0.

    Parameters
    ----------
    labels : (phases, slices, rows, columns)
    ed, es : phases
    """
    diastole, systole = volumes_of(labels[ed], spacing), volumes_of(labels[es], spacing)
    found = {
        "LVEDV": diastole["LV"],
        "LVESV": systole["LV"],
        "LVM": diastole["LVM"],
        "RVEDV": diastole["RV"],
        "RVESV": systole["RV"],
    }
    present = {symbol: volume if volume > 0 else float("nan") for symbol, volume in found.items()}
    return present | {"LVWT": _wall(labels[ed], spacing)}


def _wall(labels: Labels, spacing: Spacing) -> float:
    """Mean wall thickness, mm; NaN without a wall."""
    return mean_wall(labels, spacing) if (labels == LV_MYOCARDIUM).any() else float("nan")
