"""Fine-tune: phenotype heads on the pretrained ECG encoder, which stays frozen or follows at a lower learning rate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from training.augment import augment
from training.config import COVARIATES, Covariate, Recipe
from training.dataset import Dataset
from training.distributed import own_generator
from training.ecg_encoder import EcgEncoder
from training.fit import History, descend, fit
from training.heads import PhenotypeHead
from training.losses import beta_nll
from training.run import Run

EVALUATION_BATCH = 128


class Predictor(nn.Module):
    """ECG encoder and phenotype head, which also reads covariates, each beside a mask that says whether it is known.

    Attributes
    ----------
    encoder : None for the baseline that reads covariates alone; its embedding has no numbers
    columns : which of `COVARIATES` the head reads
    """

    def __init__(self, encoder: EcgEncoder | None, head: PhenotypeHead, covariates: Sequence[Covariate] = ()) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.columns = [COVARIATES.index(name) for name in covariates]

    def forward(self, decimated: Tensor, covariates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """To embedding, mean and log SD of standardised log phenotypes.

        Parameters
        ----------
        decimated : (batch, 12, time) millivolts
        covariates : (batch, 4) standardised, in the order of `COVARIATES`; NaN where unknown
        """
        embedding = self.embed(decimated)
        mean, log_sd = self.read(embedding, covariates[:, self.columns] if self.columns else None)
        return embedding, mean, log_sd

    def embed(self, decimated: Tensor) -> Tensor:
        """(batch, 12, time) to (batch, embedding)."""
        return decimated.new_zeros(len(decimated), 0) if self.encoder is None else self.encoder.features(decimated)

    def read(self, embedding: Tensor, chosen: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the head says of embeddings (batch, d) and the covariates that it reads (batch, k), if any."""
        mean, log_sd = self.head(embedding if chosen is None else torch.cat((embedding, masked(chosen)), 1))
        return mean, log_sd

    @torch.no_grad()
    def predict(self, decimated: Tensor, covariates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same in batches, for as many ECGs as there are; computed where the network is, given back on the CPU."""
        device = next(self.parameters()).device
        batches = zip(torch.split(decimated, EVALUATION_BATCH), torch.split(covariates, EVALUATION_BATCH), strict=True)
        parts = [self(ecg.to(device), known.to(device)) for ecg, known in batches]
        embedding, mean, log_sd = (torch.cat(columns).float().cpu() for columns in zip(*parts, strict=True))
        return embedding, mean, log_sd


def masked(covariates: Tensor) -> Tensor:
    """(batch, k) with NaN where unknown, to (batch, 2 k): the values, the mean where there is none, and masks."""
    unknown = torch.isnan(covariates)
    return torch.cat((covariates.masked_fill(unknown, 0.0), (~unknown).to(covariates.dtype)), 1)


def hide(covariates: Tensor, share: float, generator: Generator) -> Tensor:
    """Covariates of which a random `share` is unknown, so that the head learns to do without any of them."""
    hidden = torch.rand(covariates.shape, generator=generator) < share
    return covariates.masked_fill(hidden, torch.nan)


def build_head(recipe: Recipe, phenotypes: int) -> PhenotypeHead:
    """An untrained head for what the recipe lets it read.

    Raises
    ------
    NothingToRead
        If the recipe gives it neither ECG nor covariates.
    """
    heads = recipe.heads
    size = recipe.ecg.embedding * heads.ecg + 2 * len(heads.covariates)
    if not size:
        raise NothingToRead("heads.ecg is false and heads.covariates is empty: name one, or let heads read ECGs")
    return PhenotypeHead(size, heads.hidden, phenotypes, heads.dropout)


class NothingToRead(ValueError):
    """A recipe whose phenotype heads see neither ECG nor covariates."""


def finetune(encoder: EcgEncoder, data: Dataset, recipe: Recipe, run: Run) -> tuple[Predictor, History]:
    """Stage 3: the heads learn by `beta_nll`, on participants whose labels may be read.

    The best epoch is the one of the lowest likelihood loss on validation. A frozen encoder, or none at all, is run once
    over undisturbed ECGs and its embeddings are kept; one that learns sees another disturbance of each ECG every epoch.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    heads = recipe.heads
    head = build_head(recipe, data.targets.shape[1])
    net = Predictor(encoder if heads.ecg else None, head, heads.covariates).to(run.device)
    frozen = not heads.ecg or heads.encoder_slowdown == 0.0
    learn = _on_embeddings if frozen else _on_ecgs
    return net, learn(net, data, recipe, run, generator)


def _on_ecgs(net: Predictor, data: Dataset, recipe: Recipe, run: Run, generator: Generator) -> History:
    heads, held_out = recipe.heads, data.parts["validation"]

    def loss(rows: Tensor) -> Tensor:
        own = own_generator(generator)
        with run.clock.fetch():
            ecg = augment(data.ecg[rows], recipe.augmentation, data.sampling_rate, own).to(run.device)
            covariates = hide(data.covariates[rows], heads.covariate_dropout, own).to(run.device)
        _, mean, log_sd = net(ecg, covariates)
        return beta_nll(mean.float(), log_sd.float(), data.targets[rows].to(run.device), heads.beta)

    def validate() -> float:
        _, mean, log_sd = net.predict(data.ecg[held_out], data.covariates[held_out])
        return beta_nll(mean, log_sd, data.targets[held_out], beta=0.0).item()

    return fit(
        "phenotype heads",
        net,
        step=descend(loss, run),
        validate=validate,
        rows=data.labelled,
        schedule=recipe.finetuning,
        generator=generator,
        run=run,
        slower=net.encoder,
        slowdown=heads.encoder_slowdown,
    )


def _on_embeddings(net: Predictor, data: Dataset, recipe: Recipe, run: Run, generator: Generator) -> History:
    heads = recipe.heads
    net.eval().requires_grad_(False)
    net.head.requires_grad_(True)
    held_out = data.parts["validation"]
    embedding = embeddings(net, data.ecg)  # of everybody: a row stays a row

    def read(rows: Tensor, covariates: Tensor) -> tuple[Tensor, Tensor]:
        chosen = covariates[:, net.columns].to(run.device) if net.columns else None
        return net.read(embedding[rows].to(run.device), chosen)

    def loss(rows: Tensor) -> Tensor:
        mean, log_sd = read(rows, hide(data.covariates[rows], heads.covariate_dropout, generator))
        return beta_nll(mean.float(), log_sd.float(), data.targets[rows].to(run.device), heads.beta)

    def validate() -> float:
        mean, log_sd = read(held_out, data.covariates[held_out])
        return beta_nll(mean, log_sd, data.targets[held_out].to(run.device), beta=0.0).item()

    return fit(
        "phenotype heads, encoder frozen",
        net.head,
        step=descend(loss, run),
        validate=validate,
        rows=data.labelled,
        schedule=recipe.finetuning,
        generator=generator,
        run=run,
    )


@torch.no_grad()
def embeddings(net: Predictor, decimated: Tensor) -> Tensor:
    """Embeddings of undisturbed ECGs, (n, embedding) on the CPU, in evaluation mode."""
    device = next(net.parameters()).device
    parts = [net.embed(part.to(device)) for part in torch.split(decimated, EVALUATION_BATCH)]
    return torch.cat(parts).float().cpu()
