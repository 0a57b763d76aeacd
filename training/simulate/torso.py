"""Torso: an insulated boundary-element conductor, its electrodes, and the lead field that they see.

Torso frame, millimetres: x to the left, y to the back, z upwards; z = 0 at the fourth intercostal space. The surface is
a super-ellipsoid sized by sex, height and body-mass index; potentials are constant on each triangle. What was fitted
stands in `calibration`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from training.simulate.anatomy import Ventricles
from training.simulate.calibration import CALIBRATION, Calibration
from training.simulate.population import Person, bounded_normal

Array = NDArray[np.float64]
Single = NDArray[np.float32]

CONDUCTIVITY = 0.22e-3
"""Mean conductivity of the thorax, S/mm (Rush, Abildskov & McFee, Circ Res 1963;12:40)."""

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")

_CENTRE, _HALF_HEIGHT = -140.0, 310.0
_ROUNDNESS, _VERTICAL_ROUNDNESS = 2.5, 6.0  # exponents of the super-ellipsoid
_COLUMNS, _RINGS = 26, 13
_UNDER = 1.0  # steradians: more than any triangle fills that a point does not lie on
_CHEST_WALL = 20.0  # mm of skin, fat, muscle and bone in front of the heart
_ARMS, _LEG = 98.0, -390.0  # level of the arm electrodes (where the arms leave the trunk) and of the leg electrode


def _montage() -> Array:
    matrix = np.zeros((8, 9))
    matrix[0, [1, 0]] = 1, -1
    matrix[1, [2, 0]] = 1, -1
    matrix[2:, :3] = -1 / 3
    matrix[2:, 3:] = np.eye(6)
    return matrix


MONTAGE: Array = _montage()
"""(8, 9): leads I, II, V1 to V6 from the electrode potentials; the chest leads against Wilson's central terminal."""


@dataclass(frozen=True, kw_only=True)
class Torso:
    """Half width and half depth of the trunk, mm."""

    width: float
    depth: float

    def skin(self, angle: Array, z: Array) -> Array:
        """Points (..., 3) of the surface at `angle` from the left side (-90° is the front) and level z."""
        shrink = np.clip(1 - np.abs((z - _CENTRE) / _HALF_HEIGHT) ** _VERTICAL_ROUNDNESS, 0, 1) ** (
            1 / _VERTICAL_ROUNDNESS
        )
        cos, sin = np.cos(angle), np.sin(angle)
        radius = shrink * (np.abs(cos) ** _ROUNDNESS + np.abs(sin) ** _ROUNDNESS) ** (-1 / _ROUNDNESS)
        return np.stack(np.broadcast_arrays(self.width * radius * cos, self.depth * radius * sin, z), -1)

    def chest(self, x: Array, z: Array) -> Array:
        """The points (..., 3) of the front surface at x and z."""
        shrink = _shrink(z)
        across = np.minimum(np.abs(x) / (self.width * shrink), 0.995)
        return np.stack([x, -self.depth * shrink * (1 - across**_ROUNDNESS) ** (1 / _ROUNDNESS), z], -1)


def _shrink(z: Array) -> Array:
    """Size of the horizontal section at level z relative to the widest."""
    along = np.abs((z - _CENTRE) / _HALF_HEIGHT) ** _VERTICAL_ROUNDNESS
    return np.asarray(np.clip(1 - along, 0, 1) ** (1 / _VERTICAL_ROUNDNESS))


def torso_of(person: Person) -> Torso:
    """Trunk size by sex, height and body-mass index (round anthropometric figures, ours)."""
    if person.sex == "F":
        width, depth, height = 150.0, 108.0, 163.0
    else:
        width, depth, height = 166.0, 116.0, 176.0
    heavier = person.bmi - 26
    return Torso(width=width + 2.6 * heavier + 0.35 * (person.height - height), depth=depth + 2.3 * heavier)


