"""Activation: when each point of the ventricles depolarises, from the Purkinje roots or from one focus.

The eikonal equation as a shortest path on the edges of the mesh, through anisotropic muscle with a fast layer on both
endocardia. What was fitted stands in `calibration`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from training.simulate.calibration import CALIBRATION, Calibration
from training.simulate.mesh import Mesh
from training.simulate.population import Disease, bounded_normal

Array = NDArray[np.float64]

Wall = Literal["left", "left epicardium", "right wall", "right septum"]

_ENTRY = 0.55
"""Speed of the Purkinje layer when it is entered from the muscle, relative to normal: a paced right ventricle takes
about 150 ms, which this gives; ours."""

_LEAVING_APEX = 0.05
"""Nearest to the apex that a focus lies, as a share of the height."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Conduction:
    """How fast this heart conducts and where its bundles end: nuisance between hearts of one anatomy.

    Attributes
    ----------
    muscle : float
        Factor on the velocities of the muscle and the Purkinje layers.
    purkinje : float
        Velocity of the left Purkinje layer, mm/ms.
    right_delay : float
        Milliseconds by which the right bundle lags behind the left.
    jitter : ndarray, (roots, 3)
        Standard normal displacement of each root in angle, height and time.
    """

    muscle: float
    purkinje: float
    right_delay: float
    jitter: Array


@dataclass(frozen=True, kw_only=True)
class Bundles:
    """Which branches of the conduction system conduct."""

    left: bool = True
    right: bool = True
    left_anterior: bool = True

    @classmethod
    def of(cls, disease: Disease) -> Bundles:
        """What the disease leaves of them."""
        return cls(left=disease.left_bundle, right=disease.right_bundle, left_anterior=disease.left_anterior_fascicle)

    @property
    def intact(self) -> bool:
        """Nothing is blocked."""
        return self.left and self.right and self.left_anterior

    def conducts(self, branch: str) -> bool:
        """Whether "left", "left anterior" or "right" conducts; the anterior fascicle is a branch of the left bundle."""
        if branch == "right":
            return self.right
        return self.left and (self.left_anterior or branch == "left")


@dataclass(frozen=True, kw_only=True)
class Focus:
    """One point from which the ventricles are activated past their conduction system: a pacing lead or an ectopic beat.

    `angle` in degrees about the long axis, `height` apex 0 to base 1 of its own ventricle.
    """

    wall: Wall
    angle: float
    height: float


RIGHT_APEX = Focus(wall="right wall", angle=8.0, height=_LEAVING_APEX)
"""Where a right-ventricular lead is screwed in by habit."""


def sample_conduction(disease: Disease, rng: np.random.Generator, calibration: Calibration = CALIBRATION) -> Conduction:
    """Draw velocities and root positions; the disease slows every velocity."""
    return Conduction(
        muscle=calibration.muscle * disease.conduction * float(np.exp(0.11 * bounded_normal(rng, 0, 1))),
        purkinje=bounded_normal(rng, calibration.purkinje, 0.22),
        right_delay=max(2.5, bounded_normal(rng, calibration.right_delay, 2.5)),
        jitter=np.clip(rng.standard_normal((len(calibration.roots), 3)), -2.5, 2.5),
    )


def sample_focus(rng: np.random.Generator) -> Focus:
    """Draw where ventricular ectopic beats come from: half of them the right outflow tract, the commonest site.

    Idiopathic ventricular arrhythmias: Dukkipati et al., J Am Coll Cardiol 2017;70:2909; the share is rounded.
    """
    if rng.random() < 0.5:
        return Focus(wall="right wall", angle=bounded_normal(rng, 55.0, 6.0), height=1.0)
    wall: Wall = "left" if rng.random() < 0.6 else "left epicardium"
    return Focus(wall=wall, angle=float(rng.uniform(-180, 180)), height=float(rng.uniform(_LEAVING_APEX, 0.95)))


def activate(mesh: Mesh, conduction: Conduction, bundles: Bundles, calibration: Calibration = CALIBRATION) -> Array:
    """Activation time of every node, ms after the first root may fire.

    A blocked branch has no roots; its Purkinje layer, entered from the other side through the septum, still conducts at
    full speed, which gives the QRS of about 145 ms that left bundle branch block has in a healthy heart.
    """
    times = np.full(len(mesh.nodes), np.inf)
    for node, start in _roots(mesh, conduction, bundles, calibration):
        times[node] = min(times[node], start)
    _spread(mesh, conduction, conduction.purkinje, times, calibration)
    return times


def activate_from(mesh: Mesh, conduction: Conduction, focus: Focus, calibration: Calibration = CALIBRATION) -> Array:
    """Activation time of every node, ms after the focus fires; the Purkinje layers are entered late and slowly."""
    times = np.full(len(mesh.nodes), np.inf)
    times[_nearest(mesh, focus.wall, focus.angle, focus.height)] = 0.0
    _spread(mesh, conduction, _ENTRY * conduction.purkinje, times, calibration)
    return times


