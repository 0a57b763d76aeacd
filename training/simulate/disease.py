"""Disease: what anatomy and electrics need to know of the pathology of one heart."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Disease:
    """What the pathology does to the shape, the conduction and the repolarisation of the heart.

    Attributes
    ----------
    pathology : str
        Class, one of `setting.Pathology`.
    severity : float
        0 to 1, of the chambers.
    variant : str
        "septal" or "apical" hypertrophic cardiomyopathy; "" otherwise.
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
    variant: str = ""
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
