from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from training.config import Schedule
from training.fit import Diverged, descend, fit
from training.tracking import tracking

SCHEDULE = Schedule(epochs=5, batch=8, learning_rate=1e-2, weight_decay=0.01)
X = torch.linspace(-1, 1, 40).unsqueeze(1)
Y = X**2
ROWS = torch.arange(40)


class PowerCut(Exception):
    pass


def fitted(run, *, stop_at=None, participants=None, seen=None):
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(1, 16), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 1))
    generator = torch.Generator().manual_seed(5)
    epochs = []

    def loss(rows):
        if seen is not None:
            seen.append(rows.tolist())
        jitter = 0.01 * torch.randn(len(rows), 1, generator=generator)
        return (net(X[rows] + jitter) - Y[rows]).square().mean()

    def validate():
        epochs.append(1)
        if len(epochs) == stop_at:
            raise PowerCut
        return (net(X) - Y).square().mean().item()

    history = fit(
        "parabola",
        net,
        step=descend(loss, run),
        validate=validate,
        rows=ROWS,
        schedule=SCHEDULE,
        generator=generator,
        run=run,
        participants=participants,
    )
    return net, history, len(epochs)


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_an_interrupted_stage_ends_with_the_same_weights_to_the_bit(run, tmp_path):
    whole, history, _ = fitted(run)
    with pytest.raises(PowerCut):
        fitted(run.at(tmp_path), stop_at=3)
    resumed, again, epochs = fitted(run.at(tmp_path))
    assert epochs == 3  # two of five were kept
    assert torch.equal(weights(resumed), weights(whole))
    assert (again.train, again.validation) == (history.train, history.validation)


def test_a_stage_that_has_ended_is_not_run_again_and_leaves_random_numbers_as_it_did(run, tmp_path):
    first, _, _ = fitted(run.at(tmp_path))
    after = torch.rand(3)
    second, _, epochs = fitted(run.at(tmp_path))
    assert epochs == 0
    assert torch.equal(weights(first), weights(second))
    assert torch.equal(torch.rand(3), after)


def test_the_best_epoch_is_kept_not_the_last(run):
    net, history, _ = fitted(run)
    assert history.validation[history.best_epoch - 1] == min(history.validation)
    assert (net(X) - Y).square().mean().item() == pytest.approx(min(history.validation), rel=1e-6)


def test_every_row_is_seen_once_in_an_epoch(run):
    seen: list[list[int]] = []
    fitted(run, seen=seen)
    for epoch in range(5):
        assert sorted(chain(*seen[epoch * 5 : epoch * 5 + 5])) == list(range(40))


def test_two_visits_of_one_participant_never_meet_in_an_epoch_and_both_are_used(run):
    seen: list[list[int]] = []
    fitted(run, participants=torch.arange(40) // 2, seen=seen)
    visits = set()
    for epoch in range(5):
        rows = list(chain(*seen[epoch * 2 : epoch * 2 + 2]))
        assert len({row // 2 for row in rows}) == len(rows) == 16
        visits |= set(rows)
    assert any(row % 2 for row in visits)
    assert any(row % 2 == 0 for row in visits)


def test_curves_are_written_for_tensorboard(run, tmp_path):
    with tracking(tmp_path, {"seed": 1}) as tracker:
        _, history, _ = fitted(replace(run, tracker=tracker))
    events = EventAccumulator(str(tmp_path)).Reload()
    points = events.Scalars("parabola/validation")
    assert [p.step for p in points] == [1, 2, 3, 4, 5]
    assert [p.value for p in points] == pytest.approx(history.validation)


def test_numbers_that_run_away_end_the_training_with_a_sentence(run):
    net = nn.Linear(1, 1)
    with pytest.raises(Diverged, match="lower the learning rate"):
        fit(
            "diverging",
            net,
            step=descend(lambda rows: (net(X[rows]) * torch.nan).mean(), run),
            validate=lambda: 1.0,
            rows=ROWS,
            schedule=SCHEDULE,
            generator=torch.Generator(),
            run=run,
        )
