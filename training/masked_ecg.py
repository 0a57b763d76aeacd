"""Masked ECG: the ECG encoder learns to complete ECGs of which most is hidden; no scan and no label is needed.

Hidden patches are zero at the input and a linear decoder completes each column of the feature map (SimMIM: Xie et al.,
CVPR 2022), rather than leaving hidden tokens out of a transformer and adding a deep decoder (MAE: He et al., CVPR
2022). A transformer costs more that way, but one path serves both kinds of encoder, the encoder sees as many columns
as it will when it serves, and zeros are what it must learn to pass over anyway: short recordings end in them.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from training.config import MaskedEcg, Recipe
from training.distributed import own_generator
from training.ecg_encoder import EcgEncoder
from training.fit import History, descend, fit
from training.masking import hidden_blocks
from training.run import Run

FLAT = 1e-3
"""Millivolts: smallest SD that anything is divided by, so that a lead without a signal counts next to nothing."""

EVALUATION_BATCH = 128


class Completion(nn.Module):
    """The encoder, the decoder of each column, and the predictor between the embeddings of two copies."""

    def __init__(self, encoder: EcgEncoder, embedding: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = nn.Conv1d(encoder.body.width, 12 * encoder.body.stride, 1)
        self.predictor = nn.Sequential(
            nn.Linear(embedding, embedding // 2),
            nn.BatchNorm1d(embedding // 2),
            nn.GELU(),
            nn.Linear(embedding // 2, embedding),
        )

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 12, samples) with holes to the same without, and to embeddings (batch, embedding)."""
        tokens = self.encoder.tokens(seen)
        columns = self.decoder(tokens).unflatten(1, (12, -1)).transpose(2, 3)  # (batch, 12, time, stride)
        return columns.flatten(2)[..., : seen.shape[-1]], self.encoder.pool(tokens)

    def similarity(self, first: Tensor, second: Tensor) -> Tensor:
        """Mean cosine of each embedding, predicted from the other's (SimSiam: Chen and He, CVPR 2021).

        Gradients flow into the predicting side alone, without which all embeddings would become one.
        """
        ahead = functional.cosine_similarity(self.predictor(first), second.detach()).mean()
        back = functional.cosine_similarity(self.predictor(second), first.detach()).mean()
        return (ahead + back) / 2


def pretrain_masked(
    encoder: EcgEncoder, ecg: Tensor, rows: Tensor, held_out: Tensor, recipe: Recipe, run: Run
) -> History:
    """Stage 1: two disturbed copies of each ECG are completed, and told to be the same heart.

    Parameters
    ----------
    ecg : (n, 12, samples / decimation) millivolts; nothing else is known of the participants
    rows, held_out : which of them are learnt from, and which choose the best epoch
    """
    settings = recipe.masked
    generator = Generator().manual_seed(recipe.seed)
    patch = 1, round(settings.patch_seconds * recipe.preprocessing.sampling_rate / encoder.decimation)
    net = Completion(encoder, recipe.ecg.embedding).to(run.device)

    def completed(seen: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        hidden = hidden_blocks(len(seen), seen.shape[1:], patch, settings.ratio, generator).to(seen.device)
        completed, embedding = net(seen.masked_fill(hidden, 0.0))
        return completed, embedding

    def loss(rows: Tensor) -> Tensor:
        own = own_generator(generator)
        clean = disturbed(run.fetch(ecg, rows).repeat(2, 1, 1), settings, own)
        completion, embedding = completed(noisy(clean, settings.jitter), own)
        first, second = embedding.chunk(2)
        return completion_loss(completion, clean, settings) + settings.similarity * (1 - net.similarity(first, second))

    def validate() -> float:
        same = Generator().manual_seed(recipe.seed)  # the same holes after every epoch
        total = 0.0
        for part in torch.split(held_out, EVALUATION_BATCH):
            whole = run.fetch(ecg, part)
            total += len(part) * completion_loss(completed(whole, same)[0], whole, settings).item()
        return total / len(held_out)

    return fit(
        "masked ECGs",
        net,
        step=descend(loss, run),
        validate=validate,
        rows=rows,
        schedule=recipe.masked_schedule,
        generator=generator,
        run=run,
    )


def completion_loss(completed: Tensor, target: Tensor, settings: MaskedEcg) -> Tensor:
    """`mse` · squared error in variances of the recording + `ncc` · (1 − correlation of each lead), hidden or not.

    The method divides each ECG by its SD first; here millivolts stay, and the error is divided instead.
    """
    completed, target = completed.float(), target.float()
    error = ((completed - target) / _sd(target)).square().mean()
    return settings.mse * error + settings.ncc * (1 - _correlation(completed, target).mean())


def _sd(ecg: Tensor) -> Tensor:
    """SD of each recording over leads and time, (batch, 1, 1)."""
    return ecg.std((1, 2), keepdim=True).clamp(min=FLAT)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's r of each lead over time: normalised cross-correlation without lag; (batch, 12)."""
    a, b = (x - x.mean(-1, keepdim=True) for x in (a, b))
    own, other = (x.square().mean(-1).sqrt().clamp(min=FLAT) for x in (a, b))
    return (a * b).mean(-1) / (own * other)


def disturbed(ecg: Tensor, settings: MaskedEcg, generator: Generator) -> Tensor:
    """Another ECG of about the same heart: some become Fourier surrogates, all are rescaled.

    One positive factor for all leads, unlike the public code, since the ratios of the leads tell the axis of the heart.
    """
    batch = len(ecg)
    chosen = torch.rand(batch, 1, 1, generator=generator) < settings.surrogate
    factor = torch.exp(settings.rescale * torch.randn(batch, 1, 1, generator=generator))
    turned = surrogate(ecg, settings.phase_noise, generator)
    return torch.where(chosen.to(ecg.device), turned, ecg) * factor.to(ecg.device)


def surrogate(ecg: Tensor, phase_noise: float, generator: Generator) -> Tensor:
    """The same spectrum with other phases: up to `phase_noise` of a turn at each frequency, the same in all leads.

    So the leads keep their relations, I + III = II among them (surrogates: Theiler et al., Physica D 1992;58:77).
    """
    spectrum = torch.fft.rfft(ecg)
    turns = phase_noise * torch.rand(len(ecg), 1, spectrum.shape[-1], generator=generator)
    turns[..., 0] = 0.0  # the mean is real
    turns[..., -1] = 0.0  # and so is the highest frequency of an even number of samples
    turned = spectrum * torch.polar(torch.ones_like(turns), 2 * math.pi * turns).to(ecg.device)
    disturbed: Tensor = torch.fft.irfft(turned, ecg.shape[-1])
    return disturbed


def noisy(ecg: Tensor, jitter: float) -> Tensor:
    """With white noise of `jitter` standard deviations of each recording, which is not to be completed."""
    return ecg + jitter * _sd(ecg) * torch.randn_like(ecg)
