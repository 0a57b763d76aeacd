"""Rendering: which label and which tissue lie at a point of the heart, at one moment of the beat.

Points are looked up in the tables of `anatomy` and in the closed form of `atria`, so that images, labels and electrical
mesh are one heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from training.simulate.anatomy import LEVELS, THETA, U_BASE, Ventricles, build_ventricles, scar
from training.simulate.atria import Atrium, chambers
from training.simulate.contraction import Moment
from training.simulate.heart import Heart, stream
from training.simulate.plan import Plan
from training.simulate.tissue import BLOOD, FAT, MYOCARDIUM, SCAR

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Labels = NDArray[np.uint8]
Numbers = tuple[float, ...]
Where = tuple[int, int, int, float, float, float, float]

BACKGROUND, LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY, LEFT_ATRIUM, RIGHT_ATRIUM, SCARRED = range(7)
"""Labels. Papillary muscles and trabeculae belong to the cavity (Schulz-Menger et al., JCMR 2020;22:19)."""

_ELSEWHERE = -1
_WALL, _FATTY = 2.5, 5.0
"""mm to the outside of the atrial wall, and of the fat around it."""

_THICKEST_FAT = 9.0
"""mm over the ventricles."""

_GRAIN = 4
"""Layers of the myocardium, from endocardium to epicardium, that have a texture of their own."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Figure:
    """The heart at one moment as the kernels read it, in the heart frame at end-diastole.

    Attributes
    ----------
    surfaces : ndarray, (theta, levels, 7) float32
        Endocardial and epicardial radius, right-ventricular width, depth of left and of right trabeculae, scarred
        fraction, epicardial fat.
    grain : ndarray, (layers, theta, levels) float32
        Brightness of the myocardium about 1: it belongs to the tissue and moves with it.
    numbers : 13 numbers
        Lowest level of the tables, their step, base, right wall, semi-axis, papillary radius, whether valves
        stand open, then `_bounds`.
    atria : ndarray, (2, 10)
        Left and right: centre, semi-axes, flatness, floor, septum, side.
    vessels : ndarray, (2, 5)
        Aorta and pulmonary trunk: x and y at the base, lean along both for each mm upwards, radius.
    """

    surfaces: Single
    grain: Single
    numbers: Numbers
    atria: Array
    vessels: Array

    @property
    def box(self) -> tuple[Array, Array]:
        """Lowest and highest x, y, z of the labelled chambers."""
        reach = float((self.surfaces[..., 1] + self.surfaces[..., 2]).max())
        bottom, top = self.numbers[0], self.numbers[0] + self.numbers[1] * LEVELS
        low, high = self.atria[:, :3] - self.atria[:, 3:6], self.atria[:, :3] + self.atria[:, 3:6]
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
    grain = gaussian_filter(rng.standard_normal((_GRAIN, len(THETA), LEVELS)), (0.4, 0.7, 1.2), mode="wrap")
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
    return np.asarray(np.clip(amount * np.clip(heart.subject.person.bmi / 27, 0.6, 1.6), 0, _THICKEST_FAT))


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
        surfaces=np.stack([*layers, scarred, fabric.fat], -1).astype(np.float32),
        grain=fabric.grain,
        numbers=(
            *(float(ventricles.z[0] + lift), float(step), base, ventricles.rv_wall, left.semi_axis),
            *(0.2 * heart.ed.left.radius, float(moment.valves_open)),
            *_bounds(ventricles, atria, vessels),
        ),
        atria=np.array([_row(atrium) for atrium in atria]),
        vessels=vessels,
    )


def _bounds(ventricles: Ventricles, atria: tuple[Atrium, Atrium], vessels: Array) -> list[float]:
    """How far the ventricles reach to the left and to the right; lowest and highest x and y of what is above them."""
    outer = ventricles.lv_epi + ventricles.rv + ventricles.rv_wall + _THICKEST_FAT
    bounds = [float(outer[np.abs(THETA) > np.pi / 2].max()), float(outer.max())]
    for axis in (0, 1):
        middle = [*(atrium.centre[axis] for atrium in atria), *vessels[:, axis]]
        reach = [*(atrium.axes[axis] + _FATTY for atrium in atria), 30.0, 30.0]
        lowest, highest = np.subtract(middle, reach).min(), np.add(middle, reach).max()
        bounds += [min(float(lowest), -bounds[0]), max(float(highest), bounds[1])]
    return bounds


