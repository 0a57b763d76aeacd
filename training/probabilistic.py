"""Probabilistic: each embedding is a Gaussian, and how far it spreads tells how sure the encoder is.

PCME++ (Chun, ICLR 2024) as EchoingECG (arXiv 2509.25791) uses it between ECGs and echocardiograms: whether two
embeddings belong together is a question of yes or no for every pair of the batch, answered from the expected distance
of two samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.losses import Pair, PairwiseLoss, same_participant, squared_distances

INITIAL_SHIFT = 5.0
INITIAL_SCALE = 5.0
"""Of the logit shift − scale · distance: what EchoingECG starts from."""

BOTTLENECK = 1e-4
"""Weight of the variational information bottleneck, which keeps variances from vanishing (same source)."""

INITIAL_SPREAD = 0.1
"""Sum of the variances of one embedding at the start (ours): small beside 2, the mean distance of random means."""


class ProbabilisticProjection(nn.Module):
    """From an encoder's features to mean and log variance in the space in which ECG and CMR meet."""

    def __init__(self, into: int, hidden: int, out: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(into, hidden), nn.GELU())
        self.mean = nn.Linear(hidden, out)
        self.log_variance = nn.Linear(hidden, out)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, math.log(INITIAL_SPREAD / out))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, into) to (batch, 2 · out): means of length 1, then log variances."""
        shared = self.trunk(features)
        return torch.cat((functional.normalize(self.mean(shared), dim=-1), self.log_variance(shared)), -1)


def means(embedded: Tensor) -> Tensor:
    """(batch, 2 · d) as `ProbabilisticProjection` gives them to the unit vectors (batch, d)."""
    return embedded.chunk(2, -1)[0]


def sampled_distance(a: Tensor, b: Tensor) -> Tensor:
    """Expected squared distance of a sample of each row of `a` to one of each row of `b`.

    In closed form ‖μ₁ − μ₂‖² + Σ(σ₁² + σ₂²) (Chun, ICLR 2024, equation 1).

    Parameters
    ----------
    a, b : (n, 2 · d), (m, 2 · d) means of length 1, then log variances

    Returns
    -------
    (n, m) float32, also inside autocast
    """
    with torch.autocast(a.device.type, enabled=False):
        (mean_a, log_a), (mean_b, log_b) = a.float().chunk(2, -1), b.float().chunk(2, -1)
        between = 2.0 - 2.0 * mean_a @ mean_b.T  # the means have length 1
        return between + log_a.exp().sum(-1)[:, None] + log_b.exp().sum(-1)[None, :]


def bottleneck(embedded: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the standard normal distribution, the mean over the batch."""
    mean, log_variance = embedded.float().chunk(2, -1)
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(-1).mean()


class MatchingLoss(PairwiseLoss):
    """Weighted mean over any list of pairs of modalities, each with a shift and a scale of its own.

    Every row of the batch is asked whether it belongs to every row of the other modality. With soft targets, hearts of
    like phenotypes belong together in part: exp(−distance² / softness).
    """

    def __init__(self, pairs: Sequence[Pair], soft_targets: float = 0.0, softness: float = 1.0) -> None:
        super().__init__(pairs, soft_targets, softness)
        self.shifts = nn.ParameterDict({p.name: nn.Parameter(torch.tensor(INITIAL_SHIFT)) for p in pairs})
        self.scales = nn.ParameterDict({p.name: nn.Parameter(torch.tensor(INITIAL_SCALE)) for p in pairs})

    def forward(
        self, projections: Mapping[str, Tensor], participants: Tensor | None = None, phenotypes: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The loss of each pair by name, unweighted; parameters as of `ContrastiveLoss`, projections (batch, 2 · d)."""
        some = next(iter(projections.values()))
        targets = self._targets(len(some), some.device, phenotypes)
        asked = torch.ones_like(targets) if participants is None else (~same_participant(participants)).float()
        return {
            pair.name: self._matching(pair, projections[pair.first], projections[pair.second], targets, asked)
            for pair in self.pairs
        }

    def _matching(self, pair: Pair, first: Tensor, second: Tensor, targets: Tensor, asked: Tensor) -> Tensor:
        logits = self.shifts[pair.name] - self.scales[pair.name] * sampled_distance(first, second)
        answers = functional.binary_cross_entropy_with_logits(logits, targets, weight=asked, reduction="sum")
        return answers / asked.sum() + BOTTLENECK * (bottleneck(first) + bottleneck(second))

    def _targets(self, rows: int, device: torch.device, phenotypes: Tensor | None) -> Tensor:
        own = torch.eye(rows, device=device)
        if phenotypes is None or self.soft_targets == 0:
            return own
        near = (-squared_distances(phenotypes.float()) / self.softness).exp()
        return (1 - self.soft_targets) * own + self.soft_targets * near
