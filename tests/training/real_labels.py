"""Label maps of real hearts: from the contours of Sunnybrook and the meshes of biv-me."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.path import Path as Polygon

from tests.training.real_heart import _frame, _surfaces
from training.cine import Cine
from training.label_maps import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY

CAVITY = ("AORTA_VALVE", "LV_ENDOCARDIAL", "MITRAL_VALVE")
RIGHT = ("PULMONARY_VALVE", "RV_FREEWALL", "RV_SEPTUM", "TRICUSPID_VALVE")
WALL = ("LV_ENDOCARDIAL", "LV_EPICARDIAL", "RV_SEPTUM", "AORTA_VALVE_CUT", "MITRAL_VALVE_CUT")
"""Components of closed surfaces; the wall also has the faces that go through it at the base."""

SLICES = ("Se11", "Se1", "Se2", "Se3", "Se4", "Se5")
"""Short-axis series of patient1, in order."""


@dataclass(frozen=True, kw_only=True)
class Contoured:
    """A Sunnybrook subject: contours at two of the phases, volumes as the area of the contours tells them."""

    cine: Cine
    labels: np.ndarray
    ed: int
    es: int
    edv: float
    esv: float
    mass: float


def sunnybrook(folder: Path) -> Iterator[Contoured]:
    with (folder / "sunnybrook_cine" / "subjects.csv").open() as file:
        subjects = {row["subject"]: row for row in csv.DictReader(file)}
    for path in sorted((folder / "sunnybrook_cine").glob("*.npz")):
        row = subjects[path.stem]
        with np.load(path) as data:
            frames = data["cine"].swapaxes(0, 1).astype(np.float32)
            contours = {name: data[name] for name in data.files if name[:2] in ("i_", "o_")}
            spacing = (float(data["slice_step_mm"]), float(data["pixel_mm"]), float(data["pixel_mm"]))
            ed, es = int(data["ed_phase"]), int(data["es_phase"])
        labels = np.zeros(frames.shape, np.uint8)
        for name in sorted(contours, reverse=True):  # the outer ones first
            k, phase = int(name[3:5]), int(name[7:9])
            labels[phase, k][_inside(contours[name], frames.shape[2:])] = LV_CAVITY if name[0] == "i" else LV_MYOCARDIUM
        yield Contoured(
            cine=Cine(frames=frames, spacing=spacing, cycle=None),
            labels=labels,
            ed=ed,
            es=es,
            edv=float(row["lv_edv_ml"]),
            esv=float(row["lv_esv_ml"]),
            mass=float(row["lv_mass_g"]),
        )


def patient1_labels(folder: Path, spacing: tuple[float, float, float] = (8.0, 1.5, 1.5)) -> np.ndarray:
    """(25, slices, rows, columns): short-axis label maps of the fitted meshes, from apex to base."""
    with np.load(folder / "biv_mesh" / "biv_mesh.npz") as data:
        mesh = {name: data[name] for name in data.files}
    components = [str(name) for name in mesh["component_names"]]
    faces = {name: mesh["faces"][mesh["face_component"] == k] for k, name in enumerate(components)}
    _, axis, across = _frame(_surfaces(mesh, 0))
    frame = np.array([axis, np.cross(axis, across), across])
    nodes = [_nodes(mesh, phase) @ frame.T for phase in range(25)]
    low, high = np.min([n.min(0) for n in nodes], 0) - 6, np.max([n.max(0) for n in nodes], 0) + 6
    shape = tuple(np.ceil((high - low) / spacing).astype(int))
    labels = np.zeros((25, *shape), np.uint8)
    for phase, points in enumerate(nodes):
        scaled = (points - low) / spacing
        wall = np.concatenate([*(faces[name] for name in WALL), mesh["thru_wall_faces"]])
        for class_, parts in (
            (LV_MYOCARDIUM, wall),
            (LV_CAVITY, _joined(faces, CAVITY)),
            (RV_CAVITY, _joined(faces, RIGHT)),
        ):
            labels[phase][_filled(scaled[parts], shape)] = class_
    return labels


def patient1_cine(folder: Path) -> Cine:
    with np.load(folder / "biv_mesh" / "patient1_cine.npz") as data:
        frames = np.stack([data[name] for name in SLICES], 1).astype(np.float32)
    return Cine(frames=frames, spacing=(17.7, 1.40625, 1.40625), cycle=None)


def _inside(contour: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels with their centre inside; those that the contour runs through the middle of fall to either side."""
    rows, columns = np.indices(shape) + 1e-3 * np.array([1.0, np.pi])[:, None, None]
    return Polygon(contour).contains_points(np.stack([columns.ravel(), rows.ravel()], 1)).reshape(shape)


def _nodes(mesh: dict[str, np.ndarray], phase: int) -> np.ndarray:
    nodes = np.zeros((mesh["subdivision_shape"][0], 3))
    weighted = mesh["subdivision_val"][:, None] * mesh["control_points"][phase][mesh["subdivision_col"]]
    np.add.at(nodes, mesh["subdivision_row"], weighted)
    return nodes


def _joined(faces: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    return np.concatenate([faces[name] for name in names])


def _filled(triangles: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Voxels whose centre a ray along the slice axis reaches after an odd number of faces."""
    first, last = np.floor(triangles.min(1)).astype(int)[:, 1:], triangles.max(1)[:, 1:]
    below = np.zeros(shape, int)
    for offset in np.ndindex(*(np.ceil((last - first).max(0)).astype(int) + 1)):
        met = (first + offset <= last).all(1)
        a, b, c = triangles[met].transpose(1, 0, 2)
        at = first[met] + offset
        p = at + 1e-4 * np.array([1.0, np.pi])  # no ray through an edge
        weights = np.array([_area(b, c, p), _area(c, a, p), _area(a, b, p)])
        hit = (weights > 0).all(0) | (weights < 0).all(0)
        height = np.einsum("wn,wn->n", weights, [a[:, 0], b[:, 0], c[:, 0]])[hit] / weights.sum(0)[hit]
        np.add.at(below, (np.ceil(height).astype(int), *at[hit].T), 1)
    return np.cumsum(below, 0) % 2 == 1


def _area(one: np.ndarray, other: np.ndarray, point: np.ndarray) -> np.ndarray:
    u, v = one[:, 1:] - point, other[:, 1:] - point
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
