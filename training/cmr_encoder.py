"""CMR encoder: a small 3-D network for each anchor, or one for all that is told by a token which it sees."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from training.config import CmrWidths


class CmrTower(nn.Module):
    """A 3-D network over short-axis volumes: patches in the plane first, then every layer halves space.

    If it serves several anchors, each has a token that is added to all patches of its volumes.
    """

    def __init__(self, channels: tuple[int, ...], anchors: Sequence[str]) -> None:
        super().__init__()
        self.patches = _layer(nn.Conv3d(1, channels[0], (3, 6, 6), (1, 4, 4), (1, 1, 1), bias=False))
        self.body = nn.Sequential(
            *(_layer(nn.Conv3d(into, out, 3, 2, 1, bias=False)) for into, out in pairwise(channels))
        )
        several = anchors if len(anchors) > 1 else ()
        self.tokens = nn.ParameterDict({anchor: 0.02 * torch.randn(channels[0], 1, 1, 1) for anchor in several})

    def forward(self, volumes: Tensor, anchor: str) -> Tensor:
        """(batch, slices, rows, columns) in 0 … 1 to (batch, channels, …), each axis shorter by its stride."""
        x = self.patches(volumes.unsqueeze(1))
        if anchor in self.tokens:
            x = x + self.tokens[anchor]
        out: Tensor = self.body(x)
        return out


def _layer(convolution: nn.Conv3d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm3d(convolution.out_channels), nn.GELU())


class CmrEncoder(nn.Module):
    """The towers, and one way of pooling what they see.

    Attributes
    ----------
    anchors : names of the volumes that it knows
    channels, size : numbers of features before and after pooling
    stride : voxels of each axis for one place of the feature map
    """

    def __init__(self, widths: CmrWidths, anchors: Sequence[str]) -> None:
        super().__init__()
        self.anchors = tuple(anchors)
        groups = [self.anchors] if widths.shared else [(anchor,) for anchor in self.anchors]
        self.towers = nn.ModuleDict({"+".join(group): CmrTower(widths.channels, group) for group in groups})
        self.tower_of = {anchor: "+".join(group) for group in groups for anchor in group}
        self.channels, self.size = widths.channels[-1], 2 * widths.channels[-1]
        halved = 2 ** (len(widths.channels) - 1)
        self.stride = halved, 4 * halved, 4 * halved

    def forward(self, volumes: Tensor, anchor: str) -> Tensor:
        """(batch, slices, rows, columns) in 0 … 1 to (batch, size)."""
        x = self.maps(volumes, anchor).flatten(2)
        return torch.cat((x.mean(-1), x.amax(-1)), 1)

    def maps(self, volumes: Tensor, anchor: str) -> Tensor:
        """(batch, slices, rows, columns) in 0 … 1 to the feature map (batch, channels, …) before pooling."""
        maps: Tensor = self.towers[self.tower_of[anchor]](volumes, anchor)
        return maps


def build_cmr_encoder(widths: CmrWidths, anchors: Sequence[str]) -> CmrEncoder:
    """An untrained encoder of these anchors."""
    return CmrEncoder(widths, anchors)
