"""A checkpoint is measured on its own test part alone, again as in training, and told whole."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import r2_score

from tests.training import hearts
from training.assessment import assess
from training.checkpoint import Checkpoint
from training.config import COVARIATES
from training.evaluation_report import write_evaluation
from training.golden import Examples
from training.held_out import OtherPeople, OtherPreprocessing, held_out
from training.manifest import SIMULATED
from training.train import train


@pytest.fixture(scope="module")
def held(toy_checkpoint, toy_cohort, silent):
    return held_out(toy_checkpoint, toy_cohort, silent)


def test_what_is_measured_again_is_what_training_measured(held, toy_checkpoint):
    found = assess(toy_checkpoint, held, {("all", "LVM"): 0.9})
    trained = {(row.group, row.symbol): row for row in toy_checkpoint.evaluation.performance}
    for row in found.of_group("all"):
        one = row.performance
        assert one.r2 == pytest.approx(trained["all", one.symbol].r2)
        truth, point = held.test.measured(one.symbol), found.points[one.symbol]
        assert one.r2 == pytest.approx(r2_score(truth, point))
        assert one.ceiling == (0.9 if one.symbol == "LVM" else None)
    assert found.groups[0] == "all"
    np.testing.assert_array_equal(held.train_truth.shape[1], 12)


def test_another_cohort_or_split_is_refused(toy_checkpoint, toy_cohort, silent, tmp_path):
    others = hearts.written(tmp_path, [hearts.entry(seed) for seed in range(100, 160)])
    with pytest.raises(OtherPeople, match="the cohort has digest"):
        held_out(toy_checkpoint, others, silent)
    recipe = replace(toy_checkpoint.recipe, split=replace(toy_checkpoint.recipe.split, seed=9))
    with pytest.raises(OtherPeople, match="the split has digest"):
        held_out(replace(toy_checkpoint, recipe=recipe), toy_cohort, silent)


def test_another_preprocessing_is_refused(toy_checkpoint, toy_cohort, silent):
    shown = toy_checkpoint.examples
    other = Examples(**{**shown.__dict__, "tensors": shown.tensors * np.float32(1.01)})
    with pytest.raises(OtherPreprocessing, match="Evaluate with the version that trained it"):
        held_out(replace(toy_checkpoint, examples=other), toy_cohort, silent)


def test_the_report_holds_every_phenotype_and_stands_alone(toy_run, toy_checkpoint, toy_cohort, silent, tmp_path):
    saved = Checkpoint.load(toy_run / "checkpoint.pt")
    told = write_evaluation(saved, toy_cohort, tmp_path, silent)
    text, page = (tmp_path / "report.md").read_text(), (tmp_path / "index.html").read_text()
    assert all(f"- {line}" in text for line in told)
    for row in toy_checkpoint.evaluation.performance:
        if row.group == "all":
            assert f"| {row.symbol}, {row.unit} | {row.r2:.2f} (" in text
    assert "Not a medical device" in text
    assert "Not a medical device" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert sorted(re.findall(r"\((plot-\d\.png)\)", text)) == pictures
    assert page.count("data:image/png;base64,") == len(pictures)


def test_simulated_hearts_are_called_so(toy_checkpoint, toy_cohort, silent, tmp_path):
    for source, said in ((SIMULATED, True), ("training.importing", False)):
        manifest = toy_cohort.manifest.model_copy(update={"source": source})
        write_evaluation(toy_checkpoint, replace(toy_cohort, manifest=manifest), tmp_path, silent)
        for name in ("report.md", "index.html"):
            assert ("Simulated hearts" in (tmp_path / name).read_text()) == said


def test_the_baseline_of_covariates_alone_is_measured_too(toy_cohort, run, silent, tmp_path):
    heads = replace(hearts.TINY.heads, ecg=False, covariates=COVARIATES)
    checkpoint = train(toy_cohort, tmp_path, replace(hearts.TINY, heads=heads), run)
    found = assess(checkpoint, held_out(checkpoint, toy_cohort, silent), {})
    assert found.neighbours is None
    assert len(found.of_group("all")) == 12
