"""Imaging: short-axis bSSFP stacks of the parametric heart in its thorax, with their label maps.

Voxels are looked up in the tables of `anatomy`, so that image, labels and electrical mesh are one heart. The images are
phantoms that look like short-axis slices; they are no model of a scanner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from training.simulate.anatomy import MYOCARDIAL_DENSITY, Ventricles
from training.simulate.atria import Atria
from training.simulate.population import Person
from training.simulate.torso import Pose, Torso

Array = NDArray[np.float64]

SHAPE = (16, 64, 64)
SPACING = (10.0, 2.5, 2.5)
"""Slices, rows, columns, and the millimetres between them: 160 mm each way, room for a dilated heart."""

SLICE_THICKNESS = 8.0
"""mm, leaving a gap of 2 mm, as in UK Biobank (Petersen et al., JCMR 2016;18:8)."""

BACKGROUND, LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY = range(4)

_TISSUES = {
    "blood": (1580.0, 250.0, 0.95),
    "myocardium": (960.0, 50.0, 0.85),
    "fat": (300.0, 75.0, 0.95),
    "lung": (1200.0, 60.0, 0.12),
    "liver": (580.0, 46.0, 0.85),
    "skeletal": (1000.0, 40.0, 0.80),
    "intercostal": (300.0, 75.0, 0.65),
    "stomach": (1000.0, 40.0, 0.92),
    "mediastinum": (1000.0, 40.0, 0.64),
    "air": (1.0, 1.0, 0.0),
}
"""T1 and T2 in ms at 1.5 T and relative proton density; textbook values, rounded."""

_BLOOD, _MYOCARDIUM, _FAT, _LUNG, _LIVER, _SKELETAL, _INTERCOSTAL, _STOMACH, _MEDIASTINUM, _AIR = range(len(_TISSUES))
_ELSEWHERE = -1


@dataclass(frozen=True, eq=False, kw_only=True)
class Stack:
    """Short-axis images and labels of both phases, (slices, rows, columns).

    Row 0 is anterior, column 0 septal-right, slice 0 below the apex.
    """

    ed: NDArray[np.float32]
    es: NDArray[np.float32]
    ed_labels: NDArray[np.uint8]
    es_labels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Grid:
    """Heart coordinates of the voxel centres, mm: x of columns, y of rows, z of slices; shift of each breath-hold."""

    x: Array
    y: Array
    z: Array
    shift: Array


def acquire(
    person: Person,
    phases: tuple[Ventricles, Ventricles],
    atria: Atria,
    torso: Torso,
    pose: Pose,
    rng: np.random.Generator,
) -> Stack:
    """Image end-diastole and end-systole with one set-up: same slices, coil, texture of tissue and noise level."""
    grid = _grid(phases[0], rng)
    signals = np.array([bssfp_signal(*tissue) for tissue in _TISSUES.values()]) * (
        1 + 0.06 * rng.standard_normal(len(_TISSUES))
    )
    chest = np.array([torso.width, torso.depth, pose.origin[2] - 30.0, _fat_thickness(person)])
    coil = _coil(grid, pose, rng) * (1 + 0.035 * _texture(rng))
    noise = signals[_BLOOD] / rng.uniform(18, 40)  # signal-to-noise ratio of blood
    ends = [_phase(v, phases[0], atria, pose, grid, signals, chest) for v in phases]
    ed, es = (_magnitude(image * coil, noise, rng) for image, _ in ends)
    return Stack(ed=ed, es=es, ed_labels=ends[0][1], es_labels=ends[1][1])


def bssfp_signal(t1: float, t2: float, density: float) -> float:
    """Balanced steady-state signal at a flip angle of 60° and an echo time of 1.5 ms.

    M sin a / ((T1/T2 + 1) - cos a (T1/T2 - 1)) exp(-TE/T2) (Scheffler & Lehnhardt, Eur Radiol 2003;13:2409).
    """
    ratio = t1 / t2
    return float(density * np.sin(np.pi / 3) / ((ratio + 1) - 0.5 * (ratio - 1)) * np.exp(-1.5 / t2))


def measure(stack: Stack) -> dict[str, float]:
    """LVEDV, LVESV, LVM, RVEDV and RVESV (mL, g) by counting voxels; papillary muscles count as cavity."""
    voxel = float(np.prod(SPACING)) / 1000
    ed, es = (np.bincount(labels.ravel(), minlength=4) * voxel for labels in (stack.ed_labels, stack.es_labels))
    return {
        "LVEDV": float(ed[LV_CAVITY]),
        "LVESV": float(es[LV_CAVITY]),
        "LVM": float(MYOCARDIAL_DENSITY * ed[LV_MYOCARDIUM]),
        "RVEDV": float(ed[RV_CAVITY]),
        "RVESV": float(es[RV_CAVITY]),
    }


def _grid(ed: Ventricles, rng: np.random.Generator) -> _Grid:
    """Centre the field of view on the heart, give or take the eye of the radiographer; one shift a breath-hold."""
    slices, rows, columns = SHAPE
    right = float((ed.lv_epi + ed.rv).max()) + ed.rv_wall
    left = float(ed.lv_epi.max())
    middle_x, middle_y = (right - left) / 2 + rng.normal(0, 3), rng.normal(0, 3)
    return _Grid(
        x=middle_x - SPACING[2] * (np.arange(columns, dtype=np.float64) - (columns - 1) / 2),
        y=middle_y - SPACING[1] * (np.arange(rows, dtype=np.float64) - (rows - 1) / 2),
        z=ed.z[0] - 6 + SPACING[0] * np.arange(slices) + rng.uniform(-3, 3),
        shift=rng.normal(0, 1.0, (slices, 2)),
    )


def _fat_thickness(person: Person) -> float:
    return max(6.0, 10 + 1.1 * (person.bmi - 25) + (3 if person.sex == "F" else 0))


def _coil(grid: _Grid, pose: Pose, rng: np.random.Generator) -> Array:
    """Receive sensitivity: falls from the chest wall backwards, times a smooth random field."""
    coarse = gaussian_filter(rng.standard_normal((6, 8, 8)), 1.0)
    field = zoom(coarse / coarse.std(), np.divide(SHAPE, coarse.shape), order=1)
    backwards = pose.origin[1] + grid.x[None, :] * pose.axes[0, 1] + grid.y[:, None] * pose.axes[1, 1]
    return np.asarray(np.exp(0.16 * field) * np.exp(-(backwards + 60) / 190)[None])


def _texture(rng: np.random.Generator) -> Array:
    texture = gaussian_filter(rng.standard_normal(SHAPE), (0.4, 1.0, 1.0))
    return np.asarray(texture / texture.std())


def _magnitude(image: Array, noise: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Blur of the point-spread function and Rician noise (Gudbjartsson & Patz, MRM 1995;34:910)."""
    blurred = gaussian_filter(image, (0, 0.36, 0.36))
    real, imaginary = rng.standard_normal((2, *SHAPE)) * noise
    return np.asarray(np.hypot(blurred + real, imaginary), dtype=np.float32)


