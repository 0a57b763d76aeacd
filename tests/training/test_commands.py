"""The commands refuse in a sentence, and before the work rather than after it."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from models.bundle import Bundle
from models.ecg import decode
from training.__main__ import app
from training.checkpoint import Checkpoint, UnreadableCheckpoint
from training.run import NoDevice, device_named

RUNNER = CliRunner()


def said(result) -> str:
    """What a refusal says, without its frame."""
    return " ".join(result.output.replace("│", " ").split())


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
    assert "make the cohort anew" in said(result)


@pytest.mark.parametrize("command", ["show", "report", "ceiling", "export"])
def test_every_command_about_simulated_hearts_explains_itself(command):
    result = RUNNER.invoke(app, ["simulate", command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output


def test_a_participant_is_exported_and_an_unfit_acceleration_refused_before_anything_is_written(tmp_path):
    command = ["simulate", "export", "5", "--out", str(tmp_path / "files"), "--phases", "2"]
    result = RUNNER.invoke(app, [*command, "--acceleration", "20"])
    assert result.exit_code == 2
    assert "choose 1 to" in said(result)
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


def test_a_checkpoint_that_is_not_there_is_refused_with_where_to_find_one(tmp_path):
    result = RUNNER.invoke(app, ["export", str(tmp_path / "checkpoint.pt"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "a training writes WORK/checkpoint.pt" in said(result)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"a letter", bytes(range(256))])
def test_a_file_of_another_kind_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    result = RUNNER.invoke(app, ["export", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "is no checkpoint" in said(result)


def test_a_piece_of_a_checkpoint_is_none(toy_checkpoint, tmp_path):
    path = tmp_path / "checkpoint.pt"
    toy_checkpoint.save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UnreadableCheckpoint, match="only a piece"):
        Checkpoint.load(path)


@pytest.mark.parametrize("held", [torch.zeros(3), [1, 2], tuple])
def test_what_torch_wrote_for_another_purpose_is_no_checkpoint(tmp_path, held):
    torch.save(held, tmp_path / "checkpoint.pt")
    with pytest.raises(UnreadableCheckpoint, match="is no checkpoint"):
        Checkpoint.load(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize(
    "older",
    [
        lambda stored: stored.pop("recordings"),
        lambda stored: stored["scales"].pop("covariate_sd"),
        lambda stored: stored["examples"].update(trials=None),
        lambda stored: stored.update(recipe='{"dreams": 3}'),
        lambda stored: stored.update(evaluation="{}"),
    ],
)
def test_a_checkpoint_of_an_older_version_is_refused_with_what_to_do(toy_checkpoint, tmp_path, older):
    path = tmp_path / "checkpoint.pt"
    toy_checkpoint.save(path)
    stored = torch.load(path, weights_only=True)
    older(stored)
    torch.save(stored, path)
    with pytest.raises(UnreadableCheckpoint, match="another version: train again"):
        Checkpoint.load(path)


@pytest.mark.parametrize("name", ["gpu", "GPU", "", "cuda:", "cuda:-1", "mps", "meta"])
def test_what_is_no_device_is_refused_with_what_is_one(name):
    with pytest.raises(NoDevice, match="say auto, cpu, cuda"):
        device_named(name)


def test_a_gpu_that_torch_does_not_see_is_refused(toy_cohort, tmp_path):
    absent = f"cuda:{torch.cuda.device_count() + 7}"
    result = RUNNER.invoke(app, ["train", str(toy_cohort.folder), "--work", str(tmp_path / "w"), "--device", absent])
    assert result.exit_code == 2
    assert f"there is no {absent}" in said(result)
    assert not (tmp_path / "w").exists()


def test_a_processor_is_always_there():
    assert device_named("cpu") == torch.device("cpu")
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