@dataclass(frozen=True, eq=False, kw_only=True)
class Lie:
    """How the heart lies in this chest, and how the chest conducts: it differs between people of one build.

    Attributes
    ----------
    azimuth, elevation, roll : float
        Degrees: direction of the apex from the front to the left, and downwards; turn about the long axis.
    shift : ndarray, (3,)
        Millimetres from the usual place.
    conductivity : float
        Of this thorax, S/mm: lungs, muscle and fat differ between people.
    """

    azimuth: float
    elevation: float
    roll: float
    shift: Array
    conductivity: float


def sample_lie(person: Person, rng: np.random.Generator, calibration: Calibration = CALIBRATION) -> Lie:
    """Draw the lie of the heart; a heavier body lifts the diaphragm and turns the heart to the horizontal."""
    return Lie(
        azimuth=bounded_normal(rng, calibration.azimuth, 9.0),
        elevation=bounded_normal(rng, calibration.elevation - 0.7 * (person.bmi - 26.5), 10.0),
        roll=bounded_normal(rng, 0.0, 12.0),
        shift=rng.normal(0, 1, 3) * np.array([7.0, 6.0, 9.0]),
        conductivity=CONDUCTIVITY * float(np.exp(0.10 * bounded_normal(rng, 0, 1))),
    )


def sample_slips(rng: np.random.Generator) -> Array:
    """How far V1 to V6 were stuck from where they belong, (6, 2): sideways and up, mm.

    The skill of the recorder varies; V1 and V2 land too high in about half of routine recordings (Wenger & Kligfield,
    J Electrocardiol 1996;29:179).
    """
    skill = rng.gamma(4.0, 2.5)
    slips = rng.normal(0, 1, (6, 2)) * skill
    slips[:2, 1] += 12.0 * abs(rng.standard_normal()) * (rng.random() < 0.5)
    return np.asarray(slips)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pose:
    """The heart frame in the torso: rows of `axes` are its x, y, z; `origin` is its zero, mm."""

    axes: Array
    origin: Array

    def to_torso(self, points: Array) -> Array:
        """Heart coordinates to torso coordinates, (n, 3)."""
        return np.asarray(self.origin + points @ self.axes)


def pose_of(lie: Lie, torso: Torso, ventricles: Ventricles, calibration: Calibration = CALIBRATION) -> Pose:
    """Lay the centre of both ventricles at its place in the chest, with the long axis as drawn.

    A large heart that would press into the chest wall lies further back.
    """
    azimuth, elevation, roll = np.radians([lie.azimuth, lie.elevation, lie.roll])
    apex = np.array([np.cos(elevation) * np.sin(azimuth), -np.cos(elevation) * np.cos(azimuth), -np.sin(elevation)])
    towards = np.array(calibration.to_septum)
    septum = towards - apex * (towards @ apex)
    septum /= np.linalg.norm(septum)
    anterior = np.cross(septum, apex)
    axes = np.stack(
        [
            np.cos(roll) * septum + np.sin(roll) * anterior,
            np.cos(roll) * anterior - np.sin(roll) * septum,
            -apex,
        ]
    )
    centre = np.array([0.28 * ventricles.rv_width, 0.0, -0.10 * ventricles.left.semi_axis])
    origin = calibration.place * np.array([1, torso.depth, 1]) + lie.shift - centre @ axes
    surface = origin + ventricles.outer_surface() @ axes
    front = torso.chest(surface[:, 0], surface[:, 2])
    too_close = _CHEST_WALL - (surface[:, 1] - front[:, 1]).min()
    return Pose(axes=axes, origin=origin + np.array([0.0, max(0.0, too_close), 0.0]))


