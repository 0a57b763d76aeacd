"""The simulated population, against published tables and what a heart can be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest, spearmanr

from models.ecg.recording import Sex
from training.simulate.anatomy import build_ventricles, sample_shape
from training.simulate.disease import Disease
from training.simulate.healthy import EJECTION_ERROR, Chambers, sample_healthy
from training.simulate.pathology import fall_ill, weaker
from training.simulate.person import Person
from training.simulate.population import ImpossibleHeart, Subject, Volumes, mean_wall, sample_subject
from training.simulate.published import ACDC, ACDC_SPEARMAN, MUSIC, MUSIC_SHARE_OF_LVEF, PETERSEN, PETERSEN_INDEXED
from training.simulate.setting import ACDC as ACDC_SETTING
from training.simulate.setting import ENRICHED, HEART_FAILURE, SETTINGS, UKB, Setting

HEALTHY = Volumes(lv_edv=160, lv_esv=66, lv_mass=100, rv_edv=174, rv_esv=80, la=70, ra=80)


def drawn(setting: Setting, count: int, seed: int = 1) -> list[Subject]:
    rng = np.random.default_rng(seed)
    return [sample_subject(rng, setting) for _ in range(count)]


def measured(subjects: list[Subject]) -> dict[str, np.ndarray]:
    rows = [
        {
            "LVEDV": v.lv_edv,
            "LVESV": v.lv_esv,
            "LVSV": v.lv_edv - v.lv_esv,
            "LVEF": 100 * (v.lv_edv - v.lv_esv) / v.lv_edv,
            "LVM": v.lv_mass,
            "RVEDV": v.rv_edv,
            "RVESV": v.rv_esv,
            "RVSV": v.rv_edv - v.rv_esv,
            "RVEF": 100 * (v.rv_edv - v.rv_esv) / v.rv_edv,
            "LAV": v.la,
        }
        for v in (subject.volumes for subject in subjects)
    ]
    return {symbol: np.array([row[symbol] for row in rows]) for symbol in rows[0]}


@pytest.fixture(scope="module")
def enriched() -> list[Subject]:
    return drawn(ENRICHED, 8000)


@pytest.fixture(scope="module")
def heart_failure() -> list[Subject]:
    return drawn(HEART_FAILURE, 4000)


@pytest.fixture(scope="module")
def acdc() -> list[Subject]:
    return drawn(ACDC_SETTING, 3000)


def normals(subjects: list[Subject], sex: Sex) -> list[Subject]:
    return [s for s in subjects if s.disease.pathology == "normal" and s.person.sex == sex]


@pytest.mark.parametrize("sex", ["M", "F"])
def test_normals_have_the_means_and_spreads_of_uk_biobank(enriched: list[Subject], sex: Sex) -> None:
    """Petersen et al. 2017; counting on the label map adds a few per cent to the spreads, most to stroke volumes."""
    healthy = normals(enriched, sex)
    values, area = measured(healthy), np.array([s.person.bsa for s in healthy])
    for table, scale in ((PETERSEN, np.ones(len(area))), (PETERSEN_INDEXED, area)):
        for symbol, by_sex in table.items():
            target = by_sex[sex]
            assert (values[symbol] / scale).mean() == pytest.approx(target.mean, rel=0.04), symbol
            error = EJECTION_ERROR if symbol.endswith("EF") else 0.0
            assert np.hypot((values[symbol] / scale).std(), error) == pytest.approx(target.sd, rel=0.08), symbol


def test_volumes_of_normals_fall_with_age_and_mass_in_men_only(enriched: list[Subject]) -> None:
    """Abstract of Petersen et al. 2017; LVEF is static."""
    for sex, mass_falls in (("M", True), ("F", False)):
        healthy = normals(enriched, sex)
        age = np.array([s.person.age for s in healthy])
        slope = {k: np.polyfit(age, v / v.mean(), 1)[0] for k, v in measured(healthy).items()}
        assert slope["LVEDV"] < -0.002
        assert slope["RVEDV"] < -0.002
        assert abs(slope["LVEF"]) < 0.0012
        assert bool(slope["LVM"] < -0.0015) == mass_falls


def test_the_volumes_of_normals_are_skewed_like_a_log_normal(enriched: list[Subject]) -> None:
    logs = np.log(measured(normals(enriched, "M"))["LVEDV"])
    assert kstest((logs - logs.mean()) / logs.std(), "norm").statistic < 0.03


@pytest.mark.parametrize("name", SETTINGS)
def test_pathologies_and_sexes_come_in_their_stated_shares(name: str) -> None:
    setting, count = SETTINGS[name], 3000
    subjects = drawn(setting, count, seed=5)
    for pathology, share in setting.pathologies.items():
        seen = sum(s.disease.pathology == pathology for s in subjects)
        assert seen / count == pytest.approx(share, abs=4 * np.sqrt(share / count))
    assert np.mean([s.person.sex == "M" for s in subjects]) == pytest.approx(setting.men, abs=0.04)


def test_nine_in_ten_of_a_biobank_are_normal() -> None:
    assert UKB.pathologies["normal"] > 0.9


def test_both_ventricles_eject_the_same_unless_there_is_a_shunt_or_a_leak(enriched: list[Subject]) -> None:
    for subject in enriched:
        left = subject.volumes.lv_edv - subject.volumes.lv_esv
        right = subject.volumes.rv_edv - subject.volumes.rv_esv
        if subject.disease.pathology not in ("RVdil", "HCM"):
            assert right == pytest.approx(left, rel=0.10)


def test_heart_failure_has_the_ejection_fractions_of_music(heart_failure: list[Subject]) -> None:
    ejected = measured(heart_failure)["LVEF"]
    assert ejected.mean() == pytest.approx(MUSIC["LVEF"].mean, abs=1.5)
    assert ejected.std() == pytest.approx(MUSIC["LVEF"].sd, abs=1.0)
    assert (ejected <= 35).mean() == pytest.approx(MUSIC_SHARE_OF_LVEF[35.0], abs=0.05)
    assert (ejected < 50).mean() == pytest.approx(MUSIC_SHARE_OF_LVEF[50.0], abs=0.05)
    blocked = np.mean([not s.disease.left_bundle for s in heart_failure])
    assert 0.22 < blocked < 0.34


def test_the_class_tells_little_of_the_ejection_fraction_of_a_failing_heart(heart_failure: list[Subject]) -> None:
    ejected, classes = measured(heart_failure)["LVEF"], np.array([s.disease.pathology for s in heart_failure])
    within = sum(ejected[classes == c].var() * (classes == c).mean() for c in set(classes))
    assert 1 - within / ejected.var() < 0.30


def test_what_the_ecg_sees_of_dilated_hearts_is_only_partly_their_ejection_fraction(
    heart_failure: list[Subject],
) -> None:
    dilated = [s for s in heart_failure if s.disease.pathology == "DCM"]
    correlation = spearmanr([s.disease.conduction for s in dilated], [s.volumes.lv_ejected for s in dilated]).statistic
    assert 0.2 < correlation < 0.7


@pytest.mark.parametrize("pair", [("LVEDV", "LVEF"), ("LVEDV", "LVM"), ("LVEDV", "RVEDV")])
def test_five_equal_classes_correlate_as_in_acdc(acdc: list[Subject], pair: tuple[str, str]) -> None:
    values = measured(acdc)
    correlation = spearmanr(values[pair[0]], values[pair[1]]).statistic
    assert correlation == pytest.approx(ACDC_SPEARMAN[pair], abs=0.15)


@pytest.mark.parametrize("pathology", ["DCM", "HCM", "MI", "RVdil"])
def test_advanced_disease_reaches_the_group_means_of_acdc(pathology: str) -> None:
    """Relative to the normals of the same people, whose hearts are a little smaller than in UK Biobank."""
    advanced = replace(ACDC_SETTING, pathologies={pathology: 1.0}, severity=(30.0, 10.0))
    ill = measured(drawn(advanced, 1500))
    well = measured(drawn(replace(ACDC_SETTING, pathologies={"normal": 1.0}), 1500))
    for symbol in ("LVEDV", "RVEDV", "LVM"):
        ratio = ACDC[pathology][symbol].mean / ACDC["normal"][symbol].mean
        assert ill[symbol].mean() / well[symbol].mean() == pytest.approx(ratio, rel=0.22), symbol
    for symbol in ("LVEF", "RVEF"):
        assert ill[symbol].mean() == pytest.approx(ACDC[pathology][symbol].mean, abs=7), symbol


def test_a_large_left_atrium_and_age_fibrillate_more(enriched: list[Subject]) -> None:
    old = [s for s in enriched if s.person.age > 72]
    young = [s for s in enriched if s.person.age < 52]
    assert np.mean([s.rhythm == "AF" for s in old]) > 2 * np.mean([s.rhythm == "AF" for s in young])
    fibrillating = np.mean([s.volumes.la for s in enriched if s.rhythm == "AF"])
    assert fibrillating > 1.15 * np.mean([s.volumes.la for s in enriched if s.rhythm != "AF"])


def test_sinus_modifiers_are_found_in_sinus_rhythm_only(enriched: list[Subject]) -> None:
    for subject in enriched:
        assert subject.rhythm == "sinus" or not (subject.first_degree or subject.atrial_ectopy)


def test_both_forms_of_hypertrophic_cardiomyopathy_occur(enriched: list[Subject]) -> None:
    variants = [s.disease.variant for s in enriched if s.disease.pathology == "HCM"]
    assert set(variants) == {"septal", "apical"}
    assert np.mean([variant == "apical" for variant in variants]) == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lv_esv": 10.0}, "LVEF of 94"),
        ({"lv_esv": 170.0}, "left ventricle would eject"),
        ({"rv_esv": 174.0}, "right ventricle would eject"),
        ({"lv_mass": 25.0, "lv_edv": 500.0, "lv_esv": 250.0}, "make a wall of"),
        ({"lv_mass": 580.0, "lv_edv": 60.0, "lv_esv": 20.0, "rv_edv": 100.0}, "make a wall of"),
        ({"rv_edv": 690.0, "rv_esv": 500.0}, "no room"),
        ({"la": 900.0}, "LAV of 900"),
    ],
)
def test_impossible_hearts_are_refused_by_name(change: dict[str, float], words: str) -> None:
    with pytest.raises(ImpossibleHeart, match=words):
        replace(HEALTHY, **change)


def test_impossible_hearts_are_drawn_again_and_counted() -> None:
    """A setting of the gravest disease only, in which some draws are impossible."""
    gravest = replace(HEART_FAILURE, pathologies={"DCM": 1.0}, severity=(400.0, 1.0))
    redrawn = [s.redrawn for s in drawn(gravest, 3000)]
    assert 0 < np.mean(redrawn) < 0.2
    assert max(redrawn) <= gravest.max_redraws
    with pytest.raises(ImpossibleHeart, match="1 impossible hearts in a row"):
        drawn(replace(gravest, max_redraws=0), 3000)


def test_hardly_any_heart_is_drawn_again(enriched: list[Subject]) -> None:
    assert sum(s.redrawn for s in enriched) <= 8


def test_a_setting_whose_shares_are_not_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"add up to 0\.900"):
        replace(ENRICHED, pathologies={"normal": 0.9})
    with pytest.raises(ValueError, match="no class"):
        replace(ENRICHED, pathologies={"norm": 1.0})  # type: ignore[dict-item]


def test_the_quick_wall_thickness_is_that_of_the_anatomy() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        person = Person(sex="M", age=60.0, height=176.0, weight=78.0)
        subject = Subject(
            person=person, disease=Disease(pathology="normal", severity=0.0), volumes=HEALTHY, heart_rate=65.0
        )
        built = build_ventricles(subject, sample_shape(subject.disease, rng), 0.0).left.mean_wall
        assert mean_wall(HEALTHY.lv_edv, HEALTHY.lv_mass) == pytest.approx(built, rel=0.1)


def test_ejection_is_weakened_on_the_logistic_scale() -> None:
    assert weaker(0.6, 0.0) == pytest.approx(0.6)
    assert weaker(0.5, np.log(3)) == pytest.approx(0.25)
    assert 0 < weaker(0.1, 5.0) < 0.1


def test_a_normal_heart_is_left_as_it_was_drawn() -> None:
    person = Person(sex="F", age=60.0, height=163.0, weight=62.0)
    healthy: Chambers = sample_healthy(person, np.random.default_rng(4))
    same, disease = fall_ill(healthy, "normal", ENRICHED, np.random.default_rng(5))
    assert same == healthy
    assert (disease.pathology, disease.severity) == ("normal", 0.0)
