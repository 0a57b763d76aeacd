"""The networks: one path, rows that do not see each other, pooling that averages, transformers as the papers say."""

from __future__ import annotations

import math
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from tests.training.hearts import TINY
from training.cmr_encoder import build_cmr_encoder
from training.config import CmrWidths, ConvWidths, VitWidths
from training.ecg_encoder import PRESETS, Pool, build_ecg_encoder, decimate
from training.ecg_vit import Block, DropPath, VitTower, positions
from training.heads import PhenotypeHead, Projection

SMALL = {"width": 16, "depth": 2, "heads": 4, "mlp": 2.0, "drop_path": 0.5, "embedding": 8}
KINDS = {
    "conv": TINY.ecg,
    "time": VitWidths(patch_leads=12, patch_samples=50, **SMALL),
    "leads": VitWidths(patch_leads=1, patch_samples=100, **SMALL),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def widths(request):
    return request.param


@pytest.fixture
def encoder(widths):
    torch.manual_seed(0)
    return build_ecg_encoder(widths).eval()


def test_training_on_decimated_ecgs_is_the_path_that_serving_takes(encoder, widths):
    ecg = torch.randn(3, 12, 5000)
    decimated = decimate(ecg, widths.decimation)
    assert torch.equal(encoder(ecg), encoder.features(decimated))
    assert torch.equal(encoder(ecg), encoder.pool(encoder.tokens(decimated)))
    assert encoder(ecg).shape == (3, widths.embedding)


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


def test_the_feature_map_has_a_column_for_each_stride(encoder, widths):
    samples = 5000 // widths.decimation
    tokens = encoder.tokens(torch.randn(2, 12, samples))
    assert tokens.shape == (2, encoder.body.width, math.ceil(samples / encoder.body.stride))


def test_a_disturbance_changes_the_columns_of_its_own_time_most(encoder, widths):
    ecg = 0.2 * torch.randn(1, 12, 5000 // widths.decimation)
    place = ecg.shape[-1] * 3 // 5
    disturbed = ecg.clone()
    disturbed[..., place : place + 4] += 5.0
    with torch.no_grad():
        change = (encoder.tokens(disturbed) - encoder.tokens(ecg)).norm(dim=1)[0]
    assert abs(int(change.argmax()) - place / encoder.body.stride) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_either_kind_is_exported_for_any_batch(kind, tmp_path):
    torch.manual_seed(0)
    encoder, path = build_ecg_encoder(KINDS[kind]).eval(), tmp_path / "encoder.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter's, about its own use of torch
        torch.onnx.export(
            encoder,
            (torch.zeros(2, 12, 5000),),
            path,
            dynamo=True,
            verbose=False,
            input_names=["ecg"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3, 8):
        ecg = torch.randn(batch, 12, 5000)
        with torch.no_grad():
            expected = encoder(ecg)
        (found,) = session.run(None, {"ecg": ecg.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


def test_attention_weights_sum_to_one():
    pool = Pool(width=8, heads=4, embedding=3)
    constant = torch.randn(2, 8, 1).expand(-1, -1, 50)
    np.testing.assert_allclose(pool.average(constant).detach(), constant[:, :, 0], atol=1e-6)


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    block, reference = Block(16, 4, 32, 0.0).eval(), nn.MultiheadAttention(16, 4, batch_first=True).eval()
    norm, asked = block.asked
    reference.load_state_dict(
        {
            "in_proj_weight": asked.weight,
            "in_proj_bias": asked.bias,
            "out_proj.weight": block.merged.weight,
            "out_proj.bias": block.merged.bias,
        }
    )
    x = torch.randn(3, 10, 16)
    expected, _ = reference(norm(x), norm(x), norm(x))
    np.testing.assert_allclose(block.attention(x).detach(), expected.detach(), atol=1e-5)


def test_positions_are_sines_and_cosines_of_row_and_column():
    rows, columns, width = 3, 5, 16
    found = positions(rows, columns, width)
    for row in range(rows):
        for column in range(columns):
            expected = [
                wave(place / 10000 ** (i / 4))
                for place in (row, column)
                for wave in (math.sin, math.cos)
                for i in range(4)
            ]
            np.testing.assert_allclose(found[row * columns + column], expected, atol=1e-6)


def test_first_tokens_of_a_resting_ecg_are_as_large_as_their_positions():
    torch.manual_seed(0)
    for widths in (KINDS["time"], KINDS["leads"]):
        tower = VitTower(widths)
        tokens = tower.patches(0.2 * torch.randn(8, 1, 12, 5000))
        assert 0.5 < tokens.std() / positions(12, 50, widths.width).std() < 2.0


def test_a_transformer_tells_early_from_late_and_a_convolution_does_not(encoder, widths):
    ecg = torch.zeros(1, 12, 5000)
    early, late = ecg.clone(), ecg.clone()
    early[..., 1000:1100], late[..., 2600:2700] = 1.0, 1.0
    difference = (encoder(early) - encoder(late)).abs().max()
    assert difference > 1e-3 if isinstance(widths, VitWidths) else difference < 1e-3


def test_drop_path_keeps_the_mean_while_training_and_everything_afterwards():
    torch.manual_seed(0)
    drop, x = DropPath(0.3), torch.ones(20000, 1, 1)
    dropped = drop(x)
    assert sorted(dropped.unique().tolist()) == pytest.approx([0.0, 1 / 0.7])
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(drop.eval()(x), x)


def test_sizes_are_those_of_the_papers_and_the_convolutions_stay_small():
    with torch.device("meta"):
        millions = {
            name: sum(weights.numel() for weights in build_ecg_encoder(widths).body.parameters()) / 1e6
            for name, widths in PRESETS.items()
        }
    assert millions["vit-base-1x100"] == pytest.approx(47.9, abs=0.2)  # counted from the public code
    assert 5 < millions["vit-tiny-1x100"] < millions["vit-tiny-12x50"] < 6
    assert millions["vit-small-12x50"] == pytest.approx(21.6, abs=0.2)
    assert millions["conv"] < 1 < millions["conv-large"] < 6
    assert PRESETS["conv"] == ConvWidths()


def test_projections_have_length_one():
    projected = Projection(6, 8, 4)(torch.randn(9, 6))
    np.testing.assert_allclose(projected.norm(dim=-1).detach(), 1.0, atol=1e-6)


@pytest.mark.parametrize("channels", [(4, 8), (4, 8, 12)])
@pytest.mark.parametrize("shared", [False, True])
def test_a_cmr_encoder_states_the_size_of_its_features_and_of_their_places(channels, shared):
    encoder = build_cmr_encoder(CmrWidths(channels=channels, shared=shared), ["ed", "es", "lge"]).eval()
    volumes = torch.rand(2, 16, 64, 64)
    assert encoder(volumes, "lge").shape == (2, encoder.size)
    places = tuple(length // stride for length, stride in zip((16, 64, 64), encoder.stride, strict=True))
    assert encoder.maps(volumes, "ed").shape == (2, encoder.channels, *places)


def test_anchors_share_an_encoder_but_for_their_tokens():
    own, shared = (build_cmr_encoder(CmrWidths(channels=(4, 8), shared=s), ["ed", "es"]).eval() for s in (False, True))
    count = [sum(weights.numel() for weights in encoder.parameters()) for encoder in (own, shared)]
    assert count[1] == count[0] // 2 + 2 * 4
    volumes = torch.rand(2, 16, 64, 64)
    assert not torch.equal(shared(volumes, "ed"), shared(volumes, "es"))
    (tower,) = shared.towers.values()
    with torch.no_grad():
        tower.tokens["es"].copy_(tower.tokens["ed"])
    assert torch.equal(shared(volumes, "ed"), shared(volumes, "es"))


def test_the_log_sd_stays_bounded_for_any_embedding():
    head = PhenotypeHead(4, 8, 3, dropout=0.0)
    mean, log_sd = head(1e6 * torch.randn(10, 4))
    assert mean.shape == log_sd.shape == (10, 3)
    assert log_sd.abs().max() <= 4
