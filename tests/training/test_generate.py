"""Simulated cohorts: the same whatever the number of processes, resumed where they stopped, never mixed."""

from __future__ import annotations

import numpy as np
import pytest

from models.phenotypes import PHENOTYPES
from training.cohort import load
from training.generate import SEEDS_APART, StaleCohort, entry, generate, shards_in


@pytest.fixture(scope="module")
def folder(tmp_path_factory, silent):
    folder = tmp_path_factory.mktemp("simulated")
    generate(folder, participants=3, seed=4, processes=1, progress=silent)
    return folder


def test_the_cohort_does_not_depend_on_the_number_of_processes(folder, tmp_path, silent):
    generate(tmp_path, participants=3, seed=4, processes=2, progress=silent)
    assert load(shards_in(tmp_path)).digest == load(shards_in(folder)).digest


def test_a_participant_is_its_seed(folder):
    cohort, alone = load(shards_in(folder)), entry(4 * SEEDS_APART + 1)
    assert cohort.ids[1] == alone.id
    np.testing.assert_allclose(cohort.recording(1).signal, alone.recording.signal, atol=1e-12)  # mV
    np.testing.assert_array_equal(cohort.ed[1], alone.ed)


def test_the_derived_phenotypes_of_a_cohort_follow_from_the_predicted_ones(folder):
    cohort = load(shards_in(folder))
    np.testing.assert_allclose(cohort.column("LVSV"), cohort.column("LVEDV") - cohort.column("LVESV"))
    assert cohort.phenotypes.shape == (3, len(PHENOTYPES))


def test_what_is_there_is_not_simulated_again(folder, silent):
    (shard,) = shards_in(folder)
    before = shard.stat().st_mtime_ns
    assert generate(folder, participants=3, seed=4, processes=1, progress=silent) == [shard]
    assert shard.stat().st_mtime_ns == before


def test_participants_of_another_seed_are_never_mixed_in(folder, silent):
    with pytest.raises(StaleCohort, match="another seed"):
        generate(folder, participants=3, seed=5, processes=1, progress=silent)
