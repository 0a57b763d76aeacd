"""Anatomy: a parametric biventricular heart whose volumes and mass are solved for.

Heart frame, millimetres: x towards the septum and right ventricle, y towards the anterior wall, z from apex to base.
Angle theta about z: 0 mid-septum, +90° anterior, 180° lateral, -90° inferior. The left-ventricular endocardium is an
ellipsoid cut off at the base, r = a sin u, z = -c cos u; the epicardium lies one wall thickness along its normal; the
right ventricle is a crescent on the epicardium. The same surfaces are imaged and carry the electrical mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.simulate.population import Disease, Subject, Volumes, bounded_normal

Array = NDArray[np.float64]

MYOCARDIAL_DENSITY = 1.05
"""g/mL, as CMR converts wall volume to mass (Schulz-Menger et al., JCMR 2020;22:19)."""

BASE = 0.45
"""Height of the base above the equator as a fraction of the long semi-axis."""

THETA: Array = np.linspace(-np.pi, np.pi, 72, endpoint=False)
U_BASE = float(np.arccos(-BASE))
U: Array = np.linspace(0.02, 1, 40) * U_BASE
LEVELS = 72
"""Rows of the radius tables along z."""

OUTFLOW = 16.0
"""Millimetres that the right-ventricular outflow tract rises above the base on the anterior side."""

_TERRITORIES = {"LAD": (45.0, 62.0), "RCA": (-75.0, 48.0), "LCX": (180.0, 45.0)}
"""Centre and half width in degrees of the coronary territories (17-segment model: Cerqueira, Circulation 2002)."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What differs between healthy hearts of the same volumes.

    Attributes
    ----------
    elongation : float
        Endocardial length over width of the left ventricle at end-diastole.
    ellipticity : float
        Of the short-axis cross-section.
    waviness : ndarray, (4,)
        First two circumferential harmonics of the wall thickness.
    rv_wall : float
        Millimetres, end-diastole.
    left_atrium, right_atrium : ndarray, (3,)
        Depth and height over width, and the exponent by which the roof is flatter than a dome (2 is an ellipsoid).
    """

    elongation: float
    ellipticity: float
    waviness: Array
    rv_wall: float
    left_atrium: Array
    right_atrium: Array


def sample_shape(disease: Disease, rng: np.random.Generator) -> Shape:
    """Draw a shape around the healthy mean, changed by the disease."""
    return Shape(
        elongation=bounded_normal(rng, 1.72, 0.11) - disease.rounding,
        ellipticity=bounded_normal(rng, 0.0, 0.035),
        waviness=rng.normal(0, 0.05, 4),
        rv_wall=bounded_normal(rng, 2.7, 0.3) + disease.rv_thickening,
        left_atrium=np.array([0.92, 1.0, 2.5]) + rng.uniform(-1, 1, 3) * [0.17, 0.17, 0.4],
        right_atrium=np.array([1.05, 1.1, 2.3]) + rng.uniform(-1, 1, 3) * [0.17, 0.17, 0.3],
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class LeftVentricle:
    """Endocardial and epicardial surfaces on the (theta, u) grid, and the wall between them, in mm."""

    r_endo: Array
    z_endo: Array
    r_epi: Array
    z_epi: Array
    wall: Array
    radius: float
    semi_axis: float

    @property
    def apex(self) -> float:
        """Level of the endocardial apex."""
        return -self.semi_axis

    @property
    def base(self) -> float:
        """Level of the mitral plane."""
        return BASE * self.semi_axis

    @cached_property
    def mean_wall(self) -> float:
        """Wall thickness averaged over the endocardial surface, mm."""
        area = self.r_endo * np.hypot(np.gradient(self.r_endo, axis=1), np.gradient(self.z_endo, axis=1))
        return float(np.average(self.wall, weights=area))


@dataclass(frozen=True, eq=False, kw_only=True)
class Ventricles:
    """Both ventricles at one moment, as tables over (theta, z), in mm.

    Attributes
    ----------
    z : ndarray, (levels,)
    lv_endo, lv_epi : ndarray, (theta, levels)
        Radius of the two surfaces, held above the base, where the left ventricle ends.
    rv : ndarray, (theta, levels)
        Radial width of the right-ventricular cavity, which lies on `lv_epi`.
    rv_width : float
        The largest possible value of `rv`.
    rv_apex : float
        Level of its lowest point.
    rv_wall : float
        Thickness of the right free wall.
    """

    left: LeftVentricle
    z: Array
    lv_endo: Array
    lv_epi: Array
    rv: Array
    rv_width: float
    rv_apex: float
    rv_wall: float

    @property
    def base(self) -> float:
        """Level of the mitral plane."""
        return self.left.base

    def lift(self, ed: Ventricles) -> float:
        """What is added to z to come to the heart frame at end-diastole: the epicardial apex stays in its place."""
        return float(ed.z[0] - self.z[0])

    def base_over(self, ed: Ventricles) -> float:
        """Level of the mitral plane in the heart frame at end-diastole."""
        return self.base + self.lift(ed)

    def rv_height(self, z: Array) -> Array:
        """0 at the right-ventricular apex, 1 at the base, up to 1.3 in the outflow tract."""
        return np.clip((z - self.rv_apex) / (self.base - self.rv_apex), 0, 1.3)

    def rv_outer_radius(self, theta: Array, z: Array) -> Array:
        """Radius of the endocardium of the right free wall, interpolated in the tables."""
        row = (theta + np.pi) / (2 * np.pi) * len(THETA)
        column = np.clip((z - self.z[0]) / (self.z[1] - self.z[0]), 0, LEVELS - 1.001)
        i, k = np.floor(row).astype(int), column.astype(int)
        f, g = row - i, column - k
        table, i, j = self.lv_epi + self.rv, i % len(THETA), (i + 1) % len(THETA)
        low = (1 - f) * table[i, k] + f * table[j, k]
        high = (1 - f) * table[i, k + 1] + f * table[j, k + 1]
        return np.asarray((1 - g) * low + g * high)

    def outer_surface(self) -> Array:
        """Points (n, 3) of the outer wall of both ventricles."""
        r = self.lv_epi + self.rv + self.rv_wall * (self.rv > 0)
        theta, z = np.broadcast_arrays(THETA[:, None], self.z)
        below = (z <= self.base) & (r > 0)
        return np.stack([r * np.cos(theta), r * np.sin(theta), z], -1)[below]


def build_ventricles(subject: Subject, shape: Shape, contraction: float) -> Ventricles:
    """The two ventricles with exactly the volumes and mass of the subject.

    Parameters
    ----------
    contraction : share of the stroke volume that is out, from 0 at end-diastole to 1 at end-systole.
    """
    left = _left_ventricle(subject, shape, contraction)
    z = np.linspace(left.z_epi.min() - 1, left.base + 22, LEVELS)
    below = np.minimum(z, left.base)
    endo = _radius_table(left.r_endo, left.z_endo, below)
    epi = _radius_table(left.r_epi, left.z_epi, below)
    rv_apex = left.apex + 0.13 * (left.base - left.apex)
    profile = _crescent(z, rv_apex, left.base, OUTFLOW * (1 - 0.2 * contraction))
    volumes = subject.volumes
    volume = volumes.rv_edv - contraction * (volumes.rv_edv - volumes.rv_esv)
    width = _crescent_width(volume * 1e3, profile, epi, z)
    return Ventricles(
        left=left,
        z=z,
        lv_endo=endo,
        lv_epi=epi,
        rv=width * profile,
        rv_width=width,
        rv_apex=rv_apex,
        rv_wall=shape.rv_wall * (1 + 0.35 * contraction),  # the free wall thickens by a third
    )


def _left_ventricle(subject: Subject, shape: Shape, contraction: float) -> LeftVentricle:
    volumes = subject.volumes
    length = _length(volumes, shape.elongation, contraction)
    semi_axis = length / (1 + BASE)
    z = np.repeat(-semi_axis * np.cos(U)[None], len(THETA), axis=0)
    r = np.sin(U) * _outline(subject, shape, contraction)
    volume = (volumes.lv_edv - contraction * (volumes.lv_edv - volumes.lv_esv)) * 1e3
    radius = float(np.sqrt(volume / _enclosed(r, z)))
    pattern = _wall_pattern(subject.disease, shape, contraction)
    return _thicken(radius * r, z, radius, semi_axis, pattern, volume + volumes.lv_mass / MYOCARDIAL_DENSITY * 1e3)


def _length(volumes: Volumes, elongation: float, contraction: float) -> float:
    """Endocardial base-to-apex length: V = pi a² c (2/3 + b - b³/3) at end-diastole, shorter by 0.26 EF at end-systole.

    The factor gives a healthy heart about 15 % of long-axis shortening.
    """
    form = np.pi * (2 / 3 + BASE - BASE**3 / 3) / (1 + BASE)
    length = float((volumes.lv_edv * 1e3 / form * 4 * elongation**2) ** (1 / 3))
    return length * (1 - 0.26 * volumes.lv_ejected * contraction)


def _outline(subject: Subject, shape: Shape, contraction: float) -> Array:
    """Endocardial radius over (theta, u) relative to the ellipsoid; a scarred wall does not move inwards."""
    theta, s = THETA[:, None], (U / U_BASE)[None]
    flattening = subject.disease.septal_flattening * (0.8 + 0.35 * contraction)
    outline = (1 + shape.ellipticity * np.cos(2 * theta)) * (1 - flattening * _bump(theta, 0, 0.75))
    stays = 0.81 * subject.volumes.lv_ejected * contraction
    return np.asarray(outline * (1 + stays * scar(theta, s, subject.disease)))


def _wall_pattern(disease: Disease, shape: Shape, contraction: float) -> Array:
    """Wall thickness over (theta, u) before scaling to the mass: tapered apex, disease, thin scar."""
    theta, s = THETA[:, None], (U / U_BASE)[None]
    pattern = 1 + 0.06 * _bump(theta, 0, 0.9)
    pattern = pattern + disease.septal_bulge * _bump(theta, np.radians(25), 0.75) * np.exp(
        -0.5 * ((s - 0.75) / 0.3) ** 2
    )
    pattern = pattern + disease.apical_bulge * np.exp(-0.5 * (s / 0.33) ** 2)
    first, second, third, fourth = shape.waviness
    waves = first * np.cos(theta) + second * np.sin(theta) + third * np.cos(2 * theta) + fourth * np.sin(2 * theta)
    scarred = scar(theta, s, disease)
    thinning = (1 - 0.38 * scarred) * (1 - 0.35 * contraction * scarred)
    return np.asarray((0.62 + 0.38 * np.clip(s / 0.45, 0, 1)) * pattern * (1 + waves) * thinning)


def _thicken(r: Array, z: Array, radius: float, semi_axis: float, pattern: Array, target: float) -> LeftVentricle:
    """Offset the endocardium along its normal until the epicardium encloses `target` mm³ (bisection)."""
    normal_r, normal_z = semi_axis * np.sin(U), np.minimum(-radius * np.cos(U), 0)
    above = np.pi / 2 < U  # above the equator the wall grows radially, so that the base stays flat
    normal_r, normal_z = np.where(above, 1.0, normal_r), np.where(above, 0.0, normal_z)
    norm = np.hypot(normal_r, normal_z)
    across, along = pattern * normal_r / norm, pattern * normal_z / norm
    low, high = 0.5, 60.0
    for _ in range(26):
        scale = 0.5 * (low + high)
        if _enclosed(r + scale * across, z + scale * along) < target:
            low = scale
        else:
            high = scale
    return LeftVentricle(
        r_endo=r,
        z_endo=z,
        r_epi=r + scale * across,
        z_epi=z + scale * along,
        wall=scale * pattern,
        radius=radius,
        semi_axis=semi_axis,
    )


def _crescent(z: Array, apex: float, base: float, outflow: float) -> Array:
    """Relative width of the right-ventricular cavity over (theta, z); the anterior side rises to the outflow tract."""
    height = np.clip((z - apex) / (base - apex), 0, 1.3)[None]
    across = np.clip(1 - (THETA[:, None] / rv_half_angle(height)) ** 2, 0, 1) ** 0.62
    along = np.clip(height, 0, 1) ** 0.62 * (1 - 0.22 * np.clip((height - 0.72) / 0.4, 0, 1))
    top = base + outflow * np.clip(np.sin(THETA), 0, 1)[:, None]
    return np.asarray(across * along * (z > apex) * (z <= top))


def _crescent_width(volume: float, profile: Array, epi: Array, z: Array) -> float:
    """The width W for which the crescent holds `volume` mm³: the positive root of A W² + B W = volume."""
    cell = (2 * np.pi / len(THETA)) * (z[1] - z[0])
    a, b = 0.5 * (profile**2).sum() * cell, (epi * profile).sum() * cell
    return float((-b + np.sqrt(b * b + 4 * a * volume)) / (2 * a))


def rv_half_angle(height: Array) -> Array:
    """Half of the angle about the left ventricle that the right one covers, in radians, by its own height."""
    return np.asarray(np.radians(50 + 22 * np.clip(height, 0, 1)))


def scar(theta: Array, s: Array, disease: Disease) -> Array:
    """Scarred fraction of the wall, 0 to 1, at theta and apex-to-base position s."""
    if not disease.scar_territory:
        return np.zeros(np.broadcast_shapes(theta.shape, s.shape))
    extent = disease.scar_extent
    centre, half_width = _TERRITORIES[disease.scar_territory]
    distance = np.abs(_wrap(theta - np.radians(centre))) / (np.radians(half_width) * (0.55 + 0.55 * extent))
    around = _below(distance, 1.0, 0.13)
    if disease.scar_territory == "LAD":  # reaches the apex, and as far up as it is extensive
        fraction = np.maximum(around * _below(s, 0.35 + 0.45 * extent, 0.06), extent * (s < 0.14))
    else:
        fraction = around * _below(s, 0.98, 0.05) * (1 - _below(s, 0.18, 0.06))
    return np.asarray(np.clip(fraction * min(1.0, 0.55 + 0.6 * extent), 0, 1))


def _below(x: Array, edge: float, softness: float) -> Array:
    """1 below the edge, 0 above it."""
    return np.asarray(1 / (1 + np.exp((x - edge) / softness)))


def _wrap(angle: Array) -> Array:
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi)


def _bump(theta: Array, centre: float, width: float) -> Array:
    return np.asarray(np.exp(-0.5 * (_wrap(theta - centre) / width) ** 2))


def _enclosed(r: Array, z: Array) -> float:
    """Volume inside a star-shaped surface r(theta, u), z(theta, u) between its first and last ring, mm³."""
    squares = (r[:, 1:] ** 2 + r[:, :-1] ** 2 + r[:, 1:] * r[:, :-1]) / 3
    return float((0.5 * squares * np.diff(z, axis=1)).sum() * 2 * np.pi / len(THETA))


def _radius_table(r: Array, z: Array, levels: Array) -> Array:
    return np.stack([np.interp(levels, heights, radii, left=0.0) for radii, heights in zip(r, z, strict=True)])
