"""Bumps: the P or the T wave of each beat, sought by all leads together and measured in each of them.

A bump stands above its surroundings: the mean over its width less the mean over three times that width, in which
neither an offset nor a trend shows. Where the beats usually have one, in which leads and which way up, is the wave.
Each lead then has its own peak, and its own feet by the largest trapezium under the flank (Vazquez-Seisdedos et al.,
BioMed Eng OnLine 2011;10:43), which needs no threshold, only a point that surely lies beyond the foot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from models.ecg.beats import Samples, balanced, windows

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ROOM = 0.05  # s in which the peak may lie; with less the wave is not looked for
_APART = 0.06  # s that a mark of one lead may lie from that of all leads
_COMPARED = 0.04  # s on either side of the peak that are compared between beats
_LONGEST_HALF = 0.25  # s within which the flank of any wave has fallen to half its height


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a wave looks like; seconds.

    Attributes
    ----------
    width : float
        Of the bump: of what rises above half the height of the wave.
    near : float
        From the peak of all leads to that of one.
    varies : float
        From the usual place of the peak to that in one beat.
    before, after : float
        From the peak to points that surely lie beyond the feet.
    halves : float or None
        If given, `after` is this many times the fall to half height that is usual in the recording.
    """

    width: float
    near: float
    varies: float
    before: float
    after: float
    halves: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Search:
    """Where a wave is looked for in each beat; (beats,) samples.

    Attributes
    ----------
    base : ndarray of int64
        What the wave keeps its distance to.
    earliest, latest : ndarray
        Between them lies its peak.
    floor, ceiling : ndarray
        Between them lies all of it.
    """

    base: Samples
    earliest: Samples
    latest: Samples
    floor: Samples
    ceiling: Samples


@dataclass(frozen=True, eq=False, kw_only=True)
class Bumps:
    """What was found.

    Attributes
    ----------
    onset, peak, offset : ndarray, (leads, beats) int64
        Samples; without meaning where nothing was found.
    found : ndarray, (beats,) bool
        Whether there was room for the wave.
    alike : ndarray, (beats,)
        Correlation over all leads with the other beats; 0 where nothing was found.
    """

    onset: Samples
    peak: Samples
    offset: Samples
    found: Mask
    alike: Array


def bumps(signal: Array, rate: float, search: Search, shape: Shape) -> Bumps:
    """Find one wave in each beat of a signal, (leads, samples) mV, smooth and without its QRS complexes."""
    begin, end = _extent(search)
    column = begin + np.arange(end - begin)
    place = search.base[:, None] + column
    within = (place >= search.earliest[:, None]) & (place <= search.latest[:, None])
    within &= (place >= 0) & (place < signal.shape[1])
    within &= (within.sum(axis=1) >= _ROOM * rate)[:, None]
    hats = balanced(windows(_hat(signal, shape.width * rate), search.base, begin, end), within)
    typical = _typical(hats, within)
    usual = int(np.square(typical).sum(axis=0).argmax())
    likeness = np.einsum("lbs,l->bs", hats, typical[:, usual])
    possible = within & (np.abs(column - column[usual]) <= shape.varies * rate)
    top = np.where(possible, likeness, -np.inf).argmax(axis=1)
    found = possible.any(axis=1)
    upright = windows(signal, search.base, begin, end) * np.where(typical[:, usual] < 0, -1, 1)[:, None, None]
    inside = (place >= np.maximum(search.floor, 0)[:, None]) & (place <= search.ceiling[:, None])
    marks = _measured(upright, top, inside, found, rate, shape)
    onset, peak, offset = (search.base + begin + _near(mark, _APART * rate) for mark in marks)
    alike = _alike(_around(hats, top, round(_COMPARED * rate)), found)
    return Bumps(onset=onset, peak=peak, offset=offset, found=found, alike=alike)


def _extent(search: Search) -> tuple[int, int]:
    """Columns from the base that hold every beat's search."""
    begin = int(min((search.earliest - search.base).min(), (search.floor - search.base).min()))
    return begin, int(max((search.latest - search.base).max(), (search.ceiling - search.base).max(), begin)) + 1


