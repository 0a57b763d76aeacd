"""The losses against loop-written references and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from training.losses import MAX_LOG_SCALE, ContrastiveLoss, Pair, beta_nll, info_nce, masked_mse


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def unit(generator, rows=6, size=5):
    return normalize(torch.randn(rows, size, generator=generator), dim=-1)


def looped_info_nce(a, b, scale):
    """Cross-entropy of each row with its partner, written out, both ways."""
    total = 0.0
    for query, gallery in ((a, b), (b, a)):
        for i in range(len(a)):
            similarities = [scale * sum(x * y for x, y in zip(query[i], other, strict=True)) for other in gallery]
            total += math.log(sum(math.exp(s) for s in similarities)) - similarities[i]
    return total / (2 * len(a))


def test_info_nce_equals_a_loop_written_reference(generator):
    a, b = unit(generator), unit(generator)
    expected = looped_info_nce(a.tolist(), b.tolist(), 1 / 0.07)
    assert info_nce(a, b, torch.tensor(math.log(1 / 0.07))).item() == pytest.approx(expected, rel=1e-5)


def test_at_chance_info_nce_is_the_logarithm_of_the_batch():
    same = torch.ones(8, 1)
    assert info_nce(same, same, torch.tensor(2.0)).item() == pytest.approx(math.log(8), rel=1e-6)


def test_info_nce_does_not_depend_on_the_order_of_the_participants(generator):
    a, b = unit(generator), unit(generator)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    scale = torch.tensor(1.0)
    assert info_nce(a[order], b[order], scale).item() == pytest.approx(info_nce(a, b, scale).item(), rel=1e-6)
    assert info_nce(a[order], b, scale).item() != pytest.approx(info_nce(a, b, scale).item(), rel=1e-3)


def test_the_temperature_is_clamped(generator):
    a, b = unit(generator), unit(generator)
    at_limit = info_nce(a, b, torch.tensor(MAX_LOG_SCALE))
    assert info_nce(a, b, torch.tensor(50.0)) == at_limit


def test_half_precision_projections_are_compared_in_single_precision(generator):
    a, b = unit(generator).bfloat16(), unit(generator).bfloat16()
    assert info_nce(a, b, torch.tensor(1.0)).dtype == torch.float32


PAIRS = (
    Pair(first="ecg", second="ed", weight=0.5),
    Pair(first="ecg", second="es", weight=0.25),
    Pair(first="ed", second="es", weight=0.25),
)


def test_exchanging_the_inputs_exchanges_the_losses(generator):
    loss = ContrastiveLoss(PAIRS)
    ecg, ed, es = unit(generator), unit(generator), unit(generator)
    straight = loss({"ecg": ecg, "ed": ed, "es": es})
    exchanged = loss({"ecg": ecg, "ed": es, "es": ed})
    assert exchanged["ecg-ed"] == straight["ecg-es"]
    assert exchanged["ecg-es"] == straight["ecg-ed"]
    assert exchanged["ed-es"].item() == pytest.approx(straight["ed-es"].item(), rel=1e-6)


def test_the_total_is_the_weighted_mean_whatever_the_sum_of_the_weights(generator):
    loss = ContrastiveLoss(PAIRS)
    losses = {"ecg-ed": torch.tensor(1.0), "ecg-es": torch.tensor(2.0), "ed-es": torch.tensor(4.0)}
    assert loss.total(losses).item() == pytest.approx(0.5 * 1 + 0.25 * 2 + 0.25 * 4)
    doubled = ContrastiveLoss([Pair(first=p.first, second=p.second, weight=2 * p.weight) for p in PAIRS])
    assert doubled.total(losses) == loss.total(losses)


def test_each_pair_learns_a_temperature_of_its_own(generator):
    loss = ContrastiveLoss(PAIRS)
    projections = {name: unit(generator) for name in ("ecg", "ed", "es")}
    loss(projections)["ecg-ed"].backward()
    assert loss.log_scales["ecg-ed"].grad is not None
    assert loss.log_scales["ecg-es"].grad is None


def test_without_weighting_beta_nll_is_the_gaussian_likelihood(generator):
    mean, log_sd, target = (torch.randn(7, 3, generator=generator) for _ in range(3))
    reference = -torch.distributions.Normal(mean, log_sd.exp()).log_prob(target) - 0.5 * math.log(2 * math.pi)
    assert beta_nll(mean, log_sd, target, beta=0.0).item() == pytest.approx(reference.mean().item(), rel=1e-5)


def test_with_full_weighting_the_mean_follows_the_squared_error(generator):
    log_sd, target = torch.randn(7, 3, generator=generator), torch.randn(7, 3, generator=generator)
    mean = torch.randn(7, 3, generator=generator, requires_grad=True)
    beta_nll(mean, log_sd, target, beta=1.0).backward()
    np.testing.assert_allclose(mean.grad, (mean.detach() - target) / mean.numel(), rtol=1e-5)


def test_what_was_not_measured_counts_nothing_and_has_no_gradient():
    mean = torch.tensor([[0.0, 5.0], [1.0, 1.0]], requires_grad=True)
    target = torch.tensor([[1.0, math.nan], [1.0, 3.0]])
    assert masked_mse(mean, target).item() == pytest.approx((1 + 0 + 4) / 3)
    loss = beta_nll(mean, torch.zeros(2, 2), target, beta=0.0)
    assert loss.item() == pytest.approx((0.5 + 0 + 2) / 3)
    loss.backward()
    assert mean.grad[0, 1] == 0
    assert torch.isfinite(mean.grad).all()
