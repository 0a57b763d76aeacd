"""The networks: an ECG encoder, a CMR encoder for each phase, projections into the shared space, phenotype heads."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config import ConvWidths


class Residual(nn.Module):
    """Two convolutions and a way around them (He et al., CVPR 2016), in one dimension, halving time by `stride`."""

    def __init__(self, into: int, out: int, *, kernel: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv1d(into, out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm1d(out),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Conv1d(out, out, kernel, 1, kernel // 2, bias=False),
            nn.BatchNorm1d(out),
        )
        self.around = nn.Identity() if into == out and stride == 1 else nn.Conv1d(into, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, into, time) to (batch, out, time / stride)."""
        return functional.gelu(self.path(x) + self.around(x))


class AttentionPool(nn.Module):
    """Each head averages over time with weights read from the features: padding and artefacts can be left out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.score = nn.Conv1d(width, heads, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, time) to (batch, width)."""
        weights = self.score(x).softmax(-1)  # (batch, heads, time)
        groups = x.reshape(x.shape[0], self.heads, -1, x.shape[-1])  # (batch, heads, width / heads, time)
        pooled: Tensor = (groups * weights.unsqueeze(2)).sum(-1).flatten(1)
        return pooled


def decimate(ecg: Tensor, factor: int) -> Tensor:
    """Average `factor` neighbouring samples: the band-pass has left nothing that this could fold back.

    (batch, 12, samples) to (batch, 12, samples / factor). It has no parameters, so training computes it once.
    """
    return functional.avg_pool1d(ecg, factor)


class EcgEncoder(nn.Module):
    """Residual network over 12 leads; one pooling path from pretraining to export."""

    def __init__(self, widths: ConvWidths) -> None:
        super().__init__()
        self.decimation = widths.decimation
        stem = nn.Sequential(
            nn.Conv1d(12, widths.channels[0], widths.stem_kernel, 2, widths.stem_kernel // 2, bias=False),
            nn.BatchNorm1d(widths.channels[0]),
            nn.GELU(),
        )
        blocks: list[nn.Module] = []
        into = widths.channels[0]
        for out in widths.channels:
            for position in range(widths.blocks):
                stride = 2 if position == 0 and blocks else 1
                blocks.append(Residual(into, out, kernel=widths.kernel, stride=stride, dropout=widths.dropout))
                into = out
        self.body = nn.Sequential(stem, *blocks)
        self.pool = AttentionPool(into, widths.heads)
        self.embed = nn.Sequential(nn.Linear(2 * into, widths.embedding), nn.LayerNorm(widths.embedding))

    def forward(self, ecg: Tensor) -> Tensor:
        """(batch, 12, samples) millivolts to (batch, embedding)."""
        return self.features(decimate(ecg, self.decimation))

    def features(self, decimated: Tensor) -> Tensor:
        """(batch, 12, samples / decimation) millivolts to (batch, embedding)."""
        x = self.body(decimated)
        embedding: Tensor = self.embed(torch.cat((self.pool(x), x.amax(-1)), 1))
        return embedding


class CmrEncoder(nn.Module):
    """A small 3-D network over one short-axis volume: patches in the plane, then every layer halves space."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv3d(1, channels[0], (3, 6, 6), (1, 4, 4), (1, 1, 1), bias=False)]
        for into, out in pairwise(channels):
            layers += [nn.BatchNorm3d(into), nn.GELU(), nn.Conv3d(into, out, 3, 2, 1, bias=False)]
        self.body = nn.Sequential(*layers, nn.BatchNorm3d(channels[-1]), nn.GELU())
        self.size = 2 * channels[-1]

    def forward(self, volume: Tensor) -> Tensor:
        """(batch, slices, rows, columns) in 0 … 1 to (batch, size)."""
        x = self.body(volume.unsqueeze(1)).flatten(2)
        return torch.cat((x.mean(-1), x.amax(-1)), 1)


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
