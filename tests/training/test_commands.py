"""The commands refuse in a sentence, and before the work rather than after it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from models.bundle import Bundle
from models.ecg import decode
from training.__main__ import app

RUNNER = CliRunner()


@pytest.mark.parametrize("command", ["demo", "simulate", "train", "export"])
def test_every_command_explains_itself(command):
    result = RUNNER.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_a_released_version_is_refused_before_anything_is_simulated(toy_bundle, tmp_path):
    work = tmp_path / "work"
    result = RUNNER.invoke(app, ["demo", "--out", str(toy_bundle.parents[1]), "--work", str(work)])
    assert result.exit_code == 2
    assert "never" in result.output
    assert not work.exists()


def test_a_folder_without_a_cohort_is_refused(tmp_path):
    result = RUNNER.invoke(app, ["train", str(tmp_path), "--work", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert "cohort.json" in result.output


def test_a_cohort_of_another_simulator_is_refused(tmp_path):
    (tmp_path / "cohort.json").write_text(json.dumps({"simulator": "another"}))
    result = RUNNER.invoke(app, ["simulate", "--out", str(tmp_path), "--participants", "50"])
    assert result.exit_code == 2
    assert "make the cohort anew" in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("command", ["show", "report", "ceiling", "export"])
def test_every_command_about_simulated_hearts_explains_itself(command):
    result = RUNNER.invoke(app, ["simulate", command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output


def test_a_participant_is_exported_and_an_unfit_acceleration_refused_before_anything_is_written(tmp_path):
    command = ["simulate", "export", "5", "--out", str(tmp_path / "files"), "--phases", "2"]
    result = RUNNER.invoke(app, [*command, "--acceleration", "20"])
    assert result.exit_code == 2
    assert "choose 1 to" in " ".join(result.output.replace("│", " ").split())
    assert not (tmp_path / "files").exists()
    result = RUNNER.invoke(app, [*command, "--rate", "1000"])
    assert result.exit_code == 0, result.output
    names = {path.name for path in (tmp_path / "files").iterdir()}
    assert {"sim-5.zip", "sim-5.dcm", "short_axis.nii.gz", "four_chamber.nii.gz", "truth.json"} <= names
    assert decode((tmp_path / "files" / "sim-5.dcm").read_bytes()).sampling_rate == 1000


def test_an_unknown_setting_is_refused_by_name(tmp_path):
    result = RUNNER.invoke(app, ["simulate", "show", "5", "--out", str(tmp_path / "a.png"), "--setting", "clinic"])
    assert result.exit_code == 2
    assert "heart-failure" in result.output


def test_a_cohort_without_a_place_is_refused():
    result = RUNNER.invoke(app, ["simulate", "--participants", "3"])
    assert result.exit_code == 2
    assert "--out" in result.output


def test_a_simulated_cohort_is_counted_and_the_next_step_named(tmp_path):
    result = RUNNER.invoke(app, ["simulate", "--participants", "2", "--out", str(tmp_path), "--processes", "1"])
    assert result.exit_code == 0, result.output
    assert "2 participants in" in result.output
    assert "simulate report" in result.output


def test_a_checkpoint_becomes_a_bundle_that_opens(toy_checkpoint, toy_run, tmp_path):
    result = RUNNER.invoke(app, ["export", str(toy_run / "checkpoint.pt"), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    bundle = Bundle.open(tmp_path / toy_checkpoint.recipe.name / toy_checkpoint.recipe.version)
    assert bundle.digest[:12] in result.output
