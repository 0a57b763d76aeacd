"""Rows stay in place, labels that may not be read are not read, and what is cached is what would be computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.phenotypes import PHENOTYPES, PREDICTED
from tests.training import hearts
from training.check import FaultyCohort
from training.cohort import CohortError, load, rows
from training.config import COVARIATES, Split, VitWidths
from training.dataset import FEWEST_COMPLETE, prepare, verify_labels
from training.split import MixedParts, labelled, split, write_split

SPLIT = hearts.TINY.split


@pytest.fixture(scope="module")
def entries():
    return [hearts.entry(seed) for seed in range(40)]


@pytest.fixture(scope="module")
def cohort(entries, tmp_path_factory):
    return hearts.written(tmp_path_factory.mktemp("cohort"), entries, shard=15)


@pytest.fixture(scope="module")
def data(cohort, silent):
    return prepare(cohort, hearts.TINY, silent)


def without(entries, symbol: str, who) -> dict[int, dict[str, np.ndarray]]:
    """The changes that take a phenotype from some rows."""
    lacks = np.array([symbol == one for one in PHENOTYPES])
    return {int(row): {"phenotypes": np.where(lacks, np.nan, entries[row].phenotypes)} for row in who}


def changed(entries, tmp_path, silent, changes, recipe=hearts.TINY, **stated):
    """The dataset of visits of which some were changed: row -> fields."""
    visits = [replace(entry, **changes.get(row, {})) for row, entry in enumerate(entries)]
    return prepare(hearts.written(tmp_path, visits, **stated), recipe, silent)


def test_ecgs_are_preprocessed_as_serving_does_and_averaged_over_neighbours(data, cohort):
    for row in (0, 14, 15, 39):
        served = torch.from_numpy(hearts.TINY.preprocessing(cohort.recording(row)))
        torch.testing.assert_close(data.ecg[row], functional.avg_pool1d(served, 4), rtol=0, atol=0)
    assert data.sampling_rate == 125.0


def test_a_transformer_reads_every_sample(cohort, silent):
    recipe = replace(hearts.TINY, ecg=VitWidths())
    whole = prepare(cohort, recipe, silent)
    np.testing.assert_array_equal(whole.ecg[20], recipe.preprocessing(cohort.recording(20)))
    assert whole.sampling_rate == 500.0


def test_the_cache_does_not_depend_on_the_number_of_processes(data, cohort, silent, tmp_path):
    again = prepare(cohort, hearts.TINY, silent, tmp_path, processes=2)
    assert torch.equal(again.ecg, data.ecg)
    assert not list(tmp_path.glob("*.part"))


def test_what_is_cached_is_not_computed_again_and_another_filter_has_another_cache(cohort, silent, tmp_path):
    prepare(cohort, hearts.TINY, silent, tmp_path)
    (cached,) = tmp_path.glob("ecg-*.npy")
    before = cached.stat().st_mtime_ns
    prepare(cohort, hearts.TINY, silent, tmp_path)
    assert cached.stat().st_mtime_ns == before
    other = replace(hearts.TINY, preprocessing=replace(hearts.TINY.preprocessing, low_pass=35.0))
    assert not torch.equal(
        prepare(cohort, other, silent, tmp_path).ecg, prepare(cohort, hearts.TINY, silent, tmp_path).ecg
    )
    assert len(list(tmp_path.glob("ecg-*.npy"))) == 2


def test_what_is_written_to_a_mapped_tensor_does_not_reach_the_disk(cohort, silent):
    first = prepare(cohort, hearts.TINY, silent)
    first.ecg[0] += 1.0
    assert not torch.equal(prepare(cohort, hearts.TINY, silent).ecg[0], first.ecg[0])


def test_images_stand_in_the_order_of_the_visits(data, entries):
    for anchor in ("ed", "es"):
        for row in (0, 14, 15, 39):
            np.testing.assert_array_equal(data.volumes[anchor][row], entries[row].volumes[anchor])
    assert data.cine is None


def test_cines_come_along_where_every_visit_has_one(entries, tmp_path, silent):
    cines = {row: {"cine": np.full((3, 8, 9), row, np.uint8)} for row in range(40)}
    found = changed(entries, tmp_path, silent, cines, cine=(3, 8, 9)).cine
    assert found.shape == (40, 3, 8, 9)
    assert found[:, 0, 0, 0].tolist() == list(range(40))


def test_targets_are_undone_by_the_scale_of_those_whose_labels_may_be_read(cohort, silent):
    few = replace(hearts.TINY, split=replace(SPLIT, labels=0.4))
    data = prepare(cohort, few, silent)
    who = rows(cohort, labelled(split(cohort.participants.tolist(), SPLIT)["train"], few.split))
    assert data.labelled.tolist() == who.tolist()
    assert 2 < len(who) < len(data.parts["train"])
    for column, symbol in enumerate(PREDICTED):
        measured = cohort.column(symbol)
        logs = [np.log(measured[row]) for row in who]
        assert float(data.log_mean[column]) == pytest.approx(sum(logs) / len(logs), rel=1e-5)
        restored = torch.exp(data.targets[:, column] * data.log_sd[column] + data.log_mean[column])
        np.testing.assert_allclose(restored, measured, rtol=1e-5)


def test_labels_that_may_not_be_read_change_nothing_that_is_learnt_from(entries, cohort, silent, tmp_path):
    few = replace(hearts.TINY, split=replace(SPLIT, labels=0.4))
    plain = prepare(cohort, few, silent)
    hidden = sorted(set(range(40)) - set(plain.labelled.tolist()))
    other = changed(entries, tmp_path, silent, {row: {"phenotypes": np.full(12, np.nan)} for row in hidden}, recipe=few)
    assert torch.equal(other.log_mean, plain.log_mean)
    assert torch.equal(other.log_sd, plain.log_sd)
    assert torch.equal(other.targets[plain.labelled], plain.targets[plain.labelled])


def test_covariates_are_standardised_on_the_train_part_and_unknown_ones_stay_unknown(entries, tmp_path, silent):
    data = changed(entries, tmp_path, silent, {3: {"age": np.nan, "sex": ""}, 4: {"height": 190.0}})
    train = data.parts["train"].numpy()
    ages = np.array([np.nan if row == 3 else entries[row].age for row in range(40)])
    age = list(COVARIATES).index("age")
    known = [ages[row] for row in train if row != 3]
    assert float(data.covariate_mean[age]) == pytest.approx(np.mean(known), rel=1e-6)
    assert float(data.covariate_sd[age]) == pytest.approx(np.std(known), rel=1e-6)
    np.testing.assert_allclose(
        data.covariates[:, age] * data.covariate_sd[age] + data.covariate_mean[age], ages, rtol=1e-5
    )
    sex = data.covariates[:, list(COVARIATES).index("sex")]
    assert sex[[0, 1]].tolist() == [1.0, -1.0]  # men are even in toys
    assert np.flatnonzero(torch.isnan(sex)).tolist() == [3]
    assert torch.isfinite(data.covariates[4]).all()


def test_two_visits_of_a_participant_share_number_and_part(entries, tmp_path, silent):
    visits = {row: {"participant": "toy-0"} for row in (7, 21)}
    data = changed(entries, tmp_path, silent, visits)
    assert data.participants.dtype == torch.int64
    assert len(set(data.participants[[0, 7, 21]].tolist())) == 1
    assert len(data.participants.unique()) == 38
    assert sum({0, 7, 21} <= set(part.tolist()) for part in data.parts.values()) == 1
    assert sorted(row for part in data.parts.values() for row in part.tolist()) == list(range(40))


def test_faulty_visits_are_in_no_part_and_faulty_numbers_are_unknown(entries, tmp_path, silent):
    quiet = replace(entries[5].recording, signal=0 * entries[5].recording.signal)
    small = entries[9].phenotypes.copy()
    small[list(PHENOTYPES).index("LVM")] = 0.1
    data = changed(entries, tmp_path, silent, {5: {"recording": quiet}, 9: {"phenotypes": small}})
    assert {(fault.participant, fault.column) for fault in data.faults} == {("toy-5", "ecg"), ("toy-9", "LVM")}
    assert sorted(row for part in data.parts.values() for row in part.tolist()) == [
        row for row in range(40) if row != 5
    ]
    unknown = torch.isnan(data.targets)
    assert [(int(row), PREDICTED[column]) for row, column in torch.argwhere(unknown)] == [(9, "LVM")]
    assert np.isnan(data.cohort.column("LVM")).nonzero()[0].tolist() == [9]
    assert "toy-5, ecg" in (tmp_path / "cache" / "check.txt").read_text()


def test_a_recipe_may_refuse_a_cohort_with_faults(entries, tmp_path, silent):
    strict = replace(hearts.TINY, split=replace(SPLIT, faults="refuse"))
    with pytest.raises(FaultyCohort, match="1 faults, the first: toy-2, height"):
        changed(entries, tmp_path, silent, {2: {"height": 1.7}}, recipe=strict)


def test_a_missing_shard_is_told_where_the_cohort_was_read_without_it(entries, tmp_path, silent):
    hearts.written(tmp_path, entries, shard=5)
    (tmp_path / "shard-000010" / "samples.npy").unlink()
    data = prepare(load(tmp_path, unreadable="exclude"), hearts.TINY, silent)
    assert len(data.ecg) == 35
    (fault,) = data.faults
    assert (fault.column, "shard-000010" in fault.what) == ("shard", True)


def test_a_given_split_is_kept_and_one_that_mixes_parts_is_refused(entries, tmp_path, silent):
    given = {"train": [f"toy-{n}" for n in range(10, 40)], "validation": ["toy-0"], "calibration": ["toy-1"]}
    given["test"] = [f"toy-{n}" for n in range(2, 10)]
    digest = write_split(tmp_path / "split.json", given)
    data = changed(entries, tmp_path, silent, {}, split=digest)
    assert data.split == given
    assert data.parts["validation"].tolist() == [0]
    write_split(tmp_path / "split.json", given | {"validation": ["toy-2"]})
    with pytest.raises(MixedParts, match="toy-2"):
        prepare(load(tmp_path), hearts.TINY, silent)


def test_too_few_people_and_too_few_labels_are_refused(entries, cohort, tmp_path, silent):
    with pytest.raises(ValueError, match="too few"):
        prepare(hearts.written(tmp_path, entries[:2]), hearts.TINY, silent)
    with pytest.raises(ValueError, match=r"labels may be read of LVEDV.*raise `labels`"):
        prepare(
            cohort, replace(hearts.TINY, split=Split(validation=0.2, calibration=0.2, test=0.2, labels=0.0)), silent
        )


@pytest.mark.parametrize("symbol", PREDICTED)
def test_a_phenotype_that_nobody_to_learn_from_has_is_refused_by_name(entries, data, tmp_path, silent, symbol):
    with pytest.raises(CohortError, match=f"in the train part .* read of {symbol}$"):  # every label may be read
        changed(entries, tmp_path, silent, without(entries, symbol, data.labelled[1:]))


def test_a_phenotype_that_is_the_same_in_everybody_teaches_nothing(entries, tmp_path, silent):
    alike = np.array([symbol == "LVWT" for symbol in PHENOTYPES])
    same = {row: {"phenotypes": np.where(alike, 7.0, entry.phenotypes)} for row, entry in enumerate(entries)}
    with pytest.raises(CohortError, match=r"different labels may be read of LVWT$"):
        changed(entries, tmp_path, silent, same)


@pytest.mark.parametrize("part", ["calibration", "test"])
@pytest.mark.parametrize("symbol", ["RVESV", "LVEF"])
def test_a_phenotype_that_cannot_be_calibrated_or_measured_is_refused_by_name(
    entries, data, tmp_path, silent, part, symbol
):
    verify_labels(data)
    lacking = changed(entries, tmp_path, silent, without(entries, symbol, data.parts[part][1:]))
    with pytest.raises(CohortError, match=f"the {part} part has fewer than 2 visits with a label of .*{symbol}"):
        verify_labels(lacking)


def test_without_heart_rates_no_cardiac_output_can_be_calibrated(entries, data, tmp_path, silent):
    unknown = {int(row): {"heart_rate": np.nan} for row in data.parts["calibration"]}
    with pytest.raises(CohortError, match=r"the calibration part .* label of CO:"):
        verify_labels(changed(entries, tmp_path, silent, unknown))


def test_errors_go_together_in_ten_visits_with_every_phenotype_or_the_cohort_is_refused(
    entries, data, tmp_path, silent
):
    rows = data.parts["calibration"]
    spare = len(rows) - FEWEST_COMPLETE
    assert spare > 0
    halves = without(entries, "LAV", rows[:1]) | without(entries, "LVM", rows[1:spare])
    verify_labels(changed(entries, tmp_path / "enough", silent, halves))
    halves |= without(entries, "LVM", rows[spare : spare + 1])
    with pytest.raises(CohortError, match="the calibration part has 9 visits with all of"):
        verify_labels(changed(entries, tmp_path / "few", silent, halves))
