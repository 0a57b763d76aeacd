"""Chest: what lies around the heart in an image."""

# numba caches by file: touch this one when a tissue of `tissue` changes its number.

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from training.simulate.heart import Heart
from training.simulate.plan import Plan
from training.simulate.tissue import (
    AIR,
    BLOOD,
    FAT,
    INTERCOSTAL,
    LIVER,
    LUNG,
    MEDIASTINUM,
    SKELETAL,
    STOMACH,
)

Array = NDArray[np.float64]
Single = NDArray[np.float32]

_WALL = 14.0
"""mm of ribs and muscle under the fat."""


def chest_signal(plan: Plan, heart: Heart, signals: Array) -> Single:
    """(3, slices, rows, columns): signal of the chest at each of three sub-slices; it does not move with the beat."""
    torso, pose, person = heart.torso, heart.pose, heart.subject.person
    fat = max(6.0, 10 + 1.1 * (person.bmi - 25) + (3 if person.sex == "F" else 0))
    depths = 1 - np.clip([fat / torso.depth, (fat + _WALL) / torso.depth], 0, 0.9)
    image = np.zeros((3, *plan.shape), np.float32)
    _fill(
        pose.to_torso(plan.origin),
        (plan.axes * np.array(plan.spacing)[:, None]) @ pose.axes,
        plan.axes[0] @ pose.axes * plan.thickness / 3,
        (plan.shift @ plan.axes[1:]) @ pose.axes,
        np.array([torso.width, torso.depth, pose.origin[2] - 30.0, fat, *depths**2.5]),
        signals.astype(np.float32),
        image,
    )
    return image


@njit(cache=True, fastmath=True)
def _fill(origin: Array, steps: Array, sub: Array, shift: Array, chest: Array, signals: Single, image: Single) -> None:
    for n in range(3):
        for k in range(image.shape[1]):
            for row in range(image.shape[2]):
                at = origin + shift[k] + (n - 1) * sub + k * steps[0] + row * steps[1]
                x, y, z = at[0], at[1], at[2]
                for column in range(image.shape[3]):
                    image[n, k, row, column] = signals[_tissue(x, y, z, chest)]
                    x, y, z = x + steps[2, 0], y + steps[2, 1], z + steps[2, 2]


@njit(cache=True, fastmath=True)
def _tissue(x: float, y: float, z: float, chest: Array) -> int:
    """Skin fat, ribs, liver dome, stomach, mediastinum, aorta, lungs, air outside."""
    width, depth, dome, fat = chest[0], chest[1], chest[2], chest[3]
    across, along = np.abs(x / width), np.abs(y / depth)
    size = across * across * np.sqrt(across) + along * along * np.sqrt(along)  # 1 on the skin
    rib_cage = depth - fat - _WALL
    front = max(12.0, 46 - 0.6 * max(0.0, z - dome - 40))  # the fat before the heart thins above it
    tissue = LUNG
    if size > 1:
        tissue = AIR
    elif size > chest[4]:
        tissue = FAT
    elif size > chest[5]:
        tissue = SKELETAL if np.sin(z / 4.2 + 1.3 * np.sin(x / 40)) > -0.2 else INTERCOSTAL
    elif z < dome - 0.0022 * ((x + 20) ** 2 + (y - 10) ** 2):
        tissue = LIVER if x < 45 else STOMACH
    elif (x - 22) ** 2 + (y - 55) ** 2 < 144:
        tissue = BLOOD  # descending aorta
    elif (x / 38) ** 2 + ((y - 45) / 42) ** 2 < 1:
        tissue = MEDIASTINUM
    elif (x / 34) ** 2 + ((y + rib_cage) / front) ** 2 < 1:
        tissue = INTERCOSTAL  # fat through many septa
    return tissue
