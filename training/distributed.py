"""Distributed: one training on many processes, as torchrun starts them."""

from __future__ import annotations

import torch.distributed as dist
from torch import nn


def world() -> int:
    """How many processes train together; 1 where nobody started more."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if dist.is_initialized() else 0


def average_gradients(net: nn.Module) -> None:
    """Give every process the mean of all gradients."""
    if world() == 1:
        return
    for parameter in net.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= world()
