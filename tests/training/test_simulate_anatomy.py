"""The parametric heart through the beat, against closed forms and a real heart."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.training import real_heart
from training.simulate.anatomy import (
    MYOCARDIAL_DENSITY,
    THETA,
    U_BASE,
    U,
    Ventricles,
    build_ventricles,
    sample_shape,
    scar,
)
from training.simulate.atria import Atrium, chambers
from training.simulate.contraction import moments
from training.simulate.heart import Heart, heart_of
from training.simulate.population import Disease


@pytest.fixture(scope="module")
def hearts() -> list[Heart]:
    return [heart_of(seed) for seed in range(12)]


def test_the_left_ventricle_encloses_its_volume_and_weighs_its_mass_at_every_phase(hearts: list[Heart]) -> None:
    for heart in hearts[:4]:
        volumes = heart.subject.volumes
        for contraction in (0.0, 0.4, 1.0):
            left = build_ventricles(heart.subject, heart.shape, contraction).left
            cavity = _pappus(left.r_endo, left.z_endo)
            wall = _pappus(left.r_epi, left.z_epi) - cavity
            expected = (1 - contraction) * volumes.lv_edv + contraction * volumes.lv_esv
            assert cavity / 1000 == pytest.approx(expected, rel=0.01)
            assert wall / 1000 * MYOCARDIAL_DENSITY == pytest.approx(volumes.lv_mass, rel=0.02)


def test_systole_shortens_and_thickens_the_left_ventricle(hearts: list[Heart]) -> None:
    for heart in hearts:
        ed, es = heart.ed.left, heart.es.left
        shortening = 1 - (es.base - es.apex) / (ed.base - ed.apex)
        assert 0 < shortening < 0.25
        if heart.subject.volumes.lv_ejected > 0.5:
            assert es.mean_wall > 1.2 * ed.mean_wall


def test_the_base_descends_and_the_wall_thickens_all_through_ejection(hearts: list[Heart]) -> None:
    for heart in hearts:
        phases = [build_ventricles(heart.subject, heart.shape, c) for c in np.linspace(0, 1, 6)]
        assert np.diff([phase.base_over(heart.ed) for phase in phases]).max() < 0
        assert np.diff([phase.left.mean_wall for phase in phases]).min() > 0


def test_a_scarred_wall_neither_moves_nor_thickens_while_the_rest_does(infarcted_hearts: list[Heart]) -> None:
    for heart in infarcted_hearts:
        scarred = scar(THETA[:, None], (U / U_BASE)[None], heart.subject.disease)
        dead, remote = scarred > 0.9, (scarred < 0.05) & (U / U_BASE > 0.3)
        inward = heart.ed.left.r_endo - heart.es.left.r_endo
        thickening = heart.es.left.wall / heart.ed.left.wall
        assert np.abs(inward[dead]).max() < 2.0  # mm, less than one pixel
        assert inward[remote].mean() > 4.0
        assert thickening[dead].max() < 1.1
        assert thickening[remote].mean() > 1.2


def test_an_atrium_holds_its_volume_in_front_of_its_planes_and_none_behind(hearts: list[Heart]) -> None:
    """The closed form, against a million points thrown into the box around the atrium."""
    points = np.random.default_rng(0).uniform(-1, 1, (1_000_000, 3))
    for heart in hearts[:3]:
        for moment in moments(heart.subject, np.array([0.0, 0.3])):
            ventricles = build_ventricles(heart.subject, heart.shape, moment.contraction)
            floor = ventricles.base_over(heart.ed)
            left, right = chambers(heart.subject.volumes, heart.shape, heart.ed, heart.es, floor, moment)
            for atrium, volume in ((left, moment.la), (right, moment.ra)):
                assert atrium.volume == pytest.approx(volume, rel=1e-4)
                box = 8 * float(np.prod(atrium.axes)) / 1000
                assert box * _inside(atrium, points).mean() == pytest.approx(volume, rel=0.006)
            assert left.septum < right.septum
            assert min(left.floor, right.floor) >= floor


def test_the_roof_of_the_atria_stays_while_their_floor_follows_the_base(hearts: list[Heart]) -> None:
    for heart in hearts[:4]:
        roofs, floors = [], []
        for moment in moments(heart.subject, np.linspace(0, 0.9, 10)):
            ventricles = build_ventricles(heart.subject, heart.shape, moment.contraction)
            base = ventricles.base_over(heart.ed)
            left, _ = chambers(heart.subject.volumes, heart.shape, heart.ed, heart.es, base, moment)
            roofs.append(left.centre[2] + left.axes[2])
            floors.append(left.floor - base)
        assert np.ptp(roofs) < 1e-9
        assert np.abs(floors).max() < 1e-9


def test_the_form_of_a_real_heart_lies_among_those_of_simulated_twins(shared_data: Path) -> None:
    """Twins: its volumes, mass and rate, forty shapes.

    Three things lie outside, and are held to what they were measured to be: the mesh counts the trabeculae of the right
    side as septum (septal over lateral wall 1.7 against 0.8 to 1.3), its long axis shortens by 19 % against 16 %, and
    its right ventricle bulges further from the long axis (0.91 of the length against 0.62 to 0.81).
    """
    real, subject = real_heart.form(shared_data), real_heart.twin(shared_data)
    normal = Disease(pathology="normal", severity=0.0)
    twins = []
    for seed in range(40):
        shape = sample_shape(normal, np.random.default_rng(seed))
        twins.append(_form(build_ventricles(subject, shape, 0.0), build_ventricles(subject, shape, 1.0)))
    for name in ("length", "length_to_width", "descent"):
        values = [getattr(twin, name) for twin in twins]
        assert min(values) < getattr(real, name) < max(values), (name, min(values), getattr(real, name), max(values))
    assert np.mean([twin.wall for twin in twins]) == pytest.approx(real.wall, rel=0.15)
    assert np.mean([twin.thickening for twin in twins]) == pytest.approx(real.thickening, rel=0.05)
    assert np.mean([twin.shortening for twin in twins]) == pytest.approx(real.shortening, abs=0.05)
    assert max(twin.right_extent for twin in twins) == pytest.approx(real.right_extent, abs=0.12)
    assert 0.5 * real.septal_to_lateral < np.mean([twin.septal_to_lateral for twin in twins]) < real.septal_to_lateral


def _form(ed: Ventricles, es: Ventricles) -> real_heart.Form:
    length, length_es = (v.base - v.left.apex for v in (ed, es))
    middle = (U / U_BASE > 0.45) & (U / U_BASE < 0.65)
    septal, lateral = np.abs(THETA) < 0.46, np.abs(THETA) > np.pi - 0.46
    return real_heart.Form(
        length=length,
        length_to_width=length / (2 * ed.left.radius),
        wall=ed.left.mean_wall,
        thickening=es.left.mean_wall / ed.left.mean_wall,
        septal_to_lateral=ed.left.wall[septal][:, middle].mean() / ed.left.wall[lateral][:, middle].mean(),
        descent=ed.base - es.base_over(ed),
        shortening=1 - length_es / length,
        right_extent=float((ed.lv_epi + ed.rv).max()) / length,
    )


def _inside(atrium: Atrium, points: np.ndarray) -> np.ndarray:
    x, y, z = points.T
    at = atrium.centre + points * atrium.axes
    solid = x**2 + y**2 + np.abs(z) ** atrium.flatness < 1
    return solid & (at[:, 2] > atrium.floor) & ((at[:, 0] - atrium.septum) * atrium.side > 0)


def _pappus(r: np.ndarray, z: np.ndarray) -> float:
    """Volume by the divergence theorem over triangles, loop-written: a second opinion on the ring formula."""
    theta = np.linspace(-np.pi, np.pi, len(r), endpoint=False)[:, None]
    points = np.stack([r * np.cos(theta), r * np.sin(theta), z], -1)
    points = np.concatenate([points, points[:1]])
    volume = 0.0
    for row, following in pairwise(points):
        for k in range(len(row) - 1):
            volume += _tetrahedron(row[k], following[k], following[k + 1]) + _tetrahedron(
                row[k], following[k + 1], row[k + 1]
            )
        bottom, top = np.array([0, 0, row[0, 2]]), np.array([0, 0, row[-1, 2]])
        volume += _tetrahedron(bottom, following[0], row[0]) + _tetrahedron(top, row[-1], following[-1])
    return volume


def _tetrahedron(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    return float(np.dot(a, np.cross(b, c)) / 6)
