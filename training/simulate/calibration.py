"""Calibration: the numbers that were fitted to healthy medians, in one place; `benchmarks/calibrate.py` fits them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Root:
    """Where a branch of the conduction system reaches the muscle.

    Attributes
    ----------
    branch : str
        "left", "left anterior" or "right"; a block silences all roots of its branch.
    wall : str
        Which endocardium: "left", "right wall" or "right septum".
    angle, height : float
        Degrees about the long axis and apex 0 to base 1.
    delay : float
        Milliseconds after the first.
    """

    branch: str
    wall: str
    angle: float
    height: float
    delay: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What anatomy and physics leave open, fitted once to the median healthy ECG.

    Targets are medians of amplitudes, QRS duration and axis, rounded after Rijnbeek et al., J Electrocardiol
    2014;47:914. The order of activation starts from the early sites of isolated human hearts (Durrer et al.,
    Circulation 1970;41:899): mid-septum and the bases of both papillary muscles on the left, moderator band and septum
    on the right.

    Attributes
    ----------
    fibre_speed, cross_speed : float
        mm/ms along and across the fibres; measured near 0.6 and 0.2 (Durrer 1970).
    muscle : float
        Factor on both.
    purkinje, right_purkinje : float
        mm/ms of the fast left layer; speed of the right one relative to it.
    purkinje_end : float
        Apex-to-base height at which the layers end.
    right_delay : float
        Milliseconds by which the right bundle lags behind the left.
    roots : tuple of Root
    amplitude : float
        Factor on the 100 mV between rest and plateau.
    right_wall : float
        Share of the right wall that gives current: it is trabeculated.
    blood : float
        (s_blood - s) / (s_blood + 2 s) of Brody's sphere; 0.4 for blood three times as conductive as muscle.
    repolarisation : float
        Size of the T wave relative to the QRS complex.
    droop : float
        Share of repolarisation that happens in the plateau already.
    by_activation : float
        Milliseconds by which the action potential shortens for each millisecond of later activation.
    transmural, transmural_female : float
        Milliseconds by which it is longer under the endocardium than under the epicardium.
    apex_base, right, lateral, anterior : float
        Milliseconds: base over apex, right over left ventricle, lateral over septal, anterior over inferior.
    place : (float, float, float)
        Centre of the ventricles in the torso: mm, share of the half depth, mm.
    to_septum : (float, float, float)
        Direction from the left to the right ventricle in the torso.
    azimuth, elevation : float
        Degrees: the apex from the front to the left, and downwards.
    """

    fibre_speed: float
    cross_speed: float
    muscle: float
    purkinje: float
    right_purkinje: float
    purkinje_end: float
    right_delay: float
    roots: tuple[Root, ...]
    amplitude: float
    right_wall: float
    blood: float
    repolarisation: float
    droop: float
    by_activation: float
    transmural: float
    transmural_female: float
    apex_base: float
    right: float
    lateral: float
    anterior: float
    place: tuple[float, float, float]
    to_septum: tuple[float, float, float]
    azimuth: float
    elevation: float


CALIBRATION = Calibration(
    fibre_speed=0.63,
    cross_speed=0.182,
    muscle=0.97,
    purkinje=1.64,
    right_purkinje=0.967,
    purkinje_end=0.887,
    right_delay=11.1,
    roots=(
        Root(branch="left", wall="left", angle=-9.5, height=0.47, delay=1.6),
        Root(branch="left anterior", wall="left", angle=97.8, height=0.75, delay=11.2),
        Root(branch="left", wall="left", angle=-97.8, height=0.70, delay=11.2),
        Root(branch="right", wall="right wall", angle=24.3, height=0.42, delay=5.0),
        Root(branch="right", wall="right septum", angle=-5.0, height=0.32, delay=-2.0),
        Root(branch="right", wall="right septum", angle=15.0, height=0.60, delay=1.0),
    ),
    amplitude=0.536,
    right_wall=0.50,
    blood=0.30,
    repolarisation=0.71,
    droop=0.12,
    by_activation=0.85,
    transmural=35.1,
    transmural_female=29.2,
    apex_base=20.4,
    right=-11.1,
    lateral=-9.7,
    anterior=-5.1,
    place=(30.2, -0.359, -28.0),
    to_septum=(-0.565, -0.630, -0.10),
    azimuth=29.7,
    elevation=44.2,
)
