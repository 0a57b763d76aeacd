"""Stacked: the images of several shards as one array, which copies only the rows that are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]


class Stacked:
    """Arrays of (its own length, …), one after the other; `shape` is that of the whole."""

    def __init__(self, parts: Sequence[Images]) -> None:
        self._parts = [part.view(np.ndarray) for part in parts]  # still mapped, without a memory map's slow indexing
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice | NDArray[np.intp] | NDArray[np.bool_]) -> Images:
        """One row, or a copy of some, in the order asked for."""
        wanted = np.asarray(np.arange(len(self))[index])
        if wanted.ndim == 0:
            return self._row(int(wanted))
        found = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        for place, row in enumerate(wanted):
            found[place] = self._row(int(row))
        return found

    def _row(self, row: int) -> Images:
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        found: Images = self._parts[part][row - self._starts[part]]
        return found

    def __array__(self, dtype: np.dtype[np.generic] | None = None, copy: bool | None = None) -> NDArray[np.generic]:
        """All rows, for functions of NumPy."""
        return self[:] if dtype is None else self[:].astype(dtype)
