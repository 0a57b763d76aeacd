"""Planted faults are named by participant and column, alone; what is wrong is left out and nothing else is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from models.phenotypes import PHENOTYPES
from tests.training import hearts
from training.check import FOLLOWS, admitted, check, faults_of_shard, summary, write_report
from training.cohort import Fault, Manifest, load
from training.manifest import read_manifest, write_manifest
from training.shard import write_shard
from training.split import write_split

SYMBOLS = list(PHENOTYPES)


@pytest.fixture(scope="module")
def entries():
    return [hearts.entry(seed) for seed in range(3)]


def with_phenotypes(entry, **values):
    phenotypes = entry.phenotypes.copy()
    for symbol, value in values.items():
        phenotypes[SYMBOLS.index(symbol)] = value
    return replace(entry, phenotypes=phenotypes)


def with_signal(entry, signal):
    return replace(entry, recording=replace(entry.recording, signal=signal))


def found(folder, entries, silent):
    """(participant, column) of every fault."""
    hearts.written(folder, entries)
    return [(fault.participant, fault.column) for fault in check(folder, silent)]


def test_nothing_is_wrong_with_hearts_that_are_right(entries, tmp_path, silent):
    assert found(tmp_path, entries, silent) == []


def test_what_nobody_knows_is_not_wrong(entries, tmp_path, silent):
    unknown = replace(
        entries[1], sex="", age=np.nan, height=np.nan, weight=np.nan, heart_rate=np.nan, phenotypes=np.full(12, np.nan)
    )
    assert found(tmp_path, [entries[0], unknown], silent) == []


def flat(signal):
    signal[7] = 0.3
    return signal


PLANTED_ECGS = {
    "a lead that is flat": flat,
    "volts taken for millivolts": lambda signal: signal / 1000,
    "an amplitude that no heart has": lambda signal: np.tile(15 * signal[11] / np.abs(signal[11]).max(), (12, 1)),
    "two seconds": lambda signal: signal[:, :1000],
    "noise": lambda signal: np.random.default_rng(0).normal(0, 0.3, signal.shape),
}


@pytest.mark.parametrize("planted", PLANTED_ECGS)
def test_an_ecg_that_serving_would_refuse_is_named(entries, tmp_path, silent, planted):
    wrong = with_signal(entries[1], PLANTED_ECGS[planted](entries[1].recording.signal.copy()))
    assert found(tmp_path, [entries[0], wrong], silent) == [("toy-1", "ecg")]


def test_an_image_of_one_grey_is_named(entries, tmp_path, silent):
    black = replace(entries[1], volumes={**entries[1].volumes, "es": np.full((16, 64, 64), 7, np.uint8)})
    assert found(tmp_path, [entries[0], black], silent) == [("toy-1", "volumes/es")]


@pytest.mark.parametrize("ventricle", ["LV", "RV"])
def test_end_diastole_smaller_than_end_systole_is_named(entries, tmp_path, silent, ventricle):
    edv, esv = (entries[1].phenotypes[SYMBOLS.index(f"{ventricle}{phase}V")] for phase in ("ED", "ES"))
    exchanged = with_phenotypes(entries[1], **{f"{ventricle}EDV": esv, f"{ventricle}ESV": edv})
    assert found(tmp_path, [entries[0], exchanged], silent) == [
        ("toy-1", f"{ventricle}EDV"),
        ("toy-1", f"{ventricle}ESV"),
    ]


@pytest.mark.parametrize(
    ("symbol", "factor", "hint"),
    [
        ("LAV", 0.001, "1000 times"),
        ("LVM", 0.001, "1000 times"),
        ("LVEF", 0.01, "100 times"),
        ("LVWT", 0.1, "10 times"),
    ],
)
def test_a_phenotype_in_another_unit_is_named_with_what_would_mend_it(entries, tmp_path, silent, symbol, factor, hint):
    value = factor * entries[1].phenotypes[SYMBOLS.index(symbol)]
    hearts.written(tmp_path, [entries[0], with_phenotypes(entries[1], **{symbol: value})])
    (fault,) = check(tmp_path, silent)
    assert (fault.participant, fault.column) == ("toy-1", symbol)
    assert hint in fault.advice


def test_a_person_in_another_unit_is_named_with_the_factor_that_would_mend_it(entries, tmp_path, silent):
    hearts.written(tmp_path, [replace(entries[0], height=1.7, age=200.0, heart_rate=0.7)])
    advice = {fault.column: fault.advice for fault in check(tmp_path, silent)}
    assert advice.keys() == {"height", "age", "heart_rate"}
    assert "100 times" in advice["height"]


def test_infinite_is_not_a_number_of_millilitres(entries, tmp_path, silent):
    wrong = with_phenotypes(entries[1], LAV=np.inf)
    assert found(tmp_path, [wrong], silent) == [("toy-1", "LAV")]


def test_a_derived_phenotype_of_another_heart_is_named(entries, tmp_path, silent):
    sv = entries[1].phenotypes[SYMBOLS.index("LVSV")]
    assert found(tmp_path / "rounded", [with_phenotypes(entries[1], LVSV=sv + 1.4)], silent) == []
    assert found(tmp_path / "other", [with_phenotypes(entries[1], LVSV=sv + 10)], silent) == [("toy-1", "LVSV")]


def test_a_sex_in_another_spelling_is_named(entries, tmp_path, silent):
    assert found(tmp_path, [replace(entries[0], sex="male")], silent) == [("toy-0", "sex")]


def test_a_sample_that_changed_on_disk_is_named(entries, tmp_path, silent):
    hearts.written(tmp_path, entries)
    path = tmp_path / "shard-000000" / "volumes-ed.npy"
    stored = bytearray(path.read_bytes())
    stored[-1] ^= 1
    path.write_bytes(stored)
    assert [(fault.participant, fault.column) for fault in check(tmp_path, silent)] == [("toy-2", "shard")]


def test_a_missing_shard_is_named_and_the_others_are_still_read(entries, tmp_path, silent):
    hearts.written(tmp_path, [entries[0], replace(entries[1], height=1.7), entries[2]], shard=1)
    shutil.rmtree(tmp_path / "shard-000002")
    missing, height = sorted(check(tmp_path, silent), key=lambda fault: fault.participant)
    assert (missing.column, height.participant, height.column) == ("shard", "toy-1", "height")
    assert "shard-000002" in missing.what


def test_a_visit_that_occurs_in_two_shards_is_named(entries, tmp_path, silent):
    manifest = Manifest(source="tests", made={})
    shards = [write_shard(tmp_path, n, [entry], manifest) for n, entry in enumerate([entries[0], entries[0]])]
    write_manifest(tmp_path, manifest.with_shards(shards))
    (fault,) = check(tmp_path, silent)
    assert (fault.id, fault.column, fault.what) == ("toy-0", "id", "occurs 2 times")


def test_a_participant_in_two_parts_of_the_split_is_named(entries, tmp_path, silent):
    write_split(
        tmp_path / "split.json", {"train": ["toy-0", "toy-1"], "validation": [], "calibration": [], "test": ["toy-1"]}
    )
    assert found(tmp_path, entries, silent) == [("toy-1", "split")]


def test_what_the_source_left_out_is_told_again(entries, tmp_path, silent):
    lost = Fault(id="v9", participant="p9", column="ecg", what="no such file: p9.xml", advice="find it")
    hearts.written(tmp_path, entries, left_out=(lost,))
    assert check(tmp_path, silent) == [lost]
    assert read_manifest(tmp_path).left_out == (lost,)


def test_of_a_wrong_number_only_it_and_what_follows_from_it_becomes_unknown(entries, tmp_path):
    cohort = hearts.written(tmp_path, [entries[0], with_phenotypes(entries[1], RVESV=5000.0), entries[2]])
    mended, usable = admitted(cohort, faults_of_shard(cohort, 7.0))
    assert usable.all()
    unknown = np.isnan(mended.phenotypes)
    assert [SYMBOLS[n] for n in np.flatnonzero(unknown[1])] == ["RVESV", "RVSV", "RVEF"]
    assert not unknown[[0, 2]].any()
    np.testing.assert_array_equal(mended.age, cohort.age)


def test_a_wrong_heart_rate_takes_the_cardiac_output_along(entries, tmp_path):
    cohort = hearts.written(tmp_path, [replace(entries[0], heart_rate=0.7, sex="male"), entries[1]])
    mended, usable = admitted(cohort, faults_of_shard(cohort, 7.0))
    assert usable.all()
    assert np.isnan(mended.heart_rate).tolist() == [True, False]
    assert np.isnan(mended.column("CO")).tolist() == [True, False]
    assert mended.sex.tolist() == ["", "M" if cohort.sex[1] == "M" else "F"]


def test_whoever_has_a_wrong_ecg_is_not_used_at_all(entries, tmp_path):
    cohort = hearts.written(tmp_path, [with_signal(entries[0], 0 * entries[0].recording.signal), *entries[1:]])
    _, usable = admitted(cohort, faults_of_shard(cohort, 7.0))
    assert usable.tolist() == [False, True, True]


def test_every_derived_phenotype_follows_from_something():
    assert set(FOLLOWS) == {symbol for symbol, phenotype in PHENOTYPES.items() if phenotype.derived}


def test_the_report_names_every_fault_for_programs_and_for_people(entries, tmp_path, silent):
    hearts.written(tmp_path, [replace(one, height=1.7) for one in entries])
    faults = check(tmp_path, silent)
    table, text = write_report(tmp_path / "out", faults)
    assert summary(faults) == ["height: 3"]
    assert [Fault(**one) for one in json.loads(table.read_text())] == faults
    assert all(f"toy-{n}, height: 1.7 is outside 50 to 250" in text.read_text() for n in range(3))
    assert load(tmp_path).height.tolist() == [1.7] * 3  # the cohort itself stays as it is
