"""What is written is read, whatever the shards; visits know whose they are; CMR lies on the one grid."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ecg.recording import Recording
from tests.training import hearts
from training.cohort import Manifest, load, rows, stream, write_cohort
from training.grid import SHAPE, SPACING, UnusableVolume, canonical
from training.manifest import UNITS, read_manifest
from training.shard import write_shard
from training.stacked import Stacked


@pytest.fixture(scope="module")
def entries():
    return [hearts.entry(seed) for seed in range(6)]


def test_what_is_written_is_read(entries, tmp_path):
    cohort = hearts.written(tmp_path, entries, shard=4)
    for row, entry in enumerate(entries):
        np.testing.assert_array_equal(cohort.recording(row).signal, entry.recording.signal)
        np.testing.assert_array_equal(cohort.phenotypes[row], entry.phenotypes)
        for anchor in ("ed", "es"):
            np.testing.assert_array_equal(cohort.volumes[anchor][row], entry.volumes[anchor])
        assert (cohort.ids[row], cohort.groups[row], cohort.sex[row]) == (entry.id, entry.group, entry.sex)
        assert (cohort.participants[row], cohort.rhythms[row]) == (entry.participant, entry.rhythm)
        for name in ("severity", "age", "height", "weight", "heart_rate"):
            assert getattr(cohort, name)[row] == getattr(entry, name)


def test_what_nobody_knows_stays_unknown(entries, tmp_path):
    unknown = replace(entries[0], sex="", age=np.nan, weight=np.nan, phenotypes=np.full(12, np.nan))
    cohort = hearts.written(tmp_path, [unknown])
    assert cohort.recording(0).sex is None
    assert cohort.recording(0).age is None
    assert np.isnan(cohort.weight[0])
    assert np.isnan(cohort.phenotypes).all()


def test_ecgs_of_other_rates_and_lengths_live_in_one_cohort(entries, tmp_path):
    short = Recording(signal=entries[0].recording.signal[:, :2000], sampling_rate=250.0)
    cohort = hearts.written(tmp_path, [replace(entries[0], recording=short), *entries[1:3]], shard=2)
    assert [cohort.recording(row).duration for row in range(3)] == [8.0, 10.0, 10.0]
    np.testing.assert_array_equal(cohort.recording(0).signal, short.signal)


def test_a_cohort_may_have_more_anchors_and_a_cine(entries, tmp_path):
    cine = np.arange(5 * 6 * 7, dtype=np.uint8).reshape(5, 6, 7)
    late = [entry.volumes["ed"] // 2 for entry in entries]
    more = [
        replace(entry, volumes={**entry.volumes, "lge": lge}, cine=cine + n)
        for n, (entry, lge) in enumerate(zip(entries, late, strict=True))
    ]
    cohort = hearts.written(tmp_path, more, shard=4, anchors=("ed", "es", "lge"), cine=cine.shape)
    np.testing.assert_array_equal(cohort.cine[5], cine + 5)
    np.testing.assert_array_equal(cohort.volumes["lge"][4], late[4])


def test_a_visit_without_an_image_that_the_others_have_is_refused_and_leaves_no_shard(entries, tmp_path):
    with pytest.raises(ValueError, match="toy-1 has ed"):
        hearts.written(tmp_path, [entries[0], replace(entries[1], volumes={"ed": entries[1].volumes["ed"]})])
    assert list(tmp_path.iterdir()) == []


def test_images_stay_on_disk_until_they_are_asked_for(entries, tmp_path):
    """A column that is damaged beyond its header is not noticed by loading, only by looking."""
    hearts.written(tmp_path, entries)
    path = tmp_path / "shard-000000" / "volumes-ed.npy"
    stored = bytearray(path.read_bytes())
    stored[-1] ^= 1
    path.write_bytes(stored)
    cohort = load(tmp_path)
    assert cohort.digest_of(0) == cohort.digests[0].tobytes()
    assert cohort.digest_of(5) != cohort.digests[5].tobytes()


def test_the_digest_sees_every_sample_and_no_shard_border(entries, tmp_path):
    nudged = entries[3].recording.signal.copy()
    nudged[4, 100] += 0.0005
    other = replace(entries[3], recording=replace(entries[3].recording, signal=nudged))
    whole = hearts.written(tmp_path / "whole", entries).digest
    assert hearts.written(tmp_path / "pairs", entries, shard=2).digest == whole
    assert hearts.written(tmp_path / "nudged", [*entries[:3], other, *entries[4:]]).digest != whole


@pytest.mark.parametrize(
    "change", [{"age": 50.0}, {"participant": "another"}, {"sex": ""}, {"phenotypes": np.full(12, 50.0)}]
)
def test_the_digest_sees_every_column(entries, tmp_path, change):
    whole = hearts.written(tmp_path / "whole", entries).digest
    assert hearts.written(tmp_path / "other", [replace(entries[0], **change), *entries[1:]]).digest != whole


def test_a_cohort_is_streamed_shard_by_shard_in_order(entries, tmp_path):
    cohort = hearts.written(tmp_path, entries, shard=4)
    assert [one.ids.tolist() for one in stream(tmp_path)] == [cohort.ids[:4].tolist(), cohort.ids[4:].tolist()]


def test_no_visit_occurs_twice(entries, tmp_path):
    with pytest.raises(ValueError, match="twice"):
        hearts.written(tmp_path, [*entries, entries[0]])


def test_a_cohort_that_is_not_complete_cannot_be_loaded(entries, tmp_path):
    write_shard(tmp_path, 0, entries, Manifest(source="tests", made={}))
    with pytest.raises(ValueError, match="no cohort"):
        load(tmp_path)


def test_a_missing_column_and_a_missing_shard_are_named(entries, tmp_path):
    hearts.written(tmp_path, entries, shard=2)
    (tmp_path / "shard-000002" / "age.npy").unlink()
    with pytest.raises(ValueError, match=r"age\.npy is missing"):
        load(tmp_path)
    shutil.rmtree(tmp_path / "shard-000004")
    assert load(tmp_path, unreadable="exclude").ids.tolist() == ["toy-0", "toy-1"]


def test_a_shard_of_another_cohort_is_not_taken_for_the_own_one(entries, tmp_path):
    hearts.written(tmp_path / "one", entries[:3])
    hearts.written(tmp_path / "other", entries[3:])
    shutil.rmtree(tmp_path / "one" / "shard-000000")
    shutil.copytree(tmp_path / "other" / "shard-000000", tmp_path / "one" / "shard-000000")
    with pytest.raises(ValueError, match="not the shard that the manifest names"):
        load(tmp_path / "one")


def test_other_units_an_older_layout_and_nobody_are_refused(entries, tmp_path):
    hearts.written(tmp_path, entries)
    stated = json.loads((tmp_path / "cohort.json").read_text())
    assert stated["units"]["LVEDV"] == "mL"
    (tmp_path / "cohort.json").write_text(json.dumps(stated | {"units": UNITS | {"height": "m"}}))
    with pytest.raises(ValueError, match="other units for height"):
        read_manifest(tmp_path)
    (tmp_path / "cohort.json").write_text(json.dumps({"source": "training.simulate", "seed": 1}))
    with pytest.raises(ValueError, match="another layout"):
        load(tmp_path)
    write_cohort(tmp_path / "empty", [], Manifest(source="tests", made={}))
    with pytest.raises(ValueError, match="no participant"):
        load(tmp_path / "empty")


def test_an_ecg_too_large_for_the_format_is_refused_and_leaves_no_file(entries, tmp_path):
    loud = replace(entries[0], recording=replace(entries[0].recording, signal=np.full((12, 100), 17.0)))
    with pytest.raises(ValueError, match="16 mV"):
        hearts.written(tmp_path, [loud])
    assert list(tmp_path.iterdir()) == []


def test_a_shorter_shard_is_replaced_whole(entries, tmp_path):
    manifest = Manifest(source="tests", made={})
    write_shard(tmp_path, 0, entries[:2], manifest)
    (tmp_path / "shard-000000.part").mkdir()
    (tmp_path / "shard-000000.part" / "ids.npy").write_bytes(b"half of a file")
    shard = write_shard(tmp_path, 0, entries, manifest)
    assert shard.entries == 6
    assert [path.name for path in tmp_path.iterdir()] == ["shard-000000"]


def test_all_visits_of_a_participant_are_found_by_name(entries, tmp_path):
    visits = [replace(entries[0], id="second", participant="toy-1"), *entries[1:3]]
    cohort = hearts.written(tmp_path, visits)
    assert cohort.ids[rows(cohort, ["toy-2", "toy-1"])].tolist() == ["toy-2", "second", "toy-1"]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_stacked_images_answer_as_their_concatenation(lengths, data):
    rng = np.random.default_rng(sum(lengths))
    parts = [rng.integers(0, 255, (n, 2, 3), np.uint8) for n in lengths]
    whole, stacked = np.concatenate(parts), Stacked(parts)
    chosen = np.array(data.draw(st.lists(st.integers(-len(whole), len(whole) - 1), max_size=6)), np.intp)
    assert stacked.shape == whole.shape
    for index in (chosen, slice(1, None), whole[:, 0, 0] > 100, -1):
        np.testing.assert_array_equal(stacked[index], whole[index])
    np.testing.assert_array_equal(stacked, whole)


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
    placed = canonical(stack, SPACING)
    assert placed.shape == SHAPE
    assert np.argwhere(placed == 255).tolist() == [[8, 32, 32]]


@pytest.mark.parametrize(("spacing", "heart"), [((10.0, 2.5, 2.5), (20, 90)), ((10.0, 1.25, 1.25), (120, 30))])
def test_a_heart_beside_the_middle_of_the_image_comes_to_lie_in_the_middle_of_the_grid(spacing, heart):
    """The centre of gravity of a disc, which resampling keeps, wherever the disc lies: also over the edge."""
    row, column = np.meshgrid(np.arange(150), np.arange(140), indexing="ij")
    disc = ((row - heart[0]) * spacing[1]) ** 2 + ((column - heart[1]) * spacing[2]) ** 2 < 20**2  # mm
    placed = canonical(np.repeat(disc[None].astype(float), 16, 0), spacing, centre=heart)
    centre = np.argwhere(placed[8] > 127).mean(axis=0)
    np.testing.assert_allclose(centre, [32, 32], atol=0.6)


def test_a_bright_object_far_from_the_heart_does_not_darken_it():
    stack = np.tile(np.linspace(0, 1, 64), (16, 64, 1))
    wide = np.full((16, 64, 200), 50.0)
    wide[:, :, :64] = stack
    assert canonical(wide, SPACING, centre=(32, 32)).max() == 255
    np.testing.assert_array_equal(canonical(wide, SPACING, centre=(32, 32)), canonical(stack, SPACING))


def test_a_centre_outside_the_image_and_intensities_that_are_no_numbers_are_refused():
    stack = np.zeros((16, 64, 64))
    with pytest.raises(UnusableVolume, match="outside"):
        canonical(stack, SPACING, centre=(500, 30))
    stack[3, 4, 5] = np.nan
    with pytest.raises(UnusableVolume, match="not numbers"):
        canonical(stack, SPACING)
