"""What the commands say about a cohort, and with which exit code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.training import hearts
from training.cohort_commands import app

RUNNER = CliRunner()


def said(*arguments):
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


@pytest.fixture(scope="module")
def entries():
    return [hearts.entry(seed) for seed in range(4)]


def test_a_cohort_that_is_right_passes(entries, tmp_path):
    hearts.written(tmp_path, entries)
    code, output = said("check", tmp_path)
    assert code == 0
    assert "0 faults (nothing is wrong)" in output
    assert (tmp_path / "check.json").read_text() == "[]"


def test_a_cohort_with_a_fault_fails_and_says_whose(entries, tmp_path):
    hearts.written(tmp_path / "cohort", [*entries[:3], replace(entries[3], height=1.7)])
    code, output = said("check", tmp_path / "cohort", "--out", tmp_path / "report")
    assert code == 1
    assert "toy-3, height: 1.7 is outside 50 to 250; 100 times that would do" in output
    assert "1 faults (height: 1)" in output
    assert "toy-3" in (tmp_path / "report" / "check.txt").read_text()


def test_a_folder_without_a_cohort_is_refused(tmp_path):
    for command in ("check", "describe"):
        code, output = said(command, tmp_path)
        assert code == 2
        assert "cohort.json is missing" in output


def test_a_cohort_is_described_by_group_sex_labels_and_units(entries, tmp_path):
    unlabelled = replace(entries[0], participant="toy-1", sex="", phenotypes=np.full(12, np.nan))
    hearts.written(tmp_path, [unlabelled, *entries[1:]])
    code, output = said("describe", tmp_path)
    assert code == 0
    assert "4 visits of 3 participants in 1 shards" in output
    assert "sex: 2 F, 1 unknown, 1 M" in output
    assert "LVEDV: 3 known" in output
    assert "weight: 4 known, median 70 (5 to 95 %: 70 to 70) kg" in output
