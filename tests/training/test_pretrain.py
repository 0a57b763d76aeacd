"""Training learns what it should, twice the same, and nothing it should not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.phenotypes import PREDICTED
from tests.training import hearts
from training.cohort import rows
from training.config import Anchor, Contrast, Schedule
from training.dataset import prepare
from training.encoders import EcgEncoder
from training.finetune import finetune
from training.pretrain import SHOWN_BY, DualPhase, pairs, pretrain, projected
from training.split import split
from training.train import train


@pytest.fixture(scope="module")
def data(toy_cohort, silent):
    return prepare(toy_cohort, hearts.TINY, silent)


def test_every_predicted_phenotype_is_shown_by_exactly_one_phase():
    assert sorted(symbol for symbols in SHOWN_BY.values() for symbol in symbols) == sorted(PREDICTED)


def test_the_parts_of_the_dataset_are_those_of_the_split(data, toy_cohort):
    parts = split(toy_cohort.ids.tolist(), hearts.TINY.split)
    for part, participants in parts.items():
        assert data.parts[part].tolist() == rows(toy_cohort, participants).tolist()


def test_targets_are_standardised_on_the_train_part_alone(data, toy_cohort):
    train_targets = data.targets[data.parts["train"]].numpy()
    np.testing.assert_allclose(train_targets.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(train_targets.std(0), 1.0, atol=1e-5)
    lvm = torch.exp(data.targets[:, PREDICTED.index("LVM")] * data.log_sd[2] + data.log_mean[2])
    np.testing.assert_allclose(lvm, toy_cohort.column("LVM"), rtol=1e-5)


def test_a_cohort_too_small_to_be_split_is_refused(tmp_path, silent):
    with pytest.raises(ValueError, match="too few"):
        prepare(hearts.cohort(tmp_path, participants=2), hearts.TINY, silent)


def test_a_pair_of_weight_zero_is_left_out():
    assert [pair.name for pair in pairs(Contrast())] == ["ecg-ed", "ecg-es"]
    assert [pair.name for pair in pairs(Contrast(anchors=(Anchor(name="ed"), Anchor(name="lge")), between=0.1))] == [
        "ecg-ed",
        "ecg-lge",
        "ed-lge",
    ]


def test_four_pairs_are_learnt_by_heart(data, silent):
    torch.manual_seed(0)
    few = replace(data, parts=dict.fromkeys(data.parts, data.parts["train"][:4]))
    anchors = {"ed": torch.randn(len(data.ecg), 6), "es": torch.randn(len(data.ecg), 6)}
    recipe = replace(
        hearts.TINY,
        ecg=replace(hearts.TINY.ecg, dropout=0.0),
        pretraining=Schedule(epochs=80, batch=4, learning_rate=5e-3, weight_decay=0.0),
    )
    net, history = pretrain(EcgEncoder(recipe.ecg), few, anchors, recipe, silent)
    assert history.train[0] > 0.7  # ln 4 = 1.39 at chance
    assert history.train[-1] < 0.05
    with torch.no_grad():
        found = projected(net, few, anchors, few.parts["train"])
    assert (found["ecg"] @ found["ed"].T).argmax(1).tolist() == [0, 1, 2, 3]


def test_the_anchor_features_are_frozen(data):
    net = DualPhase(EcgEncoder(hearts.TINY.ecg), hearts.TINY, {"ed": 6})
    anchors = {"ed": torch.randn(len(data.ecg), 6)}
    net.loss(net.project(data.ecg[:4], {"ed": anchors["ed"][:4]}) | {"es": torch.randn(4, 8)})["ecg-ed"].backward()
    assert not anchors["ed"].requires_grad
    assert next(net.encoder.parameters()).grad.abs().sum() > 0


def test_a_known_phenotype_is_recovered_on_hearts_never_seen(data, silent):
    torch.manual_seed(0)
    recipe = replace(hearts.TINY, finetuning=Schedule(epochs=60, batch=36, learning_rate=1e-2, weight_decay=0.0))
    network, _ = finetune(EcgEncoder(recipe.ecg), data, recipe, silent)
    unseen = torch.cat([data.parts["calibration"], data.parts["test"]])
    _, mean, _ = network.predict(data.ecg[unseen])
    edv = PREDICTED.index("LVEDV")
    assert np.corrcoef(mean[:, edv], data.targets[unseen, edv])[0, 1] > 0.9


def test_two_identical_runs_give_the_same_weights_to_the_bit(toy_cohort, toy_checkpoint, tmp_path, silent):
    again = train(toy_cohort, tmp_path, hearts.TINY, silent)
    assert again.network.keys() == toy_checkpoint.network.keys()
    for name, weights in again.network.items():
        assert torch.equal(weights, toy_checkpoint.network[name]), name
    assert again.evaluation == toy_checkpoint.evaluation


def test_another_seed_gives_other_weights(toy_cohort, toy_checkpoint, tmp_path, silent):
    other = train(toy_cohort, tmp_path, replace(hearts.TINY, seed=2), silent)
    weights = "encoder.body.0.0.weight"
    assert not torch.equal(other.network[weights], toy_checkpoint.network[weights])
