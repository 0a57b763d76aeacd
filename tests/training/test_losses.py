"""The losses against loop-written references and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from training.losses import (
    MAX_LOG_SCALE,
    ContrastiveLoss,
    Pair,
    beta_nll,
    info_nce,
    masked_mse,
    same_participant,
    squared_distances,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def unit(generator, rows=6, size=5):
    return normalize(torch.randn(rows, size, generator=generator), dim=-1)


def looped_info_nce(a, b, scale, targets=None, participants=None):
    """Cross-entropy of each row with its partner, written out, both ways; same participants are no candidates."""
    rows = range(len(a))
    participants = participants or list(rows)
    total = 0.0
    for query, gallery in ((a, b), (b, a)):
        for i in rows:
            candidates = [j for j in rows if j == i or participants[j] != participants[i]]
            logit = {j: scale * sum(x * y for x, y in zip(query[i], gallery[j], strict=True)) for j in candidates}
            normaliser = math.log(sum(math.exp(value) for value in logit.values()))
            for j in candidates:
                target = targets[i][j] if targets else float(i == j)
                total += target * (normaliser - logit[j])
    return total / (2 * len(a))


def looped_targets(phenotypes, mixing, softness, participants):
    """One-hot rows mixed with the softmax of minus the squared distance; unmeasured rows stay one-hot."""
    rows = range(len(phenotypes))
    targets = []
    for i in rows:
        weights = []
        for j in rows:
            squared = sum((x - y) ** 2 for x, y in zip(phenotypes[i], phenotypes[j], strict=True))
            if i == j:
                weights.append(1.0)
            else:
                other = participants[i] != participants[j]
                weights.append(math.exp(-squared / softness) if other and not math.isnan(squared) else 0.0)
        targets.append([(1 - mixing) * (i == j) + mixing * weights[j] / sum(weights) for j in rows])
    return targets


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


def test_autocast_does_not_reach_into_the_loss(generator):
    a, b = unit(generator), unit(generator)
    outside = info_nce(a, b, torch.tensor(MAX_LOG_SCALE))
    with torch.autocast("cpu", torch.bfloat16):
        assert info_nce(a, b, torch.tensor(MAX_LOG_SCALE)) == outside


def test_two_visits_of_one_participant_are_no_negatives(generator):
    a, b = unit(generator), unit(generator)
    participants = [7, 1, 7, 2, 1, 7]
    never = same_participant(torch.tensor(participants))
    expected = looped_info_nce(a.tolist(), b.tolist(), math.e, participants=participants)
    assert info_nce(a, b, torch.tensor(1.0), never=never).item() == pytest.approx(expected, rel=1e-5)
    assert expected < looped_info_nce(a.tolist(), b.tolist(), math.e)


def test_what_is_no_negative_gets_no_gradient():
    a = torch.tensor([[1.0, 0.0], [0.8, 0.6]], requires_grad=True)
    b = torch.tensor([[0.0, 1.0], [0.6, 0.8]], requires_grad=True)
    info_nce(a, b, torch.tensor(1.0), never=same_participant(torch.tensor([3, 3]))).backward()
    assert a.grad.abs().max() < 1e-6  # each row has one candidate, its own, and cannot miss it
    assert b.grad.abs().max() < 1e-6


def test_distances_between_phenotypes_are_euclidean_and_infinite_from_what_was_not_measured(generator):
    phenotypes = torch.randn(40, 3, generator=generator)
    phenotypes[5, 1] = math.nan
    found = squared_distances(phenotypes)
    measured = torch.arange(40) != 5
    expected = (phenotypes[:, None] - phenotypes[None]).square().sum(-1)
    torch.testing.assert_close(found[measured][:, measured], expected[measured][:, measured])
    assert found.diagonal().abs().max() == 0
    assert torch.isinf(found[5][measured]).all()
    assert torch.isinf(found[measured][:, 5]).all()


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


def test_the_three_pairs_with_equal_weights_are_the_loss_of_the_paper(generator):
    """Alvarez-Florez et al.: a third of each of CLIP(ECG, ED), CLIP(ECG, ES) and CLIP(ED, ES), temperature 0.07."""
    loss = ContrastiveLoss([Pair(first=p.first, second=p.second, weight=1.0) for p in PAIRS])
    ecg, ed, es = (unit(generator) for _ in range(3))
    total = loss.total(loss({"ecg": ecg, "ed": ed, "es": es})).item()
    terms = [looped_info_nce(a.tolist(), b.tolist(), 1 / 0.07) for a, b in ((ecg, ed), (ecg, es), (ed, es))]
    assert total == pytest.approx(sum(terms) / 3, rel=1e-5)


@pytest.mark.parametrize("mixing", [0.3, 1.0])
@pytest.mark.parametrize("participants", [[0, 1, 2, 3, 4, 5], [0, 1, 0, 3, 4, 1]])
def test_soft_targets_equal_a_loop_written_reference(generator, mixing, participants):
    loss = ContrastiveLoss(PAIRS[:1], soft_targets=mixing, softness=0.7)
    a, b, phenotypes = unit(generator), unit(generator), torch.randn(6, 2, generator=generator)
    phenotypes[4, 0] = math.nan
    targets = looped_targets(phenotypes.tolist(), mixing, 0.7, participants)
    expected = looped_info_nce(a.tolist(), b.tolist(), 1 / 0.07, targets, participants)
    found = loss({"ecg": a, "ed": b}, torch.tensor(participants), phenotypes)["ecg-ed"]
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_without_any_label_soft_targets_are_one_hot(generator):
    a, b = unit(generator), unit(generator)
    soft = ContrastiveLoss(PAIRS[:1], soft_targets=1.0)({"ecg": a, "ed": b}, None, torch.full((6, 2), math.nan))
    hard = ContrastiveLoss(PAIRS[:1])({"ecg": a, "ed": b})
    assert soft["ecg-ed"].item() == pytest.approx(hard["ecg-ed"].item(), rel=1e-6)


def test_soft_targets_stay_finite_with_visits_of_one_participant(generator):
    a = torch.randn(6, 5, generator=generator, requires_grad=True)
    loss = ContrastiveLoss(PAIRS[:1], soft_targets=0.5)
    participants = torch.tensor([0, 0, 0, 1, 1, 2])
    loss({"ecg": a, "ed": unit(generator)}, participants, torch.randn(6, 2, generator=generator))["ecg-ed"].backward()
    assert torch.isfinite(a.grad).all()


def test_alike_hearts_attract_each_other_under_soft_targets():
    """The gradient at chance pulls row 0 towards its twin in phenotypes and away from the stranger."""
    a = torch.zeros(3, 3, requires_grad=True)
    phenotypes = torch.tensor([[0.0], [0.1], [5.0]])
    loss = ContrastiveLoss(PAIRS[:1], soft_targets=1.0)
    loss({"ecg": a, "ed": torch.eye(3)}, None, phenotypes)["ecg-ed"].backward()
    assert a.grad[0, 1] < 0 < a.grad[0, 2]


def test_another_anchor_is_another_pair_and_leaves_the_others_alone(generator):
    """Any number of anchors; one of pure noise changes neither the losses nor the gradients of the others."""
    projections = {name: unit(generator).requires_grad_() for name in ("ecg", "ed", "es", "noise")}
    alone = ContrastiveLoss(PAIRS)
    more = ContrastiveLoss([*PAIRS, Pair(first="ecg", second="noise", weight=1.0)])
    few, many = alone(projections), more(projections)
    assert {name: many[name] for name in few} == few
    assert set(many) - set(few) == {"ecg-noise"}
    many["ecg-noise"].backward()
    assert projections["ed"].grad is None
    assert projections["noise"].grad is not None


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