def _spread(mesh: Mesh, conduction: Conduction, purkinje: float, times: Array, calibration: Calibration) -> None:
    """Lower `times` in place until every node has its earliest."""
    left, right = _purkinje_layers(mesh, calibration)
    speed = purkinje * conduction.muscle
    cost = np.empty(len(mesh.edges))
    _travel_times(
        mesh.edges,
        mesh.nodes,
        mesh.fibres,
        mesh.scar,
        np.stack([left, right]),
        np.array([speed, speed * calibration.right_purkinje]),
        np.array([calibration.fibre_speed, calibration.cross_speed]) * conduction.muscle,
        0.6 * conduction.muscle,
        cost,
    )
    shortest_times(mesh.edges, cost, times)


def _purkinje_layers(mesh: Mesh, calibration: Calibration) -> tuple[Array, Array]:
    """Presence (0 to 1 by node) of the left and the right fast layer."""
    endocardium = mesh.depth == 0
    left = (mesh.left & endocardium) * _fade(mesh.height, calibration.purkinje_end)
    side = (~mesh.left & endocardium) | (mesh.septum & (mesh.depth == 1))
    right = side * _fade(mesh.rv_height, calibration.right_purkinje_end)
    return left, right


def _fade(height: Array, end: float) -> Array:
    return np.asarray(1 / (1 + np.exp((height - end) / 0.04)))


def _roots(mesh: Mesh, conduction: Conduction, bundles: Bundles, calibration: Calibration) -> list[tuple[int, float]]:
    """(node, ms) where the conducting branches end."""
    roots = []
    for root, jitter in zip(calibration.roots, conduction.jitter, strict=True):
        if bundles.conducts(root.branch):
            node = _nearest(mesh, root.wall, root.angle + 7 * jitter[0], root.height + 0.05 * jitter[1])
            lag = conduction.right_delay if root.branch == "right" else 0.0
            roots.append((node, max(0.0, root.delay + lag + 1.2 * jitter[2])))
    return roots


def _nearest(mesh: Mesh, wall: str, angle: float, level: float) -> int:
    """The node of a wall that lies nearest to an angle in degrees and a height."""
    candidates, height = _surface(mesh, wall)
    turned = (np.degrees(mesh.theta[candidates]) - angle + 180) % 360 - 180
    away = (turned / 60) ** 2 + ((height[candidates] - level) / 0.35) ** 2
    return int(candidates[away.argmin()])


def _surface(mesh: Mesh, wall: str) -> tuple[NDArray[np.int64], Array]:
    """Nodes of one surface, and the heights by which a place is found on it."""
    if wall.startswith("left"):
        return np.flatnonzero(mesh.left & (mesh.depth == (wall == "left epicardium"))), mesh.height
    side = mesh.septum & (mesh.depth == 1) if wall == "right septum" else ~mesh.left & (mesh.depth == 0)
    return np.flatnonzero(side), mesh.rv_height


@njit(cache=True, fastmath=True)
def _travel_times(
    edges: NDArray[np.int64],
    nodes: Array,
    fibres: Array,
    scar: Array,
    layers: Array,
    layer_speeds: Array,
    muscle_speeds: Array,
    slowest_layer: float,
    out: Array,
) -> None:
    """Milliseconds along each edge: the faster of the muscle and the Purkinje layers; scar conducts slowly."""
    for k in range(edges.shape[0]):
        i, j = edges[k, 0], edges[k, 1]
        square, at_i, at_j = 0.0, 0.0, 0.0
        for axis in range(3):
            step = nodes[j, axis] - nodes[i, axis]
            square += step * step
            at_i += step * fibres[i, axis]
            at_j += step * fibres[j, axis]
        along = 0.5 * (at_i * at_i + at_j * at_j)
        across = max(square - along, 0.0)
        surviving = 1 - 0.65 * 0.5 * (scar[i] + scar[j])
        time = np.sqrt(along / muscle_speeds[0] ** 2 + across / muscle_speeds[1] ** 2) / surviving
        for layer in range(2):
            share = min(layers[layer, i], layers[layer, j])
            if share > 0.05:
                speed = slowest_layer + (layer_speeds[layer] - slowest_layer) * share
                time = min(time, np.sqrt(square) / max(speed * (1 - max(scar[i], scar[j]) / 2), 1e-3))
        out[k] = time


@njit(cache=True)
def shortest_times(edges: NDArray[np.int64], cost: Array, times: Array) -> None:
    """Lower `times` (nodes,) to the shortest over `edges` (n, 2) of `cost` (n,), in place.

    Bellman-Ford, sweeping the edges back and forth until nothing improves.
    """
    changed = True
    while changed:
        changed = False
        for direction in range(2):
            for step in range(edges.shape[0]):
                k = step if direction == 0 else edges.shape[0] - 1 - step
                i, j = edges[k, 0], edges[k, 1]
                if times[i] + cost[k] < times[j]:
                    times[j] = times[i] + cost[k]
                    changed = True
                elif times[j] + cost[k] < times[i]:
                    times[i] = times[j] + cost[k]
                    changed = True
