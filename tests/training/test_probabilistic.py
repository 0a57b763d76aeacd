"""Probabilistic embeddings against loops, sampling and torch's own divergence."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn.functional import normalize

from training.losses import Pair
from training.probabilistic import (
    BOTTLENECK,
    INITIAL_SPREAD,
    MatchingLoss,
    ProbabilisticProjection,
    bottleneck,
    means,
    sampled_distance,
)

PAIRS = [Pair(first="ecg", second="ed", weight=1.0), Pair(first="ecg", second="es", weight=1.0)]


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def embedded(generator, rows=5, size=3):
    mean = normalize(torch.randn(rows, size, generator=generator), dim=-1)
    return torch.cat((mean, torch.randn(rows, size, generator=generator) - 1), -1)


def looped_distance(first, second):
    size = len(first) // 2
    between = sum((first[k] - second[k]) ** 2 for k in range(size))
    return between + sum(math.exp(first[size + k]) + math.exp(second[size + k]) for k in range(size))


def looped_matching(a, b, targets, participants):
    """Binary cross-entropy of shift 5 minus scale 5 times distance, over all pairs but visits of one participant."""
    terms = []
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            if i == j or participants[i] != participants[j]:
                match = 1 / (1 + math.exp(-(5 - 5 * looped_distance(first, second))))
                terms.append(-targets[i][j] * math.log(match) - (1 - targets[i][j]) * math.log(1 - match))
    return sum(terms) / len(terms)


def test_the_distance_equals_a_loop_written_reference(generator):
    a, b = embedded(generator), embedded(generator, rows=4)
    expected = [[looped_distance(first, second) for second in b.tolist()] for first in a.tolist()]
    torch.testing.assert_close(sampled_distance(a, b), torch.tensor(expected))


def test_the_distance_is_the_mean_squared_distance_of_samples(generator):
    a, b = embedded(generator, rows=1), embedded(generator, rows=1)
    drawn = [row[:, :3] + (row[:, 3:] / 2).exp() * torch.randn(400_000, 3, generator=generator) for row in (a, b)]
    sampled = (drawn[0] - drawn[1]).square().sum(-1).mean().item()
    assert sampled_distance(a, b).item() == pytest.approx(sampled, rel=0.01)


def test_the_bottleneck_is_the_divergence_from_the_standard_normal(generator):
    a = embedded(generator)
    own = Independent(Normal(a[:, :3], (a[:, 3:] / 2).exp()), 1)
    standard = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
    assert bottleneck(a).item() == pytest.approx(kl_divergence(own, standard).mean().item(), rel=1e-5)


@pytest.mark.parametrize("soft", [0.0, 0.4])
@pytest.mark.parametrize("participants", [[0, 1, 2, 3, 4], [0, 1, 0, 3, 1]])
def test_matching_equals_a_loop_written_reference(generator, soft, participants):
    a, b, phenotypes = embedded(generator), embedded(generator), torch.randn(5, 2, generator=generator)
    phenotypes[3, 1] = math.nan
    targets = [[float(i == j) for j in range(5)] for i in range(5)]
    for i in range(5):
        for j in range(5):
            if i != j and 3 not in (i, j):
                targets[i][j] = soft * math.exp(-(phenotypes[i] - phenotypes[j]).square().sum().item() / 0.5)
    loss = MatchingLoss(PAIRS[:1], soft_targets=soft, softness=0.5)
    found = loss({"ecg": a, "ed": b}, torch.tensor(participants), phenotypes)["ecg-ed"].item()
    information = BOTTLENECK * (bottleneck(a) + bottleneck(b)).item()
    expected = looped_matching(a.tolist(), b.tolist(), targets, participants) + information
    assert found == pytest.approx(expected, rel=1e-4)


def test_exchanging_the_inputs_exchanges_the_losses(generator):
    loss = MatchingLoss(PAIRS)
    ecg, ed, es = (embedded(generator) for _ in range(3))
    straight, exchanged = loss({"ecg": ecg, "ed": ed, "es": es}), loss({"ecg": ecg, "ed": es, "es": ed})
    assert straight["ecg-ed"] == exchanged["ecg-es"]
    assert straight["ecg-es"] == exchanged["ecg-ed"]
    assert straight["ecg-ed"] != straight["ecg-es"]


def test_autocast_does_not_reach_into_the_distance(generator):
    a, b = embedded(generator), embedded(generator)
    with torch.autocast("cpu", torch.bfloat16):
        inside = sampled_distance(a, b)
    assert torch.equal(inside, sampled_distance(a, b))


def test_a_projection_starts_nearly_sure_and_its_means_have_length_one(generator):
    out = ProbabilisticProjection(6, 8, 4)(torch.randn(7, 6, generator=generator))
    torch.testing.assert_close(means(out).norm(dim=-1), torch.ones(7))
    torch.testing.assert_close(out[:, 4:].exp().sum(-1), torch.full((7,), INITIAL_SPREAD))


def test_an_ecg_that_fits_no_heart_learns_to_be_unsure(generator):
    """Two ECGs that cannot be told apart belong to different hearts; the third one is clear."""
    torch.manual_seed(0)
    ecg = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    heart = torch.eye(3)
    towers = torch.nn.ModuleDict({"ecg": ProbabilisticProjection(2, 16, 8), "ed": ProbabilisticProjection(3, 16, 8)})
    loss = MatchingLoss(PAIRS[:1])
    optimiser = torch.optim.Adam([*towers.parameters(), *loss.parameters()], lr=1e-2)
    for _ in range(300):
        optimiser.zero_grad()
        loss.total(loss({"ecg": towers["ecg"](ecg), "ed": towers["ed"](heart)})).backward()
        optimiser.step()
    spread = towers["ecg"](ecg)[:, 8:].exp().sum(-1)
    assert spread[0] > 1.5 * spread[2]
