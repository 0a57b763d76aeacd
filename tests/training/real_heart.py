"""One real heart over 25 phases (biv-me, patient1, 3 T), measured the way a simulated one is."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from training.simulate.population import Disease, Person, Subject, Volumes

PHASES = 25
END_SYSTOLE = 9
"""Phase of the smallest left volume."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """Millimetres, at end-diastole unless said."""

    length: float
    length_to_width: float
    wall: float
    thickening: float
    septal_to_lateral: float
    descent: float
    shortening: float
    right_extent: float


def volumes(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Left and right cavity, mL, over the beat."""
    with (folder / "biv_mesh" / "cases.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["case"] == "patient1"]
    return tuple(np.array([float(row[name]) for row in rows]) for name in ("lv_cavity_ml", "rv_cavity_ml"))


def twin(folder: Path) -> Subject:
    """A simulated subject with the volumes, the mass and the heart rate of the real one."""
    left, right = volumes(folder)
    with (folder / "biv_mesh" / "patient1_cine_series.csv").open() as file:
        short_axis = [row for row in csv.DictReader(file) if row["description"] == "cine_trufi_retro"]
    beat = np.mean([float(row["last_trigger_ms"]) for row in short_axis]) / (PHASES - 1) * PHASES
    return Subject(
        person=Person(sex="M", age=50, height=178, weight=80),
        disease=Disease(pathology="normal", severity=0.0),
        volumes=Volumes(
            lv_edv=left.max(),
            lv_esv=left.min(),
            lv_mass=131.0,
            rv_edv=right.max(),
            rv_esv=right.min(),
            la=75.0,
            ra=85.0,
        ),
        heart_rate=60000 / beat,
    )


def form(folder: Path) -> Form:
    """Lengths from the endocardial apex to the mitral centre; the right ventricle lies towards the tricuspid centre."""
    with np.load(folder / "biv_mesh" / "biv_mesh.npz") as data:
        mesh = {name: data[name] for name in data.files}
    ed, es = _surfaces(mesh, 0), _surfaces(mesh, END_SYSTOLE)
    (apex, axis, across), (apex_es, axis_es, _) = _frame(ed), _frame(es)
    length, length_es = (np.linalg.norm(s["MITRAL_VALVE"].mean(0) - a) for s, a in ((ed, apex), (es, apex_es)))
    wall, wall_es = _wall(ed), _wall(es)
    endo = ed["LV_ENDOCARDIAL"] - apex
    height, side = endo @ axis / length, endo @ across
    height_es = (es["LV_ENDOCARDIAL"] - apex_es) @ axis_es / length_es
    body, body_es = (height > 0.05) & (height < 0.8), (height_es > 0.05) & (height_es < 0.8)
    mean_wall = float(wall[body].mean())
    slabs = [endo[np.abs(height - level) * length < 3] for level in np.linspace(0.5, 0.85, 8)]
    width = max(np.sqrt(np.ptp(slab @ across) * np.ptp(slab @ np.cross(axis, across))) for slab in slabs)
    middle = (height > 0.4) & (height < 0.6) & (np.abs(endo @ np.cross(axis, across)) < 0.5 * np.abs(side))
    descent = (ed["MITRAL_VALVE"].mean(0) - es["MITRAL_VALVE"].mean(0)) @ axis
    return Form(
        length=float(length),
        length_to_width=float(length / width),
        wall=mean_wall,
        thickening=float(wall_es[body_es].mean()) / mean_wall,
        septal_to_lateral=float(wall[middle & (side > 0)].mean() / wall[middle & (side < 0)].mean()),
        descent=float(descent),
        shortening=float(1 - length_es / length),
        right_extent=float(((ed["RV_FREEWALL"] - apex) @ across).max() / length),
    )


def _surfaces(mesh: dict[str, np.ndarray], phase: int) -> dict[str, np.ndarray]:
    nodes = np.zeros((mesh["subdivision_shape"][0], 3))
    weighted = mesh["subdivision_val"][:, None] * mesh["control_points"][phase][mesh["subdivision_col"]]
    np.add.at(nodes, mesh["subdivision_row"], weighted)
    return {
        str(name): nodes[np.unique(mesh["faces"][mesh["face_component"] == k])]
        for k, name in enumerate(mesh["component_names"])
    }


def _frame(surfaces: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mitral, endo = surfaces["MITRAL_VALVE"].mean(0), surfaces["LV_ENDOCARDIAL"]
    apex = endo[np.argmax(((endo - mitral) ** 2).sum(1))]
    axis = (mitral - apex) / np.linalg.norm(mitral - apex)
    across = surfaces["TRICUSPID_VALVE"].mean(0) - mitral
    across = across - axis * (across @ axis)
    return apex, axis, across / np.linalg.norm(across)


def _wall(surfaces: dict[str, np.ndarray]) -> np.ndarray:
    outside = cKDTree(np.vstack([surfaces["LV_EPICARDIAL"], surfaces["RV_SEPTUM"]]))
    return outside.query(surfaces["LV_ENDOCARDIAL"])[0]
