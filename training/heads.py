"""Heads: what stands on an encoder: the projection into the shared space, and the reading of the phenotypes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Projection(nn.Module):
    """From an encoder's features to unit vectors of the space in which ECG and CMR meet."""

    def __init__(self, into: int, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(into, hidden), nn.GELU(), nn.Linear(hidden, out))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, into) to (batch, out), each row of length 1."""
        return functional.normalize(self.layers(features), dim=-1)


class PhenotypeHead(nn.Module):
    """Mean and log SD of standardised log phenotypes."""

    def __init__(self, into: int, hidden: int, phenotypes: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(into, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, 2 * phenotypes)
        )

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, into) to mean and log SD, (batch, phenotypes) each; log SD is bounded to ±4 by construction."""
        mean, log_sd = self.layers(embedding).chunk(2, -1)
        return mean, 4.0 * torch.tanh(log_sd / 4.0)
