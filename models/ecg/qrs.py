"""QRS bounds: where the ventricles begin and cease to be excited, from the slope of all leads together.

The slope of each lead, relative to its own steepest, is pooled into one curve. QRS reaches from where that curve leaves
the quiet before it to where it comes to rest. A lead's own bounds are found in the same way and drawn towards those of
all leads, because half of what one lead shows alone is noise.

The constants were set on every second record of LUDB; see ``docs/beats.md``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from models.ecg.beats import Samples, balanced, windows

Array = NDArray[np.float64]

_STEEP = 0.08  # s on either side of the beat that hold its steepest slope
_REACH = 0.08  # s beyond the steep part in which QRS must end
_SMOOTH = 0.006  # s, SD: muscle noise goes, a Q wave of 20 ms stays
_CORE = 0.25  # of the steepest slope: surely QRS
_QUIET = 0.024  # s; the calmest such stretch beside QRS is its noise
_ONSET, _OFFSET = 0.04, 0.06  # of the steepest slope, above the noise
_OWN = 0.4  # of the way from the bound of all leads to that of one
_APART = 0.03  # s that these two may be apart
_SMALLEST_R = 0.05  # of the deepest point: with less, a complex has no R wave


def qrs_bounds(signal: Array, rate: float, centres: Samples) -> tuple[Samples, Samples, Samples, Samples]:
    """Onset and offset of the QRS complex around each centre.

    Returns
    -------
    onset, offset : (beats,) samples, over all leads
    onsets, offsets : (leads, beats) samples, of each lead
    """
    steep, reach = round(_STEEP * rate), round((_STEEP + _REACH) * rate)
    slope = gaussian_filter1d(signal, _SMOOTH * rate, axis=1, order=1)
    odd = 2 * round((_SMOOTH * rate - 1) / 2) + 1  # an even window would move the curve by half a sample
    power = uniform_filter1d(windows(slope, centres, -reach, reach + 1) ** 2, max(odd, 1), axis=2)
    steepness = np.sqrt(np.maximum(power, 0))  # the running sum may end a rounding error below zero
    core = slice(reach - steep, reach + steep + 1)
    counted = np.zeros(steepness.shape[1:], np.bool_)
    counted[:, core] = True
    pooled = np.sqrt(np.square(balanced(steepness, counted)).mean(axis=0))
    bounds = _bounds(np.concatenate((pooled[None], steepness)), core, rate)
    (onset, own_onset), (offset, own_offset) = ((bound[0], bound[1:]) for bound in bounds)
    first = centres - reach
    return (
        first + onset,
        first + offset,
        first + _between(onset, own_onset, rate),
        first + _between(offset, own_offset, rate),
    )


def qrs_peaks(signal: Array, onset: Samples, offset: Samples) -> Samples:
    """The highest point between the bounds of QRS, that is R; the deepest in a complex without R, (leads, beats)."""
    column = np.arange(int((offset - onset).max()) + 1)
    place = np.clip(onset[..., None] + column, 0, signal.shape[1] - 1)
    complexes = np.take_along_axis(signal, place.reshape(len(signal), -1), axis=1).reshape(place.shape)
    height = np.where(column <= (offset - onset)[..., None], complexes - complexes[..., :1], 0)
    without_r = height.max(axis=-1) < -_SMALLEST_R * height.min(axis=-1)
    return np.asarray(onset + np.where(without_r, height.argmin(axis=-1), height.argmax(axis=-1)))


def _between(bound: Samples, own: Samples, rate: float) -> Samples:
    apart = np.clip(own - bound, -_APART * rate, _APART * rate)
    return np.asarray(bound + np.rint(_OWN * apart), np.int64)


def _bounds(steepness: Array, core: slice, rate: float) -> tuple[Samples, Samples]:
    """Columns at which each curve (..., samples) leaves and regains its rest on either side of its steep part."""
    steepest = steepness[..., core].max(axis=-1, keepdims=True)
    steep = steepness[..., core] > _CORE * steepest
    first = core.start + steep.argmax(axis=-1)
    last = core.stop - 1 - steep[..., ::-1].argmax(axis=-1)
    end = steepness.shape[-1] - 1
    onset = end - _rest(steepness[..., ::-1], end - first, _ONSET * steepest, rate)
    return onset, _rest(steepness, last, _OFFSET * steepest, rate)


def _rest(steepness: Array, start: Samples, rise: Array, rate: float) -> Samples:
    """First column from `start` on that is steeper than the calmest stretch within reach by no more than `rise`."""
    column = np.arange(steepness.shape[-1])
    beyond = (column >= start[..., None]) & (column <= start[..., None] + round(_REACH * rate))
    calm = uniform_filter1d(steepness, max(round(_QUIET * rate), 1), axis=-1)
    noise = np.where(beyond, calm, np.inf).min(axis=-1, keepdims=True)
    resting = beyond & (steepness <= noise + rise)
    return np.asarray(resting.argmax(axis=-1))
