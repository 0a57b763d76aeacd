"""Pretrain: the ECG encoder learns to find its own heart.

The CMR encoders are frozen but for their projections: what they say of every participant is computed once, so that only
the ECG encoder costs anything. The negatives of the contrastive loss are the other participants of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from training.augment import augment
from training.config import Contrast, Recipe
from training.dataset import Dataset
from training.ecg_encoder import EcgEncoder
from training.fit import History, descend, fit
from training.heads import Projection
from training.losses import ContrastiveLoss, Pair
from training.run import Run

EVALUATION_BATCH = 128


def pairs(contrast: Contrast) -> list[Pair]:
    """The pairs of modalities that count: the ECG with every anchor, and the anchors with one another."""
    with_ecg = [Pair(first="ecg", second=anchor.name, weight=anchor.weight) for anchor in contrast.anchors]
    names = [anchor.name for anchor in contrast.anchors]
    among = [Pair(first=a, second=b, weight=contrast.between) for a, b in combinations(names, 2)]
    return with_ecg + (among if contrast.between > 0 else [])


class DualPhase(nn.Module):
    """The ECG encoder, one projection for each modality, and the loss that brings them together."""

    def __init__(self, encoder: EcgEncoder, recipe: Recipe, sizes: Mapping[str, int]) -> None:
        super().__init__()
        space = recipe.contrast
        inputs = {"ecg": recipe.ecg.embedding, **sizes}
        self.encoder = encoder
        self.projections = nn.ModuleDict(
            {name: Projection(into, space.hidden, space.projection) for name, into in inputs.items()}
        )
        self.loss = ContrastiveLoss(pairs(space))

    def project_ecg(self, decimated: Tensor) -> Tensor:
        """(batch, 12, time) to unit vectors."""
        projected: Tensor = self.projections["ecg"](self.encoder.features(decimated))
        return projected

    def project(self, decimated: Tensor, anchors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Unit vectors of each modality by name."""
        return {"ecg": self.project_ecg(decimated)} | {
            name: self.projections[name](features) for name, features in anchors.items()
        }


def pretrain(
    encoder: EcgEncoder, data: Dataset, anchors: Mapping[str, Tensor], recipe: Recipe, run: Run
) -> tuple[DualPhase, History]:
    """Stage 2: ECG against every anchor, by the contrastive loss.

    Parameters
    ----------
    anchors : name -> (n, size) cached features of the frozen encoder of that modality
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    net = DualPhase(encoder, recipe, {name: features.shape[1] for name, features in anchors.items()})
    held_out = data.parts["validation"]

    def loss(rows: Tensor) -> Tensor:
        ecg = augment(data.ecg[rows], recipe.augmentation, data.sampling_rate, generator)
        return net.loss.total(net.loss(net.project(ecg, {name: f[rows] for name, f in anchors.items()})))

    def validate() -> float:
        projections = projected(net, data, anchors, held_out)
        return net.loss.total(net.loss(projections)).item()

    history = fit(
        "contrastive, ED and ES",
        net,
        step=descend(loss, run),
        validate=validate,
        rows=data.parts["train"],
        schedule=recipe.pretraining,
        generator=generator,
        run=run,
    )
    return net, history


def projected(net: DualPhase, data: Dataset, anchors: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Unit vectors of some participants, unaugmented, by modality."""
    ecg = _batched(net.project_ecg, data.ecg[rows])
    return {"ecg": ecg} | {name: net.projections[name](features[rows]) for name, features in anchors.items()}


def _batched(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    return torch.cat([function(part) for part in torch.split(rows, EVALUATION_BATCH)])