def electrode_positions(torso: Torso, slips: Array) -> Array:
    """(9, 3) in the order of `ELECTRODES`; the chest leads as AHA/ACC/HRS part I (Kligfield 2007) places them."""
    limbs = torso.skin(np.radians([188.0, -8.0, -42.0]), np.array([_ARMS, _ARMS, _LEG]))
    midclavicular, sternal, fifth_space = 0.50 * torso.width, 24.0, -27.0
    sites = [(-sternal, 0.0), (sternal, 0.0), (0.5 * (sternal + midclavicular), fifth_space / 2)]
    sites.append((midclavicular, fifth_space))
    front = torso.chest(*(np.array(sites) + slips[:4]).T)
    axilla = np.radians([-38.0, -6.0]) + slips[4:, 0] / torso.width
    return np.vstack([limbs, front, torso.skin(axilla, fifth_space + slips[4:, 1])])


@dataclass(frozen=True, eq=False, kw_only=True)
class LeadField:
    """Z(x) = sum_k w_k (s_k - x)/|s_k - x|³: what each lead sees of a unit dipole at x.

    Attributes
    ----------
    sources : ndarray, (k, 3)
        Triangle centroids, then electrodes, mm.
    weights : ndarray, (leads, k)
    """

    sources: Array
    weights: Array

    def at(self, points: Array) -> Array:
        """(points, leads, 3) volts per ampere-millimetre, from points (n, 3) inside the conductor."""
        single = np.float32
        field = np.empty((len(points), len(self.weights), 3), single)
        x, y, z = (np.ascontiguousarray(axis, single) for axis in self.sources.T)
        _lead_vectors(points.astype(single), x, y, z, self.weights.astype(single), field)
        return field.astype(np.float64)


def lead_field(
    vertices: Array, faces: NDArray[np.int64], electrodes: Array, montage: Array, conductivity: float
) -> LeadField:
    """Lead field of electrodes on an insulated homogeneous conductor.

    From phi(r) = 2 phi_inf(r) + (1/2 pi) sum_j Omega_j(r) phi_j (Barr et al., IEEE Trans Biomed Eng 1966;13:88), solved
    for the leads alone by reciprocity: one linear system with as many right sides as leads. The constant is deflated
    (Lynn & Timlake 1968).

    Parameters
    ----------
    vertices : (v, 3) mm; faces : (f, 3), counter-clockwise from outside; electrodes : (e, 3) mm, on the surface
    montage : (leads, e), rows that sum to zero; conductivity : S/mm
    """
    centroids = vertices[faces].mean(axis=1)
    count = len(faces)
    among = solid_angles(centroids, vertices, faces) / (2 * np.pi)
    at_electrodes = montage @ solid_angles(electrodes, vertices, faces) / (2 * np.pi)
    system = np.eye(count) - among + 1 / count
    adjoint = np.linalg.solve(system.T, at_electrodes.T).T
    weights = np.hstack([adjoint, montage]) * 2 / (4 * np.pi * conductivity)
    return LeadField(sources=np.vstack([centroids, electrodes]), weights=weights)


def torso_lead_field(torso: Torso, slips: Array, conductivity: float) -> LeadField:
    """Lead field of I, II and V1 to V6."""
    vertices, faces = surface_mesh(torso)
    return lead_field(vertices, faces, electrode_positions(torso, slips), MONTAGE, conductivity)


def surface_mesh(torso: Torso) -> tuple[Array, NDArray[np.int64]]:
    """676 triangles, denser in front and around the heart: vertices (v, 3) and outward faces (f, 3)."""
    turn = np.linspace(0, 2 * np.pi, _COLUMNS, endpoint=False)
    angle = -np.pi / 2 + turn - 0.45 * np.sin(turn)
    level = np.linspace(-1, 1, _RINGS)
    top, bottom, heart = _CENTRE + 0.985 * _HALF_HEIGHT, _CENTRE - 0.985 * _HALF_HEIGHT, -12.0
    upper, lower = heart + (top - heart) * level, heart + (bottom - heart) * (0.55 * level**2 - 0.45 * level)
    rings = torso.skin(angle[None, :], np.where(level > 0, upper, lower)[:, None]).reshape(-1, 3)
    poles = np.array([[0, 0, _CENTRE - _HALF_HEIGHT], [0, 0, _CENTRE + _HALF_HEIGHT]])
    return np.vstack([rings, poles]), closed_faces(_RINGS, _COLUMNS)


