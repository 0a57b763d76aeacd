"""Electrics: one heartbeat in the eight independent leads, from the activated heart and its lead field.

phi(t) = -∫ sigma_i grad V · Z dx, with V a shifted template, reduces to two weighted histograms: of activation and of
repolarisation times, convolved with the two edges of the action potential (Pezzuto et al., Front Physiol 2017;8:265).
The constants marked "calibrated" were fitted once, with those of `torso` and `activation`, to healthy medians of
amplitudes, QRS duration and axis (after Rijnbeek et al., J Electrocardiol 2014;47:914).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.simulate.activation import Bundles, Conduction, activate
from training.simulate.anatomy import Ventricles
from training.simulate.atria import Atria
from training.simulate.mesh import ELEMENTS, LEFT, LEFT_ELEMENTS, Mesh, build_mesh
from training.simulate.p_wave import atrial_wave
from training.simulate.population import Disease, Person, bounded_normal
from training.simulate.torso import LeadField, Pose

Array = NDArray[np.float64]

ONSET = 20
"""Sample of the beat, in ms, at which the first Purkinje root may fire."""

LENGTH = 720
"""Samples of one ventricular beat, 1 kHz."""

INTRACELLULAR = 0.20e-3, 0.07e-3
"""Conductivity along and across the fibres, S/mm (Clerc, J Physiol 1976;255:335, rounded)."""

_AMPLITUDE = 100 * 0.536  # mV between rest and plateau, times a calibrated factor
_RIGHT_WALL = 0.50  # calibrated: the trabeculated right wall gives less than its thickness
_REPOLARISATION = 0.71  # calibrated
_BLOOD = 0.30  # calibrated; (s_blood - s) / (s_blood + 2 s) is 0.4 for blood three times as conductive as muscle
_LATERAL, _ANTERIOR = -9.7, -5.1  # ms, calibrated: lateral over septal, anterior over inferior
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
    p : ndarray, (8, samples)
        P wave; atrial activation begins at its first sample.
    qrs, t : ndarray, (8, LENGTH)
        Depolarisation and repolarisation of the ventricles.
    activation : ndarray, (n,)
        Activation times of the nodes, ms.
    """

    p: Array
    qrs: Array
    t: Array
    activation: Array


def sample_repolarisation(person: Person, rng: np.random.Generator) -> Repolarisation:
    """Draw the action-potential pattern; all means but QT are calibrated. Women repolarise later by 12 ms."""
    return Repolarisation(
        qt=393 + bounded_normal(rng, 12.0 if person.sex == "F" else 0.0, 12.0),
        by_activation=bounded_normal(rng, 0.85, 0.13),
        transmural=bounded_normal(rng, 29.2 if person.sex == "F" else 35.1, 6.4),
        apex_base=bounded_normal(rng, 20.4, 3.0),
        right=bounded_normal(rng, -11.1, 5.0),
        width=bounded_normal(rng, 1.00, 0.08),
    )


def beat(
    ventricles: Ventricles,
    atria: Atria,
    pose: Pose,
    field: LeadField,
    disease: Disease,
    conduction: Conduction,
    repolarisation: Repolarisation,
    heart_rate: float,
) -> Beat:
    """One heartbeat as the electrodes see it."""
    mesh = build_mesh(ventricles, disease)
    bundles = Bundles(
        left=disease.left_bundle, right=disease.right_bundle, left_anterior=disease.left_anterior_fascicle
    )
    activation = activate(mesh, conduction, bundles)
    # Cells adapt to the order in which they normally fire, so that a block leaves a discordant T wave.
    usual = activation if bundles.intact else activate(mesh, conduction, Bundles())
    source = source_matrix(mesh, ventricles, pose, field)
    qt = repolarisation.qt * (60 / heart_rate) ** (1 / 3) + 0.8 * max(0.0, activation.max() - 88)
    ends = _repolarisation_times(mesh, activation, usual, disease, repolarisation, qt)
    stretch = repolarisation.width * np.sqrt(qt / 400)
    return Beat(
        p=atrial_wave(atria, field),
        qrs=_wave(activation, source, _upstroke()),
        t=-_REPOLARISATION * _wave(ends - _downstroke_tail(stretch), source, _downstroke(stretch)),
        activation=activation,
    )


