"""Atria: the two chambers behind the valves, as they are imaged through the beat, and the spheres that make the P wave.

An atrium is an ellipsoid with a flattened roof, cut off by two planes: the valve, which moves with the base of the
heart, and the septum between the atria. The share that the planes leave is a number, so that the size is solved for in
closed form and nothing is clipped afterwards. The roof is held by the great veins and stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.simulate.anatomy import Shape, Ventricles
from training.simulate.contraction import Moment
from training.simulate.population import Volumes, bounded_normal
from training.simulate.torso import Pose

Array = NDArray[np.float64]

_VALVE_CUT, _SEPTUM_CUT = 0.75, 0.80
"""Where the planes cut, in semi-axes from the centre; the valve so that its ring is 70 % of the width (ours)."""

_SEPTUM = 1.5
"""Half of the thickness of the interatrial septum with its fat, mm."""

_FRONT = 5.0
"""How far the atria reach forwards of the long axis of the left ventricle, mm: the aorta and the outflow lie there."""


_BACKWARDS = (0.0, 21.0, 4.0)
"""How far the left atrium lies behind the axis of its ventricle in the torso, mm; it is the hindmost chamber."""

_SITES: Array = np.array([[-0.30, 0.30, 0.90], [0.60, -0.60, 0.40], [-0.70, -0.70, 0.0]])
"""Of sinus node and Bachmann's bundle, chosen so that P ends below the line in V1 and has an axis near 45°."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)


@dataclass(frozen=True, eq=False, kw_only=True)
class Atria:
    """Centres (torso frame) and radii of the two spheres at their largest, mm; conduction velocity and delays.

    Attributes
    ----------
    speed : float
        mm/ms.
    bridge_delay : float
        Milliseconds that Bachmann's bundle adds to the way across.
    sites : ndarray, (3, 3)
        Unit vectors from the centre of the atrium, in the torso: sinus node (right), Bachmann's bundle where it leaves
        the right atrium and where it enters the left.
    """

    left: Array
    left_radius: float
    right: Array
    right_radius: float
    speed: float
    bridge_delay: float
    sites: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Atrium:
    """One atrium at one moment, in the heart frame at end-diastole, mm.

    It holds the points with (x/a)² + (y/b)² + |z/c|^flatness < 1 about its centre that are above the floor and on its
    side of the septum.

    Attributes
    ----------
    axes : ndarray, (3,)
        Semi-axes a, b, c.
    flatness : float
        2 is an ellipsoid, more has a flatter roof.
    floor : float
        Level of the valve.
    septum : float
        x of the septal surface.
    side : float
        -1 left of the septum, +1 right of it.
    """

    centre: Array
    axes: Array
    flatness: float
    floor: float
    septum: float
    side: float

    @property
    def volume(self) -> float:
        """Millilitres, in closed form."""
        return float(np.prod(self.axes)) * _share(self.flatness) / 1000


def build_atria(volumes: Volumes, ventricles: Ventricles, pose: Pose, rng: np.random.Generator) -> Atria:
    """Spheres with the volumes of the subject, above the base.

    Velocity and interatrial delay vary on their own, as age, fibrosis and drugs make them vary in life, so that P
    duration tells only part of the left atrial volume.
    """
    left_radius, right_radius = (float((3 * v * 1e3 / (4 * np.pi)) ** (1 / 3)) for v in (volumes.la, volumes.ra))
    base, beside = ventricles.base, ventricles.left.radius + 10 + 0.55 * ventricles.rv_width
    places = np.array([[0, 0, base + 0.85 * left_radius], [beside, 0, base + 0.75 * right_radius]])
    left, right = pose.to_torso(places) + np.array([_BACKWARDS, [0.0, 0.0, -4.0]])
    return Atria(
        left=left,
        left_radius=left_radius,
        right=right,
        right_radius=right_radius,
        speed=float(0.98 * np.exp(0.14 * bounded_normal(rng, 0, 1))),
        bridge_delay=max(0.0, bounded_normal(rng, 7.0, 8.0)),
        sites=_sites(rng),
    )


def _sites(rng: np.random.Generator) -> Array:
    """Where the impulse starts and crosses in this person."""
    drawn = _SITES + 0.22 * rng.standard_normal((3, 3))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def chambers(
    volumes: Volumes, shape: Shape, ed: Ventricles, es: Ventricles, floor: float, moment: Moment
) -> tuple[Atrium, Atrium]:
    """The left and the right atrium at `moment`, holding exactly its volumes.

    Parameters
    ----------
    ed, es : the ventricles at their largest and smallest.
    floor : level of the base at this moment, in the heart frame at end-diastole.
    """
    septum = ed.left.radius * 0.9
    lowest = es.base_over(ed)
    tricuspid = 2.0  # mm that the right ventricle reaches above the base, where the floor of the right atrium lies
    left = _atrium(volumes.la, moment.la, shape.left_atrium, lowest, floor, septum, -1.0)
    right = _atrium(volumes.ra, moment.ra, shape.right_atrium, lowest + tricuspid, floor + tricuspid, septum, 1.0)
    return left, right


def _atrium(
    largest: float, volume: float, proportions: Array, lowest: float, floor: float, septum: float, side: float
) -> Atrium:
    """At its largest it has its proportions; at any other moment its roof stays, its floor moves, its width follows."""
    depth, height, flatness = (float(p) for p in proportions)
    share = _share(flatness)
    widest = (largest * 1e3 / (share * depth * height)) ** (1 / 3)
    roof = lowest + (1 + _VALVE_CUT) * height * widest
    c = (roof - floor) / (1 + _VALVE_CUT)
    a = float(np.sqrt(volume * 1e3 / (share * depth * c)))
    b = depth * a
    surface = septum + side * _SEPTUM
    return Atrium(
        centre=np.array([surface + side * _SEPTUM_CUT * a, _FRONT - b, floor + _VALVE_CUT * c]),
        axes=np.array([a, b, c]),
        flatness=flatness,
        floor=floor,
        septum=surface,
        side=side,
    )


def _share(flatness: float) -> float:
    """Volume of the cut solid with unit semi-axes: the integral over height of an ellipse cut by the septum."""
    middle, half = (1 - _VALVE_CUT) / 2, (1 + _VALVE_CUT) / 2
    square = 1 - np.abs(middle + half * _NODES) ** flatness
    cut = np.clip(_SEPTUM_CUT / np.sqrt(square), 0, 1)
    return float(half * (_WEIGHTS * square * (np.pi / 2 + np.arcsin(cut) + cut * np.sqrt(1 - cut**2))).sum())
