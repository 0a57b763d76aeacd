"""Imaging: scans of the parametric heart in its chest, with their label maps.

Short-axis stacks and cines, the four-chamber view and late enhancement are one rendering with different plans, moments
and signals. The images are phantoms that look like slices of a heart; they are no model of a scanner.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from training.simulate.anatomy import MYOCARDIAL_DENSITY
from training.simulate.chest import chest_signal
from training.simulate.contraction import Moment, cycle_of, diastasis, end_diastole, end_systole, moments
from training.simulate.figure import Single, fabric_of, figure
from training.simulate.heart import Heart, stream
from training.simulate.plan import (
    SPACING,
    Plan,
    Spacing,
    covering_plan,
    four_chamber_plan,
    short_axis_plan,
)
from training.simulate.rendering import (
    LEFT_ATRIUM,
    LV_CAVITY,
    LV_MYOCARDIUM,
    RIGHT_ATRIUM,
    RV_CAVITY,
    Labels,
    label,
    render,
)
from training.simulate.scan import Scan
from training.simulate.tissue import BLOOD, cine_signals, enhanced_signals

Array = NDArray[np.float64]

_CONTRAST_SPREAD = 0.06
"""SD of each tissue's signal between people and scanners, as a share of it (ours)."""


def short_axis(heart: Heart, draw: int = 0) -> Scan:
    """End-diastole and end-systole as a clinic images them: 16 slices every 10 mm, 2.5 mm pixels."""
    rng = stream(heart.seed, "imaging", draw)
    times = np.array([0.0, cycle_of(heart.subject).end_systole / 1000])
    beat = [end_diastole(heart.subject), end_systole(heart.subject)]
    return _scan("short axis", heart, short_axis_plan(heart, SPACING, rng), times, beat, _bssfp(rng), rng)


def cine(heart: Heart, phases: int = 25, spacing: Spacing = SPACING, draw: int = 0) -> Scan:
    """The whole beat in the short axis, from end-diastole on."""
    rng = stream(heart.seed, "imaging", draw)
    times = _times(heart, phases)
    plan = short_axis_plan(heart, spacing, rng)
    return _scan("short axis", heart, plan, times, moments(heart.subject, times), _bssfp(rng), rng)


def four_chamber(heart: Heart, phases: int = 25, draw: int = 0) -> Scan:
    """The whole beat in one slice through the apex and the centres of both atrioventricular valves."""
    rng = stream(heart.seed, "imaging", draw)
    times = _times(heart, phases)
    plan = four_chamber_plan(heart)
    return _scan("four chamber", heart, plan, times, moments(heart.subject, times), _bssfp(rng), rng)


def late_enhancement(heart: Heart, draw: int = 0) -> Scan:
    """The short-axis stack in diastasis after contrast: remote myocardium black, scar brighter than blood."""
    rng = stream(heart.seed, "imaging", draw)
    cycle = cycle_of(heart.subject)
    plan = short_axis_plan(heart, SPACING, rng)
    signals = enhanced_signals(2 * cycle.length)  # an inversion every other beat
    beat = [diastasis(heart.subject)]
    return _scan("late enhancement", heart, plan, np.array([cycle.kick / 1000]), beat, signals, rng, with_scar=True)


def label_map(heart: Heart, moment: Moment, spacing: Spacing = (2.0, 2.0, 2.0)) -> Labels:
    """(slices, rows, columns): the labels of all four chambers and the left wall, in a box that holds them whole."""
    shown = figure(heart, moment, fabric_of(heart))
    return label(covering_plan(heart, *shown.box, spacing), shown, with_scar=False)


def chamber_volumes(labels: Labels, spacing: Spacing) -> dict[str, float]:
    """Millilitres, and grams for the wall, by counting voxels."""
    counted = np.bincount(labels.ravel(), minlength=RIGHT_ATRIUM + 1) * float(np.prod(spacing)) / 1000
    return {
        "LV": float(counted[LV_CAVITY]),
        "LVM": float(MYOCARDIAL_DENSITY * counted[LV_MYOCARDIUM]),
        "RV": float(counted[RV_CAVITY]),
        "LA": float(counted[LEFT_ATRIUM]),
        "RA": float(counted[RIGHT_ATRIUM]),
    }


