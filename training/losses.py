"""The losses: symmetric InfoNCE for each pair of modalities, and the Gaussian likelihood of the phenotype heads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

INITIAL_LOG_SCALE = math.log(1 / 0.07)
"""Temperature 0.07 at the start (Radford et al., ICML 2021, section 2.5)."""

MAX_LOG_SCALE = math.log(100.0)
"""Logits are never scaled by more than 100 (same source)."""


def info_nce(a: Tensor, b: Tensor, log_scale: Tensor) -> Tensor:
    """Symmetric cross-entropy of matching row i of `a` to row i of `b` among all rows of the batch.

    Parameters
    ----------
    a, b : (batch, d) unit vectors
    log_scale : scalar, logarithm of the inverse temperature; larger values than `MAX_LOG_SCALE` are clamped.

    Returns
    -------
    Scalar float32, ln(batch) at chance (van den Oord et al., 2018; Radford et al., 2021).
    """
    logits = log_scale.float().clamp(max=MAX_LOG_SCALE).exp() * (a.float() @ b.float().T)
    own = torch.arange(len(a), device=a.device)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two named modalities that are to agree, and how much that counts."""

    first: str
    second: str
    weight: float

    @property
    def name(self) -> str:
        """As logs and manifests write it."""
        return f"{self.first}-{self.second}"


class ContrastiveLoss(nn.Module):
    """Weighted sum of `info_nce` over any list of pairs, each with a learnt temperature of its own.

    With pairs (ecg, ed), (ecg, es) and (ed, es) this is the dual-phase loss of Alvarez-Florez et al., arXiv 2602.12883;
    another anchor is another pair.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.pairs = tuple(pairs)
        self.log_scales = nn.ParameterDict({p.name: nn.Parameter(torch.tensor(INITIAL_LOG_SCALE)) for p in pairs})

    def forward(self, projections: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The loss of each pair by name, unweighted, from unit vectors (batch, d) of each modality by name."""
        return {
            pair.name: info_nce(projections[pair.first], projections[pair.second], self.log_scales[pair.name])
            for pair in self.pairs
        }

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Their weighted mean."""
        weighted = torch.stack([pair.weight * losses[pair.name] for pair in self.pairs]).sum()
        return weighted / sum(pair.weight for pair in self.pairs)


def beta_nll(mean: Tensor, log_sd: Tensor, target: Tensor, beta: float) -> Tensor:
    """Gaussian negative log-likelihood, each term weighted by its own variance to the power `beta`.

    beta = 0 is the likelihood itself, beta = 1 has the gradient of the squared error for the mean; in between, hard
    examples are neither ignored nor dominant (Seitzer et al., ICLR 2022).

    Parameters
    ----------
    mean, log_sd, target : (batch, phenotypes); a target that is NaN was not measured and counts nothing.
    """
    measured = ~torch.isnan(target)
    residual = torch.where(measured, target - mean, torch.zeros_like(mean))
    variance = torch.exp(2 * log_sd)
    likelihood = 0.5 * residual**2 / variance + log_sd
    weighted = likelihood * variance.detach() ** beta
    return (weighted * measured).sum() / measured.sum().clamp(min=1)


def masked_mse(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the targets that were measured."""
    measured = ~torch.isnan(target)
    residual = torch.where(measured, target - predicted, torch.zeros_like(predicted))
    return residual.square().sum() / measured.sum().clamp(min=1)