def _ventricles(heart: Heart, contraction: float) -> Ventricles:
    ends = {0.0: heart.ed, 1.0: heart.es}
    return ends[contraction] if contraction in ends else build_ventricles(heart.subject, heart.shape, contraction)


def _row(atrium: Atrium) -> list[float]:
    return [*atrium.centre, *atrium.axes, atrium.flatness, atrium.floor, atrium.septum, atrium.side]


def _vessels(ed: Ventricles) -> Array:
    """The aorta rises from the front of the base, the pulmonary trunk from the outflow tract and crosses before it."""
    ring = ed.left.radius
    return np.array(
        [[0.22 * ring, 0.62 * ring, 0.15, -0.05, 0.46 * ring], [0.62 * ring, 1.32 * ring, -0.45, -0.15, 0.42 * ring]]
    )


def label(plan: Plan, shown: Figure, with_scar: bool) -> Labels:
    """(slices, rows, columns): what lies at the centre of each voxel."""
    labels = np.zeros(plan.shape, np.uint8)
    origin, steps = plan.origin, plan.axes * np.array(plan.spacing)[:, None]
    _label(origin, steps, shown.surfaces, shown.grain, shown.numbers, shown.atria, shown.vessels, with_scar, labels)
    return labels


def render(plan: Plan, shown: Figure, signals: Array, around: Single, with_scar: bool) -> tuple[Single, Labels]:
    """Noise-free signal, averaged over three sub-slices, and label of the middle one.

    Parameters
    ----------
    signals : of each tissue.
    around : (3, slices, rows, columns), signal of what is not heart, at each sub-slice.
    """
    image, labels = np.zeros(plan.shape, np.float32), np.zeros(plan.shape, np.uint8)
    _render(
        plan.origin,
        plan.axes * np.array(plan.spacing)[:, None],
        plan.axes[0] * plan.thickness / 3,
        plan.shift @ plan.axes[1:],
        shown.surfaces,
        shown.grain,
        shown.numbers,
        shown.atria,
        shown.vessels,
        signals.astype(np.float32),
        around,
        with_scar,
        image,
        labels,
    )
    return image, labels


@njit(cache=True, fastmath=True)
def _label(
    origin: Array,
    steps: Array,
    surfaces: Single,
    grain: Single,
    numbers: Numbers,
    atria: Array,
    vessels: Array,
    with_scar: bool,
    labels: Labels,
) -> None:
    for k in range(labels.shape[0]):
        for row in range(labels.shape[1]):
            for column in range(labels.shape[2]):
                x = origin[0] + k * steps[0, 0] + row * steps[1, 0] + column * steps[2, 0]
                y = origin[1] + k * steps[0, 1] + row * steps[1, 1] + column * steps[2, 1]
                z = origin[2] + k * steps[0, 2] + row * steps[1, 2] + column * steps[2, 2]
                if _near(x, y, z, numbers):
                    here, _, _ = _heart(x, y, z, surfaces, grain, numbers, atria, vessels)
                    labels[k, row, column] = LV_MYOCARDIUM if here == SCARRED and not with_scar else here


@njit(cache=True, fastmath=True)
def _render(
    origin: Array,
    steps: Array,
    sub: Array,
    shift: Array,
    surfaces: Single,
    grain: Single,
    numbers: Numbers,
    atria: Array,
    vessels: Array,
    signals: Single,
    around: Single,
    with_scar: bool,
    image: Single,
    labels: Labels,
) -> None:
    for k in range(image.shape[0]):
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                x = origin[0] + shift[k, 0] + k * steps[0, 0] + row * steps[1, 0] + column * steps[2, 0]
                y = origin[1] + shift[k, 1] + k * steps[0, 1] + row * steps[1, 1] + column * steps[2, 1]
                z = origin[2] + shift[k, 2] + k * steps[0, 2] + row * steps[1, 2] + column * steps[2, 2]
                total = np.float32(0)
                for n in range(3):
                    away = n - 1
                    px, py, pz = x + away * sub[0], y + away * sub[1], z + away * sub[2]
                    here, tissue, shade = BACKGROUND, _ELSEWHERE, 1.0
                    if _near(px, py, pz, numbers):
                        here, tissue, shade = _heart(px, py, pz, surfaces, grain, numbers, atria, vessels)
                    total += around[n, k, row, column] if tissue == _ELSEWHERE else signals[tissue] * shade
                    if n == 1 and here != BACKGROUND:
                        labels[k, row, column] = LV_MYOCARDIUM if here == SCARRED and not with_scar else here
                image[k, row, column] = total / np.float32(3)