def measure(scan: Scan) -> dict[str, float]:
    """LVEDV, LVESV, LVM, LVWT, RVEDV and RVESV of a short-axis scan that shows end-diastole, then end-systole."""
    ed, es = (chamber_volumes(labels, scan.spacing) for labels in scan.labels)
    wall = mean_wall(scan.labels[0], scan.spacing)
    return {"LVEDV": ed["LV"], "LVESV": es["LV"], "LVM": ed["LVM"], "LVWT": wall, "RVEDV": ed["RV"], "RVESV": es["RV"]}


def left_atrial_volume(heart: Heart) -> float:
    """Largest left atrial volume, mL, counted on the slices of the stack continued over the atria, at end-systole."""
    return chamber_volumes(label_map(heart, end_systole(heart.subject), SPACING), SPACING)["LA"]


def mean_wall(labels: Labels, spacing: Spacing) -> float:
    """Wall thickness, mm, averaged over the slices that show a whole ring, by their circumference.

    Of each ring the difference of the radii of two circles that have its inner and its outer area.
    """
    pixel = spacing[1] * spacing[2]
    cavity, wall = ((labels == label_).sum((1, 2)) * pixel for label_ in (LV_CAVITY, LV_MYOCARDIUM))
    ring = (cavity > _SMALLEST_RING) & (wall > 0)
    inner, outer = np.sqrt(cavity[ring] / np.pi), np.sqrt((cavity + wall)[ring] / np.pi)
    return float(np.average(outer - inner, weights=inner))


_SMALLEST_RING = 150.0  # mm² of cavity: nearer to the apex the wall is cut aslant


def _times(heart: Heart, phases: int) -> Array:
    """Seconds after the R wave, evenly over the beat, as retrospective gating sorts them."""
    return np.arange(phases) / phases * 60 / heart.subject.heart_rate


def _bssfp(rng: np.random.Generator) -> Array:
    signals = cine_signals()
    return np.asarray(signals * (1 + _CONTRAST_SPREAD * rng.standard_normal(len(signals))))


def _scan(
    name: str,
    heart: Heart,
    plan: Plan,
    times: Array,
    beat: list[Moment],
    signals: Array,
    rng: np.random.Generator,
    with_scar: bool = False,
) -> Scan:
    """Every moment with one set-up: same slices, coil, tissue and noise level."""
    fabric = fabric_of(heart)
    around = chest_signal(plan, heart, signals) * (1 + 0.035 * _texture(plan, rng))
    coil = _coil(plan, heart, rng)
    noise = signals[BLOOD] / rng.uniform(18, 40)  # signal-to-noise ratio of blood
    shown = [render(plan, figure(heart, moment, fabric), signals, around, with_scar) for moment in beat]
    return Scan(
        name=name,
        image=np.stack([magnitude(image * coil, noise, rng) for image, _ in shown]),
        labels=np.stack([labels for _, labels in shown]),
        times=times,
        spacing=plan.spacing,
        thickness=plan.thickness,
        origin=heart.pose.to_torso(plan.origin),
        axes=plan.axes @ heart.pose.axes,
    )


def _coil(plan: Plan, heart: Heart, rng: np.random.Generator) -> Single:
    """Receive sensitivity: falls from the chest wall backwards, times a smooth random field."""
    coarse = gaussian_filter(rng.standard_normal((6, 8, 8)), 1.0)[: max(1, min(6, plan.shape[0]))]
    field = zoom(coarse / coarse.std(), np.divide(plan.shape, coarse.shape), order=1)
    steps = (plan.axes * np.array(plan.spacing)[:, None]) @ heart.pose.axes[:, 1]
    k, row, column = np.ogrid[tuple(slice(n) for n in plan.shape)]
    backwards = heart.pose.to_torso(plan.origin)[1] + k * steps[0] + row * steps[1] + column * steps[2]
    return np.asarray(np.exp(0.16 * field - (backwards + 60) / 190), np.float32)


def _texture(plan: Plan, rng: np.random.Generator) -> Single:
    texture = gaussian_filter(rng.standard_normal(plan.shape, np.float32), (0.4, 1.0, 1.0))
    return np.asarray(texture / texture.std())


def magnitude(image: Array | Single, noise: float, rng: np.random.Generator) -> Single:
    """Blur of the point-spread function and Rician noise (Gudbjartsson & Patz, MRM 1995;34:910)."""
    blurred = gaussian_filter(image, (0, 0.36, 0.36))
    real, imaginary = rng.standard_normal((2, *image.shape), np.float32) * np.float32(noise)
    return np.asarray(np.hypot(blurred + real, imaginary), dtype=np.float32)
