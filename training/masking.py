"""Masking: which blocks of a recording or of a volume are hidden from an encoder that is to complete them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def hidden_blocks(batch: int, shape: Sequence[int], block: Sequence[int], ratio: float, generator: Generator) -> Tensor:
    """What each example may not see: exactly the share `ratio` of its blocks, drawn without regard to one another.

    Parameters
    ----------
    shape : of one example
    block : size of a block along each axis; the last one may stand out and is cut

    Returns
    -------
    (batch, *shape) bool, true where hidden
    """
    grid = [math.ceil(length / size) for length, size in zip(shape, block, strict=True)]
    count = math.prod(grid)
    order = torch.rand(batch, count, generator=generator).argsort(1)
    hidden = (order < round(ratio * count)).reshape(batch, *grid)
    for axis, (length, size) in enumerate(zip(shape, block, strict=True), start=1):
        hidden = hidden.repeat_interleave(size, axis).narrow(axis, 0, length)
    return hidden
