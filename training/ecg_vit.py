"""ECG tower, transformer: patches of leads and samples as tokens that attend to one another."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config import VitWidths

TYPICAL_SD = 0.2
"""Millivolts: about the SD of a resting ECG after the band-pass; so the first tokens are as large as the positions."""


class DropPath(nn.Module):
    """Leave a block out for some recordings while training (Huang et al., ECCV 2016); never in evaluation."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width), of which some are zero and the rest are larger, so that the mean stays."""
        if not self.training or self.rate == 0.0:
            return x
        kept = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.rate
        return x * kept / (1.0 - self.rate)


class Block(nn.Module):
    """Attention, then a perceptron, each normalised before and added to what was there (Xiong et al., ICML 2020)."""

    def __init__(self, width: int, heads: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.heads = heads
        self.asked = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * width))
        self.merged = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )
        self.drop = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        x = x + self.drop(self.attention(x))
        out: Tensor = x + self.drop(self.perceptron(x))
        return out

    def attention(self, x: Tensor) -> Tensor:
        """What each token reads from all of them (Vaswani et al., 2017)."""
        query, key, value = self.asked(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        read = functional.scaled_dot_product_attention(query, key, value)  # (batch, heads, tokens, width / heads)
        merged: Tensor = self.merged(read.transpose(1, 2).flatten(2))
        return merged


class VitTower(nn.Module):
    """A vision transformer (Dosovitskiy et al., ICLR 2021) over an image of 12 rows.

    (batch, 12, samples) millivolts to (batch, width, samples / stride): column i is the mean over the leads of the
    tokens that cover samples i · stride to (i + 1) · stride; the stride is `patch_samples`.
    """

    def __init__(self, widths: VitWidths) -> None:
        super().__init__()
        self.width, self.stride = widths.width, widths.patch_samples
        patch = widths.patch_leads, widths.patch_samples
        self.patches = nn.Conv2d(1, widths.width, patch, patch)
        last = max(widths.depth - 1, 1)
        rates = [widths.drop_path * block / last for block in range(widths.depth)]  # later ones more often
        hidden = round(widths.mlp * widths.width)
        self.blocks = nn.Sequential(*(Block(widths.width, widths.heads, hidden, rate) for rate in rates))
        self.norm = nn.LayerNorm(widths.width)
        self.apply(_initialise)

    def forward(self, ecg: Tensor) -> Tensor:
        """(batch, 12, samples) millivolts to (batch, width, time)."""
        grid = self.patches(ecg.unsqueeze(1))  # (batch, width, rows of leads, time)
        rows, columns = grid.shape[2:]
        tokens = grid.flatten(2).transpose(1, 2) + positions(rows, columns, self.width).to(grid)
        read: Tensor = self.norm(self.blocks(tokens)).unflatten(1, (rows, columns)).mean(1)
        return read.transpose(1, 2)


def positions(rows: int, columns: int, width: int) -> Tensor:
    """Fixed code of the place of each token: half of it tells the row, half the column; (rows · columns, width).

    Each half is sin(p / 10000^(2i/d)) for all i, then the cosines (Vaswani et al., 2017; in two dimensions as in He et
    al., CVPR 2022).
    """
    frequencies = 10000.0 ** -(torch.arange(width // 4) / (width // 4))
    row, column = (torch.arange(n)[:, None] * frequencies for n in (rows, columns))
    row, column = (torch.cat((angle.sin(), angle.cos()), 1) for angle in (row, column))
    return torch.cat((row.repeat_interleave(columns, 0), column.repeat(rows, 1)), 1)


def _initialise(module: nn.Module) -> None:
    """Weights as in He et al., CVPR 2022, but for patches in millivolts."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=1.0 / (TYPICAL_SD * module.weight[0].numel() ** 0.5))
