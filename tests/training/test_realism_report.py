"""The report judges by its targets, the discriminator knows what differs, the ceiling bounds what is measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from models.phenotypes import PHENOTYPES
from training.cohort import CohortError
from training.generate import generate
from training.realism.ceiling import FILE, read_ceiling, reliability, write_ceiling
from training.realism.discriminate import discriminate
from training.realism.features import features
from training.realism.real import NoRealEcgs, normal_ecgs
from training.realism.report import write_report
from training.realism.survey import Survey, survey
from training.realism.tables import Row, acdc_table, ecg_table, label_table, phenotype_table, verdicts
from training.simulate import simulate
from training.simulate.published import PETERSEN

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [(1, 1, 2, "met"), (2, 1, 2, "met"), (2.1, 1, 2, "not met"), (3, None, 2, "not met"), (3, 2, None, "met"),
     (3, None, None, ""), (np.nan, 1, 2, "not measured")],
)  # fmt: skip
def test_a_line_is_met_inside_its_target(value, low, high, verdict):
    assert Row(name="x", value=value, low=low, high=high).verdict == verdict


@pytest.fixture(scope="module")
def published_normals():
    """2,000 people whose phenotypes have exactly the published means and SDs, all measured alike."""
    row = features(simulate(5000).recording)
    sex = np.repeat(["M", "F"], 1000)
    scores = np.linspace(-1, 1, 1000)
    scores = (scores - scores.mean()) / scores.std(ddof=1)
    table = np.tile(6 + 0.5 * scores[:, None], (2, len(PHENOTYPES)))
    for symbol, of in PETERSEN.items():
        for n, one in enumerate("MF"):
            published = of["M" if one == "M" else "F"]
            column = list(PHENOTYPES).index(symbol)
            table[1000 * n : 1000 * (n + 1), column] = published.mean + published.sd * scores
    return Survey(
        groups=np.full(2000, "normal"),
        sex=sex,
        age=np.full(2000, 60.0),
        rhythms=np.full(2000, "sinus"),
        phenotypes=table,
        measured=np.arange(0, 2000, 10),
        features=[row] * 200,
        analytic=table[::10],
        unreadable=0,
        redrawn=0,
    )


def test_people_as_published_meet_every_line_about_phenotypes(published_normals):
    assert {row.verdict for row in phenotype_table(published_normals).rows} == {"met"}


def test_hearts_a_tenth_too_large_are_caught(published_normals):
    large = replace(published_normals, phenotypes=1.1 * published_normals.phenotypes)
    means = [row for row in phenotype_table(large).rows if row.name.endswith("mean")]
    assert {row.verdict for row in means} == {"not met"}
    assert "LVEDV, men: mean" in verdicts([phenotype_table(large)])[0]


def test_a_label_that_is_always_five_per_cent_high_is_caught(published_normals):
    biased = replace(published_normals, phenotypes=1.05 * published_normals.phenotypes)
    rows = {row.name: row for row in label_table(biased).rows if row.name.startswith("LVEDV")}
    assert rows["LVEDV: bias"].value == pytest.approx(5, abs=0.1)
    assert rows["LVEDV: bias"].verdict == "not met"


def test_the_shares_of_t_waves_are_counted_by_sex(published_normals):
    inverted = [
        row | {"T_V1": -0.1 if sex == "F" else 0.1}
        for row, sex in zip(published_normals.features, published_normals.sex[::10], strict=True)
    ]
    rows = {row.name: row.value for row in ecg_table(replace(published_normals, features=inverted)).rows}
    assert rows["T negative or flat in V1, women"] == 100
    assert rows["T negative or flat in V1, men"] == 0


def test_the_acdc_mixture_takes_equally_many_of_each_class(published_normals):
    groups = np.array(["normal"] * 1000 + ["DCM"] * 500 + ["HCM"] * 300 + ["MI"] * 150 + ["RVdil"] * 50)
    assert "50 participants of each" in acdc_table(replace(published_normals, groups=groups)).note


def varied(row, **shift):
    """The row with a spread of a tenth in each feature, some shifted."""
    return {name: value * (1 + 0.1 * RNG.standard_normal()) + shift.get(name, 0) for name, value in row.items()}


def test_the_discriminator_finds_the_feature_that_differs_and_nothing_where_nothing_does():
    row = features(simulate(5000).recording)
    real, alike = [varied(row) for _ in range(30)], [varied(row) for _ in range(60)]
    assert discriminate(real, alike, repeats=1).auroc < 0.65  # folds of few pull it below 0.5, never far above
    broad = discriminate(real, [varied(row, QRS=60.0) for _ in range(60)], repeats=1)
    assert broad.auroc > 0.9
    assert broad.giveaways[0].feature == "QRS" or "R peak" in broad.giveaways[0].feature  # peaks are shares of QRS
    assert "real" in str(broad.giveaways[0])


def test_a_folder_without_real_ecgs_is_named(tmp_path):
    with pytest.raises(NoRealEcgs, match="no normal ECGs"):
        normal_ecgs(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_the_reliability_is_the_share_of_variance_that_comes_back(share):
    """By construction: each prediction is the heart's part and the day's part."""
    rng = np.random.default_rng(0)
    hearts, days = rng.standard_normal((4000, 1)), rng.standard_normal((4000, 3))
    predictions = np.sqrt(share) * hearts + np.sqrt(1 - share) * days
    assert reliability(predictions) == pytest.approx(share, abs=0.03)


def test_no_calibrated_predictor_beats_its_reliability():
    """Linear and Gaussian, where E[y | x] is known: x = h + day, y = h + label noise."""
    rng = np.random.default_rng(1)
    h = rng.standard_normal((20_000, 1))
    x = h + rng.standard_normal((20_000, 2))
    y = h[:, 0] + 0.5 * rng.standard_normal(20_000)
    best = x / 2
    r2 = 1 - ((y - best[:, 0]) ** 2).mean() / y.var()
    assert r2 < reliability(best)
    assert r2 == pytest.approx(0.4, abs=0.02)  # Var f / Var y = 0.5 / 1.25
    assert reliability(best) == pytest.approx(0.5, abs=0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, silent):
    folder = tmp_path_factory.mktemp("cohort")
    generate(folder, participants=44, seed=9, processes=1, progress=silent)
    return folder


def test_a_cohort_is_surveyed_and_reported_with_every_table(folder, silent, tmp_path):
    lines = write_report(folder, tmp_path, None, 1, silent)
    text, html = (tmp_path / "report.md").read_text(), (tmp_path / "index.html").read_text()
    titles = ("Phenotypes", "Correlations", "ECGs of", "The ECG and", "Heart failure", "Label map", "Real or", "Counts")
    for title in titles:
        assert f"## {title}" in text
        assert f"<h2>{title}" in html
    assert "not measured: it takes a dozen simulated normals" in text.lower()
    assert sum(" met" in line for line in lines) == 6  # one line for each table that has targets
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".md", ".html"}


def test_a_survey_of_nothing_is_refused(silent, tmp_path):
    with pytest.raises(CohortError, match="no cohort"):
        survey(tmp_path, 1, silent)


def test_the_ceiling_is_written_into_the_cohort_and_read_beside_a_training(folder, silent):
    ceilings = write_ceiling(folder, 44, 2, 1, silent)
    assert {one.symbol for one in ceilings if one.group == "all"} == set(PHENOTYPES)
    assert all(0 <= one.reliability <= 1 and one.ceiling <= one.label for one in ceilings)
    stored = read_ceiling(folder)
    assert stored["all", "LVM"] == next(one.ceiling for one in ceilings if (one.group, one.symbol) == ("all", "LVM"))
    assert json.loads((folder / FILE).read_text())[0]["draws"] == 2


def test_a_cohort_without_a_measured_ceiling_has_none(tmp_path):
    assert read_ceiling(tmp_path) == {}
