"""Electrics: one heartbeat in the eight independent leads, from the activated heart and its lead field.

phi(t) = -∫ sigma_i grad V · Z dx, with V a shifted template, reduces to two weighted histograms: of activation and of
repolarisation times, convolved with the two edges of the action potential (Pezzuto et al., Front Physiol 2017;8:265).
What was fitted stands in `calibration`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from training.simulate.activation import Bundles, Conduction, Focus, activate, activate_from
from training.simulate.anatomy import Ventricles
from training.simulate.calibration import CALIBRATION, Calibration
from training.simulate.mesh import ELEMENTS, LEFT, LEFT_ELEMENTS, Mesh, build_mesh
from training.simulate.population import Disease, Person, bounded_normal
from training.simulate.torso import LeadField, Pose

Array = NDArray[np.float64]

ONSET = 20
"""Sample of the beat, in ms, at which the first Purkinje root may fire."""

LENGTH = 720
"""Samples of one ventricular beat, 1 kHz."""

INTRACELLULAR = 0.20e-3, 0.07e-3
"""Conductivity along and across the fibres, S/mm (Clerc, J Physiol 1976;255:335, rounded)."""

_ACTION_POTENTIAL = 100.0  # mV between rest and plateau
_UPSTROKE = 3.6  # ms, SD; no sharper than half an element takes to cross, else the mesh is heard as notches


@dataclass(frozen=True, kw_only=True)
class Repolarisation:
    """How the action-potential duration varies over this heart.

    Attributes
    ----------
    qt : float
        QT at a heart rate of 60 and a QRS of 88 ms or less, ms.
    by_activation : float
        Milliseconds by which it shortens for each millisecond of later activation.
    transmural, apex_base, right : float
        Milliseconds: endocardium over epicardium, base over apex, right wall over left.
    width : float
        Stretch of the final downstroke.
    """

    qt: float
    by_activation: float
    transmural: float
    apex_base: float
    right: float
    width: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Beat:
    """One beat at 1 kHz, mV, leads (I, II, V1 to V6) first.

    Attributes
    ----------
    qrs, t : ndarray, (8, LENGTH)
        Depolarisation and repolarisation of the ventricles.
    activation : ndarray, (n,)
        Activation times of the nodes, ms.
    """

    qrs: Array
    t: Array
    activation: Array


def sample_repolarisation(
    person: Person, rng: np.random.Generator, calibration: Calibration = CALIBRATION
) -> Repolarisation:
    """Draw the action-potential pattern. Women repolarise later by 12 ms."""
    female = person.sex == "F"
    return Repolarisation(
        qt=393 + bounded_normal(rng, 12.0 if female else 0.0, 12.0),
        by_activation=bounded_normal(rng, calibration.by_activation, 0.13),
        transmural=bounded_normal(rng, calibration.transmural_female if female else calibration.transmural, 6.4),
        apex_base=bounded_normal(rng, calibration.apex_base, 3.0),
        right=bounded_normal(rng, calibration.right + calibration.right_of_women * female, 5.0),
        width=bounded_normal(rng, 1.00, 0.08),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Generator:
    """The meshed ventricles as the leads of one body see them; any order of activation makes a beat of it.

    Attributes
    ----------
    source : ndarray, (nodes, 8)
        `source_matrix`.
    usual : ndarray, (nodes,)
        Activation with an intact conduction system, ms: cells adapt to the order in which they normally fire, so that
        a block, a lead or an ectopic beat leaves a discordant T wave.
    """

    mesh: Mesh
    source: Array
    usual: Array
    disease: Disease
    conduction: Conduction
    repolarisation: Repolarisation
    heart_rate: float
    calibration: Calibration

    def conducted(self) -> Beat:
        """A beat that came through the bundles, as far as they conduct."""
        bundles = Bundles.of(self.disease)
        if bundles.intact:
            return self._beat(self.usual)
        return self._beat(activate(self.mesh, self.conduction, bundles, self.calibration))

    def from_focus(self, focus: Focus) -> Beat:
        """A beat that started at one point of the muscle."""
        return self._beat(activate_from(self.mesh, self.conduction, focus, self.calibration))

    def _beat(self, activation: Array) -> Beat:
        qt = self.repolarisation.qt * (60 / self.heart_rate) ** (1 / 3) + 0.8 * max(0.0, activation.max() - 88)
        ends = _repolarisation_times(self, activation, qt)
        stretch = self.repolarisation.width * np.sqrt(qt / 400)
        t_wave = _wave(ends - _downstroke_tail(stretch), self.source, _downstroke(stretch, self.calibration.droop))
        notch = np.where(self.mesh.left, self.calibration.left_notch, self.calibration.right_notch) * self.mesh.depth
        return Beat(
            qrs=_wave(activation, self.source, _upstroke()),
            t=_wave(activation, notch[:, None] * self.source, _NOTCH) - self.calibration.repolarisation * t_wave,
            activation=activation,
        )


def generator_of(
    ventricles: Ventricles,
    pose: Pose,
    field: LeadField,
    disease: Disease,
    conduction: Conduction,
    repolarisation: Repolarisation,
    heart_rate: float,
    calibration: Calibration = CALIBRATION,
) -> Generator:
    """Mesh the ventricles and see them through the lead field."""
    mesh = build_mesh(ventricles, disease)
    return Generator(
        mesh=mesh,
        source=source_matrix(mesh, ventricles, pose, field, calibration),
        usual=activate(mesh, conduction, Bundles(), calibration),
        disease=disease,
        conduction=conduction,
        repolarisation=repolarisation,
        heart_rate=heart_rate,
        calibration=calibration,
    )


def source_matrix(
    mesh: Mesh, ventricles: Ventricles, pose: Pose, field: LeadField, calibration: Calibration = CALIBRATION
) -> Array:
    """(nodes, leads): what each lead gains, in mV, when a node goes from rest to plateau.

    Each column sums to zero: a heart at one potential is silent. One-point hexahedra.
    """
    centres = mesh.nodes[ELEMENTS].mean(1)
    seen = _beside_blood(field.at(pose.to_torso(centres)) @ pose.axes.T, mesh, ventricles, calibration.blood)
    share = np.ones(len(ELEMENTS))
    share[LEFT_ELEMENTS:] = calibration.right_wall
    matrix = np.zeros((len(mesh.nodes), seen.shape[1]))
    scale = _ACTION_POTENTIAL * calibration.amplitude * share
    _sources(ELEMENTS, mesh.nodes, mesh.fibres, mesh.scar, seen, scale, _SHAPE_GRADIENT, INTRACELLULAR, matrix)
    return matrix


_SHAPE_GRADIENT: Array = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) / 8.0
"""(8, 3): gradient of the trilinear shape functions at the centre of the element, over local coordinates."""


@njit(cache=True)
def _sources(
    elements: NDArray[np.int64],
    nodes: Array,
    fibres: Array,
    scar: Array,
    seen: Array,
    scale: Array,
    shape_gradient: Array,
    conductivity: tuple[float, float],
    out: Array,
) -> None:
    """Add to `out` (nodes, leads) what each element gives: -volume grad N · sigma · Z at its centre."""
    along, across = conductivity
    jacobian, fibre = np.empty((3, 3)), np.empty(3)
    for e in range(elements.shape[0]):
        jacobian[:] = 0.0
        fibre[:] = 0.0
        scarred = 0.0
        for k in range(8):
            node = elements[e, k]
            scarred += scar[node] / 8
            for b in range(3):
                fibre[b] += fibres[node, b]
                for a in range(3):
                    jacobian[a, b] += shape_gradient[k, a] * nodes[node, b]
        fibre /= np.sqrt((fibre * fibre).sum())
        volume = 8 * abs(np.linalg.det(jacobian)) * (1 - 0.9 * scarred)
        inverse = np.linalg.inv(jacobian)
        for k in range(8):
            gradient = inverse @ shape_gradient[k]
            flow = across * gradient + (along - across) * (gradient @ fibre) * fibre
            for lead in range(seen.shape[1]):
                given = flow[0] * seen[e, lead, 0] + flow[1] * seen[e, lead, 1] + flow[2] * seen[e, lead, 2]
                out[elements[e, k], lead] -= scale[e] * volume * given


def _beside_blood(seen: Array, mesh: Mesh, ventricles: Ventricles, blood: float) -> Array:
    """The lead field beside a well-conducting blood pool, (elements, leads, 3): radial dipoles gain, tangential lose.

    A conducting sphere in a uniform field (Brody, Circ Res 1956;4:731): factors 1 + 2q and 1 - q, falling with depth.
    """
    corners = mesh.nodes[ELEMENTS]
    normal = corners[:, 1::2].mean(1) - corners[:, 0::2].mean(1)
    thickness = np.linalg.norm(normal, axis=1)
    normal = normal / thickness[:, None]
    layers = LEFT[2] - 1
    inwards = np.tile(np.arange(layers) + 0.5, LEFT_ELEMENTS // layers) * thickness[:LEFT_ELEMENTS]
    outwards = layers * thickness[:LEFT_ELEMENTS] - inwards
    in_septum = mesh.septum[ELEMENTS[:LEFT_ELEMENTS, 0]]
    left_depth = np.where(in_septum, np.minimum(inwards, outwards), inwards)
    depth = np.concatenate([left_depth, 0.5 * thickness[LEFT_ELEMENTS:]])
    q = blood * (ventricles.left.radius / (ventricles.left.radius + depth)) ** 3
    radial = np.einsum("ela,ea->el", seen, normal)
    return np.asarray((1 - q)[:, None, None] * seen + (3 * q)[:, None, None] * radial[..., None] * normal[:, None])


def _repolarisation_times(heart: Generator, activation: Array, qt: float) -> Array:
    """When each node repolarises, ms: late under the endocardium, at the base and in the lateral wall; scaled to QT.

    Strain turns the gradients round; all regional constants are calibrated.
    """
    mesh, disease, pattern, fitted = heart.mesh, heart.disease, heart.repolarisation, heart.calibration
    lateral = 0.5 * (1 - np.cos(mesh.theta))
    strength = np.where(mesh.septum, fitted.septal_gradient, np.where(mesh.left, 1.0, fitted.right_gradient))
    turned = 1 - 1.9 * disease.lv_strain * (0.4 + 0.6 * lateral * mesh.left)
    duration = -pattern.by_activation * (heart.usual - heart.usual.mean())
    duration -= pattern.transmural * strength * (mesh.depth - 0.5) * turned
    duration += pattern.apex_base * 2 * (mesh.height - 0.5) * (1 - 1.3 * disease.lv_strain)
    left = fitted.lateral * (lateral - 0.5) + 18.0 * lateral * disease.lv_strain
    right = pattern.right + disease.rv_strain * (24 + 18 * (mesh.depth - 0.5))
    duration += np.where(mesh.left, left, right) + fitted.anterior * np.sin(mesh.theta)
    duration += 110 * mesh.scar * (1 - mesh.scar) + 22 * mesh.scar  # the border zone repolarises last
    ends = activation + duration
    return np.asarray(ends + qt - np.quantile(ends, 0.98))


def _wave(times: Array, source: Array, edge: Array) -> Array:
    """(leads, LENGTH): nodes that change at `times` (ms), smoothed by the derivative `edge` of the action potential."""
    position = np.clip(times + ONSET, 0, LENGTH - 2)
    sample = position.astype(int)
    late = (position - sample)[:, None]
    impulses = np.zeros((LENGTH, source.shape[1]))
    for lead, (now, then) in enumerate(zip((source * (1 - late)).T, (source * late).T, strict=True)):
        impulses[:, lead] = np.bincount(sample, now, LENGTH) + np.bincount(sample + 1, then, LENGTH)
    middle = len(edge) // 2
    steps = np.cumsum(impulses, axis=0).T
    return np.stack([np.convolve(lead, edge)[middle : middle + LENGTH] for lead in steps])


def _upstroke() -> Array:
    t = np.arange(-40, 41)
    edge = np.exp(-0.5 * (t / _UPSTROKE) ** 2)
    return np.asarray(edge / edge.sum())


def _notch() -> Array:
    """Derivative of what the notch takes away: all of it 12 ms after the upstroke, given back in 60 to 220 ms."""
    t = np.arange(-260, 261)
    falls = np.exp(-0.5 * ((t - 12) / 5) ** 2)
    rises = 1 / (1 + np.exp(-(t - 60) / 10)) / (1 + np.exp((t - 220) / 10))
    return np.asarray(rises / rises.sum() - falls / falls.sum())


_NOTCH = _notch()

_SHAPE, _SCALE = 3.2, 15.0  # of the gamma density that phase 3 follows, ms
_PLATEAU = 240  # ms before the end of phase 3 over which the plateau droops


def _downstroke(stretch: float, droop: float) -> Array:
    """Derivative of phases 2 and 3; the mean of phase 3 is the middle of the array.

    The plateau droops by a share of the whole and then falls as a gamma density in reverse, slow to start and fast to
    end. The droop makes the ST segment climb towards T; the gamma makes T skewed.
    """
    t = np.arange(-_PLATEAU - 60, _PLATEAU + 61)
    before = np.clip(_SHAPE * _SCALE * stretch - t, 1e-6, None)
    phase_3 = before ** (_SHAPE - 1) * np.exp(-before / (_SCALE * stretch))
    phase_2 = 1 / (1 + np.exp(-(t + _PLATEAU) / 8)) / (1 + np.exp(t / 8))
    return np.asarray((1 - droop) * phase_3 / phase_3.sum() + droop * phase_2 / phase_2.sum())


def _downstroke_tail(stretch: float) -> float:
    """Milliseconds from the mean of phase 3 to the end of T as it is measured."""
    return 0.9 * _SHAPE * _SCALE * stretch
