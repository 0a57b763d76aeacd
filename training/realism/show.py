"""Show: one simulated participant on one page: ECG sheet, heart in both phases, activation, numbers."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecFromSubplotSpec, SubplotSpec
from matplotlib.patches import Circle
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from models.ecg.recording import Recording
from models.phenotypes import PHENOTYPES
from training.cohort import CohortError
from training.simulate import Heart, Participant, heart_of, simulate
from training.simulate.activation import RIGHT_APEX, Bundles, activate, activate_from
from training.simulate.imaging import short_axis
from training.simulate.mesh import LEFT, LEFT_NODES, RIGHT, RIGHT_NODES, Mesh, build_mesh
from training.simulate.rendering import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY
from training.simulate.setting import ENRICHED, Setting

matplotlib.use("Agg")

Array = NDArray[np.float64]

NOTICE = "Simulated heart, not a patient"

SPEED, GAIN = 25.0, 10.0
"""mm/s and mm/mV of the paper, the customary ones (Kligfield et al., J Am Coll Cardiol 2007;49:1109)."""

COLUMNS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))
"""The 3 x 4 sheet, 2.5 s of each lead; lead II runs below over all 10 s."""

_ROW = 28.0  # mm between the rows of the sheet
_STRIP = 62.5  # mm: 2.5 s
_THIN, _THICK, _INK = "#f7d5d3", "#eeaaa6", "#161616"
_CONTOURS = {LV_CAVITY: "#ffcf33", LV_MYOCARDIUM: "#3ddc84", RV_CAVITY: "#4da3ff"}


def show(seed: int, path: Path, setting: Setting = ENRICHED) -> None:
    """Draw the participant of a seed as a PNG, or as an HTML page with the picture in it.

    Raises
    ------
    CohortError
        If the file is to be neither .png nor .html.
    """
    if path.suffix not in (".png", ".html"):
        raise CohortError(f"{path.name}: a participant is drawn as .png or .html")
    picture = io.BytesIO()
    page(seed, setting).savefig(picture, format="png", dpi=110)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture.getvalue() if path.suffix == ".png" else _html(seed, picture.getvalue()))


def page(seed: int, setting: Setting = ENRICHED) -> Figure:
    """The page of the participant of a seed."""
    heart, participant = heart_of(seed, setting), simulate(seed, setting=setting)
    figure = Figure(figsize=(16, 19.5), facecolor="white")
    rows = figure.add_gridspec(
        4, 1, height_ratios=(7.2, 4.6, 4.9, 0.01), left=0.03, right=0.97, top=0.93, bottom=0.02, hspace=0.09
    )
    _heading(figure, participant)
    draw_ecg(figure.add_subplot(rows[0]), participant.recording)
    _stack(figure, rows[1], heart)
    lower = rows[2].subgridspec(1, 3, width_ratios=(1, 1.05, 1.5), wspace=0.12)
    _activation(figure, lower, heart)
    _phenotypes(figure.add_subplot(lower[2]), participant)
    return figure


def _heading(figure: Figure, one: Participant) -> None:
    figure.text(0.03, 0.965, f"Participant {one.seed}", fontsize=22, weight="bold", color=_INK)
    sex = "woman" if one.sex == "F" else "man"
    severity = f", severity {one.severity:.2f}" if one.severity else ""
    who = f"{sex}, {one.age:.0f} years, {one.height:.0f} cm, {one.weight:.0f} kg · {one.heart_rate:.0f} beats/min"
    rhythm = "" if one.rhythm == "sinus" else f" · {one.rhythm}"
    figure.text(0.03, 0.945, f"{who} · {one.pathology}{severity}{rhythm}", fontsize=13, color="#444444")
    figure.text(0.97, 0.957, NOTICE, fontsize=15, weight="bold", color="#b3382c", ha="right")


def draw_ecg(axes: Axes, recording: Recording) -> None:
    """The sheet in millimetres of paper: 3 x 4 leads of 2.5 s and a rhythm strip of lead II."""
    width, height = 4 * _STRIP + 12, 4 * _ROW + 6
    _paper(axes, width, height)
    for column, leads in enumerate(COLUMNS):
        for row, lead in enumerate(leads):
            _trace(axes, recording, lead, start=2.5 * column, seconds=2.5, left=6 + _STRIP * column, row=row)
    _trace(axes, recording, "II", start=0.0, seconds=10.0, left=6.0, row=3)
    axes.text(6, 1.2, f"{SPEED:g} mm/s   {GAIN:g} mm/mV   {NOTICE}", fontsize=8, color="#555555")
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_color(_THICK)


def _paper(axes: Axes, width: float, height: float) -> None:
    for step, colour, line in ((1, _THIN, 0.35), (5, _THICK, 0.7)):
        axes.vlines(np.arange(0, width + 0.5, step), 0, height, color=colour, lw=line, zorder=0)
        axes.hlines(np.arange(0, height + 0.5, step), 0, width, color=colour, lw=line, zorder=0)


def _trace(axes: Axes, recording: Recording, lead: str, *, start: float, seconds: float, left: float, row: int) -> None:
    rate = recording.sampling_rate
    part = recording.lead(lead)[round(start * rate) : round((start + seconds) * rate)]
    baseline = 6 + (3.5 - row) * _ROW - 0.08 * _ROW
    axes.plot(left + SPEED * np.arange(len(part)) / rate, baseline + GAIN * part, color=_INK, lw=0.9)
    axes.text(left + 1, baseline + 0.36 * _ROW, lead, fontsize=10, weight="bold", color=_INK)
    if start == 0:
        pulse = np.array([0, 0, GAIN, GAIN, 0, 0])
        axes.plot(left - 5.5 + np.array([0, 0.6, 0.6, 4.6, 4.6, 5.2]), baseline + pulse, color=_INK, lw=0.9)


def _stack(figure: Figure, place: SubplotSpec, heart: Heart) -> None:
    """Six short-axis slices from base to apex at both ends of the beat, with the contours of the label map."""
    scan = short_axis(heart)
    holding = np.flatnonzero((scan.labels[0] == LV_MYOCARDIUM).any(axis=(1, 2)))
    slices = np.unique(np.linspace(holding[-1], holding[0], 6).round().astype(int))[::-1]
    grid = place.subgridspec(2, 6, wspace=0.02, hspace=0.02)
    top = float(np.quantile(scan.image[0], 0.995))
    for row, (name, image, labels) in enumerate(zip(("ED", "ES"), scan.image, scan.labels, strict=True)):
        for column, level in enumerate(slices):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(image[level], cmap="gray", vmin=0, vmax=top, interpolation="bicubic")
            for label, colour in _CONTOURS.items():
                if (labels[level] == label).any():
                    axes.contour(labels[level] == label, [0.5], colors=colour, linewidths=0.9)
            axes.set(xticks=[], yticks=[])
            where = "  base" if column == 0 else "  apex" if column == len(slices) - 1 else ""
            axes.text(
                2,
                5,
                f"{name}{where}",
                color="white",
                fontsize=10,
                weight="bold",
                bbox={"facecolor": "black", "alpha": 0.6, "linewidth": 0, "pad": 2},
            )


def _activation(figure: Figure, places: GridSpecFromSubplotSpec, heart: Heart) -> None:
    """Bull's-eye of the left endocardium, and the epicardium seen from the front."""
    disease = heart.subject.disease
    mesh = build_mesh(heart.ed, disease)
    if heart.subject.rhythm == "paced":
        times = activate_from(mesh, heart.conduction, RIGHT_APEX, heart.calibration)
    else:
        times = activate(mesh, heart.conduction, Bundles.of(disease), heart.calibration)
    times = times - times.min()
    _bulls_eye(figure.add_subplot(places[0]), mesh, times)
    _front(figure, figure.add_subplot(places[1]), mesh, times, heart)


