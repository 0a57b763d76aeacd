"""Arms differ in what they claim to differ in, interrupted ablations go on, and the sentences follow the numbers."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from models.phenotypes import PHENOTYPES
from tests.training import hearts
from training.ablate import RESULTS, ablate
from training.ablation_report import write_ablation
from training.arms import (
    BETWEEN,
    BOTH,
    ED,
    ES,
    FROZEN,
    LONG_SCRATCH,
    MASKED,
    PEOPLE,
    SCRATCH,
    UNTAUGHT,
    WITH_PEOPLE,
    arms,
)
from training.comparison import EVERY, FUNCTIONAL, STRUCTURAL, Comparison, lines, mean_of, sentences
from training.config import Recipe
from training.teacher import SHOWN_BY
from training.train import train
from training.trials import Trial, key_of, read_trials, write_trials

SEEDS = (1, 2, 3)


def trial(arm, labels, seed, functional, structural=None):
    structural = functional if structural is None else structural
    r2 = {symbol: functional if symbol in FUNCTIONAL else structural for symbol in PHENOTYPES}
    return Trial(
        key=f"{arm}{labels}{seed}",
        arm=arm,
        labels=labels,
        seed=seed,
        seconds=1.0,
        r2={"all": r2, "normal": r2},
        mae={"all": r2, "normal": r2},
    )


@pytest.mark.parametrize("labels", [0.01, 1.0])
def test_each_arm_leaves_out_what_its_name_says(labels):
    base = Recipe()
    found = arms(base, labels)
    assert all(recipe.split.labels == labels for recipe in found.values())
    assert all(recipe.ecg == base.ecg for recipe in found.values())
    for name in (SCRATCH, PEOPLE):
        assert (found[name].masked_schedule.epochs, found[name].pretraining.epochs) == (0, 0)
    assert found[MASKED].pretraining.epochs == 0 < found[MASKED].masked_schedule.epochs
    anchors = {name: [anchor.name for anchor in found[name].contrast.anchors] for name in (ED, ES, BOTH, BETWEEN)}
    assert anchors == {ED: ["ed"], ES: ["es"], BOTH: ["ed", "es"], BETWEEN: ["ed", "es"]}
    assert found[BETWEEN].contrast.between == 1.0
    assert not found[PEOPLE].heads.ecg
    assert found[WITH_PEOPLE].heads.ecg
    assert found[WITH_PEOPLE].heads.covariates == ("age", "sex", "height", "weight")


@pytest.mark.parametrize("frozen", [False, True])
def test_no_arm_has_both_the_masked_stage_and_the_contrast(frozen):
    for recipe in arms(Recipe(), 1.0, frozen).values():
        assert not (recipe.masked_schedule.epochs and recipe.pretraining.epochs)


@pytest.mark.parametrize("labels", [0.01, 1.0])
def test_one_aligned_arm_has_cmr_encoders_that_never_saw_a_label(labels):
    aligned = {name: recipe.teacher for name, recipe in arms(Recipe(), labels).items() if recipe.pretraining.epochs}
    assert {name for name, teacher in aligned.items() if teacher.by == "masked"} == {UNTAUGHT}
    assert {teacher.every_label for name, teacher in aligned.items() if name != UNTAUGHT} == {True}


def test_the_long_baseline_sees_as_many_ecgs_and_needs_all_labels():
    base = Recipe()
    long = arms(base, 1.0)[LONG_SCRATCH]
    assert (long.masked_schedule.epochs, long.pretraining.epochs) == (0, 0)
    assert long.finetuning.epochs == base.pretraining.epochs + base.finetuning.epochs
    assert LONG_SCRATCH not in arms(base, 0.1)


def test_frozen_arms_are_the_same_but_for_the_encoder():
    found = arms(Recipe(), 1.0, frozen=True)
    frozen = [name for name in found if name.endswith(FROZEN)]
    assert SCRATCH + FROZEN in frozen
    for name in frozen:
        usual = found[name.removesuffix(FROZEN)]
        assert found[name] == replace(usual, heads=replace(usual.heads, encoder_slowdown=0.0))


def test_the_same_training_has_the_same_key_whatever_its_version():
    one = Recipe()
    assert key_of("c", one) == key_of("c", replace(one, version="9.9.9"))
    assert len({key_of("c", one), key_of("d", one), key_of("c", replace(one, seed=7))}) == 3


def test_trials_come_back_as_they_were_written(tmp_path):
    trials = [trial(BOTH, 1.0, 1, 0.5), trial(ED, 0.1, 2, float("nan"))]
    write_trials(tmp_path / "t.jsonl", trials)
    assert repr(read_trials(tmp_path / "t.jsonl")) == repr(trials)
    assert read_trials(tmp_path / "none.jsonl") == []


def test_an_interrupted_ablation_goes_on_where_it_stood(toy_checkpoint, toy_cohort, tmp_path):
    done = []

    def trained(cohort, folder, recipe):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(recipe)
        return toy_checkpoint

    def chosen(labels):
        return {name: recipe for name, recipe in arms(hearts.TINY, labels).items() if name in (SCRATCH, BOTH)}

    settings = {"seeds": (1, 2), "fractions": (0.5, 1.0), "train": trained}
    with pytest.raises(KeyboardInterrupt):
        ablate(toy_cohort, tmp_path, chosen, **settings)
    assert len(read_trials(tmp_path / RESULTS)) == 3
    before, done = list(done), []
    trials = ablate(
        toy_cohort, tmp_path, chosen, **settings | {"train": lambda *a: done.append(a[2]) or toy_checkpoint}
    )
    trials = read_trials(tmp_path / RESULTS)
    assert len(trials) == 8
    assert not {key_of("", one) for one in before} & {key_of("", one) for one in done}
    rows = [row for row in toy_checkpoint.evaluation.performance if row.group == "all"]
    assert trials[0].r2["all"] == {row.symbol: row.r2 for row in rows}
    assert "| from scratch |" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_one_training_under_two_names_is_done_once(toy_checkpoint, toy_cohort, tmp_path):
    done = []
    ablate(
        toy_cohort,
        tmp_path,
        lambda labels: {"one": hearts.TINY, "two": hearts.TINY},
        seeds=(1,),
        fractions=(1.0,),
        train=lambda *a: done.append(a) or toy_checkpoint,
    )
    trials = read_trials(tmp_path / RESULTS)
    assert [len(done), [one.arm for one in trials]] == [1, ["one", "two"]]
    assert {**asdict(trials[0]), "arm": "two"} == asdict(trials[1])


def test_trials_that_nobody_asked_for_stay_in_the_file_and_out_of_the_report(toy_checkpoint, toy_cohort, tmp_path):
    others = [trial(BOTH, 0.5, 9, 0.9), trial(SCRATCH, 0.5, 9, 0.9)]
    write_trials(tmp_path / RESULTS, others)
    settings = {"seeds": (1,), "fractions": (1.0,), "train": lambda *a: toy_checkpoint}
    ablate(toy_cohort, tmp_path, lambda labels: {SCRATCH: hearts.TINY}, **settings)
    ablate(toy_cohort, tmp_path, lambda labels: {ED: hearts.TINY}, **settings)
    kept = read_trials(tmp_path / RESULTS)
    assert kept[:2] == others
    assert [one.arm for one in kept[2:]] == [SCRATCH, ED]
    text = (tmp_path / "report.md").read_text()
    assert f"| {ED} |" in text
    assert f"| {SCRATCH} |" not in text
    assert "50%" not in text
    assert "Trainings: 1; seeds: 1;" in text


def test_real_trainings_end_in_a_report(toy_cohort, trained, tmp_path):
    def chosen(labels):
        return {name: one for name, one in arms(hearts.TINY, labels).items() if name in (SCRATCH, ES)}

    ablate(toy_cohort, tmp_path, chosen, seeds=(1,), fractions=(1.0,), train=trained)
    trials = read_trials(tmp_path / RESULTS)
    assert [one.arm for one in trials] == [SCRATCH, ES]
    assert all(np.isfinite(list(one.r2["all"].values())).all() for one in trials)


@pytest.fixture
def trained(run):
    return lambda cohort, folder, recipe: train(cohort, folder, recipe, run)


def test_the_interval_is_that_of_a_t_test():
    values = [0.1, 0.3, 0.15, 0.22]
    known = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = mean_of([*values, float("nan")])
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    assert (found.value, found.seeds) == (pytest.approx(np.mean(values)), 4)
    assert mean_of([0.2]).verdict == "undecided"
    assert mean_of([]).seeds == 0


def test_gains_are_paired_by_seed():
    noise = {1: 0.0, 2: 0.3, 3: -0.3}
    jitter = {1: 0.0, 2: 0.001, 3: -0.001}
    trials = [trial(SCRATCH, 0.1, seed, 0.3 + noise[seed]) for seed in SEEDS]
    trials += [trial(BOTH, 0.1, seed, 0.35 + noise[seed] + jitter[seed]) for seed in SEEDS]
    gain = Comparison(trials).gain(BOTH, SCRATCH, 0.1, "all", EVERY)
    assert gain.value == pytest.approx(0.05)
    assert gain.verdict == "yes"
    (line,) = sentences(Comparison(trials))
    assert line == (
        f"{BOTH} as published, CMR encoders reading every label, beats {SCRATCH} "
        "at 10%: yes in everybody (+0.05), yes in normals (+0.05)"
    )


def test_the_arm_whose_cmr_encoders_read_no_label_is_judged_at_each_share():
    trials = [trial(arm, 0.1, seed, value) for arm, value in ((UNTAUGHT, 0.4), (MASKED, 0.5)) for seed in SEEDS]
    (line,) = sentences(Comparison(trials))
    where = f"{MASKED}: no in everybody (-0.10), no in normals (-0.10)"
    assert line == f"At 10% of the labels {UNTAUGHT}, beats {where}"
    (row,) = lines(Comparison(trials))
    assert row.title == f"{UNTAUGHT}, against {MASKED}"
    assert str(row.cells[0.1, "all"]) == "-0.100 (-0.100 to -0.100)"


def test_a_whole_ablation_is_told_in_few_sentences_and_one_table(tmp_path):
    names = [SCRATCH, MASKED, ED, ES, BOTH, UNTAUGHT]
    trials = [trial(arm, labels, 1, n / 10) for n, arm in enumerate(names) for labels in (0.01, 0.1, 1.0)]
    trials += [replace(one, seed=2) for one in trials]
    trials += [trial(LONG_SCRATCH, 1.0, seed, 0.2) for seed in (1, 2)]
    told = write_ablation(trials, tmp_path)
    assert len(told) <= 8
    text = (tmp_path / "report.md").read_text()
    assert "| comparison | 1%, everybody | 1%, normals | 10%, everybody | 10%, normals | 100%, everybody |" in text
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {UNTAUGHT}, against {LONG_SCRATCH} |"))
    assert row.split(" | ")[1:5] == ["–"] * 4
    assert row.split(" | ")[5] == "+0.300 (+0.300 to +0.300)"
    table = [
        line for line in text.splitlines() if ", against " in line or ("| gain " in line and line.startswith("| "))
    ]
    assert {line.count("|") for line in table} == {8}


def test_structural_is_what_end_diastole_shows_and_functional_what_end_systole_is_needed_for():
    ejection = {"LVEF": {"LVEDV", "LVESV"}, "RVEF": {"RVEDV", "RVESV"}}  # what each is computed of
    diastole, systole = set(SHOWN_BY["ed"]), set(SHOWN_BY["es"])
    assert set(STRUCTURAL) == diastole
    assert all(ejection.get(symbol, {symbol}) & systole for symbol in FUNCTIONAL)
    assert "LAV" not in {*STRUCTURAL, *FUNCTIONAL}


@pytest.mark.parametrize(("both", "verdict"), [(0.6, "yes"), (0.4, "no")])
def test_the_claim_of_the_paper_is_judged_by_what_the_second_phase_adds(both, verdict):
    jitter = {1: 0.0, 2: 0.002, 3: -0.002}
    trials = [trial(arm, 1.0, seed, 0.5, 0.5) for arm in (ED, ES) for seed in SEEDS]
    trials += [trial(BOTH, 1.0, seed, both + jitter[seed], 0.52) for seed in SEEDS]
    found = Comparison(trials)
    assert found.functional_gain(1.0, "all").value == pytest.approx((both - 0.5) - 0.02)
    assert found.second_phase(1.0, "all", STRUCTURAL).value == pytest.approx(0.02)
    (line,) = (one for one in sentences(found) if one.startswith("Functional"))
    assert f"at 100%: {verdict} in everybody (" in line


def test_a_report_with_one_seed_and_missing_arms_says_so(tmp_path):
    told = write_ablation([trial(SCRATCH, 0.01, 1, 0.1), trial(BOTH, 0.01, 1, 0.2)], tmp_path)
    assert "at 1%: undecided in everybody (+0.10)" in told[0]
    assert "| +0.100 (one seed) |" in (tmp_path / "report.md").read_text()
    assert not any(MASKED in line for line in told)
    assert "nan" not in (tmp_path / "report.md").read_text()
