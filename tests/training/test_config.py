"""What a recipe says is meant, or it is refused where it stands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.bundle import Bundle
from training.config import Recipe, RecipeError, VitWidths, read_recipe, recipe_from_json, stated

RECIPES = Path(__file__).parents[2] / "training" / "recipes"


def written(tmp_path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_is_shipped_is_one(path):
    recipe = read_recipe(path)
    assert recipe_from_json(json.dumps(stated(recipe))) == recipe


def test_what_a_recipe_does_not_state_is_as_in_the_code(tmp_path):
    recipe = read_recipe(written(tmp_path, 'seed = 3\n[ecg]\nkind = "vit"\npatch_samples = 100\n'))
    assert (recipe.seed, recipe.ecg) == (3, VitWidths(patch_samples=100))
    assert recipe.finetuning == Recipe().finetuning


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sead = 3", "sead"),
        ('[ecg]\nkind = "conv"\nkernels = [1]', "kernels"),
        ('[heads]\ncovariates = ["shoe size"]', "heads.covariates"),
        ("[pretraining]\nepochs = 1\nbatch = 0\nlearning_rate = 1e-3\nweight_decay = 0.0", "pretraining.batch"),
        ("[finetuning]\nepochs = 1\nbatch = 8\nlearning_rate = -1.0\nweight_decay = 0.0", "finetuning.learning_rate"),
        ("[finetuning]\nepochs = 0\nbatch = 8\nlearning_rate = 1e-3\nweight_decay = 0.0", "without heads"),
        ("[cmr_schedule]\nepochs = 0\nbatch = 8\nlearning_rate = 1e-3\nweight_decay = 0.0", "must learn first"),
        ("[split]\nlabels = 7.0", "split.labels"),
        ("[split]\nvalidation = 0.5\ntest = 0.5", "nobody to train on"),
        ("[heads]\nencoder_slowdown = -2.0", "heads.encoder_slowdown"),
        ("[heads]\nencoder_slowdown = 11.0", "heads.encoder_slowdown"),
        ("[heads]\ncovariate_dropout = 1.0", "heads.covariate_dropout"),
        ("[heads]\nbeta = 1.5", "heads.beta"),
        ("[pretraining]\nepochs = -1\nbatch = 8\nlearning_rate = 1e-3\nweight_decay = 0.0", "pretraining.epochs"),
        ("[finetuning]\nepochs = 1\nbatch = 8\nlearning_rate = 1e-3\nweight_decay = -0.1", "finetuning.weight_decay"),
        ("[split]\ncalibration = -0.1", "split.calibration"),
        ("[masked]\nratio = 1.0", "masked.ratio"),
        ("[contrast]\nsoft_targets = 2.0", "contrast.soft_targets"),
        ("[contrast]\nsoftness = inf", "contrast.softness"),
        ("[cmr]\nchannels = []", "cmr.channels"),
        ("[calibration]\ndraws = 1023", "calibration.draws"),
        ("[contrast]\nanchors = []", "contrast.anchors"),
        ('[contrast]\nanchors = [{ name = "ed" }, { name = "ed" }]', "named twice"),
        ('[contrast]\nanchors = [{ name = "ed", weight = 0.0 }]', "weight"),
        ("no equals sign", "TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_stands(tmp_path, text, said):
    with pytest.raises(RecipeError, match=said):
        read_recipe(written(tmp_path, text))


def test_a_recipe_of_ones_own_that_is_not_utf_8_is_refused(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes('name = "Köln"'.encode("latin-1"))
    with pytest.raises(RecipeError, match="utf-8"):
        read_recipe(path)


def test_cmr_encoders_need_no_epoch_where_nothing_is_contrasted_with_them(tmp_path):
    none = "[{}]\nepochs = 0\nbatch = 8\nlearning_rate = 1e-3\nweight_decay = 0.0\n"
    recipe = read_recipe(written(tmp_path, none.format("pretraining") + none.format("cmr_schedule")))
    assert recipe.pretraining.epochs == recipe.cmr_schedule.epochs == 0


def test_a_recipe_that_is_changed_in_the_program_is_refused_as_one_from_a_file():
    with pytest.raises(RecipeError, match="without heads"):
        replace(Recipe(), finetuning=replace(Recipe().finetuning, epochs=0))


def test_the_manifest_of_a_bundle_is_the_recipe_it_was_trained_with(toy_bundle, toy_checkpoint):
    assert read_recipe(toy_bundle / "manifest.json") == toy_checkpoint.recipe


@pytest.mark.parametrize(
    ("training", "said"), [({}, "no recipe"), ({"recipe": {"dreams": 3}}, "another version: dreams")]
)
def test_a_manifest_without_a_recipe_of_this_version_is_refused(toy_bundle, tmp_path, training, said):
    manifest = Bundle.open(toy_bundle).manifest
    path = tmp_path / "manifest.json"
    path.write_text(manifest.model_copy(update={"training": training}).model_dump_json())
    with pytest.raises(RecipeError, match=said):
        read_recipe(path)
