"""Teacher: the CMR encoder, before it is frozen, learns the phenotypes of each phase, or to complete its volumes.

What it then says of every participant is computed once and kept: in the contrastive stage only the ECG encoder costs
anything. Both ways of teaching end in the same encoder; a linear probe tells what can be read from it.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Generator, Tensor, nn

from models.phenotypes import PREDICTED
from training.cmr_encoder import CmrEncoder, build_cmr_encoder
from training.config import Recipe
from training.dataset import Dataset
from training.fit import History, descend, fit
from training.losses import masked_mse
from training.masking import hidden_blocks
from training.run import Run

SHOWN_BY: dict[str, tuple[str, ...]] = {
    "ed": ("LVEDV", "LVM", "LVWT", "RVEDV"),
    "es": ("LVESV", "RVESV", "LAV"),
}
"""The phenotypes that are measured at each phase; the left atrium is largest at the end of ventricular systole. An
anchor that is not named here is asked for all of them."""

BLOCK = (2, 8, 8)
"""Voxels that are hidden together: cubes of 20 mm, twice the thickness of a wall, so that neighbours do not tell."""

EVALUATION_BATCH = 128


class NoSuchAnchor(ValueError):
    """The recipe names an anchor of which the cohort has no volumes."""


class Teacher(nn.Module):
    """A CMR encoder with what it needs for one kind of lesson."""

    def __init__(self, encoder: CmrEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def loss(self, anchor: str, volumes: Tensor, targets: Tensor, generator: Generator) -> Tensor:
        """The lesson of one batch of volumes (batch, slices, rows, columns) in 0 … 1."""


class PhenotypeTeacher(Teacher):
    """A linear reading of the phenotypes that each phase shows."""

    def __init__(self, encoder: CmrEncoder) -> None:
        super().__init__(encoder)
        self.columns = {
            anchor: [PREDICTED.index(symbol) for symbol in SHOWN_BY.get(anchor, PREDICTED)]
            for anchor in encoder.anchors
        }
        self.heads = nn.ModuleDict({a: nn.Linear(encoder.size, len(shown)) for a, shown in self.columns.items()})

    def loss(self, anchor: str, volumes: Tensor, targets: Tensor, generator: Generator) -> Tensor:
        """Squared error of standardised log phenotypes (batch, 7), of which NaN count nothing."""
        seen = _nudged(volumes, generator) if self.training else volumes
        return masked_mse(self.heads[anchor](self.encoder(seen, anchor)), targets[:, self.columns[anchor]])


class MaskedTeacher(Teacher):
    """A linear completion of what is hidden from the encoder (SimMIM: Xie et al., CVPR 2022), in three dimensions."""

    def __init__(self, encoder: CmrEncoder, ratio: float) -> None:
        super().__init__(encoder)
        self.ratio = ratio
        voxels = math.prod(encoder.stride)
        self.decoders = nn.ModuleDict({a: nn.Conv3d(encoder.channels, voxels, 1) for a in encoder.anchors})

    def loss(self, anchor: str, volumes: Tensor, targets: Tensor, generator: Generator) -> Tensor:
        """Squared error of the hidden voxels; `targets` are not read."""
        seen = _nudged(volumes, generator) if self.training else volumes
        hidden = hidden_blocks(len(seen), seen.shape[1:], BLOCK, self.ratio, generator).to(seen.device)
        error = self.completed(anchor, seen.masked_fill(hidden, 0.0)) - seen
        return (error.square() * hidden).sum() / hidden.sum()

    def completed(self, anchor: str, seen: Tensor) -> Tensor:
        """(batch, slices, rows, columns) with holes to the same without."""
        blocks = self.decoders[anchor](self.encoder.maps(seen, anchor)).unflatten(1, self.encoder.stride)
        whole: Tensor = blocks.permute(0, 4, 1, 5, 2, 6, 3)  # each place beside the voxels that it stands for
        return whole.reshape(seen.shape)


def train_teachers(data: Dataset, recipe: Recipe, run: Run) -> tuple[CmrEncoder, History]:
    """Stage 1b: the CMR encoder of all volumes of the cohort at once, whichever become anchors; it is left frozen.

    Phenotypes are read of labelled participants alone, unless the recipe says of everybody; completion sees every
    participant of the train part.

    Raises
    ------
    NoSuchAnchor
        If the cohort lacks the volumes of an anchor.
    """
    anchors = list(data.volumes)
    if missing := sorted({anchor.name for anchor in recipe.contrast.anchors} - set(anchors)):
        raise NoSuchAnchor(f"the cohort has volumes of {', '.join(anchors)}, none of {', '.join(missing)}")
    generator = Generator().manual_seed(recipe.seed)
    encoder = build_cmr_encoder(recipe.cmr, anchors)
    supervised = recipe.teacher.by == "phenotypes"
    scaled = _standardised(data.targets, data) if recipe.teacher.every_label else data.targets
    teacher = (PhenotypeTeacher(encoder) if supervised else MaskedTeacher(encoder, recipe.teacher.ratio)).to(run.device)

    def loss(rows: Tensor, generator: Generator) -> Tensor:
        targets = run.fetch(scaled, rows)
        lessons = [
            teacher.loss(anchor, run.fetch(data.volumes[anchor], rows).float() / 255.0, targets, generator)
            for anchor in anchors
        ]
        return torch.stack(lessons).sum()

    def validate() -> float:
        same = Generator().manual_seed(recipe.seed)  # the same holes after every epoch
        parts = torch.split(data.parts["validation"], EVALUATION_BATCH)
        return sum(loss(part, same).item() * len(part) for part in parts) / len(data.parts["validation"])

    history = fit(
        f"CMR encoder, {' and '.join(anchors)}",
        teacher,
        step=descend(lambda rows: loss(rows, generator), run),
        validate=validate,
        rows=data.labelled if supervised and not recipe.teacher.every_label else data.parts["train"],
        schedule=recipe.cmr_schedule,
        generator=generator,
        run=run,
    )
    return encoder.requires_grad_(False), history


def _nudged(volumes: Tensor, generator: Generator) -> Tensor:
    """The batch moved by up to three voxels in the plane, as planning moves it."""
    rows, columns = (int(torch.randint(-3, 4, (), generator=generator)) for _ in range(2))
    return volumes.roll((rows, columns), (-2, -1))


@torch.no_grad()
def anchor_features(encoder: CmrEncoder, data: Dataset, run: Run) -> dict[str, Tensor]:
    """What the frozen encoder says of every participant, standardised on the train part: anchor -> (n, size)."""
    encoder.eval()
    return {anchor: _standardised(_features(encoder, anchor, data, run), data) for anchor in encoder.anchors}


def _features(encoder: CmrEncoder, anchor: str, data: Dataset, run: Run) -> Tensor:
    volumes = data.volumes[anchor]
    parts = torch.split(torch.arange(len(volumes)), EVALUATION_BATCH)
    return torch.cat([encoder(run.fetch(volumes, part).float() / 255.0, anchor).cpu() for part in parts])


def _standardised(values: Tensor, data: Dataset) -> Tensor:
    """On the train part; what is NaN stays so and counts nothing."""
    train = values[data.parts["train"]]
    mean = train.nanmean(0)
    return (values - mean) / ((train - mean).square().nanmean(0).sqrt() + 1e-3)