def _phase(
    phase: Ventricles, ed: Ventricles, atria: Atria, pose: Pose, grid: _Grid, signals: Array, chest: Array
) -> tuple[Array, NDArray[np.uint8]]:
    """Noise-free image and labels of one phase; the epicardial apex stays in place and the base descends."""
    lift = ed.z[0] - phase.z[0]
    descent = phase.base + lift - ed.base
    filling = 0.8 if phase is ed else 1.0  # atria are largest at ventricular end-systole
    centres = (np.stack([atria.left, atria.right]) - pose.origin) @ pose.axes.T + [0, 0, 0.6 * descent]
    image, labels = np.zeros(SHAPE), np.zeros(SHAPE, np.uint8)
    _fill(
        grid.x,
        grid.y,
        grid.z,
        grid.shift,
        lift,
        phase.z,
        np.stack([phase.lv_endo, phase.lv_epi, phase.rv]),
        np.array([phase.base, phase.rv_wall, phase.left.semi_axis, 0.16 * ed.left.radius * 1.25]),
        np.column_stack([centres, filling * np.array([atria.left_radius, atria.right_radius])]),
        pose.origin,
        pose.axes,
        chest,
        signals,
        image,
        labels,
    )
    return image, labels


@njit(cache=True, fastmath=True)
def _fill(
    x: Array,
    y: Array,
    z: Array,
    shift: Array,
    lift: float,
    levels: Array,
    tables: Array,
    heart: Array,
    atria: Array,
    origin: Array,
    axes: Array,
    chest: Array,
    signals: Array,
    image: Array,
    labels: NDArray[np.uint8],
) -> None:
    """Signal of three sub-slices averaged; label of the middle one. Far from the heart one sub-slice is enough."""
    reach = (tables[1] + tables[2]).max() + 10.0
    for k in range(z.shape[0]):
        for row in range(y.shape[0]):
            for column in range(x.shape[0]):
                px, py = x[column] + shift[k, 0], y[row] + shift[k, 1]
                near = px * px + py * py < reach * reach
                total = 0.0
                for sub in range(-1, 2):
                    if sub == 0 or near:
                        pz = z[k] + sub * SLICE_THICKNESS / 3
                        label, tissue = _heart(px, py, pz - lift, levels, tables, heart)
                        if tissue == _ELSEWHERE:
                            tissue = _atrium(px, py, pz, pz - lift - heart[0], atria)
                        if tissue == _ELSEWHERE:
                            at = origin + px * axes[0] + py * axes[1] + pz * axes[2]
                            tissue = _thorax(at[0], at[1], at[2], chest)
                        total += signals[tissue]
                        if sub == 0:
                            labels[k, row, column] = label
                image[k, row, column] = total / (3.0 if near else 1.0)


