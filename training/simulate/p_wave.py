"""P wave: the atria as two thin shells behind the valves, activated from the sinus node."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.simulate.atria import Atria
from training.simulate.torso import LeadField

Array = NDArray[np.float64]

P_LENGTH = 260
"""Samples of the P wave, 1 kHz."""

P_ONSET = 12
"""Sample at which the sinus node fires."""

_POINTS = 220
_WALL = 1.6  # mm
_SOURCE = 0.12e-3 * 100 * 0.6 * 0.78  # S/mm x mV x tangential loss beside blood (Brody) x share that is muscle


def atrial_wave(atria: Atria, field: LeadField) -> Array:
    """(8, P_LENGTH) mV: the P wave, spreading along great circles from the sinus node and Bachmann's bundle."""
    sinus, exit_, entry = atria.sites
    crossing = np.arccos(sinus @ exit_) * atria.right_radius / (1.35 * atria.speed) + atria.bridge_delay
    right = _shell(atria.right, atria.right_radius, sinus, 0.0, atria.speed, field)
    left = _shell(atria.left, atria.left_radius, entry, crossing, 1.05 * atria.speed, field)
    t = np.arange(-40, 41)
    smooth = np.exp(-0.5 * (t / 5.5) ** 2)
    return np.stack([np.convolve(lead, smooth / smooth.sum(), mode="same") for lead in right + left])


def _shell(centre: Array, radius: float, source: Array, start: float, speed: float, field: LeadField) -> Array:
    """(8, P_LENGTH): a travelling front on one sphere is a tangential dipole layer."""
    directions = _sphere_points()
    along = directions @ source
    times = start + np.arccos(np.clip(along, -1, 1)) * radius / speed
    tangent = along[:, None] * directions - source
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    strength = _SOURCE * 4 * np.pi * radius**2 * _WALL / _POINTS / speed
    dipoles = strength * np.einsum("nla,na->ln", field.at(centre + radius * directions), tangent)
    sample = np.clip(np.rint(times).astype(int) + P_ONSET, 0, P_LENGTH - 1)
    return np.stack([np.bincount(sample, lead, P_LENGTH) for lead in dipoles])


def _sphere_points() -> Array:
    """`_POINTS` unit vectors spread evenly (Fibonacci lattice)."""
    k = np.arange(_POINTS) + 0.5
    polar, azimuth = np.arccos(1 - 2 * k / _POINTS), np.pi * (1 + 5**0.5) * k
    return np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], -1)
