"""The parametric heart and its images, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from models.phenotypes import PHENOTYPES
from training.simulate import Participant, simulate
from training.simulate.plan import SHAPE, SPACING


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
