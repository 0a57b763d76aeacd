"""Augmentation: what differs between two recordings of one heart; reachable from training alone, never from serving."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from training.config import Augmentation


def augment(ecg: Tensor, settings: Augmentation, sampling_rate: float, generator: Generator) -> Tensor:
    """Another recording of each heart in the batch.

    Parameters
    ----------
    ecg : (batch, 12, samples) millivolts
        Full-length preprocessed recordings at `sampling_rate` hertz.
    generator
        Of the processor; what is drawn on another device is drawn from a seed of its.

    Returns
    -------
    (batch, 12, samples)
        Electrodes slightly off, amplifier gains slightly wrong, another start, noise and wander added; some are shorter
        and followed by zeros, as serving presents short recordings.
    """
    nothing = ecg.new_zeros(len(ecg), 0, ecg.shape[-1])
    return augment_along(ecg, nothing, settings, sampling_rate, generator)[0]


def augment_along(
    ecg: Tensor, tracks: Tensor, settings: Augmentation, sampling_rate: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """`augment`, and what else is known of each sample, (batch, tracks, samples), moved and cut with the recording."""
    if ecg.device.type != "cpu":
        generator = _forked(generator, ecg.device)
    leads = ecg.shape[1]
    moved = _shift(torch.cat((_mix(ecg, settings, generator), tracks), 1), generator)
    ecg, tracks = moved[:, :leads], moved[:, leads:]
    ecg = ecg + _noise(ecg, settings.noise, generator) + _wander(ecg, settings.wander, sampling_rate, generator)
    kept = _kept(ecg, settings, sampling_rate, generator)
    return ecg * kept, tracks * kept


def _forked(generator: Generator, device: torch.device) -> Generator:
    """A generator on the device, which goes where the other one goes."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return Generator(device).manual_seed(seed)


def _mix(ecg: Tensor, settings: Augmentation, generator: Generator) -> Tensor:
    """A 12 x 12 matrix near the identity for each recording: gains, and leads that see a little of the others."""
    batch, leads = ecg.shape[0], ecg.shape[1]
    common = 1.0 + settings.gain * torch.randn(batch, 1, 1, generator=generator, device=ecg.device)
    own = 1.0 + settings.lead_gain * torch.randn(batch, leads, 1, generator=generator, device=ecg.device)
    matrix = (
        torch.eye(leads, device=ecg.device) * own
        + settings.mixing * torch.randn(batch, leads, leads, generator=generator, device=ecg.device) / leads**0.5
    )
    mixed: Tensor = common * (matrix @ ecg)
    return mixed


def _shift(ecg: Tensor, generator: Generator) -> Tensor:
    """Roll each recording in time: the rhythm strip starts anywhere."""
    samples = ecg.shape[-1]
    starts = torch.randint(samples, (ecg.shape[0], 1, 1), generator=generator, device=ecg.device)
    index = (torch.arange(samples, device=ecg.device) + starts) % samples
    return ecg.gather(-1, index.expand_as(ecg))


def _noise(ecg: Tensor, largest: float, generator: Generator) -> Tensor:
    """White noise, of another size for each recording."""
    size = largest * torch.rand(ecg.shape[0], 1, 1, generator=generator, device=ecg.device)
    return size * torch.randn(ecg.shape, generator=generator, device=ecg.device)


def _wander(ecg: Tensor, largest: float, sampling_rate: float, generator: Generator) -> Tensor:
    """What the high-pass leaves of respiration and movement: one slow sine for each lead, 0.3 to 1 Hz."""
    batch, leads, samples = ecg.shape
    time = torch.arange(samples, device=ecg.device) / sampling_rate
    frequency = 0.3 + 0.7 * torch.rand(batch, 1, 1, generator=generator, device=ecg.device)
    phase = 2 * math.pi * torch.rand(batch, leads, 1, generator=generator, device=ecg.device)
    size = largest * torch.rand(batch, leads, 1, generator=generator, device=ecg.device)
    return size * torch.sin(2 * math.pi * frequency * time + phase)


def _kept(ecg: Tensor, settings: Augmentation, sampling_rate: float, generator: Generator) -> Tensor:
    """Some recordings end early: (batch, 1, samples), false where nothing was recorded."""
    batch, _, samples = ecg.shape
    shortest = round(settings.shortest * sampling_rate)
    lengths = torch.randint(shortest, samples + 1, (batch,), generator=generator, device=ecg.device)
    whole = torch.rand(batch, generator=generator, device=ecg.device) >= settings.shorten
    lengths = torch.where(whole, samples, lengths)
    return torch.arange(samples, device=ecg.device) < lengths[:, None, None]
