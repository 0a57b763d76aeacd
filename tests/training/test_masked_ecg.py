"""Masked ECGs: what is hidden is learnt from what is not, and disturbances change what they say they change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training import hearts
from training.config import MaskedEcg, Schedule, VitWidths
from training.ecg_encoder import build_ecg_encoder
from training.masked_ecg import Completion, completion_loss, disturbed, noisy, pretrain_masked, surrogate
from training.masking import hidden_blocks

SETTINGS = MaskedEcg()
KINDS = {
    "conv": hearts.TINY.ecg,
    "time": VitWidths(patch_samples=50, width=32, depth=1, heads=4, drop_path=0.0, embedding=16),
    "leads": VitWidths(patch_leads=4, patch_samples=100, width=16, depth=1, heads=4, drop_path=0.0, embedding=16),
}


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def ecg(generator):
    """Twelve leads of which eight are independent."""
    free = 0.2 * torch.randn(4, 8, 1000, generator=generator)
    one, two = free[:, :1], free[:, 1:2]
    augmented = torch.cat((one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2), 1)
    return torch.cat((augmented, free[:, 2:]), 1)


def beats(samples, rate, people=40):
    """Hearts of many rates, one beat shape, twelve sizes of lead."""
    rng = np.random.default_rng(0)
    time = np.arange(samples) / rate
    since = (time + rng.uniform(0, 1, (people, 1))) % rng.uniform(0.7, 1.1, (people, 1))
    wave = np.exp(-(((since - 0.3) / 0.05) ** 2)) + 0.3 * np.exp(-(((since - 0.55) / 0.08) ** 2))
    leads = np.linspace(0.4, 1.4, 12)[:, None]
    return torch.from_numpy((wave - wave.mean(1, keepdims=True))[:, None] * leads).float()


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_learns_to_complete_hearts_never_seen(kind, run):
    torch.manual_seed(0)
    widths = KINDS[kind]
    recipe = replace(
        hearts.TINY,
        ecg=widths,
        masked=replace(SETTINGS, surrogate=0.0, jitter=0.05, rescale=0.1, ratio=0.5),
        masked_schedule=Schedule(epochs=12, batch=8, learning_rate=5e-3, weight_decay=0.0),
    )
    encoder = build_ecg_encoder(widths)
    before = encoder.features(torch.zeros(2, 12, 5000 // widths.decimation))
    ecgs = beats(5000 // widths.decimation, 500 / widths.decimation)
    history = pretrain_masked(encoder, ecgs, torch.arange(32), torch.arange(32, 40), recipe, run)
    nothing = completion_loss(torch.zeros_like(ecgs), ecgs, SETTINGS)  # an error of the variance, no correlation
    assert min(history.validation) < 0.7 * nothing
    assert not torch.equal(before, encoder.features(torch.zeros(2, 12, 5000 // widths.decimation)))
    assert not encoder.training


def test_the_loss_is_that_of_loops():
    rng = np.random.default_rng(0)
    target, completed = 0.3 * rng.standard_normal((2, 3, 12, 200))
    total_error, total_correlation = [], []
    for true, found in zip(target, completed, strict=True):
        sd = true.std(ddof=1)
        total_error += [((f - t) / sd) ** 2 for t, f in zip(true.ravel(), found.ravel(), strict=True)]
        total_correlation += [np.corrcoef(t, f)[0, 1] for t, f in zip(true, found, strict=True)]
    expected = 0.9 * np.mean(total_error) + 0.1 * (1 - np.mean(total_correlation))
    found = completion_loss(torch.from_numpy(completed), torch.from_numpy(target), SETTINGS)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_perfect_completion_costs_nothing_at_any_gain(ecg):
    for gain in (0.1, 1.0, 10.0):
        assert completion_loss(gain * ecg, gain * ecg, SETTINGS).item() == pytest.approx(0.0, abs=1e-6)


def test_a_flat_recording_has_a_finite_loss():
    flat = torch.zeros(2, 12, 100)
    assert completion_loss(flat, flat, SETTINGS).item() == pytest.approx(0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_completed_columns_follow_one_another_in_time(kind):
    widths = KINDS[kind]
    net = Completion(build_ecg_encoder(widths), widths.embedding).eval()
    seen = torch.randn(2, 12, 5000 // widths.decimation)
    with torch.no_grad():
        completed, _ = net(seen)
        decoded = net.decoder(net.encoder.tokens(seen))
    stride = net.encoder.body.stride
    assert completed.shape == seen.shape
    for lead, sample in ((0, 0), (3, 7), (11, seen.shape[-1] - 1)):
        channel = lead * stride + sample % stride
        assert torch.equal(completed[:, lead, sample], decoded[:, channel, sample // stride])


def test_the_similarity_teaches_the_predicting_side_alone():
    net = Completion(build_ecg_encoder(KINDS["conv"]), 16).eval()
    first, second = (torch.randn(5, 16, requires_grad=True) for _ in range(2))
    net.similarity(first, second).backward()
    both = first.grad.clone()
    first.grad = None
    torch.nn.functional.cosine_similarity(net.predictor(first), second.detach()).mean().div(2).backward()
    np.testing.assert_allclose(both, first.grad, atol=1e-7)


def test_a_surrogate_keeps_the_spectrum_and_the_relations_of_the_leads(ecg, generator):
    turned = surrogate(ecg, 0.075, generator)
    np.testing.assert_allclose(np.abs(np.fft.rfft(turned)), np.abs(np.fft.rfft(ecg)), atol=1e-3)
    np.testing.assert_allclose(turned[:, 0] + turned[:, 2], turned[:, 1], atol=1e-5)
    assert (turned - ecg).abs().max() > 0.05
    turn = np.angle(np.fft.rfft(turned) / np.fft.rfft(ecg))[..., 1:-1] / (2 * np.pi)
    assert -1e-3 < turn.min() < turn.max() < 0.075 + 1e-3


def test_a_rescaling_has_the_stated_size_and_no_sign(ecg, generator):
    many = ecg[:1].expand(4000, -1, -1)[..., :10]
    factor = disturbed(many, replace(SETTINGS, surrogate=0.0), generator)[:, 0, 0] / many[:, 0, 0]
    assert factor.min() > 0
    assert factor.log().std().item() == pytest.approx(0.5, abs=0.02)


def test_noise_is_measured_in_standard_deviations_of_the_recording(ecg):
    torch.manual_seed(0)
    loud = 10 * ecg
    assert ((noisy(loud, 0.2) - loud).std() / loud.std()).item() == pytest.approx(0.2, abs=0.01)


def test_the_share_of_hidden_patches_is_exact_and_the_last_one_is_cut(generator):
    hidden = hidden_blocks(5, (12, 1030), (1, 100), 0.7, generator)
    assert hidden.shape == (5, 12, 1030)
    assert torch.equal(hidden[..., 1000:].all(-1), hidden[..., 1000:].any(-1))
    assert hidden[..., ::100].sum((1, 2)).tolist() == [round(0.7 * 12 * 11)] * 5


def test_ecgs_without_any_heart_can_be_appended(run):
    torch.manual_seed(0)
    recipe = replace(hearts.TINY, masked_schedule=Schedule(epochs=1, batch=8, learning_rate=1e-3, weight_decay=0.0))
    with_flat = torch.cat((beats(1250, 125.0, people=16), torch.zeros(8, 12, 1250)))
    history = pretrain_masked(
        build_ecg_encoder(recipe.ecg), with_flat, torch.arange(8, 24), torch.arange(8), recipe, run
    )
    assert np.isfinite(history.train).all()
