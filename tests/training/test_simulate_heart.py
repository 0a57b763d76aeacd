"""The parametric heart, its images and its population, against closed forms and published tables."""

from __future__ import annotations

import numpy as np
import pytest

from models.phenotypes import PHENOTYPES
from training.simulate import Participant, simulate
from training.simulate.plan import SHAPE, SPACING
from training.simulate.population import PREVALENCES, Subject, sample_subject


@pytest.fixture(scope="module")
def participants() -> list[Participant]:
    return [simulate(seed) for seed in range(100, 120)]


@pytest.fixture(scope="module")
def population() -> list[Subject]:
    return [sample_subject(np.random.default_rng(seed)) for seed in range(4000)]


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


def test_healthy_volumes_agree_with_the_uk_biobank_reference(population: list[Subject]) -> None:
    """Means of Petersen et al. 2017: LVEDV 166|124 mL, LVEF 58|61 %, LVM 103|70 g; our people weigh a little more."""
    for sex, edv, ef, mass in (("M", 166, 58, 103), ("F", 124, 61, 70)):
        healthy = [s for s in population if s.disease.pathology == "normal" and s.person.sex == sex]
        assert np.mean([s.volumes.lv_edv for s in healthy]) == pytest.approx(edv, rel=0.08)
        assert 100 * np.mean([s.volumes.lv_ejected for s in healthy]) == pytest.approx(ef, abs=0.5)
        assert np.mean([s.volumes.lv_mass for s in healthy]) == pytest.approx(mass, rel=0.09)


def test_pathologies_come_in_their_stated_shares(population: list[Subject]) -> None:
    for pathology, share in PREVALENCES.items():
        count = sum(s.disease.pathology == pathology for s in population)
        assert count / len(population) == pytest.approx(share, abs=4 * np.sqrt(share / len(population)))


def test_both_ventricles_eject_the_same_unless_there_is_a_shunt(population: list[Subject]) -> None:
    for subject in population:
        left = subject.volumes.lv_edv - subject.volumes.lv_esv
        right = subject.volumes.rv_edv - subject.volumes.rv_esv
        if subject.disease.pathology != "RVdil" and 60 < subject.volumes.rv_edv < 480:
            assert right == pytest.approx(left, rel=0.09)


def test_dilated_hearts_are_large_on_both_sides_and_weak(population: list[Subject]) -> None:
    def median(pathology: str, attribute: str) -> float:
        return float(np.median([getattr(s.volumes, attribute) for s in population if s.disease.pathology == pathology]))

    assert median("DCM", "lv_edv") > 1.4 * median("normal", "lv_edv")
    assert median("DCM", "rv_edv") > 1.1 * median("normal", "rv_edv")
    assert median("DCM", "lv_ejected") < 0.40
