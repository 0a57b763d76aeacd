"""Activation against another solver of the eikonal equation, closed forms and the bedside."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from tests.conftest import missing
from training.simulate import Heart, heart_of
from training.simulate.activation import RIGHT_APEX, Bundles, Conduction, Focus, activate, activate_from, shortest_times
from training.simulate.calibration import CALIBRATION
from training.simulate.mesh import LEFT, LEFT_NODES, Mesh, build_mesh, grid_edges, grid_elements
from training.simulate.torso import sample_slips, torso_lead_field

V1, V6 = 2, 7
"""Rows of a beat, whose leads are I, II, V1 to V6."""


@pytest.fixture(scope="module")
def hearts() -> list[Heart]:
    """The first three without disease."""
    return [heart for heart in map(heart_of, range(12)) if heart.subject.disease.pathology == "normal"][:3]


def test_activation_is_the_shortest_path_of_another_solver() -> None:
    rng = np.random.default_rng(3)
    edges = np.unique(np.sort(rng.integers(0, 300, (1500, 2)), axis=1), axis=0)
    edges = edges[edges[:, 0] != edges[:, 1]]
    cost = rng.uniform(0.1, 5, len(edges))
    times = np.full(300, np.inf)
    times[[4, 250]] = 0.0
    shortest_times(edges, cost, times)
    graph = csr_matrix((cost, edges.T), shape=(300, 300))
    assert times == pytest.approx(dijkstra(graph, directed=False, indices=[4, 250]).min(0))


@pytest.mark.parametrize("degrees", [0, 15, 30, 45, 60, 90])
def test_in_a_slab_of_parallel_fibres_the_closed_form_is_met_to_four_per_cent(degrees: int) -> None:
    """t² = (d·f)²/v_along² + (d² − (d·f)²)/v_across²; exact along an edge, too long between edges, never too short."""
    turn = np.radians(degrees)
    fibre = np.array([np.cos(turn), np.sin(turn), 0.0])
    slab = _slab(fibre)
    times = activate_from(slab, STEADY, MIDDLE, MUSCLE_ONLY)
    away = slab.nodes - slab.nodes[times.argmin()]
    along = (away @ fibre) ** 2
    across = (away**2).sum(1) - along
    exact = np.sqrt(along / CALIBRATION.fibre_speed**2 + across / CALIBRATION.cross_speed**2)
    reached = exact > 0
    assert (times[reached] / exact[reached]).min() > 1 - 1e-9
    assert (times[reached] / exact[reached]).mean() < 1.04


@pytest.mark.slow
def test_activation_agrees_with_the_fast_iterative_method_on_the_left_ventricle(hearts: list[Heart]) -> None:
    """FIM (Fu, Kirby & Whitaker 2013) solves the eikonal equation on tetrahedra; both carry the error of a 4 mm mesh.

    Which of the two is nearer to the truth, the slab above tells: there the closed form is known.
    """
    if find_spec("fimpy") is None:
        missing("fim-python")
    from fimpy.solver import create_fim_solver

    mesh, tetrahedra = _left_alone(build_mesh(hearts[0].ed, hearts[0].subject.disease))
    foci = [Focus(wall="left", angle=angle, height=0.6) for angle in (0.0, 100.0, -100.0)]
    times = np.min([activate_from(mesh, STEADY, focus, MUSCLE_ONLY) for focus in foci], axis=0)
    fibres = mesh.fibres[tetrahedra].mean(1)
    fibres /= np.linalg.norm(fibres, axis=1, keepdims=True)
    along, across = CALIBRATION.fibre_speed**2, CALIBRATION.cross_speed**2
    tensors = across * np.eye(3) + (along - across) * fibres[:, :, None] * fibres[:, None, :]
    solver = create_fim_solver(mesh.nodes, tetrahedra.astype(np.int32), tensors, device="cpu")
    (sources,) = np.nonzero(times == 0)
    reference = solver.comp_fim(sources, np.zeros(len(sources)))
    difference = times - reference
    assert np.corrcoef(times, reference)[0, 1] > 0.9
    assert abs(difference.mean()) < 6.0  # ms
    assert np.sqrt((difference**2).mean()) < 12.0


def test_a_paced_beat_is_wide_starts_at_the_lead_and_has_a_discordant_t_wave(hearts: list[Heart]) -> None:
    """Right ventricular apical pacing: QRS about 150 ms, as left bundle branch block in V1 and V6."""
    for heart in hearts:
        generator = heart.seen_by(_field(heart))
        paced, usual = generator.from_focus(RIGHT_APEX), generator.conducted()
        assert 100 < np.quantile(paced.activation, 0.95) < 200
        assert np.ptp(paced.activation) > 1.3 * np.ptp(usual.activation)
        first = paced.activation.argmin()
        assert not generator.mesh.left[first]
        assert generator.mesh.rv_height[first] < 0.2
        assert paced.qrs[V1].sum() < 0
        area = paced.qrs.sum(1)
        assert _t_wave(paced) @ area < -0.3 * np.linalg.norm(_t_wave(paced)) * np.linalg.norm(area)


def test_an_ectopic_beat_of_the_left_wall_looks_like_a_right_bundle_branch_block_in_v1(hearts: list[Heart]) -> None:
    for heart in hearts:
        beat = heart.seen_by(_field(heart)).from_focus(Focus(wall="left", angle=180.0, height=0.8))
        assert beat.qrs[V1].sum() > 0
        assert np.ptp(beat.activation) > 110


def test_a_block_delays_its_own_ventricle_and_never_the_other(hearts: list[Heart]) -> None:
    for heart in hearts:
        mesh = build_mesh(heart.ed, heart.subject.disease)
        healthy = activate(mesh, heart.conduction, Bundles())
        left, right = (activate(mesh, heart.conduction, b) for b in (Bundles(left=False), Bundles(right=False)))
        free_left, free_right = mesh.left & ~mesh.septum, ~mesh.left
        assert left[free_left].mean() > healthy[free_left].mean() + 20
        assert right[free_right].mean() > healthy[free_right].mean() + 20
        assert (left >= healthy - 1e-9).all()
        far = free_left & (np.cos(mesh.theta) < 0)  # the half that the right ventricle does not touch
        assert right[far] == pytest.approx(healthy[far], abs=5)


def _t_wave(beat) -> np.ndarray:
    after = int(beat.activation.max()) + 60
    t_wave = (beat.qrs + beat.t)[:, after:]
    return t_wave[np.arange(8), np.abs(t_wave).argmax(1)]


def _field(heart: Heart):
    return torso_lead_field(heart.torso, sample_slips(np.random.default_rng(1)), heart.lie.conductivity)


MUSCLE_ONLY = replace(CALIBRATION, purkinje_end=-1.0)
"""A heart whose Purkinje layers end below its apex."""

STEADY = Conduction(muscle=1.0, purkinje=1.6, right_delay=10.0, jitter=np.zeros((len(CALIBRATION.roots), 3)))
MIDDLE = Focus(wall="left", angle=0.0, height=0.5)


def _slab(fibre: np.ndarray) -> Mesh:
    """A flat piece of wall with the usual distances between nodes: 4, 3 and 2 mm."""
    grid = (21, 21, 4)
    nodes = np.stack(
        np.meshgrid(*(step * np.arange(n) for n, step in zip(grid, (4.0, 3.0, 2.0), strict=True)), indexing="ij"), -1
    ).reshape(-1, 3)
    return _left_mesh(grid, nodes, np.broadcast_to(fibre, nodes.shape).copy(), closed=False)


def _left_alone(mesh: Mesh) -> tuple[Mesh, np.ndarray]:
    """The left ventricle and its tetrahedra, six to a hexahedron."""
    elements = grid_elements(LEFT, closed=True)
    six = [(0, 1, 3, 7), (0, 1, 5, 7), (0, 2, 3, 7), (0, 2, 6, 7), (0, 4, 5, 7), (0, 4, 6, 7)]
    tetrahedra = np.concatenate([elements[:, corners] for corners in six])
    return _left_mesh(LEFT, mesh.nodes[:LEFT_NODES], mesh.fibres[:LEFT_NODES], closed=True), tetrahedra


def _left_mesh(grid: tuple[int, int, int], nodes: np.ndarray, fibres: np.ndarray, closed: bool) -> Mesh:
    angle, height, depth = np.meshgrid(
        np.linspace(-np.pi, np.pi, grid[0], endpoint=False), *(np.linspace(0, 1, n) for n in grid[1:]), indexing="ij"
    )
    every, none = np.ones(len(nodes), bool), np.zeros(len(nodes))
    return Mesh(
        nodes=nodes,
        fibres=fibres,
        edges=grid_edges(grid, closed),
        theta=angle.ravel(),
        height=height.ravel(),
        depth=depth.ravel(),
        rv_height=none,
        left=every,
        septum=~every,
        scar=none,
    )


def test_slower_muscle_takes_proportionally_longer(hearts: list[Heart]) -> None:
    for heart in hearts:
        mesh = build_mesh(heart.ed, heart.subject.disease)
        usual, slow = heart.conduction, replace(heart.conduction, muscle=0.8 * heart.conduction.muscle)
        paced, slower = (activate_from(mesh, conduction, RIGHT_APEX) for conduction in (usual, slow))
        assert slower == pytest.approx(paced / 0.8, rel=0.02)
