"""The CMR encoder learns from those it may, reads its phase, and is frozen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.phenotypes import PREDICTED
from tests.training import hearts
from training.cmr_encoder import build_cmr_encoder
from training.config import Anchor, CmrWidths, Contrast, Schedule, Teacher
from training.dataset import prepare
from training.masking import hidden_blocks
from training.probe import probe
from training.teacher import (
    BLOCK,
    SHOWN_BY,
    MaskedTeacher,
    NoSuchAnchor,
    PhenotypeTeacher,
    anchor_features,
    train_teachers,
)

MASKED = replace(hearts.TINY, teacher=Teacher(by="masked"))
LONGER = Schedule(epochs=40, batch=18, learning_rate=3e-2, weight_decay=0.0)


@pytest.fixture(scope="module")
def data(toy_cohort, silent):
    return prepare(toy_cohort, hearts.TINY, silent)


def weights_of(data, recipe, run):
    torch.manual_seed(0)
    encoder, _ = train_teachers(data, recipe, run)
    return torch.cat([weights.flatten().float() for weights in encoder.state_dict().values()])


def test_every_predicted_phenotype_is_shown_by_exactly_one_phase():
    assert sorted(symbol for symbols in SHOWN_BY.values() for symbol in symbols) == sorted(PREDICTED)


@pytest.mark.parametrize("shared", [False, True])
def test_phenotypes_of_a_phase_are_read_from_hearts_never_seen(data, run, shared):
    torch.manual_seed(0)
    recipe = replace(hearts.TINY, cmr=CmrWidths(channels=(8, 16), shared=shared), cmr_schedule=LONGER)
    encoder, history = train_teachers(data, recipe, run)
    features = anchor_features(encoder, data, run)
    assert probe(features["ed"], data)["LVEDV"] > 0.9
    assert probe(features["es"], data)["LVESV"] > 0.9
    held_out = data.targets[data.parts["validation"]].square().mean(0)  # of the mean of the train part
    by_the_mean = sum(held_out[[PREDICTED.index(symbol) for symbol in shown]].mean() for shown in SHOWN_BY.values())
    assert min(history.validation) < 0.8 * by_the_mean


def test_an_unlabelled_participant_teaches_no_phenotype(data, run):
    few = replace(data, labelled=data.parts["train"][:20])
    others = data.parts["train"][20:]
    spoilt = data.targets.clone()
    spoilt[others] = 1e3
    hidden = {name: volumes.clone() for name, volumes in data.volumes.items()}
    for volumes in hidden.values():
        volumes[others] = 0
    without = replace(few, targets=spoilt, volumes=hidden)
    assert torch.equal(weights_of(few, hearts.TINY, run), weights_of(without, hearts.TINY, run))


def test_completion_needs_no_labels_and_sees_everybody(data, run):
    unlabelled = replace(data, targets=torch.full_like(data.targets, torch.nan), labelled=data.parts["train"][:0])
    learnt = weights_of(data, MASKED, run)
    assert torch.equal(learnt, weights_of(unlabelled, MASKED, run))
    fewer = replace(data, parts={**data.parts, "train": data.parts["train"][:20]})
    assert not torch.equal(learnt, weights_of(fewer, MASKED, run))


def test_hidden_blocks_of_a_heart_never_seen_are_completed_better_than_by_their_mean(data, run):
    torch.manual_seed(0)
    recipe = replace(
        MASKED,
        cmr=CmrWidths(channels=(8, 16, 32)),
        contrast=Contrast(anchors=(Anchor(name="ed"),)),
        cmr_schedule=replace(LONGER, epochs=50, batch=9),
    )
    _, history = train_teachers(data, recipe, run)
    held_out = data.volumes["ed"][data.parts["validation"]].float() / 255
    assert min(history.validation) < 0.8 * held_out.var()


def test_completed_blocks_lie_where_they_were_taken_from():
    encoder = build_cmr_encoder(CmrWidths(channels=(4, 8)), ["ed"])
    teacher = MaskedTeacher(encoder, 0.5).eval()
    volumes = torch.rand(2, 16, 64, 64)
    with torch.no_grad():
        completed = teacher.completed("ed", volumes)
        decoded = teacher.decoders["ed"](encoder.maps(volumes, "ed")).numpy()
    for z, y, x in ((0, 0, 0), (5, 17, 40), (15, 63, 62)):
        voxel = np.ravel_multi_index((z % 2, y % 8, x % 8), (2, 8, 8))
        np.testing.assert_array_equal(completed[:, z, y, x], decoded[:, voxel, z // 2, y // 8, x // 8])


def test_the_share_of_hidden_blocks_is_exact_and_blocks_are_whole():
    hidden = hidden_blocks(3, (16, 64, 64), BLOCK, 0.6, torch.Generator().manual_seed(0))
    blocks = hidden.reshape(3, 8, 2, 8, 8, 8, 8).permute(0, 1, 3, 5, 2, 4, 6).flatten(4).float().mean(-1)
    assert set(blocks.unique().tolist()) == {0.0, 1.0}
    assert blocks.sum((1, 2, 3)).tolist() == [round(0.6 * 512)] * 3
    assert not torch.equal(hidden[0], hidden[1])


def test_the_features_are_frozen_and_standardised_on_the_train_part(data, run):
    encoder, _ = train_teachers(data, hearts.TINY, run)
    features = anchor_features(encoder.train(), data, run)
    assert list(features) == ["ed", "es"]
    for values in features.values():
        train = values[data.parts["train"]]
        np.testing.assert_allclose(train.mean(0), 0.0, atol=1e-4)
        assert train.std(0).max() <= 1.0
    again = anchor_features(encoder, data, run)
    assert torch.equal(features["ed"], again["ed"])
    assert not any(weights.requires_grad for weights in encoder.parameters())


def test_an_anchor_that_the_cohort_lacks_is_named(data, run):
    recipe = replace(hearts.TINY, contrast=Contrast(anchors=(Anchor(name="ed"), Anchor(name="lge"))))
    with pytest.raises(NoSuchAnchor, match="none of lge"):
        train_teachers(data, recipe, run)


def test_an_anchor_of_no_known_phase_is_asked_for_every_phenotype():
    teacher = PhenotypeTeacher(build_cmr_encoder(CmrWidths(channels=(4, 8)), ["ed", "lge"]))
    assert [PREDICTED[column] for column in teacher.columns["ed"]] == list(SHOWN_BY["ed"])
    assert [PREDICTED[column] for column in teacher.columns["lge"]] == list(PREDICTED)


def test_a_linear_probe_reads_what_is_linear_and_nothing_from_noise(data):
    rng = torch.Generator().manual_seed(0)
    mixed = data.targets @ torch.randn(7, 20, generator=rng)
    assert min(probe(mixed, data).values()) > 0.98
    assert max(probe(torch.randn(len(data.targets), 20, generator=rng), data).values()) < 0.2


def test_a_probe_leaves_out_what_nobody_has(data):
    targets = data.targets.clone()
    targets[:, 0] = torch.nan
    assert set(probe(data.targets, replace(data, targets=targets))) == set(PREDICTED[1:])