def closed_faces(rings: int, columns: int) -> NDArray[np.int64]:
    """Outward triangles over rings from bottom to top; the two poles follow the last ring, bottom first."""
    grid = np.arange(rings * columns).reshape(rings, columns)
    turned = np.roll(grid, -1, axis=1)
    a, b, c, d = grid[:-1], turned[:-1], grid[1:], turned[1:]
    sides = [np.stack([a, b, d], -1), np.stack([a, d, c], -1)]
    bottom, top = np.full(columns, grid.size), np.full(columns, grid.size + 1)
    caps = [np.stack([bottom, turned[0], grid[0]], -1), np.stack([top, grid[-1], turned[-1]], -1)]
    return np.concatenate([part.reshape(-1, 3) for part in sides + caps])


def solid_angles(points: Array, vertices: Array, faces: NDArray[np.int64]) -> Array:
    """(points, faces) solid angles of a closed surface seen from points on it; each row sums to exactly 2 pi.

    Van Oosterom & Strackee, IEEE Trans Biomed Eng 1983;30:125. The triangles right under a point are flat and fill no
    angle, whichever side of them rounding puts it on; what the others leave of 2 pi, for curvature, is theirs.
    """
    corners = vertices[faces]
    angles = np.empty((len(points), len(faces)))
    _solid_angles(points, corners[:, 0], corners[:, 1], corners[:, 2], angles)
    under = np.abs(angles) > _UNDER
    angles[under] = 0.0
    missing = (2 * np.pi - angles.sum(1)) / under.sum(1)
    return np.asarray(angles + under * missing[:, None])


@njit(cache=True, fastmath=True)
def _solid_angles(points: Array, a: Array, b: Array, c: Array, out: Array) -> None:
    for i in range(points.shape[0]):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        for j in range(a.shape[0]):
            ax, ay, az = a[j, 0] - px, a[j, 1] - py, a[j, 2] - pz
            bx, by, bz = b[j, 0] - px, b[j, 1] - py, b[j, 2] - pz
            cx, cy, cz = c[j, 0] - px, c[j, 1] - py, c[j, 2] - pz
            la, lb = np.sqrt(ax * ax + ay * ay + az * az), np.sqrt(bx * bx + by * by + bz * bz)
            lc = np.sqrt(cx * cx + cy * cy + cz * cz)
            triple = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            ab, bc, ca = ax * bx + ay * by + az * bz, bx * cx + by * cy + bz * cz, ax * cx + ay * cy + az * cz
            out[i, j] = 2 * np.arctan2(triple, la * lb * lc + ab * lc + ca * lb + bc * la)


@njit(cache=True, fastmath=True)
def _lead_vectors(points: Single, x: Single, y: Single, z: Single, weights: Single, out: Single) -> None:
    kernel = np.empty((3, x.shape[0]), np.float32)
    for n in range(points.shape[0]):
        for k in range(x.shape[0]):
            dx, dy, dz = x[k] - points[n, 0], y[k] - points[n, 1], z[k] - points[n, 2]
            square = dx * dx + dy * dy + dz * dz
            inverse = np.float32(1.0) / (square * np.sqrt(square))
            kernel[0, k], kernel[1, k], kernel[2, k] = dx * inverse, dy * inverse, dz * inverse
        for lead in range(weights.shape[0]):
            sx, sy, sz = np.float32(0), np.float32(0), np.float32(0)
            for k in range(x.shape[0]):
                sx += weights[lead, k] * kernel[0, k]
                sy += weights[lead, k] * kernel[1, k]
                sz += weights[lead, k] * kernel[2, k]
            out[n, lead, 0], out[n, lead, 1], out[n, lead, 2] = sx, sy, sz
