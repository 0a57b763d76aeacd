"""Simulated cohorts: the same whatever the number of processes, resumed where they stopped, never mixed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from models.phenotypes import PHENOTYPES
from training.cohort import CohortError, Manifest, load, write_cohort
from training.generate import SEEDS_APART, StaleCohort, UnknownSetting, entry, generate, seed_of, setting_of
from training.simulate import simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory, silent):
    folder = tmp_path_factory.mktemp("simulated")
    generate(folder, participants=3, seed=4, processes=1, progress=silent)
    return folder


def test_the_cohort_does_not_depend_on_the_number_of_processes(folder, tmp_path, silent):
    generate(tmp_path, participants=3, seed=4, processes=2, progress=silent)
    assert load(tmp_path).digest == load(folder).digest


@pytest.fixture(scope="module")
def eleven(tmp_path_factory, silent):
    """Eleven participants in three shards of four, made by three processes."""
    folder = tmp_path_factory.mktemp("eleven")
    generate(folder, participants=11, seed=4, processes=3, progress=silent, shard=4)
    return folder


def test_participants_stand_in_the_order_of_their_seeds_whatever_process_made_them(eleven, folder):
    cohort = load(eleven)
    assert cohort.ids.tolist() == [f"sim-{4 * SEEDS_APART + i}" for i in range(11)]
    assert [shard.entries for shard in cohort.shards] == [4, 4, 3]
    np.testing.assert_array_equal(cohort.volumes["ed"][:3], load(folder).volumes["ed"])


def test_a_hole_between_shards_is_filled_and_nothing_else_made_again(eleven, tmp_path, silent):
    shutil.copytree(eleven, tmp_path, dirs_exist_ok=True)
    first, middle, last = sorted(tmp_path.glob("shard-*"))
    shutil.rmtree(middle)
    before = [path.stat().st_mtime_ns for path in (first, last)]
    generate(tmp_path, participants=11, seed=4, processes=2, progress=silent, shard=4)
    assert [path.stat().st_mtime_ns for path in (first, last)] == before
    assert load(tmp_path).digest == load(eleven).digest


def test_participants_of_another_simulator_are_never_simulated_again(eleven, tmp_path):
    manifest = json.loads((eleven / "cohort.json").read_text())
    made = manifest["made"] | {"simulator": "another"}
    (tmp_path / "cohort.json").write_text(json.dumps(manifest | {"made": made}))
    with pytest.raises(StaleCohort, match="another version"):
        setting_of(tmp_path)
    with pytest.raises(CohortError, match="no cohort"):
        setting_of(tmp_path / "nowhere")
    write_cohort(tmp_path / "imported", [], Manifest(source="training.import_folder", made={}))
    with pytest.raises(CohortError, match=r"one of training\.import_folder"):
        setting_of(tmp_path / "imported")
    assert setting_of(eleven).name == "enriched"


def test_a_participant_is_its_seed(folder):
    cohort, alone = load(folder), entry(4 * SEEDS_APART + 1)
    assert cohort.ids[1] == alone.id
    np.testing.assert_allclose(cohort.recording(1).signal, alone.recording.signal, atol=1e-12)  # mV
    np.testing.assert_array_equal(cohort.volumes["ed"][1], alone.volumes["ed"])


def test_the_derived_phenotypes_of_a_cohort_follow_from_the_predicted_ones(folder):
    cohort = load(folder)
    np.testing.assert_allclose(cohort.column("LVSV"), cohort.column("LVEDV") - cohort.column("LVESV"))
    assert cohort.phenotypes.shape == (3, len(PHENOTYPES))


def test_what_is_there_is_not_simulated_again(folder, silent):
    before = (folder / "shard-000000").stat().st_mtime_ns
    assert [one.entries for one in generate(folder, participants=3, seed=4, processes=1, progress=silent).shards] == [3]
    assert (folder / "shard-000000").stat().st_mtime_ns == before


def test_a_lost_shard_and_a_half_written_one_are_filled_without_duplicate_or_hole(folder, tmp_path, silent):
    (tmp_path / "shard-000000.part").mkdir()
    (tmp_path / "shard-000000.part" / "ids.npy").write_bytes(b"half of a file")
    generate(tmp_path, participants=3, seed=4, processes=1, progress=silent)
    assert load(tmp_path).digest == load(folder).digest
    shutil.rmtree(tmp_path / "shard-000000")
    generate(tmp_path, participants=3, seed=4, processes=2, progress=silent)
    assert load(tmp_path).digest == load(folder).digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohort.json", "shard-000000"]


def test_a_growing_cohort_replaces_its_last_short_shard(folder, tmp_path, silent):
    generate(tmp_path, participants=1, seed=4, processes=1, progress=silent)
    generate(tmp_path, participants=3, seed=4, processes=1, progress=silent)
    grown, whole = load(tmp_path), load(folder)
    assert grown.ids.tolist() == whole.ids.tolist()
    assert grown.digest == whole.digest


def test_a_smaller_number_takes_nothing_away(folder, silent):
    (shard,) = generate(folder, participants=2, seed=4, processes=1, progress=silent).shards
    assert shard.entries == 3


def test_a_smaller_number_keeps_later_shards_too(eleven, tmp_path, silent):
    shutil.copytree(eleven, tmp_path, dirs_exist_ok=True)
    generate(tmp_path, participants=4, seed=4, processes=1, progress=silent, shard=4)
    assert load(tmp_path).digest == load(eleven).digest


def test_shards_without_a_manifest_are_nobody_knows_whose(eleven, tmp_path, silent):
    shutil.copytree(eleven, tmp_path, dirs_exist_ok=True)
    (tmp_path / "cohort.json").unlink()
    with pytest.raises(StaleCohort, match="empty it"):
        generate(tmp_path, participants=4, seed=4, processes=1, progress=silent, shard=4)


def test_a_run_that_was_killed_goes_on_where_it_stopped(tmp_path, folder):
    """A real kill of a real process, at any moment: here as soon as it has begun."""
    command = f"from tests.training.test_generate import run; run({str(tmp_path)!r})"
    process = subprocess.Popen([sys.executable, "-c", command])
    deadline = time.monotonic() + 60
    while not (tmp_path / "cohort.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    run(str(tmp_path))
    assert load(tmp_path).digest == load(folder).digest


def run(folder):
    with Progress(disable=True) as progress:
        generate(Path(folder), participants=3, seed=4, processes=1, progress=progress)


def test_who_a_participant_is_stays_with_it(folder):
    cohort, alone = load(folder), simulate(seed_of("sim-4000001"))
    assert (cohort.height[1], cohort.weight[1]) == (alone.height, alone.weight)
    assert cohort.rhythms.tolist() == ["sinus"] * 3


def test_a_setting_that_nobody_knows_is_refused_and_leaves_no_folder(tmp_path, silent):
    with pytest.raises(UnknownSetting, match="no setting moon"):
        generate(tmp_path / "moon", participants=3, seed=4, processes=1, progress=silent, setting="moon")
    assert not (tmp_path / "moon").exists()


def test_participants_of_another_seed_are_never_mixed_in(folder, silent):
    with pytest.raises(StaleCohort, match="another seed"):
        generate(folder, participants=3, seed=5, processes=1, progress=silent)
