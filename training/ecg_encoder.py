"""ECG encoder: a tower that reads the ECG in time, and the one pooling that makes an embedding of it."""

from __future__ import annotations

from torch import Tensor, cat, nn
from torch.nn import functional

from training.config import ConvWidths, EcgWidths, VitWidths
from training.ecg_conv import ConvTower
from training.ecg_vit import VitTower

_VITS = {
    f"vit-{size}-{leads}x{samples}": VitWidths(
        patch_leads=leads, patch_samples=samples, width=width, heads=heads, embedding=width
    )
    for size, width, heads in (("tiny", 192, 3), ("small", 384, 6), ("base", 576, 8))
    for leads, samples in ((12, 50), (1, 100))
}

PRESETS: dict[str, EcgWidths] = {
    "conv-narrow": ConvWidths(channels=(24, 36, 48, 72, 96)),
    "conv": ConvWidths(),
    "conv-wide": ConvWidths(channels=(32, 64, 128, 192, 256), embedding=256),
    "conv-large": ConvWidths(channels=(64, 96, 160, 224, 320), blocks=2, embedding=256),
    **_VITS,
}
"""Sizes worth comparing: convolutions of 0.3 to 5 million parameters, of which conv-wide is shipped, and transformers
of about 5, 22 and 48 million, of which vit-base-1x100 is that of Alvarez-Florez et al., arXiv 2602.12883."""


def decimate(ecg: Tensor, factor: int) -> Tensor:
    """Average `factor` neighbouring samples: the band-pass has left nothing that this could fold back.

    (batch, 12, samples) to (batch, 12, samples / factor). It has no parameters, so training computes it once.
    """
    return functional.avg_pool1d(ecg, factor)


class Pool(nn.Module):
    """From a feature map to an embedding: averages over time, one for each head, and the largest value of all time.

    Each head weighs time with what it reads from the features, so padding and artefacts can be left out.
    """

    def __init__(self, width: int, heads: int, embedding: int) -> None:
        super().__init__()
        self.heads = heads
        self.score = nn.Conv1d(width, heads, 1)
        self.embed = nn.Sequential(nn.Linear(2 * width, embedding), nn.LayerNorm(embedding))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, time) to (batch, embedding)."""
        embedding: Tensor = self.embed(cat((self.average(x), x.amax(-1)), 1))
        return embedding

    def average(self, x: Tensor) -> Tensor:
        """(batch, width, time) to (batch, width)."""
        weights = self.score(x).softmax(-1)  # (batch, heads, time)
        groups = x.reshape(x.shape[0], self.heads, -1, x.shape[-1])  # (batch, heads, width / heads, time)
        averages: Tensor = (groups * weights.unsqueeze(2)).sum(-1).flatten(1)
        return averages


class EcgEncoder(nn.Module):
    """Tower and pooling: one path from pretraining to export."""

    def __init__(self, body: ConvTower | VitTower, widths: EcgWidths) -> None:
        super().__init__()
        self.decimation = widths.decimation
        self.body = body
        self.pool = Pool(body.width, widths.heads, widths.embedding)

    def forward(self, ecg: Tensor) -> Tensor:
        """(batch, 12, samples) millivolts to (batch, embedding)."""
        return self.features(decimate(ecg, self.decimation))

    def features(self, decimated: Tensor) -> Tensor:
        """(batch, 12, samples / decimation) millivolts to (batch, embedding)."""
        embedding: Tensor = self.pool(self.tokens(decimated))
        return embedding

    def tokens(self, decimated: Tensor) -> Tensor:
        """(batch, 12, samples / decimation) millivolts to the feature map (batch, width, time), in order of time."""
        tokens: Tensor = self.body(decimated)
        return tokens


def build_ecg_encoder(widths: EcgWidths) -> EcgEncoder:
    """An untrained encoder of either kind."""
    body = ConvTower(widths) if isinstance(widths, ConvWidths) else VitTower(widths)
    return EcgEncoder(body, widths)
