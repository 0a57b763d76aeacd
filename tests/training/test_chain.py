"""The whole chain by its commands, from nothing to a bundle that a worker serves, on one process and on two."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from models.bundle import Bundle
from models.phenotypes import PHENOTYPES
from models.runtime import Model
from tests.training import hearts
from training.__main__ import app
from training.checkpoint import Checkpoint
from training.cohort import CohortError, load
from training.config import Anchor, Recipe, Teacher, read_recipe
from training.split import labelled, split
from training.train import train

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
STAGES = {"masked", "teachers", "contrast", "heads"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    options = ["--recipe", str(RECIPES / "tiny.toml"), "--participants", "80", "--processes", "1", "--threads", "1"]
    out = ["--work", str(folder / "work"), "--out", str(folder / "artifacts"), "--version", "9.9.9"]
    result = CliRunner().invoke(app, ["demo", *options, *out])
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_one_command_simulates_trains_every_stage_measures_and_exports_what_a_worker_serves(built):
    folder, said = built
    bundle = Bundle.open(folder / "artifacts" / "ecg2cmr-tiny" / "9.9.9")
    assert set(bundle.manifest.training["stages"]) == STAGES
    assert bundle.manifest.simulated
    for precision in ("fp32", "int8", "fp16"):
        model = Model.load(bundle, provider="cpu", threads=1, precision=precision)
        (answer,) = model.read([load(folder / "work" / "cohort").recording(0)])
        assert {estimate.symbol for estimate in answer.estimates} | {one.symbol for one in answer.abstained}
    assert (folder / "work" / "evaluation" / "index.html").stat().st_size > 10_000
    assert "R2 on the test split, all: LVEDV" in said


def test_the_manifest_of_a_bundle_is_a_recipe_that_gives_the_same_weights_again(built, tmp_path, run):
    folder, _ = built
    manifest = folder / "artifacts" / "ecg2cmr-tiny" / "9.9.9" / "manifest.json"
    torch.set_num_threads(1)
    again = train(load(folder / "work" / "cohort"), tmp_path, read_recipe(manifest), run)
    first = Checkpoint.load(folder / "work" / "checkpoint.pt")
    assert all(torch.equal(again.network[name], value) for name, value in first.network.items())
    assert again.evaluation == first.evaluation


def test_recipes_that_differ_in_the_heads_share_the_stages_before_them(toy_cohort, tmp_path, run):
    for hidden in (16, 8):
        train(toy_cohort, tmp_path, replace(hearts.TINY, heads=replace(hearts.TINY.heads, hidden=hidden)), run)
    names = sorted(path.name.split("-")[0] for path in (tmp_path / "stages").iterdir())
    assert names == ["contrast", "heads", "heads", "teachers"]


def test_labels_that_may_not_be_read_do_not_even_move_the_scale_of_the_targets(toy_cohort, tmp_path, run):
    split = replace(hearts.TINY.split, labels=0.5)
    recipe = replace(hearts.TINY, split=split, teacher=Teacher(by="phenotypes"))
    one = train(toy_cohort, tmp_path / "one", recipe, run)
    entries = [hearts.entry(seed) for seed in range(len(toy_cohort))]
    read = {name for name in toy_cohort.participants if _readable(name, toy_cohort, recipe)}
    spoilt = [e if e.participant in read else replace(e, phenotypes=e.phenotypes * 1.01) for e in entries]
    other = train(hearts.written(tmp_path / "spoilt", spoilt), tmp_path / "other", recipe, run)
    assert 0 < len(read) < len(entries)
    assert torch.equal(one.log_mean, other.log_mean)


def _readable(name: str, cohort, recipe: Recipe) -> bool:
    parts = split(cohort.participants.tolist(), recipe.split)
    return name not in parts["train"] or name in labelled(parts["train"], recipe.split)


def test_any_number_of_anchors_is_trained(tmp_path, run):
    entries = [hearts.entry(seed) for seed in range(40)]
    third = [replace(e, volumes={**e.volumes, "lge": e.volumes["ed"] // 2}) for e in entries]
    anchors = tuple(Anchor(name=name) for name in ("ed", "es", "lge"))
    contrast = replace(hearts.TINY.contrast, anchors=anchors, between=0.5)
    cohort = hearts.written(tmp_path / "cohort", third, anchors=("ed", "es", "lge"))
    measured = train(cohort, tmp_path / "run", replace(hearts.TINY, contrast=contrast), run).evaluation.retrieval
    assert {row.gallery for row in measured if row.query == "ecg"} == {"ed", "es", "lge"}


def test_the_baseline_of_covariates_alone_runs_no_stage_but_the_heads(toy_cohort, tmp_path, run):
    heads = replace(hearts.TINY.heads, ecg=False, covariates=("age", "sex", "height", "weight"))
    checkpoint = train(toy_cohort, tmp_path, replace(hearts.TINY, heads=heads), run)
    assert set(checkpoint.provenance["stages"]) == {"heads"}
    assert not checkpoint.evaluation.retrieval


def test_half_precision_trains_to_finite_figures(toy_cohort, tmp_path, run):
    checkpoint = train(toy_cohort, tmp_path, hearts.TINY, replace(run, precision="bf16"))
    assert all(np.isfinite(row.r2) for row in checkpoint.evaluation.performance)


@pytest.mark.slow
def test_two_processes_train_one_network(toy_cohort, tmp_path):
    options = ["--recipe", str(RECIPES / "tiny.toml"), "--threads", "1", "--device", "cpu", "--work", str(tmp_path)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "--no-python"]
    command = [*torchrun, sys.executable, "-m", "training", "train", str(toy_cohort.folder), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    checkpoint = Checkpoint.load(tmp_path / "checkpoint.pt")
    assert checkpoint.provenance["processes"] == 2
    assert set(checkpoint.provenance["stages"]) == STAGES
    assert done.stdout.count("R2 on the test split, all") == 1  # the first process talks


def folders(tmp_path) -> set[str]:
    return {path.name for path in (tmp_path / "stages").iterdir()}


def test_whatever_changes_who_is_trained_on_changes_the_stages(toy_cohort, tmp_path, run):
    """A longer minimum leaves visits out, another split seed deals again, fewer labels change the heads alone."""
    short = hearts.entry(99)
    signal = short.recording.signal[:, : 8 * 500]
    entries = [
        *(hearts.entry(seed) for seed in range(60)),
        replace(short, recording=replace(short.recording, signal=signal)),
    ]
    cohort = hearts.written(tmp_path / "cohort", entries)
    train(cohort, tmp_path, hearts.TINY, run)
    first = folders(tmp_path)
    fewer = replace(hearts.TINY, split=replace(hearts.TINY.split, labels=0.5), teacher=Teacher(by="masked"))
    for recipe in (
        replace(hearts.TINY, min_duration=9.0),
        replace(hearts.TINY, split=replace(hearts.TINY.split, seed=7)),
        fewer,
    ):
        before = folders(tmp_path)
        train(cohort, tmp_path, recipe, run)
        made = {name.split("-")[0] for name in folders(tmp_path) - before}
        assert made == {"teachers", "contrast", "heads"}
    before = folders(tmp_path)
    train(cohort, tmp_path, replace(fewer, split=replace(fewer.split, labels=0.4)), run)
    assert {name.split("-")[0] for name in folders(tmp_path) - before} == {"heads"}
    assert first <= folders(tmp_path)


def test_a_phenotype_that_nobody_of_a_part_has_is_refused_before_anything_is_trained(tmp_path, run):
    """LAV is not measured on short-axis images: a cohort of these alone lacks it."""
    column = list(PHENOTYPES).index("LAV")
    entries = [hearts.entry(seed) for seed in range(40)]
    tested = split([e.participant for e in entries], hearts.TINY.split)["test"]
    for entry in entries:
        if entry.participant in tested:
            entry.phenotypes[column] = np.nan
    with pytest.raises(CohortError, match="the test part has fewer than 2 visits with a label of LAV"):
        train(hearts.written(tmp_path / "cohort", entries), tmp_path, hearts.TINY, run)
    assert not (tmp_path / "stages").exists()
