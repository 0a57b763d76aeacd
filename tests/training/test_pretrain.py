"""Training learns what it should, twice the same, and nothing it should not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.phenotypes import PREDICTED
from tests.training import hearts
from training.cohort import rows
from training.config import Anchor, Contrast, Schedule, VitWidths
from training.dataset import prepare
from training.ecg_encoder import build_ecg_encoder
from training.finetune import finetune
from training.pretrain import CINE, TRACKS, Aligned, Source, pairs, pretrain, projected, step
from training.split import split
from training.temporal import PHASES, NoCine
from training.train import train

VIT = VitWidths(decimation=4, patch_samples=50, width=16, depth=2, heads=2, embedding=12, drop_path=0.0)
"""Treats each row by itself."""


@pytest.fixture(scope="module")
def data(toy_cohort, silent):
    return prepare(toy_cohort, hearts.TINY, silent)


@pytest.fixture(scope="module")
def anchors(data):
    generator = torch.Generator().manual_seed(4)
    return {name: torch.randn(len(data.ecg), 6, generator=generator) for name in ("ed", "es")}


def few(data, rows):
    """The data set with nobody but some rows of the train part."""
    return replace(data, parts=dict.fromkeys(data.parts, data.parts["train"][:rows]))


def contrasting(ecg=hearts.TINY.ecg, augmentation=hearts.TINY.augmentation, **contrast):
    return replace(
        hearts.TINY,
        ecg=ecg,
        augmentation=augmentation,
        contrast=replace(hearts.TINY.contrast, **contrast),
        pretraining=Schedule(epochs=80, batch=4, learning_rate=5e-3, weight_decay=0.0),
    )


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


@pytest.mark.parametrize(("ecg", "micro_batch"), [(hearts.TINY.ecg, 128), (VIT, 2)])
def test_four_pairs_are_learnt_by_heart(data, anchors, run, ecg, micro_batch):
    torch.manual_seed(0)
    recipe = contrasting(ecg=ecg, micro_batch=micro_batch)
    net, history = pretrain(build_ecg_encoder(recipe.ecg), few(data, 4), anchors, recipe, run)
    assert history.train[0] > 0.7  # ln 4 = 1.39 at chance
    assert history.train[-1] < 0.05
    with torch.no_grad():
        found = projected(net, data, anchors, data.parts["train"][:4])
    assert (found["ecg"] @ found["ed"].T).argmax(1).tolist() == [0, 1, 2, 3]


def test_four_pairs_are_learnt_by_heart_as_gaussians(data, anchors, run):
    torch.manual_seed(0)
    recipe = contrasting(probabilistic=True)
    net, history = pretrain(build_ecg_encoder(recipe.ecg), few(data, 4), anchors, recipe, run)
    assert history.train[0] > 1.0
    assert history.train[-1] < 0.1
    with torch.no_grad():
        found = projected(net, data, anchors, data.parts["train"][:4])
    torch.testing.assert_close(found["ecg"].norm(dim=1), torch.ones(4))
    assert (found["ecg"] @ found["es"].T).argmax(1).tolist() == [0, 1, 2, 3]


def test_the_anchor_features_are_frozen_and_the_ecg_encoder_is_not(data, anchors, run):
    recipe = contrasting()
    net = Aligned(build_ecg_encoder(recipe.ecg), recipe, {"ed": 6, "es": 6})
    step(net, Source.of(data, anchors, recipe, run), torch.Generator().manual_seed(0))(data.parts["train"][:8])
    assert not anchors["ed"].requires_grad
    for part in (net.encoder, net.projections, net.loss):
        assert all(parameter.grad.abs().sum() > 0 for parameter in part.parameters() if parameter.ndim != 1)


def gradients(recipe, data, anchors, run, rows):
    torch.manual_seed(2)
    net = Aligned(build_ecg_encoder(recipe.ecg), recipe, {"ed": 6, "es": 6}).train()
    source = Source.of(data, anchors, recipe, run)
    loss = step(net, source, torch.Generator().manual_seed(0))(rows)
    return loss, {name: parameter.grad for name, parameter in net.named_parameters()}


def with_cine(data):
    """A spot that goes round once a beat, at another place in each heart."""
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    phase = torch.arange(PHASES) / PHASES * 2 * torch.pi
    centre = 10 + 0.05 * torch.arange(len(data.ecg))[:, None]
    across, down = (x - (centre + 6 * phase.cos())[..., None, None]), (y - (centre + 6 * phase.sin())[..., None, None])
    return replace(data, cine=torch.where(across**2 + down**2 < 9, 255, 30).to(torch.uint8))


@pytest.mark.parametrize(
    "contrast", [{}, {"soft_targets": 0.5, "between": 0.5}, {"probabilistic": True}, {"temporal": 1.0}]
)
def test_how_much_fits_into_memory_changes_neither_loss_nor_gradient(data, anchors, run, contrast):
    rows = data.parts["train"][:11]
    seen = with_cine(data)
    whole, expected = gradients(contrasting(ecg=VIT, micro_batch=11, **contrast), seen, anchors, run, rows)
    parts, found = gradients(contrasting(ecg=VIT, micro_batch=4, **contrast), seen, anchors, run, rows)
    assert parts.item() == pytest.approx(whole.item(), rel=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_in_half_precision_the_loss_hardly_changes(data, anchors, run):
    rows = data.parts["train"][:11]
    exact, _ = gradients(contrasting(ecg=VIT), data, anchors, run, rows)
    coarse, found = gradients(contrasting(ecg=VIT, micro_batch=4), data, anchors, replace(run, precision="bf16"), rows)
    assert coarse.dtype == torch.float32
    assert coarse.item() == pytest.approx(exact.item(), rel=0.02)
    assert all(torch.isfinite(gradient).all() for gradient in found.values())


def test_two_visits_of_one_participant_are_no_negatives(data, anchors, run):
    """With everybody the same participant nobody has a negative, and every ECG finds its heart."""
    same = replace(data, participants=torch.zeros(len(data.ecg), dtype=torch.int64))
    loss, found = gradients(contrasting(ecg=VIT), same, anchors, run, data.parts["train"][:6])
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert all(gradient.abs().max() < 1e-6 for gradient in found.values())


def test_only_labels_that_may_be_read_are_read(data, anchors, run):
    readable = data.parts["train"][:5]
    source = Source.of(replace(data, labelled=readable), anchors, contrasting(soft_targets=0.5), run)
    read = ~torch.isnan(source.labels).any(1)
    assert set(read.nonzero().flatten().tolist()) == {*readable.tolist(), *data.parts["validation"].tolist()}


def test_the_temporal_objective_needs_a_cine(data, anchors, run):
    recipe = contrasting(temporal=1.0)
    with pytest.raises(NoCine, match="this cohort has none"):
        pretrain(build_ecg_encoder(recipe.ecg), replace(data, cine=None), anchors, recipe, run)


def test_frames_and_ecgs_of_one_phase_are_brought_together(data, anchors, run):
    torch.manual_seed(0)
    recipe = contrasting(temporal=1.0)
    seen = with_cine(few(data, 4))
    net, history = pretrain(build_ecg_encoder(recipe.ecg), seen, anchors, recipe, run)
    source = Source.of(seen, anchors, recipe, run)
    with torch.no_grad():
        batch = source.plain(seen.parts["train"])
        local = net.temporal(net.encoder.tokens(batch["ecg"]), batch[TRACKS], batch[CINE])
    assert history.train[-1] < 0.5 * history.train[0]
    assert local.mean() < 1.0  # ln 8 = 2.08 at chance


def test_a_known_phenotype_is_recovered_on_hearts_never_seen(data, run):
    torch.manual_seed(0)
    recipe = replace(hearts.TINY, finetuning=Schedule(epochs=60, batch=36, learning_rate=1e-2, weight_decay=0.0))
    network, _ = finetune(build_ecg_encoder(recipe.ecg), data, recipe, run)
    unseen = torch.cat([data.parts["calibration"], data.parts["test"]])
    _, mean, _ = network.predict(data.ecg[unseen], data.covariates[unseen])
    edv = PREDICTED.index("LVEDV")
    assert np.corrcoef(mean[:, edv], data.targets[unseen, edv])[0, 1] > 0.9


def test_two_identical_runs_give_the_same_weights_to_the_bit(toy_cohort, toy_checkpoint, tmp_path, run):
    again = train(toy_cohort, tmp_path, hearts.TINY, run)
    assert again.network.keys() == toy_checkpoint.network.keys()
    for name, weights in again.network.items():
        assert torch.equal(weights, toy_checkpoint.network[name]), name
    assert again.evaluation == toy_checkpoint.evaluation


def test_another_seed_gives_other_weights(toy_cohort, toy_checkpoint, tmp_path, run):
    other = train(toy_cohort, tmp_path, replace(hearts.TINY, seed=2), run)
    weights = "encoder.body.0.0.weight"
    assert not torch.equal(other.network[weights], toy_checkpoint.network[weights])
