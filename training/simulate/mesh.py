"""Mesh: the structured biventricular wall on which activation travels and the sources are summed.

The left ventricle is a grid over (theta, apex-base, transmural), closed around theta; the right free wall is an open
grid stitched to it at its rim. Everything is in the heart frame, millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from training.simulate.anatomy import OUTFLOW, THETA, U_BASE, U, Ventricles, rv_half_angle, scar
from training.simulate.population import Disease

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

LEFT = (48, 24, 4)
RIGHT = (25, 20, 2)
LEFT_NODES, RIGHT_NODES = int(np.prod(LEFT)), int(np.prod(RIGHT))
_REACH = (2, 2, 1)


def grid_edges(grid: tuple[int, int, int], closed: bool) -> Indices:
    """(edges, 2): every node to its neighbours within `_REACH` whose offsets have no common divisor."""
    index = np.arange(np.prod(grid)).reshape(grid)
    offsets = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in _REACH), indexing="ij"), -1).reshape(-1, 3)
    pairs = []
    for da, db, dc in (tuple(o) for o in offsets if tuple(o) > (0, 0, 0) and np.gcd.reduce(np.abs(o)) == 1):
        a, b, c = np.meshgrid(*(np.arange(n) for n in grid), indexing="ij")
        a2, b2, c2 = a + da, b + db, c + dc
        kept = (b2 >= 0) & (b2 < grid[1]) & (c2 >= 0) & (c2 < grid[2]) & (closed | (a2 < grid[0]))
        pairs.append(np.stack([index[kept], index[a2[kept] % grid[0], b2[kept], c2[kept]]], -1))
    return np.concatenate(pairs)


def grid_elements(grid: tuple[int, int, int], closed: bool) -> Indices:
    """(elements, 8): corner nodes, the transmural direction fastest."""
    index = np.arange(np.prod(grid)).reshape(grid)
    if closed:
        index = np.concatenate([index, index[:1]])
    a, b, c = (np.arange(n - 1) for n in index.shape)
    corners = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    return np.stack([index[np.ix_(a + i, b + j, c + k)].ravel() for i, j, k in corners], -1)


def _sorted(edges: Indices) -> Indices:
    return edges[np.argsort(edges[:, 0], kind="stable")]


_GRID_EDGES = np.concatenate([_sorted(grid_edges(LEFT, True)), LEFT_NODES + _sorted(grid_edges(RIGHT, False))])
ELEMENTS = np.concatenate([grid_elements(LEFT, True), LEFT_NODES + grid_elements(RIGHT, False)])
LEFT_ELEMENTS = LEFT[0] * (LEFT[1] - 1) * (LEFT[2] - 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Mesh:
    """The nodes of both ventricles, left first.

    Attributes
    ----------
    nodes, fibres : ndarray, (n, 3)
        Positions in mm and unit fibre directions.
    edges : ndarray, (edges, 2)
        Pairs of neighbours.
    theta, height, depth : ndarray, (n,)
        Angle; apex 0 to base 1; endocardium 0 to epicardium 1.
    rv_height : ndarray, (n,)
        Apex 0 to base 1 of the right ventricle.
    left, septum : ndarray, (n,) bool
        Nodes of the left ventricle, and those of it that the right one covers.
    scar : ndarray, (n,)
        Scarred fraction.
    """

    nodes: Array
    fibres: Array
    edges: Indices
    theta: Array
    height: Array
    depth: Array
    rv_height: Array
    left: NDArray[np.bool_]
    septum: NDArray[np.bool_]
    scar: Array


def build_mesh(ventricles: Ventricles, disease: Disease) -> Mesh:
    """Mesh the end-diastolic wall."""
    left, left_theta, left_height = _left_nodes(ventricles)
    right, right_theta, rv_height = _right_nodes(ventricles)
    nodes = np.concatenate([left.reshape(-1, 3), right.reshape(-1, 3)])
    theta = np.concatenate([left_theta.ravel(), right_theta.ravel()])
    height = np.concatenate([left_height.ravel(), np.clip(rv_height, 0, 1).ravel()])
    is_left = np.arange(len(nodes)) < LEFT_NODES
    seen_from_right = np.concatenate([ventricles.rv_height(left[..., 2]).ravel(), rv_height.ravel()])
    covered = (np.abs(theta) < 0.93 * rv_half_angle(seen_from_right)) & (seen_from_right > 0)
    return Mesh(
        nodes=nodes,
        fibres=np.concatenate([_fibres(left, True, 60.0), _fibres(right, False, 45.0)]),
        edges=np.concatenate([_GRID_EDGES, _seam(nodes)]),
        theta=theta,
        height=height,
        depth=np.concatenate([_transmural(LEFT), _transmural(RIGHT)]),
        rv_height=np.clip(seen_from_right, 0, 1),
        left=is_left,
        septum=is_left & covered,
        scar=scar(theta, height, disease) * is_left,
    )


def _left_nodes(ventricles: Ventricles) -> tuple[Array, Array, Array]:
    surfaces = ventricles.left
    u = np.linspace(0.05, 1, LEFT[1])
    theta = np.linspace(-np.pi, np.pi, LEFT[0], endpoint=False)

    def resample(table: Array) -> Array:
        along = np.stack([np.interp(u * U_BASE, U, row) for row in table])
        around = np.concatenate([along, along[:1]])
        where = np.concatenate([THETA, [np.pi]])
        return np.stack([np.interp(theta, where, column) for column in around.T], -1)

    share = np.linspace(0, 1, LEFT[2])
    r = resample(surfaces.r_endo)[..., None] * (1 - share) + resample(surfaces.r_epi)[..., None] * share
    z = resample(surfaces.z_endo)[..., None] * (1 - share) + resample(surfaces.z_epi)[..., None] * share
    angle = np.broadcast_to(theta[:, None, None], r.shape)
    return _cartesian(r, angle, z), angle, np.broadcast_to(u[None, :, None], r.shape)


def _right_nodes(ventricles: Ventricles) -> tuple[Array, Array, Array]:
    """The right free wall; its angle and its top depend on each other, so a few fixed-point steps."""
    across = np.linspace(-0.97, 0.97, RIGHT[0])[:, None]
    up = np.linspace(0.02, 1, RIGHT[1])[None]
    theta = across * np.radians(65) + 0 * up
    for _ in range(3):
        top = ventricles.base + OUTFLOW * np.clip(np.sin(theta), 0, 1) - 1.0
        z = ventricles.rv_apex + up * (top - ventricles.rv_apex)
        height = ventricles.rv_height(z)
        theta = across * rv_half_angle(height)
    endo = ventricles.rv_outer_radius(theta, z)
    r = endo[..., None] + ventricles.rv_wall * np.linspace(0, 1, RIGHT[2])
    angle, z, height = (np.broadcast_to(field[..., None], r.shape) for field in (theta, z, height))
    return _cartesian(r, angle, z), angle, height


def _cartesian(r: Array, theta: Array, z: Array) -> Array:
    return np.stack([r * np.cos(theta), r * np.sin(theta), z], -1)


def _transmural(grid: tuple[int, int, int]) -> Array:
    return np.broadcast_to(np.linspace(0, 1, grid[2]), grid).ravel()


def _fibres(nodes: Array, closed: bool, helix: float) -> Array:
    """Unit fibres turning from +helix at the endocardium to -helix (degrees) at the epicardium (Streeter 1969)."""
    around = np.roll(nodes, -1, 0) - np.roll(nodes, 1, 0) if closed else np.gradient(nodes, axis=0)
    around = around / np.linalg.norm(around, axis=-1, keepdims=True)
    upwards = np.gradient(nodes, axis=1)
    upwards = upwards - (upwards * around).sum(-1, keepdims=True) * around
    upwards = upwards / np.linalg.norm(upwards, axis=-1, keepdims=True)
    angle = np.radians(np.linspace(helix, -helix, nodes.shape[2]))[None, None, :, None]
    return np.asarray((np.cos(angle) * around + np.sin(angle) * upwards).reshape(-1, 3))


def _seam(nodes: Array) -> Indices:
    """(edges, 2): the rim of the right free wall to the three nearest epicardial nodes of the left ventricle."""
    grid = LEFT_NODES + np.arange(RIGHT_NODES).reshape(RIGHT)
    rim = np.unique(np.concatenate([grid[0].ravel(), grid[-1].ravel(), grid[:, 0].ravel()]))
    epicardium = np.arange(LEFT_NODES).reshape(LEFT)[..., -1].ravel()
    _, nearest = cKDTree(nodes[epicardium]).query(nodes[rim], k=3)
    return np.stack([np.repeat(rim, 3), epicardium[nearest].ravel()], -1)
