"""Pathology: what each disease does to chambers, shape, conduction and repolarisation.

Ejection fractions change on the logistic scale, so that none leaves 0 to 1. Severity drives the chambers; what the ECG
sees (slow conduction, strain) follows a severity of its own that is only half the same, because in real people of one
diagnosis the ECG tells little of LVEF (`published.MUSIC`). At high severity the group means are those of
`published.ACDC`. The factors are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from training.simulate.disease import Disease
from training.simulate.healthy import Chambers
from training.simulate.person import bounded_normal
from training.simulate.setting import Pathology, Setting

Rng = np.random.Generator

HEAVIER: Mapping[Pathology, float] = {
    "normal": 1.0,
    "LVH": 1.14,
    "HCM": 1.10,
    "DCM": 1.09,
    "LBBB": 1.08,
    "RBBB": 1.06,
    "LAFB": 1.08,
    "MI": 1.10,
    "RVdil": 1.05,
    "PH": 1.08,
}
"""Body-mass index over that of the healthy. Whole UK Biobank has about 26.7 kg/m², heart failure 28 [R]."""


def fall_ill(healthy: Chambers, pathology: Pathology, setting: Setting, rng: Rng) -> tuple[Chambers, Disease]:
    """Let the disease work on healthy chambers, as severely as the setting has it."""
    if pathology == "normal":
        return healthy, Disease(pathology="normal", severity=0.0)
    severity = float(rng.beta(*setting.severity))
    ill, disease = _EFFECTS[pathology](healthy, severity, rng)
    if pathology in ("LVH", "LBBB") and rng.random() < setting.failing:
        ill, disease = _fail(ill, disease, rng)
    hemiblock = pathology in ("LVH", "DCM", "MI") and disease.left_bundle and rng.random() < 0.07
    return ill, replace(disease, left_anterior_fascicle=disease.left_anterior_fascicle and not hemiblock)


def weaker(ejected: float, by: float) -> float:
    """An ejection fraction lowered by `by` on the logistic scale (0.4 is ten points at the middle)."""
    return float(1 / (1 + (1 - ejected) / ejected * np.exp(by)))


def _about(rng: Rng, centre: float, spread: float) -> float:
    """A factor that varies between people by `spread`, log-normal."""
    return centre * float(np.exp(bounded_normal(rng, 0.0, spread)))


def _seen(severity: float, rng: Rng) -> float:
    """How severe the ECG finds the disease: 0 to 1, half of it its own."""
    return 0.55 * severity + 0.45 * rng.random()


def _fail(ill: Chambers, disease: Disease, rng: Rng) -> tuple[Chambers, Disease]:
    """Decompensation: ejection falls, both ventricles and the left atrium grow, conduction slows or is blocked."""
    loss = rng.uniform(0.3, 1.9)
    failing = replace(
        ill,
        lv_ef=weaker(ill.lv_ef, loss),
        lv_edv=ill.lv_edv * _about(rng, 1 + 0.25 * loss, 0.10),
        rv_ef=weaker(ill.rv_ef, bounded_normal(rng, 0.5 * loss, 0.25)),
        la=ill.la * _about(rng, 1.2, 0.1),
    )
    slower, bundle = disease.conduction * _about(rng, 0.95, 0.05), disease.left_bundle and rng.random() > 0.15
    return failing, replace(disease, conduction=slower, left_bundle=bundle)


def _hypertension(healthy: Chambers, severity: float, rng: Rng) -> tuple[Chambers, Disease]:
    seen = _seen(severity, rng)
    ill = replace(
        healthy,
        lv_mass=healthy.lv_mass * _about(rng, 1.22 + 0.65 * severity, 0.10),
        lv_edv=healthy.lv_edv * _about(rng, 1.0, 0.10),
        lv_ef=weaker(healthy.lv_ef, bounded_normal(rng, 0.0, 0.22)),
        la=healthy.la * _about(rng, 1.1 + 0.4 * severity, 0.12),
    )
    strain = max(0.0, seen - 0.25) * rng.uniform(0.5, 1.3)
    return ill, Disease(pathology="LVH", severity=severity, lv_strain=strain, conduction=_about(rng, 0.97, 0.04))


def _hypertrophic(healthy: Chambers, severity: float, rng: Rng) -> tuple[Chambers, Disease]:
    """Septal, or apical in three of ten [R]; the mitral valve leaks, so that the right ventricle ejects less."""
    seen = _seen(severity, rng)
    ill = replace(
        healthy,
        lv_mass=healthy.lv_mass * _about(rng, 1.35 + 0.65 * severity, 0.12),
        lv_edv=healthy.lv_edv * _about(rng, 0.91, 0.10),
        lv_ef=weaker(healthy.lv_ef, bounded_normal(rng, -0.30, 0.25)),
        rv_ef=weaker(healthy.rv_ef, bounded_normal(rng, -0.20, 0.20)),
        rv_stroke=healthy.rv_stroke * rng.uniform(0.8, 1.0),
        la=healthy.la * _about(rng, 1.25 + 0.4 * severity, 0.12),
    )
    apical = rng.random() < 0.3
    disease = Disease(
        pathology="HCM",
        severity=severity,
        variant="apical" if apical else "septal",
        apical_bulge=1.0 + 1.2 * severity if apical else 0.0,
        septal_bulge=0.0 if apical else 0.7 + 1.0 * severity,
        lv_strain=0.20 + seen * rng.uniform(0.5, 1.3),
        conduction=1 - 0.10 * seen,
    )
    return ill, disease


def _dilated(healthy: Chambers, severity: float, rng: Rng) -> tuple[Chambers, Disease]:
    """The left ventricle dilates as it weakens, the right one by ejecting a smaller share of the same stroke volume."""
    seen, loss = _seen(severity, rng), bounded_normal(rng, 1.50 * severity, 0.45)
    dilation = _about(rng, 1.25 + 0.57 * max(loss, 0.0), 0.17)
    ill = replace(
        healthy,
        lv_edv=healthy.lv_edv * dilation,
        lv_ef=weaker(0.47, loss),
        lv_mass=healthy.lv_mass * _about(rng, dilation**0.77, 0.10),  # eccentric hypertrophy
        rv_ef=weaker(healthy.rv_ef, bounded_normal(rng, 0.25 + 0.75 * severity, 0.30)),
        la=healthy.la * _about(rng, 1.3 + 0.5 * severity, 0.15),
    )
    disease = Disease(
        pathology="DCM",
        severity=severity,
        rounding=0.12 + 0.22 * severity,
        conduction=0.96 - 0.16 * seen,
        lv_strain=0.3 * rng.random() + 0.5 * seen,
        left_bundle=rng.random() > 0.05 + 0.30 * max(loss, 0.0),  # a quarter to a third have LBBB [R]
    )
    return ill, disease


def _left_block(healthy: Chambers, severity: float, rng: Rng) -> tuple[Chambers, Disease]:
    ill = replace(
        healthy,
        lv_ef=weaker(healthy.lv_ef, bounded_normal(rng, 0.20 + 0.45 * severity, 0.20)),
        lv_edv=healthy.lv_edv * _about(rng, 1.05 + 0.20 * severity, 0.08),
        lv_mass=healthy.lv_mass * _about(rng, 1.08, 0.08),
    )
    return ill, Disease(pathology="LBBB", severity=severity, left_bundle=False, conduction=_about(rng, 0.96, 0.05))


def _right_block(healthy: Chambers, severity: float, rng: Rng) -> tuple[Chambers, Disease]:
    return healthy, Disease(pathology="RBBB", severity=severity, right_bundle=False)


def _left_anterior_block(healthy: Chambers, severity: float, rng: Rng) -> tuple[Chambers, Disease]:
    return healthy, Disease(pathology="LAFB", severity=severity, left_anterior_fascicle=False)


def _infarct(healthy: Chambers, severity: float, rng: Rng) -> tuple[Chambers, Disease]:
    """The scar on the ECG is only partly as large as the loss of function: some of the wall is stunned, some viable."""
    territory = str(rng.choice(["LAD", "RCA", "LCX"], p=[0.45, 0.35, 0.20]))  # R: infarct-related artery
    loss = bounded_normal(rng, 0.10 + (1.67 if territory == "LAD" else 1.23) * severity, 0.35)
    dilation = _about(rng, 1.0 + 0.33 * max(loss, 0.0), 0.14)
    ill = replace(
        healthy,
        lv_ef=weaker(healthy.lv_ef, loss),
        lv_edv=healthy.lv_edv * dilation,
        lv_mass=healthy.lv_mass * _about(rng, 1.03 * dilation**0.4, 0.10),
        rv_ef=weaker(healthy.rv_ef, bounded_normal(rng, 0.0, 0.25)),
        la=healthy.la * _about(rng, 1.1 + 0.3 * severity, 0.12),
    )
    disease = Disease(
        pathology="MI",
        severity=severity,
        scar_territory=territory,
        scar_extent=0.30 + 0.70 * _seen(severity, rng),
        conduction=_about(rng, 1 - 0.07 * severity, 0.05),
        left_bundle=rng.random() > 0.20 * max(loss, 0.0),
    )
    return ill, disease


def _right_dilation(healthy: Chambers, severity: float, rng: Rng) -> tuple[Chambers, Disease]:
    """Three in ten carry a volume load (shunt or regurgitation), so that the right stroke volume exceeds the left."""
    loaded = rng.random() < 0.3
    ill = replace(
        healthy,
        lv_edv=healthy.lv_edv * _about(rng, 1 - 0.25 * severity, 0.08),
        lv_ef=weaker(healthy.lv_ef, bounded_normal(rng, 0.25 * severity, 0.20)),
        lv_mass=healthy.lv_mass * _about(rng, 1 - 0.20 * severity, 0.08),
        rv_ef=weaker(healthy.rv_ef, bounded_normal(rng, 0.15 + (0.5 if loaded else 1.2) * severity, 0.20)),
        rv_stroke=healthy.rv_stroke * (1 + 0.55 * severity if loaded else 1.0),
        ra_to_la=healthy.ra_to_la * _about(rng, 1.1 + 0.3 * severity, 0.1),
    )
    return ill, Disease(pathology="RVdil", severity=severity)


def _pulmonary_hypertension(healthy: Chambers, severity: float, rng: Rng) -> tuple[Chambers, Disease]:
    seen = _seen(severity, rng)
    ill = replace(
        healthy,
        lv_edv=healthy.lv_edv * _about(rng, 1 - 0.15 * severity, 0.08),
        rv_ef=weaker(healthy.rv_ef, bounded_normal(rng, 0.30 + 0.85 * severity, 0.20)),
        ra_to_la=healthy.ra_to_la * _about(rng, 1.2 + 0.4 * severity, 0.1),
    )
    disease = Disease(
        pathology="PH",
        severity=severity,
        rv_thickening=1.5 + 4.5 * severity,
        septal_flattening=0.10 + 0.22 * severity,
        rv_strain=0.3 + 0.9 * seen,
    )
    return ill, disease


_EFFECTS: Mapping[Pathology, Callable[[Chambers, float, Rng], tuple[Chambers, Disease]]] = {
    "LVH": _hypertension,
    "HCM": _hypertrophic,
    "DCM": _dilated,
    "LBBB": _left_block,
    "RBBB": _right_block,
    "LAFB": _left_anterior_block,
    "MI": _infarct,
    "RVdil": _right_dilation,
    "PH": _pulmonary_hypertension,
}
