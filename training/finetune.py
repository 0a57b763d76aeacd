"""Fine-tune: phenotype heads on the pretrained ECG encoder, which follows at a lower learning rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.augment import augment
from training.config import Recipe
from training.dataset import Dataset
from training.encoders import EcgEncoder, PhenotypeHead
from training.fit import History, descend, fit
from training.losses import beta_nll
from training.run import Run

EVALUATION_BATCH = 128


class Predictor(nn.Module):
    """ECG encoder and phenotype head."""

    def __init__(self, encoder: EcgEncoder, head: PhenotypeHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, decimated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, 12, time) to embedding, mean and log SD of standardised log phenotypes."""
        embedding = self.encoder.features(decimated)
        mean, log_sd = self.head(embedding)
        return embedding, mean, log_sd

    @torch.no_grad()
    def predict(self, decimated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same in batches, for as many ECGs as there are."""
        parts = [self(part) for part in torch.split(decimated, EVALUATION_BATCH)]
        embedding, mean, log_sd = (torch.cat(columns) for columns in zip(*parts, strict=True))
        return embedding, mean, log_sd


def finetune(encoder: EcgEncoder, data: Dataset, recipe: Recipe, run: Run) -> tuple[Predictor, History]:
    """Stage 3: the heads learn by `beta_nll`; the best epoch is the one of the lowest likelihood loss on validation."""
    generator = torch.Generator().manual_seed(recipe.seed)
    head = PhenotypeHead(recipe.ecg.embedding, recipe.heads.hidden, data.targets.shape[1], recipe.heads.dropout)
    net = Predictor(encoder, head)
    held_out = data.parts["validation"]

    def loss(rows: Tensor) -> Tensor:
        _, mean, log_sd = net(augment(data.ecg[rows], recipe.augmentation, data.sampling_rate, generator))
        return beta_nll(mean, log_sd, data.targets[rows], recipe.heads.beta)

    def validate() -> float:
        _, mean, log_sd = net.predict(data.ecg[held_out])
        return beta_nll(mean, log_sd, data.targets[held_out], beta=0.0).item()

    history = fit(
        "phenotype heads",
        net,
        step=descend(loss, run),
        validate=validate,
        rows=data.parts["train"],
        schedule=recipe.finetuning,
        generator=generator,
        run=run,
        slower=encoder,
        slowdown=recipe.heads.encoder_slowdown,
    )
    return net, history