@njit(cache=True, fastmath=True)
def _heart(x: float, y: float, z: float, levels: Array, tables: Array, heart: Array) -> tuple[int, int]:
    """Label and tissue of the ventricles at a point."""
    label, tissue = BACKGROUND, _ELSEWHERE
    base, rv_wall = heart[0], heart[1]
    level = (z - levels[0]) / (levels[1] - levels[0])
    if 0 <= level < levels.shape[0] - 1:
        r = np.sqrt(x * x + y * y)
        endo, epi, rv = _radii(np.arctan2(y, x), level, tables)
        if z <= base and r < endo:
            label, tissue = LV_CAVITY, _MYOCARDIUM if _papillary(x, y, z, endo, heart) else _BLOOD
        elif z <= base and r < epi:
            label, tissue = LV_MYOCARDIUM, _MYOCARDIUM
        elif rv > 0.3 and epi <= r < epi + rv:
            label, tissue = RV_CAVITY, _BLOOD
        elif rv > 0.3 and epi <= r < epi + rv + rv_wall:
            tissue = _MYOCARDIUM
        elif z <= base and epi <= r < epi + rv + rv_wall + 4.5:
            tissue = _FAT  # epicardial
    return label, tissue


@njit(cache=True, fastmath=True)
def _radii(theta: float, level: float, tables: Array) -> tuple[float, float, float]:
    """Endocardial radius, epicardial radius and right-ventricular width, bilinear in (theta, z)."""
    rows = tables.shape[1]
    turn = (theta + np.pi) / (2 * np.pi) * rows
    i, k = int(turn) % rows, int(level)
    j, f, g = (i + 1) % rows, turn - int(turn), level - int(level)
    a, b, c, d = (1 - f) * (1 - g), (1 - f) * g, f * (1 - g), f * g
    endo = a * tables[0, i, k] + b * tables[0, i, k + 1] + c * tables[0, j, k] + d * tables[0, j, k + 1]
    epi = a * tables[1, i, k] + b * tables[1, i, k + 1] + c * tables[1, j, k] + d * tables[1, j, k + 1]
    rv = a * tables[2, i, k] + b * tables[2, i, k + 1] + c * tables[2, j, k] + d * tables[2, j, k + 1]
    return endo, epi, rv


@njit(cache=True, fastmath=True)
def _papillary(x: float, y: float, z: float, endo: float, heart: Array) -> bool:
    """Two tapering columns in the middle of the cavity, anterolateral and posteromedial."""
    rise = (z + 0.45 * heart[2]) / (0.75 * heart[2])
    if not 0 < rise < 1:
        return False
    radius = heart[3] * (1 - 0.35 * rise)
    for angle in (2.23, -2.18):
        dx, dy = x - 0.72 * endo * np.cos(angle), y - 0.72 * endo * np.sin(angle)
        if dx * dx + dy * dy < radius * radius:
            return True
    return False


@njit(cache=True, fastmath=True)
def _atrium(x: float, y: float, z: float, above: float, atria: Array) -> int:
    """Tissue of the two atria, their wall and the fat around them; the right one reaches a little below the base."""
    tissue = _ELSEWHERE
    for n in range(2):
        dx, dy, dz = x - atria[n, 0], y - atria[n, 1], z - atria[n, 2]
        beyond = np.sqrt(dx * dx + dy * dy + dz * dz) - atria[n, 3]
        if above > -6.0 * n and beyond < 0:
            return _BLOOD
        if above > 0 and beyond < 2.5:
            tissue = _MYOCARDIUM
        elif above > 0 and beyond < 7.0 and tissue == _ELSEWHERE:
            tissue = _FAT
    return tissue


@njit(cache=True, fastmath=True)
def _thorax(x: float, y: float, z: float, chest: Array) -> int:
    """Tissue of everything else: skin fat, ribs, liver dome, stomach, mediastinum, aorta, lungs, air outside."""
    width, depth, dome, fat = chest[0], chest[1], chest[2], chest[3]
    below = depth * (1 - (np.abs(x / width) ** 2.5 + np.abs(y / depth) ** 2.5) ** 0.4)
    tissue = _LUNG
    if below < 0:
        tissue = _AIR
    elif below < fat:
        tissue = _FAT
    elif below < fat + 14:
        tissue = _SKELETAL if np.sin(z / 4.2 + 1.3 * np.sin(x / 40)) > -0.2 else _INTERCOSTAL
    elif z < dome - 0.0022 * ((x + 20) ** 2 + (y - 10) ** 2):
        tissue = _LIVER if x < 45 else _STOMACH
    elif (x - 22) ** 2 + (y - 55) ** 2 < 144:
        tissue = _BLOOD  # descending aorta
    elif (x / 38) ** 2 + ((y - 45) / 42) ** 2 < 1:
        tissue = _MEDIASTINUM
    elif (x / 34) ** 2 + ((y + depth - fat - 14) / 46) ** 2 < 1:
        tissue = _INTERCOSTAL  # fat in front of the heart, through many septa
    return tissue