@njit(cache=True, fastmath=True)
def _near(x: float, y: float, z: float, numbers: Numbers) -> bool:
    """Whether there may be anything of the heart at a point: asked first, for most of the chest is far from it."""
    if z <= numbers[2]:
        reach = numbers[7] if x < 0 else numbers[8]
        return z > numbers[0] and x * x + y * y < reach * reach
    return numbers[9] < x < numbers[10] and numbers[11] < y < numbers[12]


@njit(cache=True, fastmath=True)
def _heart(
    x: float, y: float, z: float, surfaces: Single, grain: Single, numbers: Numbers, atria: Array, vessels: Array
) -> tuple[int, int, float]:
    """Label, tissue and brightness at a point."""
    here, tissue, shade = BACKGROUND, _ELSEWHERE, 1.0
    level = (z - numbers[0]) / numbers[1]
    if 0 <= level < surfaces.shape[1] - 1:
        r, rows = np.sqrt(x * x + y * y), surfaces.shape[0]
        turn = (_angle(y, x) + np.pi) / (2 * np.pi) * rows
        i, k = int(turn) % rows, int(level)
        j, f, g = (i + 1) % rows, turn - int(turn), level - int(level)
        where = i, j, k, (1 - f) * (1 - g), (1 - f) * g, f * (1 - g), f * g
        epi = _at(surfaces, 1, where)
        if r >= epi:
            here, tissue, shade = _right(z, r, epi, surfaces, grain, numbers, where)
        elif z <= numbers[2]:
            here, tissue, shade = _left(x, y, z, r, epi, surfaces, grain, numbers, where)
    if tissue == _ELSEWHERE and z > numbers[2]:
        here, tissue = _above(x, y, z, numbers, atria, vessels)
    return here, tissue, shade


@njit(cache=True, fastmath=True)
def _left(
    x: float,
    y: float,
    z: float,
    r: float,
    epi: float,
    surfaces: Single,
    grain: Single,
    numbers: Numbers,
    where: Where,
) -> tuple[int, int, float]:
    """Cavity with papillary muscles and trabeculae, and the wall with its scar."""
    endo = _at(surfaces, 0, where)
    if r < endo:
        muscle = r > endo - _at(surfaces, 3, where) or _papillary(x, y, z, endo, numbers)
        return LV_CAVITY, MYOCARDIUM if muscle else BLOOD, 1.0
    depth = (r - endo) / (epi - endo)
    if depth < 1.4 * _at(surfaces, 5, where) - 0.2:  # an infarct starts under the endocardium
        return SCARRED, SCAR, 1.0
    return LV_MYOCARDIUM, MYOCARDIUM, grain[int(depth * grain.shape[0]), where[0], where[2]]


@njit(cache=True, fastmath=True)
def _right(
    z: float, r: float, epi: float, surfaces: Single, grain: Single, numbers: Numbers, where: Where
) -> tuple[int, int, float]:
    """Right cavity with its trabeculae, its wall, and the fat over both ventricles."""
    rv, wall = _at(surfaces, 2, where), numbers[3]
    if rv > 0.3 and r < epi + rv:
        muscle = r > epi + rv - min(_at(surfaces, 4, where), 0.4 * rv)
        return RV_CAVITY, MYOCARDIUM if muscle else BLOOD, 1.0
    if rv > 0.3 and r < epi + rv + wall:
        return BACKGROUND, MYOCARDIUM, grain[grain.shape[0] - 1, where[0], where[2]]
    fat = z <= numbers[2] and r < epi + rv + wall + _at(surfaces, 6, where)
    return BACKGROUND, FAT if fat else _ELSEWHERE, 1.0


