"""Figure: one heart at one moment of the beat, as tables that are looked up by point.

The tables are those of `anatomy` and the closed form of `atria`, so that images, labels and electrical mesh are one
heart. What is imaged but carries no label and no current is added here: trabeculae, fat, texture, the great vessels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from training.simulate.anatomy import LEVELS, THETA, U_BASE, Ventricles, build_ventricles, scar
from training.simulate.atria import Atrium, chambers
from training.simulate.contraction import Moment
from training.simulate.heart import Heart, stream

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Numbers = tuple[float, ...]
Rows = tuple[Numbers, ...]

ATRIAL_FAT, THICKEST_FAT = 5.0, 9.0
"""mm from the cavity of an atrium to the outside of its fat; most that there is over the ventricles."""

LAYERS, GRAIN = 7, 4
"""First table and number of the layers of myocardium, endocardium to epicardium, that have a texture of their own."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Figure:
    """The heart at one moment as the kernels read it, in the heart frame at end-diastole.

    Attributes
    ----------
    tables : ndarray, (theta, levels, 11) float32
        Endocardial and epicardial radius, right-ventricular width, depth of left and of right trabeculae, scarred
        fraction, epicardial fat; then the brightness about 1 of each layer of the myocardium, which moves with it.
    numbers : 13 numbers
        Lowest level of the tables, their step, base, right wall, semi-axis, papillary radius, whether valves
        stand open, then `_bounds`.
    atria : 2 x 10 numbers
        Left and right: centre, semi-axes, flatness, floor, septum, side.
    vessels : 2 x 5 numbers
        Aorta and pulmonary trunk: x and y at the base, lean along both for each mm upwards, radius.
    """

    tables: Single
    numbers: Numbers
    atria: Rows
    vessels: Rows

    @property
    def box(self) -> tuple[Array, Array]:
        """Lowest and highest x, y, z of the labelled chambers."""
        reach = float((self.tables[..., 1] + self.tables[..., 2]).max())
        bottom, top = self.numbers[0], self.numbers[0] + self.numbers[1] * LEVELS
        centres, axes = np.array(self.atria)[:, :3], np.array(self.atria)[:, 3:6]
        low, high = centres - axes, centres + axes
        return (
            np.minimum(low.min(0), [-reach, -reach, bottom]),
            np.maximum(high.max(0), [reach, reach, top]),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Fabric:
    """What the tissue of one heart looks like, over (theta, levels): texture, and depth of trabeculae and fat in mm."""

    grain: Single
    left_trabeculae: Array
    right_trabeculae: Array
    fat: Array


def fabric_of(heart: Heart) -> Fabric:
    """The same in every scan of this heart."""
    rng = stream(heart.seed, "tissue")
    grain = gaussian_filter(rng.standard_normal((GRAIN, len(THETA), LEVELS)), (0.4, 0.7, 1.2), mode="wrap")
    ridges = gaussian_filter(rng.standard_normal((2, len(THETA), LEVELS)), (0, 0.5, 2.5), mode="wrap")
    ridges = np.clip(ridges / ridges.std() + 0.2, 0, 2)
    apical = 1 - np.linspace(0, 1, LEVELS) ** 2
    return Fabric(
        grain=(1 + 0.05 * grain / grain.std()).astype(np.float32),
        left_trabeculae=1.8 * ridges[0] * apical,
        right_trabeculae=2.6 * ridges[1] * (0.3 + 0.7 * apical),
        fat=_epicardial_fat(heart, rng),
    )


def _epicardial_fat(heart: Heart, rng: np.random.Generator) -> Array:
    """Thin and patchy over the left free wall, more over the right one, most in the grooves between the chambers."""
    patches = gaussian_filter(rng.standard_normal((len(THETA), LEVELS)), (4, 6), mode="wrap")
    turn, height = np.abs(THETA)[:, None], np.linspace(0, 1, LEVELS)[None]
    grooves = 4.0 * np.exp(-0.5 * ((turn - 1.2) / 0.18) ** 2) + 3.0 * np.clip((height - 0.7) / 0.15, 0, 1)
    amount = 0.6 + 1.4 * (turn < 1.2) + grooves + 1.2 * patches / patches.std()
    return np.asarray(np.clip(amount * np.clip(heart.subject.person.bmi / 27, 0.6, 1.6), 0, THICKEST_FAT))


def figure(heart: Heart, moment: Moment, fabric: Fabric) -> Figure:
    """Build the heart at this moment."""
    ventricles = _ventricles(heart, moment.contraction)
    lift = ventricles.lift(heart.ed)
    base = ventricles.base + lift
    atria = chambers(heart.subject.volumes, heart.shape, heart.ed, heart.es, base, moment)
    left, step = ventricles.left, ventricles.z[1] - ventricles.z[0]
    s = np.arccos(np.clip(-ventricles.z / left.semi_axis, -1, 1)) / U_BASE
    scarred = scar(THETA[:, None], s[None], heart.subject.disease)
    layers = (ventricles.lv_endo, ventricles.lv_epi, ventricles.rv, fabric.left_trabeculae, fabric.right_trabeculae)
    vessels = _vessels(heart.ed)
    return Figure(
        tables=np.stack([*layers, scarred, fabric.fat, *fabric.grain], -1, dtype=np.float32, casting="same_kind"),
        numbers=(
            *(float(ventricles.z[0] + lift), float(step), base, ventricles.rv_wall, left.semi_axis),
            *(0.2 * heart.ed.left.radius, float(moment.valves_open)),
            *_bounds(ventricles, atria, vessels),
        ),
        atria=tuple(_row(atrium) for atrium in atria),
        vessels=vessels,
    )


def _bounds(ventricles: Ventricles, atria: tuple[Atrium, Atrium], vessels: Rows) -> list[float]:
    """How far the ventricles reach to the left and to the right; lowest and highest x and y of what is above them."""
    outer = ventricles.lv_epi + ventricles.rv + ventricles.rv_wall + THICKEST_FAT
    bounds = [float(outer[np.abs(THETA) > np.pi / 2].max()), float(outer.max())]
    for axis in (0, 1):
        middle = [*(atrium.centre[axis] for atrium in atria), *(vessel[axis] for vessel in vessels)]
        reach = [*(atrium.axes[axis] + ATRIAL_FAT for atrium in atria), 30.0, 30.0]
        lowest, highest = np.subtract(middle, reach).min(), np.add(middle, reach).max()
        bounds += [min(float(lowest), -bounds[0]), max(float(highest), bounds[1])]
    return bounds


def _ventricles(heart: Heart, contraction: float) -> Ventricles:
    ends = {0.0: heart.ed, 1.0: heart.es}
    return ends[contraction] if contraction in ends else build_ventricles(heart.subject, heart.shape, contraction)


def _row(atrium: Atrium) -> Numbers:
    plane = atrium.flatness, atrium.floor, atrium.septum, atrium.side
    return (*atrium.centre.tolist(), *atrium.axes.tolist(), *plane)


def _vessels(ed: Ventricles) -> Rows:
    """The aorta rises from the front of the base, the pulmonary trunk from the outflow tract and crosses before it."""
    ring = ed.left.radius
    aorta = 0.22 * ring, 0.62 * ring, 0.15, -0.05, 0.46 * ring
    trunk = 0.62 * ring, 1.32 * ring, -0.45, -0.15, 0.42 * ring
    return aorta, trunk