def _hat(signal: Array, width: float) -> Array:
    """What stands above its surroundings."""
    inner, outer = (max(round(times * width), 1) for times in (1, 3))
    return np.asarray(uniform_filter1d(signal, inner, axis=1) - uniform_filter1d(signal, outer, axis=1))


def _typical(hats: Array, within: Mask) -> Array:
    """(leads, samples) median beat; nothing where no beat has room."""
    some = within.any(axis=1)
    if not some.any():
        return np.zeros(hats.shape[::2])
    return np.asarray(np.median(np.where(within, hats, 0)[:, some], axis=1))


def _measured(
    upright: Array, top: Samples, inside: Mask, found: Mask, rate: float, shape: Shape
) -> tuple[Samples, Samples, Samples]:
    """Columns of onset, peak and offset, (leads, beats)."""
    column = np.arange(upright.shape[2])
    distance = column - top[:, None]
    peak = np.where(np.abs(distance) <= shape.near * rate, upright, -np.inf).argmax(axis=2)
    after = shape.after * rate
    if shape.halves is not None and found.any():
        after = shape.halves * float(np.median(_half(upright, peak, inside, round(_LONGEST_HALF * rate))[:, found]))
    offset = _foot(upright, peak, inside & (distance <= after))
    before = (inside & (distance >= -shape.before * rate))[:, ::-1]
    end = len(column) - 1
    return end - _foot(upright[..., ::-1], end - peak, before), peak, offset


def _half(upright: Array, peak: Samples, inside: Mask, longest: int) -> Samples:
    """Samples in which the flank after the peak falls half-way to the lowest point within reach, (leads, beats)."""
    distance = np.arange(upright.shape[2]) - peak[..., None]
    flank = inside & (distance >= 0) & (distance <= longest)
    height = np.take_along_axis(upright, peak[..., None], axis=2)
    lowest = np.where(flank, upright, np.inf).min(axis=2, keepdims=True)
    fallen = flank & (upright <= (height + lowest) / 2)
    return np.where(fallen.any(axis=2), fallen.argmax(axis=2) - peak, longest)


def _foot(upright: Array, peak: Samples, inside: Mask) -> Samples:
    """Column after the peak at which the trapezium under the flank is largest, (leads, beats).

    Its corners: the steepest point of the flank, the foot, and the last column inside at the height of both.
    """
    column = np.arange(upright.shape[2])
    last = (column * inside).max(axis=1)[:, None]
    fall = np.diff(upright, axis=2, append=upright[..., -1:])
    flank = inside & (column >= peak[..., None])
    steepest = np.where(flank, fall, np.inf).argmin(axis=2)[..., None]
    height = np.take_along_axis(upright, steepest, axis=2)
    area = (height - upright) * (2 * last - column - steepest)
    return np.asarray(np.where(inside & (column >= steepest), area, -np.inf).argmax(axis=2))


def _near(marks: Samples, apart: float) -> Samples:
    """Marks of the leads, none farther than `apart` from that of all leads: their median."""
    middle = np.median(marks, axis=0)
    return np.asarray(np.rint(np.clip(marks, middle - apart, middle + apart)), np.int64)


def _around(hats: Array, top: Samples, reach: int) -> Array:
    """(beats, leads · samples) what each beat shows around its peak."""
    place = np.clip(top[:, None] + np.arange(-reach, reach + 1), 0, hats.shape[2] - 1)
    return np.take_along_axis(hats, place[None], axis=2).transpose(1, 0, 2).reshape(len(top), -1)


def _alike(shapes: Array, found: Mask) -> Array:
    """(beats,) correlation of each with the sum of the others."""
    seen = shapes * found[:, None]
    others = seen.sum(axis=0) - seen
    size = np.sqrt(np.square(seen).sum(axis=1) * np.square(others).sum(axis=1))
    return np.asarray((seen * others).sum(axis=1) / np.maximum(size, np.finfo(np.float64).tiny))