@njit(cache=True, fastmath=True)
def _at(surfaces: Single, table: int, where: Where) -> float:
    """One table, bilinear between two angles i, j and from level k upwards, by the four weights that follow."""
    i, j, k, a, b, c, d = where
    return float(
        a * surfaces[i, k, table]
        + b * surfaces[i, k + 1, table]
        + c * surfaces[j, k, table]
        + d * surfaces[j, k + 1, table]
    )


@njit(cache=True, fastmath=True)
def _above(x: float, y: float, z: float, numbers: Numbers, atria: Array, vessels: Array) -> tuple[int, int]:
    """The atria with their valves, thin wall and fat, and the roots of the great vessels."""
    tissue = _ELSEWHERE
    for n in range(2):
        dx, dy, dz = x - atria[n, 0], y - atria[n, 1], z - atria[n, 2]
        a, b, c = atria[n, 3], atria[n, 4], atria[n, 5]
        if abs(dx) < a + _FATTY and abs(dy) < b + _FATTY and abs(dz) < c + _FATTY:
            size = np.sqrt((dx / a) ** 2 + (dy / b) ** 2 + np.abs(dz / c) ** atria[n, 6])
            inside = (x - atria[n, 8]) * atria[n, 9]
            if size < 1 and inside > 0:
                leaflet = z < atria[n, 7] + 1.5 and numbers[6] == 0
                return LEFT_ATRIUM + n if z > atria[n, 7] else BACKGROUND, MYOCARDIUM if leaflet else BLOOD
            beyond = (size - 1) * min(a, b, c)
            if beyond < _WALL and inside > -1.5:
                tissue = MYOCARDIUM
            elif beyond < _FATTY and tissue == _ELSEWHERE:
                tissue = FAT
    up = z - numbers[2]
    if tissue != MYOCARDIUM:
        for n in range(2):
            dx, dy = x - vessels[n, 0] - vessels[n, 2] * up, y - vessels[n, 1] - vessels[n, 3] * up
            beyond = np.sqrt(dx * dx + dy * dy) - vessels[n, 4]
            if beyond < 0:
                return BACKGROUND, BLOOD
            if beyond < 1.5:
                tissue = MYOCARDIUM
            elif beyond < 3.0 and tissue == _ELSEWHERE:
                tissue = FAT
    if tissue == _ELSEWHERE and up < 3.0 and x * x + y * y < (numbers[7] - _THICKEST_FAT) ** 2:
        tissue = MYOCARDIUM  # the fibrous ring
    return BACKGROUND, tissue


@njit(cache=True, fastmath=True)
def _papillary(x: float, y: float, z: float, endo: float, numbers: Numbers) -> bool:
    """Two tapering columns in the middle of the cavity, anterolateral and posteromedial."""
    rise = (z - numbers[2] + 0.9 * numbers[4]) / (0.75 * numbers[4])
    if not 0 < rise < 1:
        return False
    radius = numbers[5] * (1 - 0.35 * rise)
    for n in range(2):
        cos, sin = (-0.612, 0.791) if n == 0 else (-0.572, -0.820)
        dx, dy = x - 0.72 * endo * cos, y - 0.72 * endo * sin
        if dx * dx + dy * dy < radius * radius:
            return True
    return False


@njit(cache=True, fastmath=True)
def _angle(y: float, x: float) -> float:
    """arctan2 to 1e-5 radians, several times as fast (Abramowitz & Stegun 4.4.49)."""
    low, high = min(abs(x), abs(y)), max(abs(x), abs(y)) + 1e-12
    t = low / high
    q = t * t
    angle = t * (0.9998660 + q * (-0.3302995 + q * (0.1801410 + q * (-0.0851330 + q * 0.0208351))))
    if abs(y) > abs(x):
        angle = np.pi / 2 - angle
    if x < 0:
        angle = np.pi - angle
    return -angle if y < 0 else angle
