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
from models.ecg.median import median

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ROOM = 0.05  # s in which the peak may lie; with less the wave is not looked for
_APART = 0.06  # s that a mark of one lead may lie from that of all leads
_COMPARED = 0.04  # s on either side of the usual peak that are compared between beats
_LONGEST_HALF = 0.20  # s within which the flank of any wave has fallen to half its height


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

    @property
    def extent(self) -> tuple[int, int]:
        """Columns, counted from the base, that hold the search of every beat."""
        begin = int((np.minimum(self.earliest, self.floor) - self.base).min())
        return begin, max(int((np.maximum(self.latest, self.ceiling) - self.base).max()), begin) + 1


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
    begin, end = search.extent
    place = search.base[:, None] + np.arange(begin, end)
    within = _between(place, np.maximum(search.earliest, 0), np.minimum(search.latest, signal.shape[1] - 1))
    within &= (within.sum(axis=1) >= _ROOM * rate)[:, None]
    hats = balanced(windows(_hat(signal, shape.width * rate), search.base, begin, end), within)
    usual, leads = _usual(hats, within)
    top, found = _tops(hats, leads, within & _near(end - begin, usual, shape.varies * rate))
    upright = windows(signal, search.base, begin, end) * np.where(leads < 0, -1, 1)[:, None, None]
    inside = _between(place, np.maximum(search.floor, 0), search.ceiling)
    marks = _measured(upright, top, inside, found, rate, shape)
    onset, peak, offset = (search.base + begin + _drawn(mark, _APART * rate) for mark in marks)
    alike = _alike(hats[..., _near(end - begin, usual, _COMPARED * rate)], found)
    return Bumps(onset=onset, peak=peak, offset=offset, found=found, alike=alike)


def _between(place: Samples, first: Samples, last: Samples) -> Mask:
    """(beats, samples) where a beat's place is not before its first and not after its last."""
    return np.asarray((place >= first[:, None]) & (place <= last[:, None]))


def _near(columns: int, column: int, reach: float) -> Mask:
    """(columns,) which are within reach of one of them."""
    return np.asarray(np.abs(np.arange(columns) - column) <= reach)


def _hat(signal: Array, width: float) -> Array:
    """What stands above its surroundings."""
    inner, outer = (max(round(times * width), 1) for times in (1, 3))
    return np.asarray(uniform_filter1d(signal, inner, axis=1) - uniform_filter1d(signal, outer, axis=1))


def _usual(hats: Array, within: Mask) -> tuple[int, Array]:
    """Column at which the median of the beats is largest, and what each lead shows there."""
    some = within.any(axis=1)
    if not some.any():
        return 0, np.zeros(len(hats))
    typical = median(np.where(within, hats, 0)[:, some], axis=1)
    column = int(np.square(typical).sum(axis=0).argmax())
    return column, typical[:, column]


def _tops(hats: Array, leads: Array, possible: Mask) -> tuple[Samples, Mask]:
    """Column at which each beat is most like the usual one, and whether there was one to choose."""
    likeness = np.einsum("lbs,l->bs", hats, leads)
    return np.where(possible, likeness, -np.inf).argmax(axis=1), np.asarray(possible.any(axis=1))


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
    last = (np.arange(upright.shape[2]) * inside).max(axis=1)
    first, stop = int(np.where(peak <= last, peak, 0).min()), int(last.max()) + 2  # columns without a flank only cost
    upright, inside = upright[..., first:stop], inside[:, first:stop]
    column = first + np.arange(upright.shape[2])
    fall = np.diff(upright, axis=2, append=upright[..., -1:])
    flank = inside & (column >= peak[..., None])
    steepest = np.where(flank, fall, np.inf).argmin(axis=2)[..., None]
    height = np.take_along_axis(upright, steepest, axis=2)
    area = (height - upright) * (2.0 * last[:, None] - column - (first + steepest))
    return np.asarray(first + np.where(inside & (column >= first + steepest), area, -np.inf).argmax(axis=2))


def _drawn(marks: Samples, apart: float) -> Samples:
    """Marks of the leads, none farther than `apart` from that of all leads: their median."""
    middle = median(marks)
    return np.asarray(np.rint(np.clip(marks, middle - apart, middle + apart)), np.int64)


def _alike(hats: Array, found: Mask) -> Array:
    """(beats,) correlation of each, over all leads, with the sum of the others; they are not moved to fit."""
    shapes = (hats * found[:, None]).transpose(1, 0, 2).reshape(len(found), -1)
    others = shapes.sum(axis=0) - shapes
    size = np.sqrt(np.square(shapes).sum(axis=1) * np.square(others).sum(axis=1))
    return np.asarray((shapes * others).sum(axis=1) / np.maximum(size, np.finfo(np.float64).tiny))
