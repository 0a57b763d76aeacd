"""The networks: one path, rows that do not see each other, pooling that averages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.training.hearts import TINY
from training.encoders import AttentionPool, CmrEncoder, EcgEncoder, PhenotypeHead, Projection, decimate


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return EcgEncoder(TINY.ecg).eval()


def test_training_on_decimated_ecgs_is_the_path_that_serving_takes(encoder):
    ecg = torch.randn(3, 12, 5000)
    assert torch.equal(encoder(ecg), encoder.features(decimate(ecg, TINY.ecg.decimation)))


def test_decimation_averages_neighbours():
    ecg = torch.arange(24.0).reshape(1, 1, 24)
    np.testing.assert_array_equal(decimate(ecg, 4)[0, 0], [1.5, 5.5, 9.5, 13.5, 17.5, 21.5])


@pytest.mark.parametrize("frequency", [1.0, 10.0, 40.0])
def test_decimation_attenuates_as_a_moving_average_does(frequency):
    """|sin(4x) / (4 sin x)| with x = π f / fs: 15 % at the upper corner of the band, nothing where the heart is."""
    wave = torch.sin(2 * torch.pi * frequency * torch.arange(5000) / 500.0)
    x = math.pi * frequency / 500.0
    kept = decimate(wave.expand(1, 1, -1), 4).std() / wave.std()
    assert kept.item() == pytest.approx(math.sin(4 * x) / (4 * math.sin(x)), abs=1e-3)


def test_an_ecg_is_read_the_same_alone_and_in_company(encoder):
    ecgs = torch.randn(5, 12, 5000)
    np.testing.assert_allclose(encoder(ecgs)[2:3].detach(), encoder(ecgs[2:3]).detach(), atol=1e-5)


def test_attention_weights_sum_to_one():
    pool = AttentionPool(width=8, heads=4)
    constant = torch.randn(2, 8, 1).expand(-1, -1, 50)
    np.testing.assert_allclose(pool(constant).detach(), constant[:, :, 0], atol=1e-6)


def test_projections_have_length_one():
    projected = Projection(6, 8, 4)(torch.randn(9, 6))
    np.testing.assert_allclose(projected.norm(dim=-1).detach(), 1.0, atol=1e-6)


def test_a_cmr_encoder_states_the_size_of_its_features():
    encoder = CmrEncoder((4, 8)).eval()
    assert encoder(torch.rand(2, 16, 64, 64)).shape == (2, encoder.size)


def test_the_log_sd_stays_bounded_for_any_embedding():
    head = PhenotypeHead(4, 8, 3, dropout=0.0)
    mean, log_sd = head(1e6 * torch.randn(10, 4))
    assert mean.shape == log_sd.shape == (10, 3)
    assert log_sd.abs().max() <= 4
