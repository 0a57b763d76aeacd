"""The parametric heart and its images, against closed forms."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from models.phenotypes import PHENOTYPES
from training.simulate import Participant, simulate
from training.simulate.anatomy import MYOCARDIAL_DENSITY, LeftVentricle, build_ventricles, sample_shape
from training.simulate.plan import SHAPE, SPACING
from training.simulate.population import Subject, sample_subject


@pytest.fixture(scope="module")
def participants() -> list[Participant]:
    return [simulate(seed) for seed in range(100, 120)]


def test_every_phenotype_of_the_catalogue_is_there_and_plausible(participants: list[Participant]) -> None:
    for participant in participants:
        for values in (participant.phenotypes, participant.analytic):
            assert list(values) == list(PHENOTYPES)
            for symbol, value in values.items():
                low, high = PHENOTYPES[symbol].plausible
                assert low <= value <= high, (participant.seed, symbol, value)


def test_derived_phenotypes_follow_from_the_measured_ones(participants: list[Participant]) -> None:
    for participant in participants:
        for values in (participant.phenotypes, participant.analytic):
            assert values["LVSV"] == pytest.approx(values["LVEDV"] - values["LVESV"])
            assert values["RVEF"] == pytest.approx(100 * values["RVSV"] / values["RVEDV"])
            assert values["CO"] == pytest.approx(values["LVSV"] * participant.heart_rate / 1000)


@pytest.mark.parametrize("symbol", ["LVEDV", "LVESV", "LVM", "RVEDV", "RVESV"])
def test_label_maps_measure_what_the_heart_was_built_to_have(participants: list[Participant], symbol: str) -> None:
    truth = np.array([participant.analytic[symbol] for participant in participants])
    error = np.array([participant.phenotypes[symbol] for participant in participants]) / truth - 1
    assert abs(error.mean()) < 0.02
    assert np.abs(error).max() < 0.12  # ten-millimetre slices: half a slice more or less at the base


def test_images_are_finite_magnitudes_in_which_blood_outshines_lung(participants: list[Participant]) -> None:
    for participant in participants:
        assert participant.spacing == SPACING
        for image in (participant.ed, participant.es):
            assert image.shape == SHAPE
            assert image.dtype == np.float32
            assert np.isfinite(image).all()
            assert image.min() >= 0
            assert np.quantile(image, 0.98) > 4 * np.quantile(image, 0.05)


def test_the_same_seed_is_the_same_participant_to_the_byte() -> None:
    first, again, other = simulate(7), simulate(7), simulate(8)
    assert first.recording.digest == again.recording.digest
    assert first.ed.tobytes() == again.ed.tobytes()
    assert first.es.tobytes() == again.es.tobytes()
    assert first.phenotypes == again.phenotypes
    assert first.recording.digest != other.recording.digest
    assert first.ed.tobytes() != other.ed.tobytes()


def test_the_left_ventricle_encloses_its_volume_and_weighs_its_mass() -> None:
    for seed in range(12):
        subject, (ed, es) = _heart(seed)
        for left, volume in ((ed, subject.volumes.lv_edv), (es, subject.volumes.lv_esv)):
            cavity = _pappus(left.r_endo, left.z_endo)
            wall = _pappus(left.r_epi, left.z_epi) - cavity
            assert cavity / 1000 == pytest.approx(volume, rel=0.01)
            assert wall / 1000 * MYOCARDIAL_DENSITY == pytest.approx(subject.volumes.lv_mass, rel=0.02)


def test_systole_shortens_and_thickens_the_left_ventricle() -> None:
    for seed in range(12):
        subject, (ed, es) = _heart(seed)
        shortening = 1 - (es.base - es.apex) / (ed.base - ed.apex)
        assert 0 < shortening < 0.25
        if subject.volumes.lv_ejected > 0.5:
            assert es.mean_wall > 1.2 * ed.mean_wall


def _heart(seed: int) -> tuple[Subject, tuple[LeftVentricle, LeftVentricle]]:
    rng = np.random.default_rng(seed)
    subject = sample_subject(rng)
    shape = sample_shape(subject.disease, rng)
    return subject, (build_ventricles(subject, shape, 0.0).left, build_ventricles(subject, shape, 1.0).left)


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
