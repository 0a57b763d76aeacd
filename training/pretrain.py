"""Pretrain: CMR encoders learn the phenotypes of their phase; then the ECG encoder learns to find its own heart.

Stage 1 trains one CMR encoder for each phase, supervised, on the phenotypes that this phase shows, and caches what it
says of every participant: in stage 2 the encoders are frozen but for their projections, so that only the ECG encoder
costs anything. The negatives of the contrastive loss are the other participants of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from models.phenotypes import PREDICTED
from training.augment import augment
from training.config import Contrast, Recipe
from training.dataset import Dataset
from training.encoders import CmrEncoder, EcgEncoder, Projection
from training.fit import History, descend, fit
from training.losses import ContrastiveLoss, Pair, masked_mse
from training.run import Run

SHOWN_BY: dict[str, tuple[str, ...]] = {
    "ed": ("LVEDV", "LVM", "LVWT", "RVEDV"),
    "es": ("LVESV", "RVESV", "LAV"),
}
"""The phenotypes that are measured at each phase; the left atrium is largest at the end of ventricular systole."""

EVALUATION_BATCH = 128


class CmrTeacher(nn.Module):
    """A CMR encoder and the linear reading of its phase's phenotypes."""

    def __init__(self, recipe: Recipe, phenotypes: int) -> None:
        super().__init__()
        self.encoder = CmrEncoder(recipe.cmr.channels)
        self.head = nn.Linear(self.encoder.size, phenotypes)

    def forward(self, volumes: Tensor) -> Tensor:
        """(batch, slices, rows, columns) uint8 to standardised log phenotypes."""
        phenotypes: Tensor = self.head(self.features(volumes))
        return phenotypes

    def features(self, volumes: Tensor) -> Tensor:
        """(batch, slices, rows, columns) uint8 to the encoder's features."""
        features: Tensor = self.encoder(volumes.float() / 255.0)
        return features


def train_teacher(phase: str, data: Dataset, recipe: Recipe, run: Run) -> tuple[CmrTeacher, History]:
    """Stage 1: a CMR encoder of one phase, supervised on standardised log phenotypes."""
    generator = torch.Generator().manual_seed(recipe.seed)
    columns = [PREDICTED.index(symbol) for symbol in SHOWN_BY[phase]]
    targets, volumes, held_out = data.targets[:, columns], data.volumes[phase], data.parts["validation"]
    teacher = CmrTeacher(recipe, len(columns))
    history = fit(
        f"CMR encoder, {phase.upper()}",
        teacher,
        step=descend(lambda rows: masked_mse(teacher(_nudged(volumes[rows], generator)), targets[rows]), run),
        validate=lambda: masked_mse(_batched(teacher, volumes[held_out]), targets[held_out]).item(),
        rows=data.parts["train"],
        schedule=recipe.cmr_schedule,
        generator=generator,
        run=run,
    )
    return teacher, history


def _nudged(volumes: Tensor, generator: torch.Generator) -> Tensor:
    """The batch moved by up to three voxels in the plane, as planning moves it."""
    rows, columns = (int(torch.randint(-3, 4, (), generator=generator)) for _ in range(2))
    return volumes.roll((rows, columns), (-2, -1))


def anchor_features(teachers: Mapping[str, CmrTeacher], data: Dataset) -> dict[str, Tensor]:
    """What the frozen CMR encoders say of every participant, standardised on the train part: phase -> (n, size)."""
    features = {}
    for phase, teacher in teachers.items():
        with torch.no_grad():
            raw = _batched(teacher.features, data.volumes[phase])
        train = raw[data.parts["train"]]
        features[phase] = (raw - train.mean(0)) / (train.std(0) + 1e-3)
    return features


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
