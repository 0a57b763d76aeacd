"""Pretrain: the ECG encoder learns to find its own heart.

The CMR encoders are frozen but for their projections: what they say of every participant is computed once, so that only
the ECG encoder costs anything. The negatives of the contrastive loss are the other participants of the whole batch,
over all processes, however few of them fit into memory at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Generator, Tensor, nn

from training.accumulate import Batch, accumulate
from training.augment import augment_along
from training.config import Contrast, Recipe
from training.dataset import Dataset
from training.distributed import gather, own_generator
from training.ecg_encoder import EcgEncoder
from training.fit import History, Step, fit
from training.heads import Projection
from training.losses import ContrastiveLoss, Pair, PairwiseLoss
from training.probabilistic import MatchingLoss, ProbabilisticProjection, means
from training.run import Run
from training.temporal import TemporalLoss, phase_tracks, required

ECG = "ecg"
TRACKS, CINE = "phase tracks", "cine"
LOCAL = "local loss"
"""What the temporal objective reads from a batch, and what it adds to the embeddings: a number for each heart."""


def pairs(contrast: Contrast) -> list[Pair]:
    """The pairs of modalities that count: the ECG with every anchor, and the anchors with one another."""
    with_ecg = [Pair(first=ECG, second=anchor.name, weight=anchor.weight) for anchor in contrast.anchors]
    names = [anchor.name for anchor in contrast.anchors]
    among = [Pair(first=a, second=b, weight=contrast.between) for a, b in combinations(names, 2)]
    return with_ecg + (among if contrast.between > 0 else [])


class Aligned(nn.Module):
    """The ECG encoder, one projection for each modality, and the loss that brings them together.

    Parameters
    ----------
    sizes : numbers of features of each anchor by name
    """

    def __init__(self, encoder: EcgEncoder, recipe: Recipe, sizes: Mapping[str, int]) -> None:
        super().__init__()
        space = recipe.contrast
        self.contrast = space
        self.encoder = encoder
        kind = ProbabilisticProjection if space.probabilistic else Projection
        inputs = {ECG: recipe.ecg.embedding} | {anchor.name: sizes[anchor.name] for anchor in space.anchors}
        self.projections = nn.ModuleDict(
            {name: kind(into, space.hidden, space.projection) for name, into in inputs.items()}
        )
        matched = MatchingLoss if space.probabilistic else ContrastiveLoss
        self.loss: PairwiseLoss = matched(pairs(space), space.soft_targets, space.softness)
        local = TemporalLoss(encoder.body.width, space.hidden, space.projection) if space.temporal > 0 else None
        self.temporal = local

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Each modality of a batch in the shared space, and the local loss of each heart if it counts."""
        tokens = self.encoder.tokens(batch[ECG])
        features = {**batch, ECG: self.encoder.pool(tokens)}
        embedded: dict[str, Tensor] = {name: project(features[name]) for name, project in self.projections.items()}
        if self.temporal is not None and TRACKS in batch:
            embedded[LOCAL] = self.temporal(tokens, batch[TRACKS], batch[CINE])
        return embedded

    def total(self, embedded: Batch, participants: Tensor, phenotypes: Tensor) -> Tensor:
        """The loss of a batch as `embed` leaves it."""
        value = self.loss.total(self.loss(embedded, participants, phenotypes))
        return value + self.contrast.temporal * embedded[LOCAL].mean() if LOCAL in embedded else value

    def vectors(self, embedded: Batch) -> dict[str, Tensor]:
        """Unit vectors of each modality by name, whichever the projections."""
        read = means if self.contrast.probabilistic else nn.Identity()
        return {name: read(embedded[name]) for name in self.projections}


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """Where the batches of this stage come from.

    Attributes
    ----------
    anchors : name -> (n, size) cached features of the frozen encoder of that modality
    labels : (n, phenotypes) that this stage may read; NaN elsewhere
    temporal : what the local objective reads of each participant, (n, …) by name
    """

    data: Dataset
    anchors: Mapping[str, Tensor]
    labels: Tensor
    temporal: Mapping[str, Tensor]
    recipe: Recipe
    run: Run

    @classmethod
    def of(cls, data: Dataset, anchors: Mapping[str, Tensor], recipe: Recipe, run: Run) -> Source:
        """Everything that is computed once: which labels may be read, phases and frames for the temporal objective.

        Raises
        ------
        NoCine
            If the temporal objective counts and the cohort has no cine.
        """
        labels = torch.full_like(data.targets, torch.nan)
        for readable in (data.labelled, data.parts["validation"]):
            labels[readable] = data.targets[readable]
        temporal: dict[str, Tensor] = {}
        if recipe.contrast.temporal > 0:
            temporal[CINE] = required(data.cine)
            temporal[TRACKS] = phase_tracks(data.ecg, data.sampling_rate)
        named = {anchor.name: anchors[anchor.name] for anchor in recipe.contrast.anchors}
        return cls(data=data, anchors=named, labels=labels, temporal=temporal, recipe=recipe, run=run)

    def plain(self, rows: Tensor) -> dict[str, Tensor]:
        """These participants as they are."""
        everything = {ECG: self.data.ecg, **self.anchors, **self.temporal}
        return {name: self.run.fetch(tensor, rows) for name, tensor in everything.items()}

    def augmented(self, rows: Tensor, generator: Generator) -> dict[str, Tensor]:
        """These participants by another recording of each."""
        batch = self.plain(rows)
        ecg = batch[ECG]
        with self.run.clock.fetch():
            tracks = batch.get(TRACKS, ecg.new_zeros(len(ecg), 0, ecg.shape[-1]))
            settings, rate = self.recipe.augmentation, self.data.sampling_rate
            batch[ECG], moved = augment_along(ecg, tracks, settings, rate, generator)
        return batch | ({TRACKS: moved} if TRACKS in batch else {})

    def people(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of the participants, and their labels."""
        return self.run.fetch(self.data.participants, rows), self.run.fetch(self.labels, rows)


def pretrain(
    encoder: EcgEncoder, data: Dataset, anchors: Mapping[str, Tensor], recipe: Recipe, run: Run
) -> tuple[Aligned, History]:
    """Stage 2: ECG against every anchor.

    Parameters
    ----------
    anchors : name -> (n, size) cached features of the frozen encoder of that modality
    """
    generator = Generator().manual_seed(recipe.seed)
    source = Source.of(data, anchors, recipe, run)
    net = Aligned(encoder, recipe, {name: features.shape[1] for name, features in anchors.items()}).to(run.device)
    history = fit(
        f"contrastive, ECG and {', '.join(source.anchors)}",
        net,
        step=step(net, source, generator),
        validate=lambda: _validated(net, source, data.parts["validation"]),
        rows=data.parts["train"],
        participants=data.participants,
        schedule=recipe.pretraining,
        generator=generator,
        run=run,
    )
    return net, history


def step(net: Aligned, source: Source, generator: Generator) -> Step:
    """One step: embeddings in micro-batches and in the precision of the run, the loss over all of them in float32."""
    network = torch.compile(net.embed) if source.run.compiled else net.embed

    def embed(batch: Batch) -> Batch:
        with source.run.autocast():
            return network(batch)

    def of_rows(rows: Tensor) -> Tensor:
        participants, labels = (gather(tensor) for tensor in source.people(rows))

        def loss(embedded: Batch) -> Tensor:
            everybody = {name: gather(tensor) for name, tensor in embedded.items()}
            return net.total(everybody, participants, labels)

        return accumulate(embed, loss, source.augmented(rows, own_generator(generator)), net.contrast.micro_batch)

    return of_rows


def _validated(net: Aligned, source: Source, rows: Tensor) -> float:
    embedded = _joined([net.embed(source.plain(part)) for part in torch.split(rows, net.contrast.micro_batch)])
    return net.total(embedded, *source.people(rows)).item()


def projected(net: Aligned, data: Dataset, anchors: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Unit vectors of some participants, unaugmented, by modality."""
    device = next(net.parameters()).device
    inputs = {ECG: data.ecg, **anchors}
    batches = [
        {name: tensor[part].to(device) for name, tensor in inputs.items()}
        for part in torch.split(rows, net.contrast.micro_batch)
    ]
    vectors = net.vectors(_joined([net.embed(batch) for batch in batches]))
    return {name: vector.cpu() for name, vector in vectors.items()}


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