def _bulls_eye(axes: Axes, mesh: Mesh, times: Array) -> None:
    inner = mesh.left & (mesh.depth == 0)
    radius, theta = 0.04 + mesh.height[inner], mesh.theta[inner]
    axes.tricontourf(-radius * np.cos(theta), radius * np.sin(theta), times[inner], 24, cmap="turbo")
    for ring in (0.37, 0.70, 1.04):
        axes.add_artist(Circle((0, 0), ring, fill=False, color="white", lw=0.8))
    for name, x, y in (("anterior", 0, 1.12), ("inferior", 0, -1.2), ("septal", -1.3, 0), ("lateral", 1.3, 0)):
        axes.text(x, y, name, ha="center", va="center", fontsize=9, rotation=90 * (x != 0))
    axes.set(xlim=(-1.45, 1.45), ylim=(-1.35, 1.35), aspect="equal")
    axes.set_axis_off()
    axes.set_title("Activation of the left endocardium, ms", fontsize=11)


def _front(figure: Figure, axes: Axes, mesh: Mesh, times: Array, heart: Heart) -> None:
    """Outer surfaces of both ventricles; what lies behind is drawn first."""
    seen = heart.pose.to_torso(mesh.nodes)
    faces = np.concatenate(
        [
            _faces(np.arange(LEFT_NODES).reshape(LEFT)[:, :, -1], closed=True),
            _faces(LEFT_NODES + np.arange(RIGHT_NODES).reshape(RIGHT)[:, :, -1], closed=False),
        ]
    )
    faces = faces[np.argsort(-seen[faces, 1].mean(axis=1))]
    drawn = PolyCollection(seen[faces][:, :, [0, 2]], cmap="turbo", edgecolors="face", linewidths=0.4)
    drawn.set_array(times[faces].mean(axis=1))
    axes.add_collection(drawn)
    axes.autoscale_view()
    axes.set(aspect="equal")
    axes.set_axis_off()
    axes.set_title("Epicardium from the front, ms", fontsize=11)
    figure.colorbar(drawn, ax=axes, shrink=0.75, pad=0.02)


def _faces(grid: NDArray[np.int64], *, closed: bool) -> NDArray[np.int64]:
    """(faces, 4): corners of the quadrilaterals of a grid of nodes, closed around its first axis or not."""
    around = np.concatenate([grid, grid[:1]]) if closed else grid
    corners = (around[:-1, :-1], around[1:, :-1], around[1:, 1:], around[:-1, 1:])
    return np.stack([corner.ravel() for corner in corners], axis=-1)


def _phenotypes(axes: Axes, one: Participant) -> None:
    axes.set_axis_off()
    rows = [
        [
            symbol,
            f"{one.phenotypes[symbol]:.1f}",
            f"{one.analytic[symbol]:.1f}",
            f"{100 * (one.phenotypes[symbol] / one.analytic[symbol] - 1):+.1f} %",
            phenotype.unit,
        ]
        for symbol, phenotype in PHENOTYPES.items()
    ]
    table = axes.table(
        rows,
        colLabels=["phenotype", "label map", "analytic", "difference", "unit"],
        cellLoc="right",
        bbox=Bbox.from_bounds(0.02, 0.0, 0.96, 1.0),
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(11)
    for cell in table.get_celld().values():
        cell.set_edgecolor("#cccccc")


def _html(seed: int, picture: bytes) -> bytes:
    inside = base64.b64encode(picture).decode()
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Participant {seed}. {NOTICE}</title>'
        f'<body style="margin:0"><img style="max-width:100%" alt="ECG, short-axis slices, activation and phenotypes" '
        f'src="data:image/png;base64,{inside}"></body></html>'
    )
    return text.encode()
