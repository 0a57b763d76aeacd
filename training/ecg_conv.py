"""ECG tower, convolutional: a residual network in time over the 12 leads."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from training.config import ConvWidths


class Residual(nn.Module):
    """Two convolutions and a way around them (He et al., CVPR 2016), in one dimension, dividing time by `stride`."""

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


class ConvTower(nn.Sequential):
    """A stem that halves time, then blocks; each further width halves time again.

    (batch, 12, samples) millivolts to (batch, width, samples / stride), rounded up; column i is centred on sample
    i · stride.
    """

    def __init__(self, widths: ConvWidths) -> None:
        first = widths.channels[0]
        stem = nn.Sequential(
            nn.Conv1d(12, first, widths.stem_kernel, 2, widths.stem_kernel // 2, bias=False),
            nn.BatchNorm1d(first),
            nn.GELU(),
        )
        blocks: list[nn.Module] = []
        into = first
        for out in widths.channels:
            for position in range(widths.blocks):
                stride = 2 if position == 0 and blocks else 1
                blocks.append(Residual(into, out, kernel=widths.kernel, stride=stride, dropout=widths.dropout))
                into = out
        super().__init__(stem, *blocks)
        self.width, self.stride = into, 2 ** len(widths.channels)