def source_matrix(mesh: Mesh, ventricles: Ventricles, pose: Pose, field: LeadField) -> Array:
    """(nodes, leads): what each lead gains, in mV, when a node goes from rest to plateau.

    Each column sums to zero: a heart at one potential is silent. One-point hexahedra.
    """
    corners = mesh.nodes[ELEMENTS]
    seen = field.at(pose.to_torso(corners.mean(1))) @ pose.axes.T
    seen = _beside_blood(seen, mesh, ventricles)
    jacobian = np.einsum("ka,ekb->eab", _SHAPE_GRADIENT, corners)
    gradient = np.einsum("eab,kb->eka", np.linalg.inv(jacobian), _SHAPE_GRADIENT)
    volume = 8 * np.abs(np.linalg.det(jacobian)) * (1 - 0.9 * mesh.scar[ELEMENTS].mean(1))  # scar makes no current
    fibre = mesh.fibres[ELEMENTS].sum(1)
    fibre /= np.linalg.norm(fibre, axis=1, keepdims=True)
    along, across = INTRACELLULAR
    current = (
        across * gradient + (along - across) * np.einsum("eka,ea->ek", gradient, fibre)[..., None] * fibre[:, None]
    )
    given = -_AMPLITUDE * volume[:, None, None] * np.einsum("eka,ela->ekl", current, seen)
    given[LEFT_ELEMENTS:] *= _RIGHT_WALL
    matrix = np.zeros((len(mesh.nodes), seen.shape[1]))
    np.add.at(matrix, ELEMENTS, given)
    return matrix


_SHAPE_GRADIENT: Array = np.array([[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) / 8.0
"""(8, 3): gradient of the trilinear shape functions at the centre of the element, over local coordinates."""


def _beside_blood(seen: Array, mesh: Mesh, ventricles: Ventricles) -> Array:
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
    q = _BLOOD * (ventricles.left.radius / (ventricles.left.radius + depth)) ** 3
    radial = np.einsum("ela,ea->el", seen, normal)
    return np.asarray((1 - q)[:, None, None] * seen + (3 * q)[:, None, None] * radial[..., None] * normal[:, None])


def _repolarisation_times(
    mesh: Mesh, activation: Array, usual: Array, disease: Disease, pattern: Repolarisation, qt: float
) -> Array:
    """When each node repolarises, ms: late under the endocardium, at the base and in the lateral wall; scaled to QT.

    Strain turns the gradients round; all regional constants are calibrated.
    """
    lateral = 0.5 * (1 - np.cos(mesh.theta))
    strength = np.where(mesh.septum, 0.55, np.where(mesh.left, 1.0, 0.3))
    turned = 1 - 1.9 * disease.lv_strain * (0.4 + 0.6 * lateral * mesh.left)
    duration = -pattern.by_activation * (usual - usual.mean())
    duration -= pattern.transmural * strength * (mesh.depth - 0.5) * turned
    duration += pattern.apex_base * 2 * (mesh.height - 0.5) * (1 - 1.3 * disease.lv_strain)
    left = _LATERAL * (lateral - 0.5) + 18.0 * lateral * disease.lv_strain
    right = pattern.right + disease.rv_strain * (24 + 18 * (mesh.depth - 0.5))
    duration += np.where(mesh.left, left, right) + _ANTERIOR * np.sin(mesh.theta)
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


_SHAPE, _SCALE = 3.2, 15.0  # of the gamma density that phase 3 follows, ms


def _downstroke(stretch: float) -> Array:
    """Derivative of phase 3: a gamma density in reverse, slow to start and fast to end, so that T is skewed; mean 0."""
    before = np.clip(_SHAPE * _SCALE * stretch - np.arange(-160, 161), 1e-6, None)
    edge = before ** (_SHAPE - 1) * np.exp(-before / (_SCALE * stretch))
    return np.asarray(edge / edge.sum())


def _downstroke_tail(stretch: float) -> float:
    """Milliseconds from the mean of the downstroke to the end of T as it is measured."""
    return 0.9 * _SHAPE * _SCALE * stretch
