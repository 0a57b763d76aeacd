"""Fit: the one training loop; every stage gives it a network, a step on some rows, and what to watch."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import torch
from torch import Generator, Tensor, nn

from training.config import Schedule
from training.distributed import average_gradients, broadcast, rank, world
from training.run import Run


class Diverged(Exception):
    """The numbers have run away: lower the learning rate, or train in fp32."""


Step = Callable[[Tensor], Tensor]
"""Adds the gradients of the loss on some rows and returns that loss, detached."""

STATE = "state.pt"


@dataclass(frozen=True, kw_only=True)
class History:
    """What one stage did.

    Attributes
    ----------
    train, validation : loss of each epoch
    best_epoch : the one that was kept, from 1
    seconds : that it took, interruptions left out
    rows_per_second : recordings trained on
    fetching : share of the time in which the device waited for data
    """

    train: list[float]
    validation: list[float]
    best_epoch: int
    seconds: float
    rows_per_second: float
    fetching: float


def descend(loss: Callable[[Tensor], Tensor], run: Run) -> Step:
    """The step of a loss that can be computed in one go: forward in the precision of the run, then backward."""

    def step(rows: Tensor) -> Tensor:
        with run.autocast():
            value = loss(rows)
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward untyped
        return value.detach()

    return step


def fit(
    name: str,
    net: nn.Module,
    *,
    step: Step,
    validate: Callable[[], float],
    rows: Tensor,
    schedule: Schedule,
    generator: Generator,
    run: Run,
    participants: Tensor | None = None,
    slower: nn.Module | None = None,
    slowdown: float = 1.0,
) -> History:
    """Minimise a loss and leave the network as it was after its best epoch, in evaluation mode.

    After every epoch the state is kept in the folder of the run; a run that was interrupted goes on from there and ends
    with the same weights, bit by bit. A stage that has ended is not run again.

    Parameters
    ----------
    step : called in training mode with the rows of a batch (of this process, if several train together)
    validate : chooses the best epoch, smaller is better; called in evaluation mode, without gradients
    rows : to be shuffled and batched; what does not fill a batch waits for the next epoch
    generator : of order and augmentation; shared with `step`
    participants : code of each row of the data set; one visit of each is drawn for each epoch, so that two recordings
        of one heart are never each other's negatives
    slower, slowdown : a pretrained part of the network, and the factor on its learning rate; 0 freezes it
    """
    people = len(rows) if participants is None else len(torch.unique(participants[rows]))
    batch = min(schedule.batch, people)
    passes = math.ceil(schedule.min_steps / (people // batch))
    steps = passes * (people // batch)
    optimiser, annealing = _optimiser(net, schedule, steps, slower, slowdown)
    progress = _Progress(net, optimiser, annealing, generator, run.folder)
    progress.resume()
    task = run.progress.add_task(name, total=schedule.epochs * steps, completed=progress.epoch * steps, note="")
    while progress.epoch < schedule.epochs:
        started, fetched = time.perf_counter(), run.clock.fetching
        net.train()
        total = torch.zeros((), device=run.device)
        for part in _batches(rows, participants, passes, batch, generator):
            optimiser.zero_grad(set_to_none=True)
            total += step(_share(part))
            average_gradients(net)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            annealing.step()
            run.progress.advance(task)
        net.eval()
        broadcast(net.buffers())  # each process has its own running moments
        with torch.no_grad():
            watched = validate()
        progress.epoch_done(total.item() / steps, watched, time.perf_counter() - started, run.clock.fetching - fetched)
        run.tracker.scalar(f"{name}/train", progress.train[-1], progress.epoch)
        run.tracker.scalar(f"{name}/validation", watched, progress.epoch)
        run.progress.update(task, note=f"loss {progress.train[-1]:.3f}, validation {watched:.3f}")
    net.load_state_dict(progress.best)
    net.eval()
    return progress.history(steps * batch)


def _batches(rows: Tensor, participants: Tensor | None, passes: int, batch: int, generator: Generator) -> Tensor:
    """Rows of one epoch, (steps, batch), each pass over them in a new order."""
    return torch.cat([_one_pass(rows, participants, batch, generator) for _ in range(passes)])


def _one_pass(rows: Tensor, participants: Tensor | None, batch: int, generator: Generator) -> Tensor:
    shuffled = rows[torch.randperm(len(rows), generator=generator)]
    if participants is not None:
        shuffled = _one_visit_each(shuffled, participants)
    return shuffled[: len(shuffled) // batch * batch].reshape(-1, batch)


def _one_visit_each(shuffled: Tensor, participants: Tensor) -> Tensor:
    """The first visit of each participant in this order."""
    codes = participants[shuffled]
    order = torch.argsort(codes, stable=True)
    first = torch.ones(len(order), dtype=torch.bool)
    first[1:] = codes[order][1:] != codes[order][:-1]
    return shuffled[order[first].sort().values]


def _share(rows: Tensor) -> Tensor:
    """The part of a batch that belongs to this process; all parts are equally large."""
    own = len(rows) // world()
    return rows[rank() * own : (rank() + 1) * own]


class _State(TypedDict):
    epoch: int
    train: list[float]
    validation: list[float]
    seconds: float
    fetching: float
    net: dict[str, Tensor]
    best: dict[str, Tensor]
    optimiser: dict[str, object]
    annealing: dict[str, object]
    generator: Tensor
    dropout: Tensor


class _Progress:
    """How far a stage has come, on disk after each epoch."""

    def __init__(
        self,
        net: nn.Module,
        optimiser: torch.optim.Optimizer,
        annealing: torch.optim.lr_scheduler.LRScheduler,
        generator: Generator,
        folder: Path | None,
    ) -> None:
        self.net, self.optimiser, self.annealing, self.generator = net, optimiser, annealing, generator
        self.path = None if folder is None else folder / STATE
        self.epoch, self.seconds, self.fetching = 0, 0.0, 0.0
        self.train: list[float] = []
        self.validation: list[float] = []
        self.best = copy.deepcopy(net.state_dict())

    def epoch_done(self, train: float, validation: float, seconds: float, fetching: float) -> None:
        self.epoch += 1
        self.train.append(train)
        self.validation.append(validation)
        self.seconds += seconds
        self.fetching += fetching
        if not (math.isfinite(train) and math.isfinite(validation)):
            found = f"epoch {self.epoch} ended with a loss of {train}, {validation} on validation"
            raise Diverged(f"{found}. {Diverged.__doc__}")
        if len(self.validation) == 1 or validation < min(self.validation[:-1]):
            self.best = copy.deepcopy(self.net.state_dict())
        if self.path is not None and rank() == 0:
            self._keep(self.path)

    def _keep(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        torch.save(
            _State(
                epoch=self.epoch,
                train=self.train,
                validation=self.validation,
                seconds=self.seconds,
                fetching=self.fetching,
                net=self.net.state_dict(),
                best=self.best,
                optimiser=self.optimiser.state_dict(),
                annealing=self.annealing.state_dict(),
                generator=self.generator.get_state(),
                dropout=torch.get_rng_state(),
            ),
            unfinished,
        )
        os.replace(unfinished, path)

    def resume(self) -> None:
        if self.path is None or not self.path.exists():
            return
        state: _State = torch.load(self.path, map_location="cpu", weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.annealing.load_state_dict(state["annealing"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["dropout"])
        self.epoch, self.train, self.validation = state["epoch"], state["train"], state["validation"]
        self.seconds, self.fetching, self.best = state["seconds"], state["fetching"], state["best"]

    def history(self, rows: int) -> History:
        seconds = max(self.seconds, 1e-9)
        return History(
            train=self.train,
            validation=self.validation,
            best_epoch=self.validation.index(min(self.validation)) + 1,
            seconds=self.seconds,
            rows_per_second=self.epoch * rows / seconds,
            fetching=self.fetching / seconds,
        )


def _optimiser(
    net: nn.Module, schedule: Schedule, steps: int, slower: nn.Module | None, slowdown: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
    pretrained = set() if slower is None else set(slower.parameters())
    groups = [
        (schedule.learning_rate, [p for p in net.parameters() if p not in pretrained]),
        (schedule.learning_rate * slowdown, [p for p in net.parameters() if p in pretrained]),
    ]
    groups = [(rate, parameters) for rate, parameters in groups if parameters and rate > 0]
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
