"""Augmentation changes what differs between recordings of one heart, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from training.augment import augment
from training.config import Augmentation

RATE = 125.0
STILL = Augmentation(shorten=0.0, gain=0.0, lead_gain=0.0, noise=0.0, wander=0.0, mixing=0.0)


def batch(size=16):
    return torch.randn(size, 12, 1250, generator=torch.Generator().manual_seed(0))


def augmented(settings, ecg=None, seed=1):
    return augment(batch() if ecg is None else ecg, settings, RATE, torch.Generator().manual_seed(seed))


def test_without_disturbances_each_recording_only_starts_elsewhere():
    ecg = batch(4)
    for original, shifted in zip(ecg, augmented(STILL, ecg), strict=True):
        start = int((original[0][None] == shifted[0][:1, None]).nonzero()[0, 1])
        torch.testing.assert_close(shifted, original.roll(-start, -1))


def test_the_same_generator_gives_the_same_augmentation():
    assert torch.equal(augmented(Augmentation(), seed=3), augmented(Augmentation(), seed=3))
    assert not torch.equal(augmented(Augmentation(), seed=3), augmented(Augmentation(), seed=4))


def test_shortened_recordings_last_at_least_the_shortest_and_end_in_zeros():
    result = augmented(replace(STILL, shorten=1.0, shortest=7.0), batch(64))
    lengths = [int((recording != 0).any(0).nonzero().max()) + 1 for recording in result]
    assert min(lengths) >= 7.0 * RATE
    assert min(lengths) < 8.5 * RATE < max(lengths)
    for recording, length in zip(result, lengths, strict=True):
        assert (recording[:, length:] == 0).all()


def test_gains_have_the_stated_spread():
    flat = torch.ones(2000, 12, 1250)
    gains = augmented(replace(STILL, gain=0.03), flat)[:, :, 0]
    np.testing.assert_allclose(gains.std(0), 0.03, rtol=0.1)
    np.testing.assert_allclose(gains, gains[:, :1].expand(-1, 12), atol=1e-6)  # one amplifier: all leads alike


def test_noise_stays_below_its_largest_size():
    silence = torch.zeros(200, 12, 1250)
    sizes = augmented(replace(STILL, noise=0.02), silence).flatten(1).std(1)
    assert 0.015 < sizes.max() < 0.021
    assert sizes.min() < 0.005


def test_wander_is_slow_and_small():
    silence = torch.zeros(50, 12, 1250)
    wander = augmented(replace(STILL, wander=0.03), silence)
    assert wander.abs().max() <= 0.03
    spectrum = torch.fft.rfft(wander * torch.hann_window(1250)).abs().square().mean((0, 1))
    frequencies = torch.fft.rfftfreq(1250, 1 / RATE)
    assert spectrum[frequencies < 1.5].sum() > 0.999 * spectrum.sum()
