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


def info_nce(
    a: Tensor, b: Tensor, log_scale: Tensor, *, targets: Tensor | None = None, never: Tensor | None = None
) -> Tensor:
    """Symmetric cross-entropy of matching row i of `a` to row i of `b` among all rows of the batch.

    Parameters
    ----------
    a, b : (batch, d) unit vectors
    log_scale : scalar, logarithm of the inverse temperature; larger values than `MAX_LOG_SCALE` are clamped.
    targets : (batch, batch), rows that sum to 1 and hold 0 where `never`; without them row i belongs to row i alone
    never : (batch, batch) bool, symmetric, rows that are no negatives of each other: they are not among the candidates

    Returns
    -------
    Scalar float32, also inside autocast; ln(batch) at chance (van den Oord et al., 2018; Radford et al., 2021).
    """
    with torch.autocast(a.device.type, enabled=False):  # which would multiply matrices in half precision
        logits = log_scale.float().clamp(max=MAX_LOG_SCALE).exp() * (a.float() @ b.float().T)
        if never is not None:
            logits = logits.masked_fill(never, -math.inf)
        return (_cross_entropy(logits, targets, never) + _cross_entropy(logits.T, targets, never)) / 2


def _cross_entropy(logits: Tensor, targets: Tensor | None, never: Tensor | None) -> Tensor:
    if targets is None:
        return functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
    log_probability = logits.log_softmax(-1)
    if never is not None:  # zero times minus infinity
        log_probability = log_probability.masked_fill(never, 0.0)
    return -(targets * log_probability).sum(-1).mean()


def same_participant(participants: Tensor) -> Tensor:
    """(batch,) codes to (batch, batch): two visits of one participant, but no row with itself."""
    same = participants[:, None] == participants[None, :]
    return same & ~torch.eye(len(participants), dtype=torch.bool, device=participants.device)


def squared_distances(phenotypes: Tensor) -> Tensor:
    """(batch, phenotypes) to (batch, batch) squared Euclidean distances; infinite from a row that was not measured.

    A row with one NaN counts as not measured; each row lies at distance 0 from itself.
    """
    distances = torch.cdist(phenotypes, phenotypes, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.square().nan_to_num(nan=math.inf).fill_diagonal_(0.0)


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


class PairwiseLoss(nn.Module):
    """A loss of each pair of modalities, and their weighted mean.

    Parameters
    ----------
    soft_targets : how far the targets follow the distance between phenotypes, 0 to 1
    softness : squared distance, in variances of the phenotypes, at which a neighbour counts 1/e of the row itself
    """

    def __init__(self, pairs: Sequence[Pair], soft_targets: float = 0.0, softness: float = 1.0) -> None:
        super().__init__()
        self.pairs = tuple(pairs)
        self.soft_targets = soft_targets
        self.softness = softness

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Their weighted mean."""
        weighted = torch.stack([pair.weight * losses[pair.name] for pair in self.pairs]).sum()
        return weighted / sum(pair.weight for pair in self.pairs)


class ContrastiveLoss(PairwiseLoss):
    """Weighted mean of `info_nce` over any list of pairs, each with a learnt temperature of its own.

    With pairs (ecg, ed), (ecg, es) and (ed, es) this is the dual-phase loss of Alvarez-Florez et al., arXiv 2602.12883;
    another anchor is another pair. With soft targets, hearts of like phenotypes are not pushed apart: the relational
    idea of MyoECG (2026). Cross-entropy with soft targets ends at their entropy, not at zero.
    """

    def __init__(self, pairs: Sequence[Pair], soft_targets: float = 0.0, softness: float = 1.0) -> None:
        super().__init__(pairs, soft_targets, softness)
        self.log_scales = nn.ParameterDict({p.name: nn.Parameter(torch.tensor(INITIAL_LOG_SCALE)) for p in pairs})

    def forward(
        self, projections: Mapping[str, Tensor], participants: Tensor | None = None, phenotypes: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The loss of each pair by name, unweighted.

        Parameters
        ----------
        projections : unit vectors (batch, d) of each modality by name
        participants : (batch,) codes; two rows of one participant are no negatives of each other
        phenotypes : (batch, phenotypes) standardised, for the soft targets; a row that was not measured is one-hot
        """
        never = None if participants is None else same_participant(participants)
        targets = self._targets(phenotypes, never) if phenotypes is not None and self.soft_targets > 0 else None
        return {
            pair.name: info_nce(
                projections[pair.first],
                projections[pair.second],
                self.log_scales[pair.name],
                targets=targets,
                never=never,
            )
            for pair in self.pairs
        }

    def _targets(self, phenotypes: Tensor, never: Tensor | None) -> Tensor:
        distances = squared_distances(phenotypes.float())
        if never is not None:
            distances = distances.masked_fill(never, math.inf)
        near = (-distances / self.softness).softmax(-1)
        own = torch.eye(len(near), device=near.device)
        return (1 - self.soft_targets) * own + self.soft_targets * near


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
