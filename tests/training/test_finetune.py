"""Heads use what they are told, do without what they are not, and leave a frozen encoder alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training import hearts
from training.config import COVARIATES, Heads, Schedule
from training.dataset import Dataset
from training.ecg_encoder import build_ecg_encoder
from training.finetune import NothingToRead, Predictor, build_head, finetune, hide, masked

RECIPE = replace(hearts.TINY, finetuning=Schedule(epochs=3, batch=16, learning_rate=5e-3, weight_decay=0.0))


def recipe(**heads):
    return replace(RECIPE, heads=replace(Heads(hidden=16, dropout=0.0), **heads))


def people(n=96):
    """The weight decides every phenotype; the ECG says nothing."""
    rng = torch.Generator().manual_seed(0)
    covariates = torch.randn(n, 4, generator=rng)
    noise = 0.1 * torch.randn(n, 7, generator=rng)
    rows = torch.arange(n)
    return Dataset(
        cohort=None,
        faults=[],
        split={},
        cine=None,
        participants=rows,
        ecg=0.1 * torch.randn(n, 12, 1250, generator=rng),
        volumes={},
        targets=covariates[:, 3:] + noise,
        log_mean=torch.zeros(7),
        log_sd=torch.ones(7),
        parts={"train": rows[:64], "validation": rows[64:80], "calibration": rows[80:88], "test": rows[88:]},
        sampling_rate=125.0,
        covariates=covariates,
        covariate_mean=torch.zeros(4),
        covariate_sd=torch.ones(4),
        labelled=rows[:64],
    )


def trained(run, data, **heads):
    torch.manual_seed(0)
    encoder = build_ecg_encoder(RECIPE.ecg)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    network, history = finetune(encoder, data, recipe(**heads), run)
    return network, history, before


def test_unknown_covariates_are_a_mean_and_a_mask():
    found = masked(torch.tensor([[1.5, torch.nan], [torch.nan, -2.0]]))
    assert found.tolist() == [[1.5, 0.0, 1.0, 0.0], [0.0, -2.0, 0.0, 1.0]]


def test_a_share_of_covariates_is_hidden_and_the_rest_untouched():
    known = torch.arange(4000.0).reshape(1000, 4)
    hidden = hide(known, 0.2, torch.Generator().manual_seed(1))
    gone = torch.isnan(hidden)
    assert gone.float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert torch.equal(hidden[~gone], known[~gone])
    assert torch.equal(hide(known, 0.0, torch.Generator()), known)


@pytest.mark.parametrize("heads", [{}, {"encoder_slowdown": 0.0}, {"ecg": False, "covariates": COVARIATES}])
def test_an_encoder_that_is_frozen_or_not_asked_does_not_move(run, heads):
    network, _, before = trained(run, people(), **heads)
    moved = network.encoder is not None and any(
        not torch.equal(value, before[name]) for name, value in network.encoder.state_dict().items()
    )
    assert moved == (not heads)


def test_heads_without_an_ecg_learn_from_covariates_alone_and_name_no_embedding(run):
    data = people()
    schedule = Schedule(epochs=60, batch=16, learning_rate=1e-2, weight_decay=0.0)
    baseline = replace(recipe(ecg=False, covariates=("weight",)), finetuning=schedule)
    network, _ = finetune(build_ecg_encoder(RECIPE.ecg), data, baseline, run)
    held_out = data.parts["test"]
    embedding, mean, _ = network.predict(data.ecg[held_out], data.covariates[held_out])
    assert embedding.shape == (len(held_out), 0)
    assert np.corrcoef(mean[:, 0], data.targets[held_out, 0])[0, 1] > 0.9
    unknown = torch.full((len(held_out), 4), torch.nan)
    _, without, _ = network.predict(data.ecg[held_out], unknown)
    assert without.std(dim=0).max() < 1e-5


def test_only_the_covariates_of_the_recipe_are_read(run):
    data = people()
    network, _, _ = trained(run, data, covariates=("age", "sex"))
    other = data.covariates.clone()
    other[:, 2:] += 5.0
    assert torch.equal(network.predict(data.ecg, data.covariates)[1], network.predict(data.ecg, other)[1])
    other[:, 0] += 5.0
    assert not torch.equal(network.predict(data.ecg, data.covariates)[1], network.predict(data.ecg, other)[1])


@pytest.mark.parametrize("slowdown", [0.0, 0.5])
def test_labels_that_may_not_be_read_are_not(run, slowdown):
    data = people()
    few = replace(data, labelled=data.labelled[:32])
    poisoned = few.targets.clone()
    poisoned[32:64] = 1e6
    honest, _, _ = trained(run, few, encoder_slowdown=slowdown)
    unaware, _, _ = trained(run, replace(few, targets=poisoned), encoder_slowdown=slowdown)
    for name, value in honest.state_dict().items():
        assert torch.equal(value, unaware.state_dict()[name]), name


def test_heads_that_could_read_nothing_are_refused():
    with pytest.raises(NothingToRead, match="name one"):
        build_head(recipe(ecg=False), 7)


def test_one_ecg_is_read_the_same_in_any_company(run):
    data = people()
    network = Predictor(build_ecg_encoder(RECIPE.ecg), build_head(RECIPE, 7)).eval()
    together, alone = network.predict(data.ecg, data.covariates), network.predict(data.ecg[:1], data.covariates[:1])
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one[:1], other, rtol=1e-4, atol=1e-5)
