"""Rendering: which label and which tissue lie at a point of the heart, at one moment of the beat."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from training.simulate.figure import ATRIAL_FAT, GRAIN, LAYERS, THICKEST_FAT, Array, Figure, Numbers, Rows, Single
from training.simulate.plan import Plan
from training.simulate.tissue import BLOOD, FAT, MYOCARDIUM, SCAR

# numba keeps compiled kernels until this file changes: touch it when a number that is imported here does

Labels = NDArray[np.uint8]
Where = tuple[int, int, int, float, float, float, float]

BACKGROUND, LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY, LEFT_ATRIUM, RIGHT_ATRIUM, SCARRED = range(7)
"""Labels. Papillary muscles and trabeculae belong to the cavity (Schulz-Menger et al., JCMR 2020;22:19)."""

_ELSEWHERE = -1
_WALL, _LEAFLET = 2.5, 1.5
"""mm to the outside of the atrial wall; thickness of a closed valve in an image."""


def label(plan: Plan, shown: Figure, with_scar: bool) -> Labels:
    """(slices, rows, columns): what lies at the centre of each voxel."""
    labels = np.zeros(plan.shape, np.uint8)
    origin, steps = plan.origin, plan.axes * np.array(plan.spacing)[:, None]
    _label(origin, steps, shown.tables, shown.numbers, shown.atria, shown.vessels, with_scar, labels)
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
        shown.tables,
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
    tables: Single,
    numbers: Numbers,
    atria: Rows,
    vessels: Rows,
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
                    here, _, _ = _heart(x, y, z, tables, numbers, atria, vessels)
                    labels[k, row, column] = LV_MYOCARDIUM if here == SCARRED and not with_scar else here


@njit(cache=True, fastmath=True)
def _render(
    origin: Array,
    steps: Array,
    sub: Array,
    shift: Array,
    tables: Single,
    numbers: Numbers,
    atria: Rows,
    vessels: Rows,
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
                        here, tissue, shade = _heart(px, py, pz, tables, numbers, atria, vessels)
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
    x: float, y: float, z: float, tables: Single, numbers: Numbers, atria: Rows, vessels: Rows
) -> tuple[int, int, float]:
    """Label, tissue and brightness at a point."""
    here, tissue, shade = BACKGROUND, _ELSEWHERE, 1.0
    level = (z - numbers[0]) / numbers[1]
    if 0 <= level < tables.shape[1] - 1:
        r, rows = np.sqrt(x * x + y * y), tables.shape[0]
        turn = (_angle(y, x) + np.pi) / (2 * np.pi) * rows
        i, k = int(turn) % rows, int(level)
        j, f, g = (i + 1) % rows, turn - int(turn), level - int(level)
        where = i, j, k, (1 - f) * (1 - g), (1 - f) * g, f * (1 - g), f * g
        epi = _at(tables, 1, where)
        if r >= epi:
            here, tissue, shade = _right(z, r, epi, tables, numbers, where)
        elif z <= numbers[2]:
            here, tissue, shade = _left(x, y, z, r, epi, tables, numbers, where)
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
    tables: Single,
    numbers: Numbers,
    where: Where,
) -> tuple[int, int, float]:
    """Cavity with papillary muscles and trabeculae, and the wall with its scar."""
    endo = _at(tables, 0, where)
    if r < endo:
        muscle = r > endo - _at(tables, 3, where) or _papillary(x, y, z, endo, numbers)
        return LV_CAVITY, MYOCARDIUM if muscle else BLOOD, 1.0
    depth = (r - endo) / (epi - endo)
    if depth < 1.4 * _at(tables, 5, where) - 0.2:  # an infarct starts under the endocardium
        return SCARRED, SCAR, 1.0
    return LV_MYOCARDIUM, MYOCARDIUM, tables[where[0], where[2], LAYERS + int(depth * GRAIN)]


@njit(cache=True, fastmath=True)
def _right(z: float, r: float, epi: float, tables: Single, numbers: Numbers, where: Where) -> tuple[int, int, float]:
    """Right cavity with its trabeculae, its wall, and the fat over both ventricles."""
    rv, wall = _at(tables, 2, where), numbers[3]
    if rv > 0.3 and r < epi + rv:
        muscle = r > epi + rv - min(_at(tables, 4, where), 0.4 * rv)
        return RV_CAVITY, MYOCARDIUM if muscle else BLOOD, 1.0
    if rv > 0.3 and r < epi + rv + wall:
        return BACKGROUND, MYOCARDIUM, tables[where[0], where[2], LAYERS + GRAIN - 1]
    fat = z <= numbers[2] and r < epi + rv + wall + _at(tables, 6, where)
    return BACKGROUND, FAT if fat else _ELSEWHERE, 1.0


@njit(cache=True, fastmath=True)
def _at(tables: Single, table: int, where: Where) -> float:
    """One table, bilinear between two angles i, j and from level k upwards, by the four weights that follow."""
    i, j, k, a, b, c, d = where
    return float(
        a * tables[i, k, table] + b * tables[i, k + 1, table] + c * tables[j, k, table] + d * tables[j, k + 1, table]
    )


@njit(cache=True, fastmath=True)
def _above(x: float, y: float, z: float, numbers: Numbers, atria: Rows, vessels: Rows) -> tuple[int, int]:
    """Label and tissue above the base: atria, great vessels and the fibrous ring; what is outermost gives way."""
    up, tissue = z - numbers[2], _ELSEWHERE
    for n in range(2):
        inside, found = _atrium(x, y, z, numbers[6] > 0, atria[n])
        if inside:
            return LEFT_ATRIUM + n if z > atria[n][7] else BACKGROUND, found
        if found == MYOCARDIUM or tissue == _ELSEWHERE:
            tissue = found
    for n in range(2):
        found = _vessel(x, y, up, vessels[n])
        if tissue != MYOCARDIUM and found != _ELSEWHERE:
            tissue = found
    if tissue == _ELSEWHERE and up < 3.0 and x * x + y * y < (numbers[7] - THICKEST_FAT) ** 2:
        tissue = MYOCARDIUM
    return BACKGROUND, tissue


@njit(cache=True, fastmath=True)
def _atrium(x: float, y: float, z: float, valve_open: bool, atrium: Numbers) -> tuple[bool, int]:
    """Whether a point lies in the chamber, and the tissue: blood, closed leaflets, thin wall, fat."""
    dx, dy, dz = x - atrium[0], y - atrium[1], z - atrium[2]
    a, b, c = atrium[3], atrium[4], atrium[5]
    if abs(dx) > a + ATRIAL_FAT or abs(dy) > b + ATRIAL_FAT or abs(dz) > c + ATRIAL_FAT:
        return False, _ELSEWHERE
    size = np.sqrt((dx / a) ** 2 + (dy / b) ** 2 + np.abs(dz / c) ** atrium[6])
    across, beyond = (x - atrium[8]) * atrium[9], (size - 1) * min(a, b, c)
    if size < 1 and across > 0:
        return True, BLOOD if valve_open or z > atrium[7] + _LEAFLET else MYOCARDIUM
    if beyond < _WALL and across > -1.5:
        return False, MYOCARDIUM
    return False, FAT if beyond < ATRIAL_FAT else _ELSEWHERE


@njit(cache=True, fastmath=True)
def _vessel(x: float, y: float, up: float, vessel: Numbers) -> int:
    """Blood, wall or fat of a great vessel."""
    dx, dy = x - vessel[0] - vessel[2] * up, y - vessel[1] - vessel[3] * up
    beyond = np.sqrt(dx * dx + dy * dy) - vessel[4]
    if beyond < _WALL - 1.0:
        return BLOOD if beyond < 0 else MYOCARDIUM
    return FAT if beyond < _WALL + 0.5 else _ELSEWHERE


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
