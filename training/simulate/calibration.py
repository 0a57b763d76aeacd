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
    purkinje_end, right_purkinje_end : float
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
    left_notch, right_notch : float
        Depth of the notch after the upstroke under the epicardium, as a share of the action potential; it lifts the ST
        segment (Yan & Antzelevitch, Circulation 1996;93:372).
    by_activation : float
        Milliseconds by which the action potential shortens for each millisecond of later activation.
    transmural, transmural_female : float
        Milliseconds by which it is longer under the endocardium than under the epicardium.
    septal_gradient, right_gradient : float
        How much of it there is in the septum and in the right wall.
    apex_base, right, lateral, anterior : float
        Milliseconds: base over apex, right over left ventricle, lateral over septal, anterior over inferior.
    right_of_women : float
        Milliseconds added to `right` in women: T in V1 is negative in 38 % of them and in 7 % of men (Onat et al., Türk
        Kardiyol Dern Arş 2008;36:513).
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
    right_purkinje_end: float
    right_delay: float
    roots: tuple[Root, ...]
    amplitude: float
    right_wall: float
    blood: float
    repolarisation: float
    droop: float
    left_notch: float
    right_notch: float
    by_activation: float
    transmural: float
    transmural_female: float
    septal_gradient: float
    right_gradient: float
    apex_base: float
    right: float
    lateral: float
    anterior: float
    right_of_women: float
    place: tuple[float, float, float]
    to_septum: tuple[float, float, float]
    azimuth: float
    elevation: float


CALIBRATION = Calibration(
    fibre_speed=0.648,
    cross_speed=0.192,
    muscle=1.01,
    purkinje=1.75,
    right_purkinje=0.988,
    purkinje_end=0.827,
    right_purkinje_end=0.935,
    right_delay=10.7,
    roots=(
        Root(branch="left", wall="left", angle=1.07, height=0.614, delay=3.11),
        Root(branch="left anterior", wall="left", angle=109.0, height=0.716, delay=9.27),
        Root(branch="left", wall="left", angle=-108.0, height=0.786, delay=11.4),
        Root(branch="right", wall="right wall", angle=16.1, height=0.512, delay=4.22),
        Root(branch="right", wall="right septum", angle=-7.14, height=0.325, delay=-2.97),
        Root(branch="right", wall="right septum", angle=24.1, height=0.566, delay=0.735),
    ),
    amplitude=0.59,
    right_wall=0.488,
    blood=0.254,
    repolarisation=0.695,
    droop=0.129,
    left_notch=0.00608,
    right_notch=0.0238,
    by_activation=0.981,
    transmural=28.3,
    transmural_female=26.8,
    septal_gradient=0.267,
    right_gradient=0.523,
    apex_base=27.4,
    right=-7.0,
    lateral=-2.82,
    anterior=-6.2,
    right_of_women=-13.0,
    place=(22.7, -0.388, -32.2),
    to_septum=(-0.623, -0.582, -0.118),
    azimuth=37.1,
    elevation=45.6,
)
