"""Each participant falls into one part and stays there; a smaller share of labels lies inside a larger one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from tests.training import hearts
from training.config import Split
from training.split import PARTS, MixedParts, given_or_dealt, labelled, read_split, split, write_split

IDS = [f"person-{i}" for i in range(20_000)]


def test_every_participant_falls_into_exactly_one_part_in_the_stated_shares():
    parts = split(IDS, Split(validation=0.1, calibration=0.2, test=0.3))
    assert sorted(participant for part in PARTS for participant in parts[part]) == sorted(IDS)
    shares = [len(parts[part]) / len(IDS) for part in PARTS]
    # Binomial: 4 SD of a share of 0.4 among 20,000 is 0.014.
    assert shares == pytest.approx([0.4, 0.1, 0.2, 0.3], abs=0.014)


def test_a_growing_cohort_moves_nobody():
    few, many = split(IDS[:100], Split()), split(IDS, Split())
    assert all(set(few[part]) <= set(many[part]) for part in PARTS)


def test_another_split_seed_deals_anew():
    assert split(IDS[:100], Split(seed=1)) != split(IDS[:100], Split())


def test_two_visits_fall_once():
    assert split([*IDS[:50], *IDS[:50]], Split()) == split(IDS[:50], Split())


def test_one_per_cent_of_labels_lies_inside_ten_and_both_are_the_stated_share():
    one, ten = (set(labelled(IDS, Split(labels=share))) for share in (0.01, 0.1))
    assert one < ten
    # Binomial: 4 SD of a share of 0.01 among 20,000 are 56 people, of 0.1 170.
    assert len(one) == pytest.approx(200, abs=56)
    assert len(ten) == pytest.approx(2000, abs=170)
    assert labelled(IDS, Split(labels=1.0)) == IDS
    assert labelled(IDS, Split(labels=0.0)) == []


def test_who_is_labelled_does_not_follow_who_is_trained_on():
    """The share of labels is the same in every part: their digests are independent."""
    parts = split(IDS, Split(labels=0.5))
    for part in PARTS:
        # Binomial: 4 SD of one half among the 1,600 of the smallest part is 0.05.
        assert len(labelled(parts[part], Split(labels=0.5))) / len(parts[part]) == pytest.approx(0.5, abs=0.05)


def test_the_split_file_holds_the_parts_and_its_digest_is_that_of_the_file(tmp_path):
    parts = split(IDS[:50], Split())
    digest = write_split(tmp_path / "split.json", parts)
    assert read_split(tmp_path / "split.json") == parts
    assert digest == hashlib.sha256((tmp_path / "split.json").read_bytes()).hexdigest()
    assert write_split(tmp_path / "other.json", split(IDS[:51], Split())) != digest


def test_a_split_file_with_one_participant_in_two_parts_is_refused(tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a", "b"], "test": ["b"]}))
    with pytest.raises(MixedParts, match="1 participants into two parts, b first"):
        read_split(tmp_path / "split.json")


@pytest.mark.parametrize("text", ["{}}", '["train"]', '{"holdout": ["a"]}'])
def test_a_file_that_is_no_split_is_refused(tmp_path, text):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(ValueError, match="no split file"):
        read_split(tmp_path / "split.json")


@pytest.fixture(scope="module")
def entries():
    return [hearts.entry(seed) for seed in range(3)]


def test_a_cohort_without_a_split_of_its_own_is_dealt(entries, tmp_path):
    cohort = hearts.written(tmp_path, [*entries, replace(entries[0], id="again")])
    assert given_or_dealt(cohort, Split(seed=3)) == split(["toy-0", "toy-1", "toy-2"], Split(seed=3))


def test_the_split_that_a_cohort_brings_along_is_kept(entries, tmp_path):
    given = {"train": ["toy-1"], "validation": [], "calibration": ["toy-2"], "test": ["toy-0", "gone"]}
    cohort = hearts.written(tmp_path, entries, split=write_split(tmp_path / "split.json", given))
    assert given_or_dealt(cohort, Split()) == given | {"test": ["toy-0"]}


def test_whoever_stands_twice_in_one_part_is_read_once(entries, tmp_path):
    given = {"train": ["toy-1", "toy-2", "toy-1"], "validation": [], "calibration": [], "test": ["toy-0", "toy-0"]}
    cohort = hearts.written(tmp_path, entries, split=write_split(tmp_path / "split.json", given))
    assert given_or_dealt(cohort, Split()) == given | {"train": ["toy-1", "toy-2"], "test": ["toy-0"]}


def test_a_split_that_was_exchanged_or_leaves_somebody_out_is_refused(entries, tmp_path):
    given = {"train": ["toy-1"], "validation": [], "calibration": ["toy-2"], "test": []}
    cohort = hearts.written(tmp_path, entries, split=write_split(tmp_path / "split.json", given))
    with pytest.raises(ValueError, match="1 participants into no part, toy-0 first"):
        given_or_dealt(cohort, Split())
    write_split(tmp_path / "split.json", given | {"test": ["toy-0"]})
    with pytest.raises(ValueError, match="not the split that the cohort was made with"):
        given_or_dealt(cohort, Split())
