"""Plan: where the slices lie in the heart, and so in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.simulate.heart import Heart

Array = NDArray[np.float64]
Spacing = tuple[float, float, float]

SHAPE = (16, 64, 64)
SPACING: Spacing = (10.0, 2.5, 2.5)
"""Slices, rows, columns, and the millimetres between them: 160 mm each way, room for a dilated heart."""

SLICE_THICKNESS = 8.0
"""mm, leaving a gap of 2 mm, as in UK Biobank (Petersen et al., JCMR 2016;18:8)."""

LONG_AXIS_THICKNESS = 6.0
"""mm, of long-axis views in UK Biobank (Petersen et al. 2016)."""

_ROOM = 8.0
"""Millimetres around the heart and its atria in a label map."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """Parallel slices in the heart frame at end-diastole, mm.

    Attributes
    ----------
    origin : ndarray, (3,)
        Centre of voxel [0, 0, 0].
    axes : ndarray, (3, 3)
        Unit vectors along which the slice, row and column index grow.
    shift : ndarray, (slices, 2)
        How far the heart lay from where it was planned, along rows and columns: each slice has its own breath-hold.
    """

    shape: tuple[int, int, int]
    spacing: Spacing
    thickness: float
    origin: Array
    axes: Array
    shift: Array


def short_axis_plan(heart: Heart, spacing: Spacing, rng: np.random.Generator) -> Plan:
    """Slices from below the apex upwards over 160 mm, row 0 anterior, column 0 on the right of the patient.

    The field of view is centred on the heart, give or take the eye of the radiographer.
    """
    ed = heart.ed
    shape = tuple(int(np.ceil(n * full / mm)) for n, full, mm in zip(SHAPE, SPACING, spacing, strict=True))
    right, left = float((ed.lv_epi + ed.rv).max()) + ed.rv_wall, float(ed.lv_epi.max())
    middle = np.array([(right - left) / 2, 0.0]) + rng.normal(0, 3, 2)
    lowest = ed.z[0] - 6 + rng.uniform(-3, 3)
    across = np.array(spacing[:0:-1]) * (np.array(shape[:0:-1]) - 1) / 2
    return Plan(
        shape=(shape[0], shape[1], shape[2]),
        spacing=spacing,
        thickness=SLICE_THICKNESS / SPACING[0] * spacing[0],
        origin=np.array([*(middle + across), lowest]),
        axes=np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]]),
        shift=rng.normal(0, 1.0, (shape[0], 2)),
    )


def four_chamber_plan(heart: Heart, pixel: float = 1.8, side: int = 128) -> Plan:
    """One slice through the apex and the centres of both valves, apex upwards, the left of the patient on the right."""
    apex, mitral, tricuspid = long_axis_landmarks(heart)
    upwards = apex - (mitral + tricuspid) / 2
    upwards /= np.linalg.norm(upwards)
    leftwards = mitral - tricuspid
    leftwards -= upwards * (leftwards @ upwards)
    leftwards /= np.linalg.norm(leftwards)
    reach = 0.5 * pixel * (side - 1)
    middle = 0.25 * apex + 0.75 * (mitral + tricuspid) / 2  # the atria need their room below the valves
    return Plan(
        shape=(1, side, side),
        spacing=(LONG_AXIS_THICKNESS, pixel, pixel),
        thickness=LONG_AXIS_THICKNESS,
        origin=middle + reach * upwards - reach * leftwards,
        axes=np.array([np.cross(leftwards, -upwards), -upwards, leftwards]),
        shift=np.zeros((1, 2)),
    )


def long_axis_landmarks(heart: Heart) -> tuple[Array, Array, Array]:
    """Apex, mitral and tricuspid centre at end-diastole, in the heart frame.

    The mitral ring lies behind the long axis, for the aorta takes the front of the base; the tricuspid one beside it.
    """
    ed, ring = heart.ed, heart.ed.left.radius
    beside = float(ed.lv_epi[:, -1].max()) + 0.5 * ed.rv_width
    apex = np.array([0.0, 0.0, ed.left.apex])
    return apex, np.array([-0.15 * ring, -0.35 * ring, ed.base]), np.array([beside, -0.35 * ring, ed.base])


def covering_plan(heart: Heart, low: Array, high: Array, spacing: Spacing) -> Plan:
    """An axial stack that covers the box from `low` to `high` (x, y, z in the heart frame).

    Slices grow to the head, rows to the back, columns to the left of the patient: oblique to the planes of the heart,
    so that no plane of it falls between two layers of voxels as a whole.
    """
    corners = np.stack(np.meshgrid(*np.stack([low, high], 1), indexing="ij"), -1).reshape(-1, 3)
    axes = heart.pose.axes.T[::-1].copy()
    along = corners @ axes.T
    first, last = along.min(0) - _ROOM, along.max(0) + _ROOM
    count = np.ceil((last - first) / spacing).astype(int) + 1
    return Plan(
        shape=(int(count[0]), int(count[1]), int(count[2])),
        spacing=spacing,
        thickness=spacing[0],
        origin=first @ axes,
        axes=axes,
        shift=np.zeros((int(count[0]), 2)),
    )
