"""Phases, place, volumes and faults of a short-axis cine: phantoms, simulated hearts, real hearts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.phenotypes import derive
from tests.training import real_heart
from tests.training.real_labels import Contoured, patient1_cine, patient1_labels, sunnybrook
from training.cine import Cine
from training.cmr import Phases, UndetectedPhases, detect, heart_centre
from training.gate import faults
from training.label_maps import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY, measured, volumes_of
from training.simulate.heart import heart_of
from training.simulate.imaging import cine as simulated
from training.simulate.imaging import measure, short_axis

SPACING = (10.0, 2.5, 2.5)
GIVEN = Phases(ed=0, es=1, how="given")


def apart(one: int, other: int, phases: int) -> int:
    """Phases between two phases, around the beat."""
    return min((one - other) % phases, (other - one) % phases)


def phantom(es: int, centre: tuple[float, float] = (40.0, 24.0), phases: int = 30) -> tuple[Cine, np.ndarray]:
    """A ring whose cavity is smallest at phase `es`, wherever that is in the beat, beside a larger thing at rest."""
    rng = np.random.default_rng(0)
    time = np.arange(phases)
    squeeze = np.where(time <= es, np.sin(np.pi / 2 * time / es), np.cos(np.pi / 2 * (time - es) / (phases - es)))
    rows, columns = np.indices((64, 64))
    distance = 2.5 * np.hypot(rows - centre[0], columns - centre[1])
    inner = (25 - 9 * squeeze**2)[:, None, None, None] * np.array([0.6, 1.0, 1.0, 0.8])[None, :, None, None]
    labels = np.select([distance < inner, distance < np.sqrt(inner**2 + 800)], [LV_CAVITY, LV_MYOCARDIUM], 0)
    liver = np.hypot(rows - 10, columns - 50) < 12
    frames = np.array([20.0, 200.0, 60.0])[labels] + 150 * liver + 4 * rng.standard_normal(labels.shape)
    return Cine(frames=frames.astype(np.float32), spacing=SPACING, cycle=None), labels.astype(np.uint8)


def three_classes(labels: np.ndarray) -> np.ndarray:
    """Without the atria of the simulator."""
    return np.where(labels > RV_CAVITY, 0, labels).astype(np.uint8)


@pytest.fixture(scope="module")
def cines() -> dict[int, tuple[Cine, np.ndarray]]:
    scans = {seed: simulated(heart_of(seed)) for seed in range(300, 305)}
    return {
        seed: (Cine(frames=scan.image, spacing=scan.spacing, cycle=None), three_classes(scan.labels))
        for seed, scan in scans.items()
    }


@pytest.fixture(scope="module")
def contoured(shared_data: Path) -> list[Contoured]:
    return list(sunnybrook(shared_data))


@pytest.fixture(scope="module")
def fitted(shared_data: Path) -> np.ndarray:
    return patient1_labels(shared_data, (10.0, 2.0, 2.0))


@pytest.mark.parametrize("es", [9, 11, 18, 21])
def test_end_systole_is_found_where_it_is_and_not_in_the_middle_of_the_beat(es: int) -> None:
    cine, labels = phantom(es)
    by_volume, by_motion = detect(cine, labels), detect(cine)
    assert (by_volume.ed, by_volume.es) == (0, es)
    assert apart(by_motion.ed, 0, 30) <= 1
    assert apart(by_motion.es, es, 30) <= 1
    assert by_volume.how != by_motion.how


def test_a_segmentation_model_is_asked_for_labels() -> None:
    cine, labels = phantom(12)
    asked = []

    def segmenter(frames: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
        asked.append((frames.shape, spacing))
        return np.where(frames > 120, LV_CAVITY, 0).astype(np.uint8) * (labels > 0)

    assert detect(cine, segmenter=segmenter).es == 12
    assert asked == [(cine.frames.shape, SPACING)]


def test_phases_that_nobody_labelled_are_not_end_systole() -> None:
    cine, labels = phantom(12)
    labels[[n for n in range(30) if n not in (1, 13)]] = 0
    assert (detect(cine, labels).ed, detect(cine, labels).es) == (1, 13)


def test_a_cine_that_does_not_tell_its_phases_is_refused() -> None:
    cine, labels = phantom(12)
    labels[1:] = 0
    with pytest.raises(UndetectedPhases, match="two volumes"):
        detect(cine, labels)
    with pytest.raises(UndetectedPhases, match="few"):
        detect(replace(cine, frames=cine.frames[:3]))
    with pytest.raises(UndetectedPhases, match="Nothing moves"):
        detect(replace(cine, frames=np.zeros_like(cine.frames)))
    for late in (9, 14, 20):
        with pytest.raises(UndetectedPhases, match="R wave"):
            detect(replace(cine, frames=np.roll(cine.frames, late, axis=0)))


def test_motion_finds_both_phases_of_simulated_hearts(cines: dict[int, tuple[Cine, np.ndarray]]) -> None:
    for cine, labels in cines.values():
        volumes = (labels == LV_CAVITY).sum((1, 2, 3))
        found, smallest = detect(cine), np.flatnonzero(volumes == volumes.min())
        assert apart(found.ed, 0, 25) <= 2
        assert min(apart(found.es, int(phase), 25) for phase in smallest) <= 1


def test_the_heart_is_where_the_labels_or_the_motion_say(cines: dict[int, tuple[Cine, np.ndarray]]) -> None:
    cine, labels = phantom(12, centre=(44.0, 20.0))
    assert heart_centre(cine, labels) == pytest.approx((44.0, 20.0), abs=0.1)
    assert heart_centre(cine) == pytest.approx((44.0, 20.0), abs=1.5)
    for cine, labels in cines.values():
        assert heart_centre(cine) == pytest.approx(heart_centre(cine, labels), abs=6)  # 15 mm, of 160 that are kept
        shifted = replace(cine, frames=np.pad(cine.frames, ((0, 0), (0, 0), (30, 0), (0, 20))))
        assert heart_centre(shifted)[0] == pytest.approx(heart_centre(cine)[0] + 30, abs=1)
    with pytest.raises(UndetectedPhases, match="neither ventricle"):
        heart_centre(cine, np.zeros_like(labels))


def test_a_cuboid_has_the_volume_of_its_edges_and_muscle_weighs_more_than_water() -> None:
    labels = np.zeros((4, 10, 10), np.uint8)
    labels[1:3, 2:6, 2:8], labels[0, :2], labels[3, 5:, 5:] = LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY
    found = volumes_of(labels, (8.0, 1.5, 1.25))
    voxel = 8.0 * 1.5 * 1.25 / 1000
    assert found == pytest.approx({"LV": 48 * voxel, "LVM": 20 * voxel * 1.05, "RV": 25 * voxel})


def test_simulated_scans_are_measured_as_the_simulator_measures_them() -> None:
    scan = short_axis(heart_of(300))
    assert measured(three_classes(scan.labels), scan.spacing, 0, 1) == pytest.approx(measure(scan))


def test_what_is_not_labelled_is_not_measured_as_nothing() -> None:
    _, labels = phantom(12)
    found = measured(labels, SPACING, 0, 12)
    assert np.isnan([found["RVEDV"], found["RVESV"]]).all()
    assert np.isfinite([found["LVEDV"], found["LVESV"], found["LVM"], found["LVWT"]]).all()


def test_the_volumes_of_sunnybrook_are_those_of_its_contours(contoured: list[Contoured]) -> None:
    """Published as contour area times slice step."""
    assert len(contoured) == 3
    for subject in contoured:
        phases = detect(subject.cine, subject.labels)
        found = measured(subject.labels, subject.cine.spacing, phases.ed, phases.es)
        assert (phases.ed, phases.es) == (subject.ed, subject.es)
        assert found["LVEDV"] == pytest.approx(subject.edv, rel=0.01)
        assert found["LVESV"] == pytest.approx(subject.esv, rel=0.01)
        assert found["LVM"] == pytest.approx(subject.mass, rel=0.01)


def test_motion_finds_the_contoured_phases_of_sunnybrook_within_two(contoured: list[Contoured]) -> None:
    for subject in contoured:
        found = detect(subject.cine)
        assert apart(found.ed, subject.ed, 20) <= 2
        assert apart(found.es, subject.es, 20) <= 1
        off = np.subtract(heart_centre(subject.cine), heart_centre(subject.cine, subject.labels))
        off *= subject.cine.spacing[1:]
        assert np.hypot(*off) < 40  # mm, from the left ventricle alone; the right one lies beside it


def test_the_heart_of_biv_me_has_its_volumes_and_phases(fitted: np.ndarray, shared_data: Path) -> None:
    cine = patient1_cine(shared_data)
    phases = detect(cine, fitted)
    found = measured(fitted, (10.0, 2.0, 2.0), phases.ed, phases.es)
    assert (phases.ed, phases.es) == (24, real_heart.END_SYSTOLE)
    expected = {"LVEDV": 179.0, "LVESV": 72.0, "LVM": 131.0, "RVEDV": 170.1, "RVESV": 76.7}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=0.03)
    by_motion = detect(cine)
    assert apart(by_motion.ed, 24, 25) <= 1
    assert apart(by_motion.es, 9, 25) <= 1


def test_a_real_segmentation_has_no_faults(fitted: np.ndarray) -> None:
    assert faults(fitted, (10.0, 2.0, 2.0), Phases(ed=24, es=9, how="given")) == []


def test_clean_simulated_label_maps_have_no_faults() -> None:
    for seed in range(300, 320):
        scan = short_axis(heart_of(seed))
        assert faults(three_classes(scan.labels), scan.spacing, GIVEN) == [], seed


def empty_slice(labels: np.ndarray) -> np.ndarray:
    labels[:, middle(labels)] = 0
    return labels


def empty_slice_at_end_systole(labels: np.ndarray) -> np.ndarray:
    labels[1, middle(labels)] = 0
    return labels


def no_apex(labels: np.ndarray) -> np.ndarray:
    labels[:, : middle(labels)] = 0
    return labels


def hole(labels: np.ndarray) -> np.ndarray:
    k = middle(labels)
    row, column = np.argwhere(labels[0, k] == LV_CAVITY).mean(0).astype(int)
    labels[0, k - 1 : k + 2, row - 2 : row + 2, column - 2 : column + 2] = 0
    return labels


def swapped(one: int, other: int) -> Callable[[np.ndarray], np.ndarray]:
    names = np.arange(4, dtype=np.uint8)
    names[[one, other]] = other, one
    return lambda labels: names[labels]


def without(class_: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda labels: np.where(labels == class_, 0, labels)


def cut_field(labels: np.ndarray) -> np.ndarray:
    first = np.flatnonzero((labels > 0).any((0, 1, 2)))[0]
    return labels[..., first + 3 :]


def stray(labels: np.ndarray) -> np.ndarray:
    labels[:, :4, 2:22, 2:22] = LV_CAVITY
    return labels


def atria_kept(labels: np.ndarray) -> np.ndarray:
    labels[:, -1, 10, 10] = 4
    return labels


def middle(labels: np.ndarray) -> int:
    shown = np.flatnonzero((labels[1] == LV_CAVITY).any((1, 2)))
    return int(shown[len(shown) // 2])


PLANTED = {
    "missing in slices": empty_slice,
    "end-systole the left ventricle is missing": empty_slice_at_end_systole,
    "apex is not covered|slices are missing": no_apex,
    "holes": hole,
    "border is wall": swapped(LV_CAVITY, LV_MYOCARDIUM),
    "% of the cavity's border is wall": swapped(LV_CAVITY, RV_CAVITY),
    "classes are swapped": swapped(LV_MYOCARDIUM, RV_CAVITY),
    "no right ventricle": without(RV_CAVITY),
    "no left ventricular wall": without(LV_MYOCARDIUM),
    "field of view": cut_field,
    "apart from the rest": stray,
    "Classes": atria_kept,
}


@pytest.mark.parametrize("sentence", PLANTED)
def test_every_planted_fault_of_the_labels_is_named(sentence: str) -> None:
    for seed in range(300, 305):
        scan = short_axis(heart_of(seed))
        found = faults(PLANTED[sentence](three_classes(scan.labels).copy()), scan.spacing, GIVEN)
        assert any(part in fault for fault in found for part in sentence.split("|")), (seed, found)


@pytest.mark.parametrize("factors", [(1, 2, 2), (1, 0.5, 0.5), (2, 1, 1), (0.5, 1, 1), (0.1, 0.4, 0.4), (0.25, 4, 1)])
def test_every_planted_spacing_is_found(factors: tuple[float, float, float]) -> None:
    for seed in range(300, 305):
        labels = three_classes(short_axis(heart_of(seed)).labels)
        spacing = tuple(mm * factor for mm, factor in zip(SPACING, factors, strict=True))
        assert faults(labels, spacing, GIVEN), seed


def test_every_planted_phase_is_found(cines: dict[int, tuple[Cine, np.ndarray]]) -> None:
    for cine, labels in cines.values():
        right = detect(cine, labels)
        assert faults(labels, SPACING, right) == []
        for ed, es in ((right.es, right.ed), (right.ed, 20), (right.ed, right.es - 4), (5, right.es)):
            assert faults(labels, SPACING, Phases(ed=ed, es=es, how="given")), (ed, es)


def test_muscle_that_changes_its_mass_is_named() -> None:
    scan = short_axis(heart_of(300))
    labels = three_classes(scan.labels)
    outside = (labels[1] == 0) & (np.roll(labels[1] == LV_MYOCARDIUM, 3, axis=1))
    labels[1][outside] = LV_MYOCARDIUM
    assert any("weighs" in fault for fault in faults(labels, scan.spacing, GIVEN))


def test_the_ejection_fraction_agrees_with_that_of_the_contract() -> None:
    labels = three_classes(short_axis(heart_of(300)).labels)
    found = {name: np.asarray(value) for name, value in measured(labels, SPACING, 0, 1).items()}
    assert 5 < float(derive(found, 70.0)["LVEF"]) < 90
