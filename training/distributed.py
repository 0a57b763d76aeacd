"""Distributed: what several processes that train one network together tell each other; alone, nothing is said.

The network itself stays as it is: each process takes its own rows, gathers the embeddings of all so that every row is a
negative of every other, and averages the gradients before the step. `torchrun` starts the processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Generator, Tensor, distributed, nn
from torch.distributed.nn import functional

PATIENCE = timedelta(hours=6)
"""For one another: the first process may have a large cohort to prepare."""


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the processes that `torchrun` started beside this one, if it did, and leave them at the end.

    Messages go over NCCL between GPUs and over gloo between processors.
    """
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def local_rank() -> int:
    """Which of the processes on this machine this is, and so which of its GPUs is its own."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def own_device(device: torch.device) -> torch.device:
    """The GPU of this process where `torchrun` started several on this machine, else the device itself."""
    if device == torch.device("cuda") and "WORLD_SIZE" in os.environ:
        return torch.device("cuda", local_rank())
    return device


def own_generator(shared: Generator) -> Generator:
    """Random numbers that differ between processes and follow from those that all share; alone, the shared ones."""
    if world() == 1:
        return shared
    seed = int(torch.randint(2**62, (), generator=shared))
    return Generator().manual_seed(seed + rank())


def rank() -> int:
    """Which of all processes this is; the first one writes files and talks."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process goes through here before the others, who then find on disk what it wrote."""
    if rank() > 0:
        distributed.barrier()
    try:
        yield
    finally:
        if rank() == 0 and world() > 1:
            distributed.barrier()


def gather(own: Tensor) -> Tensor:
    """The rows of all processes in the order of their ranks; the gradient finds its way back to each.

    Every process has to bring the same number of rows. If each takes the same loss of all rows, what comes back is
    `world()` times its gradient, which `average_gradients` sets right.
    """
    if world() == 1:
        return own
    return torch.cat(functional.all_gather(own))  # type: ignore[no-untyped-call]  # torch leaves it untyped


def average_gradients(net: nn.Module) -> None:
    """Replace each gradient by its mean over the processes, all in one message for each kind of number."""
    if world() == 1:
        return
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    for kind in {gradient.dtype: None for gradient in gradients}:
        alike = [gradient for gradient in gradients if gradient.dtype == kind]
        flat = torch.cat([gradient.flatten() for gradient in alike])
        distributed.all_reduce(flat)
        mean = torch.split(flat / world(), [gradient.numel() for gradient in alike])
        for gradient, averaged in zip(alike, mean, strict=True):
            gradient.copy_(averaged.view_as(gradient))


@torch.no_grad()
def broadcast(tensors: Iterable[Tensor]) -> None:
    """Overwrite them by those of the first process: a network at the start, running moments before validation."""
    if world() == 1:
        return
    for tensor in tensors:
        distributed.broadcast(tensor, src=0)
