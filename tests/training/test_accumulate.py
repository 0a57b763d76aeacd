"""Cached embeddings give the gradient of the whole batch, whatever fits into memory."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from training.accumulate import accumulate
from training.losses import ContrastiveLoss, Pair

PAIRS = [Pair(first="ecg", second="ed", weight=1.0)]


class Towers(nn.Module):
    """Two small towers that treat each row by itself, and a temperature."""

    def __init__(self, *between: nn.Module):
        super().__init__()
        self.ecg = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), *between, nn.GELU(), nn.Linear(16, 4))
        self.ed = nn.Linear(5, 4)
        self.loss = ContrastiveLoss(PAIRS)

    def embed(self, batch):
        return {
            "ecg": normalize(self.ecg(batch["ecg"]), dim=-1),
            "ed": normalize(self.ed(batch["ed"]), dim=-1),
        }

    def objective(self, embedded):
        return self.loss.total(self.loss(embedded))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return {"ecg": torch.randn(11, 6, generator=generator), "ed": torch.randn(11, 5, generator=generator)}


def gradients(net):
    return {name: parameter.grad.clone() for name, parameter in net.named_parameters()}


def by_parts(net, batch, micro_batch):
    twin = copy.deepcopy(net)
    value = accumulate(twin.embed, twin.objective, batch, micro_batch)
    return value, gradients(twin)


def whole(net, batch):
    twin = copy.deepcopy(net)
    value = twin.objective(twin.embed(batch))
    value.backward()
    return value.detach(), gradients(twin)


@pytest.mark.parametrize("micro_batch", [1, 3, 4, 10, 11, 64])
def test_any_micro_batch_gives_the_gradient_of_the_whole_batch(batch, micro_batch):
    torch.manual_seed(0)
    net = Towers()
    expected_value, expected = whole(net, batch)
    value, found = by_parts(net, batch, micro_batch)
    assert value.item() == pytest.approx(expected_value.item(), rel=1e-6)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_the_mean_over_smaller_batches_is_another_loss(batch):
    """The defect of naive accumulation: fewer negatives, and so a smaller loss."""
    torch.manual_seed(0)
    net = Towers()
    halves = [{name: tensor[part] for name, tensor in batch.items()} for part in (slice(0, 5), slice(5, 10))]
    naive = sum(net.objective(net.embed(half)).item() for half in halves) / 2
    ten = {name: tensor[:10] for name, tensor in batch.items()}
    cached, _ = by_parts(net, ten, 5)
    assert cached.item() - naive > 0.3  # ln 10 - ln 5 = 0.69 at chance


def test_dropout_draws_the_same_in_both_passes(batch):
    """The reference draws its masks part by part, in the same order, and keeps all activations."""
    torch.manual_seed(0)
    net = Towers(nn.Dropout(0.5))
    parts = [{name: tensor[start : start + 4] for name, tensor in batch.items()} for start in (0, 4, 8)]
    twin = copy.deepcopy(net)
    torch.manual_seed(7)
    embedded = [twin.embed(part) for part in parts]
    twin.objective({name: torch.cat([part[name] for part in embedded]) for name in batch}).backward()
    torch.manual_seed(7)
    _, found = by_parts(net, batch, 4)
    for name, gradient in gradients(twin).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_afterwards_the_generator_stands_where_one_pass_leaves_it(batch):
    torch.manual_seed(0)
    net = Towers(nn.Dropout(0.5))
    torch.manual_seed(7)
    for start in (0, 4, 8):
        net.embed({name: tensor[start : start + 4] for name, tensor in batch.items()})
    expected = torch.rand(3)
    torch.manual_seed(7)
    by_parts(net, batch, 4)
    assert torch.equal(torch.rand(3), expected)


def test_inside_autocast_no_gradient_is_lost(batch):
    torch.manual_seed(0)
    net = Towers()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, found = by_parts(net, batch, 4)
    _, expected = whole(net, batch)
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() < 0.05 * gradient.norm() + 1e-3, name


def test_an_embedding_that_the_loss_ignores_gets_no_gradient(batch):
    net = Towers()

    def alone(embedded):
        return embedded["ecg"].square().sum() + 0 * net.loss.log_scales["ecg-ed"]

    accumulate(net.embed, alone, batch, 4)
    assert net.ed.weight.grad.abs().sum() == 0
