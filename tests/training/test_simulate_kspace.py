"""Raw data of a cine: Fourier identities, sampling and noise."""

from __future__ import annotations

import numpy as np
import pytest

from training.simulate.heart import heart_of
from training.simulate.imaging import cine
from training.simulate.kspace import KSpace, UnfitAcceleration, combine, sample


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return cine(heart_of(3), phases=4).image[:, 6]


def test_every_line_without_noise_gives_the_image_back(image: np.ndarray) -> None:
    full = sample(image, coils=6, acceleration=1, noise=0.0, rng=np.random.default_rng(0))
    assert full.samples.shape == (4, 6, 64, 64)
    assert full.samples.dtype == np.complex64
    assert full.mask.all()
    assert combine(full) == pytest.approx(image, abs=1e-5 * float(image.max()))
    coils = np.fft.ifft2(np.fft.ifftshift(full.samples, (-2, -1)), norm="ortho")
    root_sum = np.fft.fftshift(np.sqrt((np.abs(coils) ** 2).sum(1)), (-2, -1))
    assert root_sum == pytest.approx(image, abs=1e-5 * float(image.max()))


def test_energy_is_the_same_in_k_space_and_in_the_image(image: np.ndarray) -> None:
    """Parseval; the sensitivities have unit sum of squares."""
    full = sample(image, coils=5, acceleration=1, noise=0.0, rng=np.random.default_rng(0))
    energy = (np.abs(full.samples.astype(np.complex128)) ** 2).sum((1, 2, 3))
    assert energy == pytest.approx((image.astype(np.float64) ** 2).sum((1, 2)), rel=1e-5)
    assert (np.abs(full.sensitivities) ** 2).sum(0) == pytest.approx(1.0, abs=1e-5)


def test_an_undersampled_phase_keeps_its_centre_and_its_share_of_lines(image: np.ndarray) -> None:
    fast = sample(image, coils=4, acceleration=4, noise=0.0, rng=np.random.default_rng(0))
    assert (fast.mask.sum(1) == 16).all()
    assert fast.mask[:, 28:36].all()
    assert not (fast.mask[0] == fast.mask[1]).all()
    assert (fast.samples[~np.broadcast_to(fast.mask[:, None, :, None], fast.samples.shape)] == 0).all()
    outer = np.mean([_mask(image, seed).mask for seed in range(60)], axis=(0, 1))
    assert outer[20:28].mean() > 2 * outer[:8].mean()  # denser near the centre


def test_noise_has_the_stated_size_where_it_was_sampled(image: np.ndarray) -> None:
    quiet, noisy = (sample(image, 4, 4, noise, np.random.default_rng(0)) for noise in (0.0, 0.3))
    sampled = np.broadcast_to(quiet.mask[:, None, :, None], quiet.samples.shape)
    added = (noisy.samples - quiet.samples)[sampled]
    assert added.real.std() == pytest.approx(0.3, rel=0.02)
    assert added.imag.std() == pytest.approx(0.3, rel=0.02)
    assert (noisy.samples[~sampled] == 0).all()


@pytest.mark.parametrize("acceleration", [0.5, 9, 40])
def test_an_acceleration_that_leaves_too_few_lines_is_refused(image: np.ndarray, acceleration: float) -> None:
    with pytest.raises(UnfitAcceleration, match="choose 1 to 8"):
        sample(image, 4, acceleration, 0.0, np.random.default_rng(0))


def _mask(image: np.ndarray, seed: int) -> KSpace:
    return sample(image[:1], coils=1, acceleration=4, noise=0.0, rng=np.random.default_rng(seed))
