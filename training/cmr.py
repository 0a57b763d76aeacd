"""CMR: a short-axis stack on the one grid and intensity scale that the encoders read."""

from __future__ import annotations

from training.grid import PERCENTILES, SHAPE, SPACING, canonical

__all__ = ["PERCENTILES", "SHAPE", "SPACING", "canonical"]
