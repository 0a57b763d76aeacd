"""K-space: the raw data of one slice of a cine, from several coils, with lines left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex64]

_CENTRE = 8
"""Lines around the centre of k-space that are always sampled."""

_PLANE = (-2, -1)


class UnfitAcceleration(ValueError):
    """The acceleration leaves fewer lines than the fully sampled centre has, or is below one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class KSpace:
    """One slice over the phases of a beat, before reconstruction; the Fourier transform is unitary and centred.

    Attributes
    ----------
    samples : ndarray, (phases, coils, rows, columns) complex64
        Zero where nothing was sampled. Rows are the phase-encoding direction.
    mask : ndarray, (phases, rows) bool
        Lines that were sampled.
    sensitivities : ndarray, (coils, rows, columns) complex64
        Of the coils; the sum of their squares is 1 everywhere.
    """

    samples: Complex
    mask: NDArray[np.bool_]
    sensitivities: Complex


def sample(
    image: NDArray[np.float32], coils: int, acceleration: float, noise: float, rng: np.random.Generator
) -> KSpace:
    """What a scanner would have stored to make these images.

    Parameters
    ----------
    image : (phases, rows, columns) magnitude, one slice of a cine.
    acceleration : rows over lines sampled, at least 1.
    noise : SD of the real and of the imaginary part of each sample, in the unit of the image.

    Raises
    ------
    UnfitAcceleration
        Sample more lines: lower the acceleration.
    """
    phases, rows, columns = image.shape
    mask = sampling_mask(phases, rows, acceleration, rng)
    sensitivities = coil_sensitivities(coils, rows, columns, rng)
    full = transform(image[:, None] * np.exp(1j * _background_phase(rows, columns, rng)) * sensitivities)
    real, imaginary = noise * rng.standard_normal((2, *full.shape))
    samples = (full + real + 1j * imaginary) * mask[:, None, :, None]
    return KSpace(samples=samples.astype(np.complex64), mask=mask, sensitivities=sensitivities.astype(np.complex64))


def combine(kspace: KSpace) -> NDArray[np.float32]:
    """(phases, rows, columns): the coils joined by their sensitivities (SENSE at R = 1); lines left out stay zero."""
    coils = inverse(kspace.samples)
    return np.asarray(np.abs((coils * kspace.sensitivities.conj()).sum(1)), np.float32)


def transform(image: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Unitary centred Fourier transform of the last two axes."""
    return np.asarray(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, _PLANE), norm="ortho"), _PLANE))


def inverse(samples: Complex) -> NDArray[np.complex128]:
    """Back from k-space."""
    return np.asarray(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(samples, _PLANE), norm="ortho"), _PLANE))


def sampled_lines(rows: int, acceleration: float) -> int:
    """How many of `rows` lines are sampled.

    Raises
    ------
    UnfitAcceleration
        If that is fewer than the centre has, or more than there are.
    """
    lines = round(rows / acceleration)
    if not _CENTRE <= lines <= rows:
        raise UnfitAcceleration(
            f"an acceleration of {acceleration:g} leaves {lines} of {rows} lines; choose 1 to {rows / _CENTRE:g}"
        )
    return lines


def sampling_mask(phases: int, rows: int, acceleration: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(phases, rows): the centre, and other lines drawn anew for each phase, the fewer the further out."""
    lines = sampled_lines(rows, acceleration)
    distance = np.abs(np.arange(rows) - rows // 2)
    middle = np.argsort(distance, kind="stable")[:_CENTRE]
    weight = (1 - distance / (rows // 2 + 1)) ** 2
    weight[middle] = 0
    mask = np.zeros((phases, rows), bool)
    mask[:, middle] = True
    for row in mask:
        row[rng.choice(rows, lines - _CENTRE, replace=False, p=weight / weight.sum())] = True
    return mask


def coil_sensitivities(coils: int, rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.complex128]:
    """Smooth bells of coils around the field of view, each with its own phase; the sum of squares is 1 everywhere."""
    angle = 2 * np.pi * (np.arange(coils) + rng.uniform()) / coils
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    dx, dy = x - 1.3 * np.cos(angle)[:, None, None], y - 1.3 * np.sin(angle)[:, None, None]
    bells = np.exp(-(dx**2 + dy**2) / 2) * np.exp(1j * (angle[:, None, None] + 0.8 * dx - 0.5 * dy))
    return np.asarray(bells / np.sqrt((np.abs(bells) ** 2).sum(0)))


def _background_phase(rows: int, columns: int, rng: np.random.Generator) -> Array:
    """Radians: a slow ramp and bowl, as field inhomogeneity leaves in a balanced sequence."""
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    a, b, c = rng.normal(0, 0.5, 3)
    return np.asarray(a * x + b * y + c * (x**2 + y**2))
