"""The simulated heartbeat, against electrostatics, another solver and the bedside."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from training.simulate.activation import Conduction, sample_conduction
from training.simulate.anatomy import Shape, Ventricles, build_ventricles, sample_shape
from training.simulate.atria import build_atria
from training.simulate.electrics import Beat, Generator, Repolarisation, generator_of, sample_repolarisation
from training.simulate.p_wave import atrial_wave
from training.simulate.population import Disease, Person, Subject, Volumes
from training.simulate.torso import (
    CONDUCTIVITY,
    LeadField,
    Lie,
    Pose,
    closed_faces,
    lead_field,
    pose_of,
    sample_lie,
    sample_slips,
    solid_angles,
    torso_lead_field,
    torso_of,
)

V1, V6 = 2, 7
"""Rows of a beat, whose leads are I, II, V1 to V6."""

LEFT_BLOCK = Disease(pathology="LBBB", severity=0.5, left_bundle=False)
RIGHT_BLOCK = Disease(pathology="RBBB", severity=0.5, right_bundle=False)


@dataclass(frozen=True, eq=False)
class Heart:
    """One healthy heart and everything else that makes its ECG, so that one thing at a time can be changed."""

    subject: Subject
    shape: Shape
    lie: Lie
    slips: np.ndarray
    conduction: Conduction
    repolarisation: Repolarisation

    @property
    def ventricles(self) -> Ventricles:
        return build_ventricles(self.subject, self.shape, 0.0)

    @property
    def pose(self) -> Pose:
        return pose_of(self.lie, torso_of(self.subject.person), self.ventricles)

    @property
    def field(self) -> LeadField:
        return torso_lead_field(torso_of(self.subject.person), self.slips, self.lie.conductivity)

    @property
    def generator(self) -> Generator:
        subject = self.subject
        return generator_of(
            self.ventricles,
            self.pose,
            self.field,
            subject.disease,
            self.conduction,
            self.repolarisation,
            subject.heart_rate,
        )

    def beat(self) -> Beat:
        return self.generator.conducted()

    def p_wave(self) -> np.ndarray:
        atria = build_atria(self.subject.volumes, self.ventricles, self.pose, np.random.default_rng(0))
        return atrial_wave(atria, self.field)

    def with_disease(self, disease: Disease) -> Heart:
        return replace(self, subject=replace(self.subject, disease=disease))


def healthy_heart(seed: int) -> Heart:
    rng = np.random.default_rng(seed)
    person = Person(sex="M", age=60.0, height=176.0, weight=78.0)
    disease = Disease(pathology="normal", severity=0.0)
    volumes = Volumes(lv_edv=160, lv_esv=66, lv_mass=100, rv_edv=174, rv_esv=80, la=70, ra=80)
    return Heart(
        subject=Subject(person=person, disease=disease, volumes=volumes, heart_rate=65.0),
        shape=sample_shape(disease, rng),
        lie=sample_lie(person, rng),
        slips=sample_slips(rng),
        conduction=sample_conduction(disease, rng),
        repolarisation=sample_repolarisation(person, rng),
    )


@pytest.fixture(scope="module")
def hearts() -> list[Heart]:
    return [healthy_heart(seed) for seed in range(5)]


def qrs_duration(one_beat: Beat) -> int:
    """Milliseconds over which any lead moves by more than 4 % of its fastest change."""
    speed = np.abs(np.diff(one_beat.qrs, axis=1)).sum(0)
    return int(np.ptp(np.flatnonzero(speed > 0.04 * speed.max())))


def test_a_dipole_in_a_sphere_has_the_potential_of_the_closed_form() -> None:
    """Radial dipole at share f of radius R: V = p / (4 pi sigma R² f) ((1 - f²)/(1 + f² - 2 f cos t)^1.5 - 1).

    Frank, J Appl Phys 1952;23:1225. At the centre it is three times what an unbounded medium would show.
    """
    radius = 100.0
    vertices, faces = _sphere(radius)
    angles = np.radians([20, 40, 70, 110, 150])
    electrodes = radius * np.stack([np.sin(angles), np.zeros(5), np.cos(angles)], -1)
    electrodes = np.vstack([electrodes, [0.0, -radius, 0.0]])
    montage = np.hstack([np.eye(5), -np.ones((5, 1))])
    field = lead_field(vertices, faces, electrodes, montage, CONDUCTIVITY)
    for f in (1e-4, 0.2, 0.45):
        seen = field.at(np.array([[0.0, 0.0, f * radius]]))[0, :, 2]
        at = [((1 - f * f) / (1 + f * f - 2 * f * c) ** 1.5 - 1) / f for c in (*np.cos(angles), 0.0, 1.0)]
        expected = (np.array(at[:5]) - at[5]) / (4 * np.pi * CONDUCTIVITY * radius**2)
        largest = at[6] / (4 * np.pi * CONDUCTIVITY * radius**2)
        assert np.abs(seen - expected).max() < 0.05 * largest  # 816 triangles of constant potential


def test_a_closed_surface_fills_half_of_the_sky_of_its_own_points() -> None:
    vertices, faces = _sphere(50.0)
    angles = solid_angles(vertices[faces].mean(1), vertices, faces)
    assert angles.sum(1) == pytest.approx(np.full(len(faces), 2 * np.pi))
    assert angles.min() > -1e-9  # a convex surface turns its inside to each of its points
    assert np.abs(np.diag(angles)).max() < 1e-6  # and a flat triangle is edge-on to itself


def test_a_heart_at_one_potential_is_silent(hearts: list[Heart]) -> None:
    matrix = hearts[0].generator.source
    assert np.abs(matrix.sum(0)).max() < 1e-9 * np.abs(matrix).sum(0).max()


def test_ventricles_are_back_at_rest_when_all_is_repolarised(hearts: list[Heart]) -> None:
    for heart in hearts:
        one = heart.beat()
        assert np.abs(one.qrs[:, -1]).max() < 1e-6
        assert np.abs(one.t[:, -1]).max() < 0.01 * np.abs(one.t).max()


def test_healthy_conduction_is_fast_and_a_left_bundle_branch_block_slow(hearts: list[Heart]) -> None:
    """QRS ≤ 110 ms is normal and ≥ 120 ms complete block (AHA/ACC/HRS part III, Surawicz 2009)."""
    for heart in hearts:
        blocked = heart.with_disease(LEFT_BLOCK).beat()
        assert 65 <= qrs_duration(heart.beat()) <= 115
        assert qrs_duration(blocked) > 120
        assert blocked.qrs[V6].sum() > 0 > blocked.qrs[V1].sum()
        assert blocked.t[V6].sum() < heart.beat().t[V6].sum() - 10  # mV ms: T turns against QRS
    assert np.median([heart.with_disease(LEFT_BLOCK).beat().t[V6].sum() for heart in hearts]) < 0


def test_a_right_bundle_branch_block_ends_with_an_r_wave_in_v1(hearts: list[Heart]) -> None:
    for heart in hearts:
        blocked = heart.with_disease(RIGHT_BLOCK).beat()
        assert qrs_duration(blocked) > 1.2 * qrs_duration(heart.beat())
        late = blocked.qrs[V1, 20 + 80 : 20 + 160]
        assert late.max() > 2 * abs(late.min())


def test_a_heavier_chest_lowers_the_qrs_of_the_same_heart(hearts: list[Heart]) -> None:
    for heart in hearts:
        person = replace(heart.subject.person, weight=110.0)
        heavier = replace(heart, subject=replace(heart.subject, person=person))
        assert np.ptp(heavier.beat().qrs, axis=1).mean() < 0.9 * np.ptp(heart.beat().qrs, axis=1).mean()


def test_even_a_large_heart_lies_behind_the_chest_wall(hearts: list[Heart]) -> None:
    for heart in hearts:
        large = replace(heart.subject, volumes=replace(heart.subject.volumes, lv_edv=380.0, lv_esv=300.0, rv_edv=260.0))
        ventricles = build_ventricles(large, heart.shape, 0.0)
        torso = torso_of(heart.subject.person)
        surface = pose_of(heart.lie, torso, ventricles).to_torso(ventricles.outer_surface())
        assert (surface[:, 1] - torso.chest(surface[:, 0], surface[:, 2])[:, 1]).min() >= 20 - 1e-6


def test_healthy_limb_and_chest_leads_have_their_ordinary_shape(hearts: list[Heart]) -> None:
    """Upright QRS in I, II and V6, upright P and T in II, all of them downwards in aVR; R grows from V1 to V5."""
    for heart in hearts:
        one = heart.beat()
        limb_i, limb_ii, chest = one.qrs[0], one.qrs[1], one.qrs[2:]
        for lead in (limb_i, limb_ii, one.qrs[V6]):
            assert lead.max() > 2 * abs(lead.min())
        p_wave = heart.p_wave()
        for wave in (p_wave, one.qrs, one.t):
            avr = -(wave[0] + wave[1]) / 2
            assert abs(avr.min()) > 2 * avr.max()
        assert p_wave[1].max() > 0.04
        assert one.t[1].max() > 0.1
        assert chest[0].max() < chest[3].max()
        assert chest[0].max() < chest[4].max()


def _sphere(radius: float, rings: int = 17, columns: int = 24) -> tuple[np.ndarray, np.ndarray]:
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rings + 2)[1:-1, None]
    longitude = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None, :]
    ring = np.stack(
        np.broadcast_arrays(
            np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)
        ),
        -1,
    )
    poles = np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    return radius * np.vstack([ring.reshape(-1, 3), poles]), closed_faces(rings, columns)
