"""Scan: images of one heart in one geometry, over the phases of the beat, placed in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Scan:
    """A series of parallel slices over the phases of a beat, with its label map.

    The patient frame is DICOM's (PS3.3 C.7.6.2): x to the left, y to the back, z to the head; it is the torso frame.

    Attributes
    ----------
    name : str
        What was planned: "short axis", "four chamber", "late enhancement" …
    image : ndarray, (phases, slices, rows, columns) float32
        Magnitude, any scale.
    labels : ndarray, same shape, uint8
        As `rendering` names them.
    times : ndarray, (phases,)
        Seconds after the R wave.
    spacing : (float, float, float)
        Millimetres between slices, rows and columns.
    thickness : float
        Of a slice, mm.
    origin : ndarray, (3,)
        Centre of voxel [0, 0, 0] in the patient, mm.
    axes : ndarray, (3, 3)
        Unit vectors in the patient along which the slice, row and column index grow.
    """

    name: str
    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    times: NDArray[np.float64]
    spacing: tuple[float, float, float]
    thickness: float
    origin: NDArray[np.float64]
    axes: NDArray[np.float64]
