"""What is written is read, whatever the shards; each participant stays in its part; CMR lies on the one grid."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from models.ecg.recording import Recording
from tests.training import hearts
from training.cohort import PARTS, load, rows, split, write_shard, write_split
from training.config import Split
from training.grid import SHAPE, SPACING, canonical


@pytest.fixture(scope="module")
def entries():
    return [hearts.entry(seed) for seed in range(6)]


def test_what_is_written_is_read(entries, tmp_path):
    write_shard(tmp_path / "a.npz", entries)
    cohort = load([tmp_path / "a.npz"])
    for row, entry in enumerate(entries):
        np.testing.assert_array_equal(cohort.recording(row).signal, entry.recording.signal)
        np.testing.assert_array_equal(cohort.ed[row], entry.ed)
        np.testing.assert_array_equal(cohort.es[row], entry.es)
        np.testing.assert_array_equal(cohort.phenotypes[row], entry.phenotypes)
        assert (cohort.ids[row], cohort.groups[row], cohort.sex[row]) == (entry.id, entry.group, entry.sex)


def test_ecgs_of_other_rates_and_lengths_live_in_one_cohort(entries, tmp_path):
    short = Recording(signal=entries[0].recording.signal[:, :2000], sampling_rate=250.0)
    write_shard(tmp_path / "a.npz", [replace(entries[0], recording=short), *entries[1:3]])
    cohort = load([tmp_path / "a.npz"])
    assert [cohort.recording(row).duration for row in range(3)] == [8.0, 10.0, 10.0]
    np.testing.assert_array_equal(cohort.recording(0).signal, short.signal)


def test_the_digest_sees_every_sample_and_no_shard_border(entries, tmp_path):
    write_shard(tmp_path / "whole.npz", entries)
    write_shard(tmp_path / "first.npz", entries[:2])
    write_shard(tmp_path / "second.npz", entries[2:])
    nudged = entries[3].recording.signal.copy()
    nudged[4, 100] += 0.0005
    other = replace(entries[3], recording=replace(entries[3].recording, signal=nudged))
    write_shard(tmp_path / "nudged.npz", [*entries[:3], other, *entries[4:]])
    whole = load([tmp_path / "whole.npz"]).digest
    assert load([tmp_path / "first.npz", tmp_path / "second.npz"]).digest == whole
    assert load([tmp_path / "nudged.npz"]).digest != whole


def test_nobody_occurs_twice(entries, tmp_path):
    write_shard(tmp_path / "a.npz", entries)
    with pytest.raises(ValueError, match="twice"):
        load([tmp_path / "a.npz", tmp_path / "a.npz"])


def test_a_shard_of_an_older_layout_is_refused_by_name(entries, tmp_path):
    write_shard(tmp_path / "a.npz", entries)
    with np.load(tmp_path / "a.npz") as stored:
        np.savez(tmp_path / "old.npz", **{name: stored[name] for name in stored.files if name != "height"})
    with pytest.raises(ValueError, match="older layout, without height"):
        load([tmp_path / "old.npz"])


def test_a_cohort_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one shard"):
        load([])


def test_an_ecg_too_large_for_the_format_is_refused_and_leaves_no_file(entries, tmp_path):
    loud = replace(entries[0], recording=replace(entries[0].recording, signal=np.full((12, 100), 17.0)))
    with pytest.raises(ValueError, match="16 mV"):
        write_shard(tmp_path / "a.npz", [loud])
    assert list(tmp_path.iterdir()) == []


IDS = [f"person-{i}" for i in range(20_000)]


def test_every_participant_falls_into_exactly_one_part_in_the_stated_shares():
    parts = split(IDS, Split(validation=0.1, calibration=0.2, test=0.3))
    assert sorted(participant for part in PARTS for participant in parts[part]) == sorted(IDS)
    shares = [len(parts[part]) / len(IDS) for part in PARTS]
    # Binomial: 4 SD of a share of 0.4 among 20,000 is 0.014.
    np.testing.assert_allclose(shares, [0.4, 0.1, 0.2, 0.3], atol=0.014)


def test_a_growing_cohort_moves_nobody():
    few, many = split(IDS[:100], Split()), split(IDS, Split())
    assert all(set(few[part]) <= set(many[part]) for part in PARTS)


def test_another_split_seed_deals_anew():
    assert split(IDS[:100], Split(seed=1)) != split(IDS[:100], Split())


def test_the_split_file_holds_the_parts_and_its_digest_follows_them(tmp_path):
    parts = split(IDS[:50], Split())
    digest = write_split(tmp_path / "split.json", parts)
    assert json.loads((tmp_path / "split.json").read_text()) == parts
    assert write_split(tmp_path / "other.json", split(IDS[:51], Split())) != digest


def test_participants_are_found_by_their_id(toy_cohort):
    wanted = ["toy-7", "toy-3"]
    assert toy_cohort.ids[rows(toy_cohort, wanted)].tolist() == wanted


def volume_of(stack, spacing):
    """Millilitres above half the brightness."""
    return (stack > 127).sum() * np.prod(spacing) / 1000


@pytest.mark.parametrize("spacing", [(10.0, 2.5, 2.5), (5.0, 1.25, 1.25), (8.0, 3.0, 2.0)])
def test_a_ball_keeps_its_volume_on_the_canonical_grid(spacing):
    shape = [round(160 / step) for step in spacing]
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    ball = 40 + 100.0 * (x**2 + y**2 + z**2 < 40**2)
    found = volume_of(canonical(ball, spacing), SPACING)
    assert found == pytest.approx(4 / 3 * np.pi * 4.0**3, rel=0.06)  # slices of 10 mm through a ball of 80 mm


def test_gain_and_offset_of_the_scanner_change_nothing():
    stack = np.random.default_rng(0).random((16, 64, 64))
    np.testing.assert_array_equal(canonical(stack, SPACING), canonical(300 + 7 * stack, SPACING))


def test_larger_stacks_are_cropped_and_smaller_ones_padded_about_the_centre():
    stack = np.zeros((20, 40, 80))
    stack[10, 20, 40] = 1.0
    placed = canonical(np.pad(stack, 0), SPACING)
    assert placed.shape == SHAPE
    assert np.argwhere(placed == 255).tolist() == [[8, 32, 32]]
