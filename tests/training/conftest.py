"""A toy cohort, and one training and one export of it, shared by all tests that only look at them."""

from __future__ import annotations

import pytest
import torch
from rich.progress import Progress

from tests.training import hearts
from training.export import export
from training.run import Run
from training.simulate.heart import Heart, heart_of
from training.train import train


@pytest.fixture(autouse=True)
def _one_thread():
    """Bit-equal weights need the same number of threads, which the commands under test set for the whole process."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def silent():
    return Progress(disable=True)


@pytest.fixture(scope="session")
def toy_cohort(tmp_path_factory):
    return hearts.cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="session")
def run(silent):
    return Run(progress=silent)


@pytest.fixture(scope="session")
def toy_checkpoint(toy_cohort, toy_run, run):
    torch.set_num_threads(1)  # this fixture may be made before the one above runs
    return train(toy_cohort, toy_run, hearts.TINY, run)


@pytest.fixture(scope="session")
def toy_bundle(toy_checkpoint, tmp_path_factory):
    return export(toy_checkpoint, tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="session")
def infarcted_hearts() -> list[Heart]:
    """One large infarct of each coronary artery."""
    found: dict[str, Heart] = {}
    for heart in map(heart_of, range(2000)):
        disease = heart.subject.disease
        if disease.scar_extent > 0.6:
            found.setdefault(disease.scar_territory, heart)
        if len(found) == 3:
            break
    return list(found.values())
