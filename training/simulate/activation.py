"""Activation: when each point of the ventricles depolarises, from the Purkinje roots through anisotropic muscle.

The eikonal equation as a shortest path on the edges of the mesh, with a fast layer on both endocardia. The constants
marked "calibrated" were fitted once to healthy medians (after Rijnbeek et al., J Electrocardiol 2014;47:914).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from training.simulate.mesh import Mesh
from training.simulate.population import Disease, bounded_normal

Array = NDArray[np.float64]

FIBRE_SPEED, CROSS_SPEED = 0.63, 0.182
"""mm/ms along and across the fibres; calibrated, near the 0.6 and 0.2 that are measured (Durrer, Circulation 1970)."""

FADE = 0.887
"""Apex-to-base height at which the Purkinje layer ends; calibrated."""

RIGHT_LAYER = 0.967
"""Speed of the right Purkinje layer relative to the left; calibrated."""


_ROOTS = (
    ("left", "left", -9.5, 0.47, 1.6),
    ("left anterior", "left", 97.8, 0.75, 11.2),
    ("left", "left", -97.8, 0.70, 11.2),
    ("right", "right wall", 24.3, 0.42, 5.0),
    ("right", "right septum", -5.0, 0.32, -2.0),
    ("right", "right septum", 15.0, 0.60, 1.0),
)
"""Branch, endocardium, angle (degrees), height and delay (ms) of each root: mid-septum and both papillary muscles on
the left; moderator band and septum on the right. Early sites as mapped in isolated human hearts (Durrer et al.,
Circulation 1970;41:899); the numbers are calibrated."""


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
    jitter : ndarray, (6, 3)
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

    @property
    def intact(self) -> bool:
        """Nothing is blocked."""
        return self.left and self.right and self.left_anterior

    def conducts(self, branch: str) -> bool:
        """Whether "left", "left anterior" or "right" conducts; the anterior fascicle is a branch of the left bundle."""
        if branch == "right":
            return self.right
        return self.left and (self.left_anterior or branch == "left")


def sample_conduction(disease: Disease, rng: np.random.Generator) -> Conduction:
    """Draw velocities and root positions; the disease slows every velocity."""
    return Conduction(
        muscle=0.97 * disease.conduction * float(np.exp(0.06 * bounded_normal(rng, 0, 1))),
        purkinje=bounded_normal(rng, 1.64, 0.154),  # calibrated
        right_delay=max(2.5, bounded_normal(rng, 11.1, 2.5)),  # calibrated
        jitter=np.clip(rng.standard_normal((6, 3)), -2.5, 2.5),
    )


def activate(mesh: Mesh, conduction: Conduction, bundles: Bundles) -> Array:
    """Activation time of every node, ms after the first root may fire."""
    times = np.full(len(mesh.nodes), np.inf)
    for node, start in _roots(mesh, conduction, bundles):
        times[node] = min(times[node], start)
    shortest_times(mesh.edges, _travel_times(mesh, conduction), times)
    return times


def _travel_times(mesh: Mesh, conduction: Conduction) -> Array:
    """Milliseconds along each edge: the faster of the muscle and the Purkinje layer."""
    i, j = mesh.edges.T
    edge = mesh.nodes[j] - mesh.nodes[i]
    square = (edge**2).sum(1)
    along = 0.5 * ((edge * mesh.fibres[i]).sum(1) ** 2 + (edge * mesh.fibres[j]).sum(1) ** 2)
    scarred = 0.5 * (mesh.scar[i] + mesh.scar[j])
    muscle = conduction.muscle * (1 - 0.65 * scarred)  # surviving strands conduct slowly
    across = np.maximum(square - along, 0)
    times = np.sqrt(along / FIBRE_SPEED**2 + across / CROSS_SPEED**2) / muscle
    for layer, speed in _purkinje_layers(mesh, conduction):
        share = np.minimum(layer[i], layer[j])
        fast = (0.6 * muscle + (speed - 0.6) * share) * (1 - np.maximum(mesh.scar[i], mesh.scar[j]) / 2)
        times = np.where(share > 0.05, np.minimum(times, np.sqrt(square) / np.maximum(fast, 0.2)), times)
    return np.asarray(times)


def _purkinje_layers(mesh: Mesh, conduction: Conduction) -> tuple[tuple[Array, float], ...]:
    """Presence (0 to 1 by node) and speed of the left and the right fast layer."""
    endocardium = mesh.depth == 0
    left = (mesh.left & endocardium) * _fade(mesh.height)
    right = ((~mesh.left & endocardium) | (mesh.septum & (mesh.depth == 1))) * _fade(mesh.rv_height)
    speed = conduction.purkinje * conduction.muscle
    return (left, speed), (right, speed * RIGHT_LAYER)


def _fade(height: Array) -> Array:
    return np.asarray(1 / (1 + np.exp((height - FADE) / 0.04)))


def _roots(mesh: Mesh, conduction: Conduction, bundles: Bundles) -> list[tuple[int, float]]:
    """(node, ms) where the conducting branches end."""
    roots = []
    for (branch, layer, angle, level, start), jitter in zip(_ROOTS, conduction.jitter, strict=True):
        if not bundles.conducts(branch):
            continue
        candidates, height = _endocardium(mesh, layer)
        turned = np.degrees(mesh.theta[candidates]) - (angle + 7 * jitter[0])
        away = (((turned + 180) % 360 - 180) / 60) ** 2 + ((height[candidates] - level - 0.05 * jitter[1]) / 0.35) ** 2
        lag = conduction.right_delay if branch == "right" else 0.0
        roots.append((int(candidates[away.argmin()]), max(0.0, start + lag + 1.2 * jitter[2])))
    return roots


def _endocardium(mesh: Mesh, layer: str) -> tuple[NDArray[np.int64], Array]:
    """Nodes that a branch may end on, and the heights by which it finds its place."""
    if layer == "left":
        return np.flatnonzero(mesh.left & (mesh.depth == 0)), mesh.height
    side = mesh.septum & (mesh.depth == 1) if layer == "right septum" else ~mesh.left & (mesh.depth == 0)
    return np.flatnonzero(side), mesh.rv_height


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
