"""Accumulate: the gradient of a loss over a whole batch whose activations do not fit into memory at once.

A contrastive loss compares every row with every other, so that the mean of the losses of smaller batches is another
loss, one with fewer negatives. Gao et al. (2021, arXiv 2101.06983) split the chain rule at the embeddings, as open_clip
does by `--accum-freq`: embed all rows in micro-batches without keeping activations; take the gradient of the loss of
the whole batch with respect to the embeddings; embed each micro-batch again and pass its share of that gradient on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Batch = Mapping[str, Tensor]
"""Tensors by name with the same rows."""


def accumulate(
    embed: Callable[[Batch], Batch], loss: Callable[[Batch], Tensor], batch: Batch, micro_batch: int
) -> Tensor:
    """Add the gradient of `loss(embed(batch))` to all parameters, with activations of `micro_batch` rows at a time.

    Random draws from torch's own generators, those of dropout and drop-path, are the same in both passes. The gradient
    is that of the whole batch for networks that treat each row by itself; batch normalisation does not: it takes its
    moments over a micro-batch, and moves its running moments twice.

    Returns
    -------
    The loss, detached.
    """
    rows = len(next(iter(batch.values())))
    if micro_batch >= rows:
        value = loss(embed(batch))
        _backward(value)
        return value.detach()
    parts = _split(batch, -(-rows // micro_batch))
    states, embedded = _embedded(embed, parts)
    leaves = {name: torch.cat([part[name] for part in embedded]).requires_grad_() for name in embedded[0]}
    value = loss(leaves)
    _backward(value)
    gradients = _split({name: _gradient(leaf) for name, leaf in leaves.items()}, len(parts))
    for part, state, gradient in zip(parts, states, gradients, strict=True):
        _restore(state)
        _pass_on(embed(part), gradient)
    return value.detach()


def _split(batch: Batch, parts: int) -> list[Batch]:
    """Parts of nearly the same size."""
    columns = zip(*(tensor.tensor_split(parts) for tensor in batch.values()), strict=True)
    return [dict(zip(batch, column, strict=True)) for column in columns]


@torch.no_grad()
def _embedded(embed: Callable[[Batch], Batch], parts: list[Batch]) -> tuple[list[list[Tensor]], list[Batch]]:
    """The states of the random generators before each part, and what it embeds to."""
    states, embedded = [], []
    for part in parts:
        states.append(_random_state())
        embedded.append(embed(part))
    return states, embedded


def _gradient(leaf: Tensor) -> Tensor:
    """Zero for an embedding that the loss did not look at."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _pass_on(embedded: Batch, gradient: Batch) -> None:
    learnt = [name for name, tensor in embedded.items() if tensor.requires_grad]
    torch.autograd.backward([embedded[name] for name in learnt], [gradient[name] for name in learnt])


def _backward(value: Tensor) -> None:
    value.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward untyped


def _random_state() -> list[Tensor]:
    """Of the processor, and of the accelerator in use if there is one."""
    return [torch.get_rng_state()] + ([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])


def _restore(state: list[Tensor]) -> None:
    torch.set_rng_state(state[0])
    for accelerator in state[1:]:
        torch.cuda.set_rng_state(accelerator)
