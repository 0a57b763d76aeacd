"""Fit: the one training loop; every stage gives it a network, a loss of some rows, and what to watch."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.progress import Progress
from torch import Tensor, nn

from training.config import Schedule


@dataclass(frozen=True, kw_only=True)
class History:
    """What one stage did: the loss of each epoch, which epoch was kept, and the seconds it took."""

    train: list[float]
    validation: list[float]
    best_epoch: int
    seconds: float


def fit(
    name: str,
    net: nn.Module,
    *,
    loss: Callable[[Tensor], Tensor],
    validate: Callable[[], float],
    train: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    progress: Progress,
    slower: nn.Module | None = None,
    slowdown: float = 1.0,
) -> History:
    """Minimise `loss` and leave the network as it was after its best epoch, in evaluation mode.

    Parameters
    ----------
    loss : rows -> scalar; called in training mode
    validate : chooses the best epoch, smaller is better; called in evaluation mode, without gradients
    train : rows to be shuffled and batched; what does not fill a batch waits for the next epoch
    slower, slowdown : a pretrained part of the network, and the factor on its learning rate
    """
    started, batch = time.monotonic(), min(schedule.batch, len(train))
    steps = len(train) // batch
    optimiser, annealing = _optimiser(net, schedule, steps, slower, slowdown)
    task = progress.add_task(name, total=schedule.epochs * steps, note="")
    train_losses: list[float] = []
    validation: list[float] = []
    best = copy.deepcopy(net.state_dict())
    for _ in range(schedule.epochs):
        net.train()
        total = 0.0
        for rows in train[torch.randperm(len(train), generator=generator)][: steps * batch].reshape(steps, batch):
            optimiser.zero_grad()
            value = loss(rows)
            value.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward untyped
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            annealing.step()
            total += value.item()
            progress.advance(task)
        train_losses.append(total / steps)
        validation.append(_evaluated(net, validate))
        if validation[-1] <= min(validation):
            best = copy.deepcopy(net.state_dict())
        progress.update(task, note=f"loss {train_losses[-1]:.3f}, validation {validation[-1]:.3f}")
    net.load_state_dict(best)
    net.eval()
    return History(
        train=train_losses,
        validation=validation,
        best_epoch=validation.index(min(validation)) + 1,
        seconds=time.monotonic() - started,
    )


def _evaluated(net: nn.Module, validate: Callable[[], float]) -> float:
    net.eval()
    with torch.no_grad():
        return validate()


def _optimiser(
    net: nn.Module, schedule: Schedule, steps: int, slower: nn.Module | None, slowdown: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
    pretrained = set() if slower is None else set(slower.parameters())
    groups = [
        (schedule.learning_rate, [p for p in net.parameters() if p not in pretrained]),
        (schedule.learning_rate * slowdown, [p for p in net.parameters() if p in pretrained]),
    ]
    groups = [(rate, parameters) for rate, parameters in groups if parameters]
    optimiser = torch.optim.AdamW(
        [{"params": parameters} for _, parameters in groups],
        betas=(0.9, 0.95),  # as the method trains: Alvarez-Florez et al., arXiv 2602.12883, public code
        weight_decay=schedule.weight_decay,
    )
    annealing = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=[rate for rate, _ in groups],
        total_steps=schedule.epochs * steps + 1,
        cycle_momentum=False,
    )
    return optimiser, annealing
