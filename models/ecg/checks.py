"""Checks of the signal, each small and with its evidence.

Where no standard gives a threshold, it was set from real recordings, which stay below it or are rightly told of it: 100
LUDB records, 25 of the PhysioNet/CinC Challenge 2021, five of CODE-15% and one DICOM file of a cart ("the 131" below).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfilt

from models.ecg.beats import Activity
from models.ecg.findings import Finding, Severity
from models.ecg.median import median
from models.ecg.pairs import paired, parted
from models.ecg.recording import LEADS, Recording

# Seconds. The shortest resting ECGs of a large cohort: CODE, 7 to 10 s (Ribeiro et al., Nat Commun 2020;11:1760).
SHORTEST = 7.0
STANDARD_DURATION = 9.9  # seconds; 10 s of a cart, less a few samples (Schiller stores 4998 of 5000)
LOWEST_RATE = 250.0  # hertz; the lowest rate of carts; AHA asks for 500 (Kligfield et al., JACC 2007;49:1109)

FLAT_RANGE = 0.02  # mV between the 0.5 and 99.5 % quantiles; the flattest lead of the 131 has 0.16
FLAT_RUN, LOST_RUN = 1.0, 2.0  # s without any change; the longest of the 131 is 0.55 s
CLIPPED, SATURATED = 0.01, 0.10  # of the samples, in runs at one extreme; the 131: at most 0.028, 95 % below 0.004
SHORTEST_RUN = 0.01  # s at the extreme that are no chance

# Millivolts, of the 99.9 % quantile of |signal − 0.8 s moving mean|. Median lead of the 131: 0.26 to 3. A thousandfold
# or a thousandth of that is a wrong unit. Single leads above 5 mV are artefacts or a wrong gain.
HIGHEST, LOWEST, LARGE = 10.0, 0.05, 5.0
WANDER = 1.0  # mV between the extremes of the moving mean; LUDB at most 0.84, poor tracings of CinC up to 6
MAINS = 0.05  # mV, amplitude of a 50 or 60 Hz sine; 95 % of LUDB below 0.003, CinC up to 0.76
MUSCLE = 0.05  # mV, robust standard deviation above 40 Hz; 95 % of LUDB below 0.02, CinC up to 0.19
BEAT_CONTRAST = 2.0  # energy of a typical beat over the median; the 131: 4.1 and more, noise: 1.7 and less

# Three steps of the coarsest cart (5 µV), and a part of the lead itself: re-scaled leads of LUDB differ by far more.
IDENTITY_ABSOLUTE, IDENTITY_RELATIVE = 0.015, 0.10


class View:
    """A recording and what several checks need of it, computed once."""

    def __init__(self, recording: Recording, activity: Activity) -> None:
        self.recording = recording
        self.activity = activity
        self.signal = recording.signal
        self.rate = recording.sampling_rate

    @cached_property
    def wander(self) -> NDArray[np.float64]:
        """The 0.8 s moving mean, without the ends that it knows too little of."""
        width = max(round(0.8 * self.rate), 1)
        mean: NDArray[np.float64] = uniform_filter1d(self.signal, width, axis=1)
        return mean

    @cached_property
    def amplitude(self) -> NDArray[np.float64]:
        """(12,) 99.9 % quantile of the distance from the moving mean, millivolts."""
        return _quantile(np.abs(self.signal - self.wander), 0.999)

    @cached_property
    def longest_rest(self) -> NDArray[np.float64]:
        """(12,) seconds of the longest stretch without any change; 0 where none is as long as `FLAT_RUN`."""
        resting = self.signal[:, 1:] == self.signal[:, :-1]
        half = max(int(FLAT_RUN / 2 * self.rate), 1)  # every stretch of `FLAT_RUN` has one of these halves in it
        halves = resting[:, : resting.shape[1] // half * half].reshape(len(LEADS), -1, half).all(axis=2)
        longest = np.zeros(len(LEADS))
        for n in np.flatnonzero(halves.any(axis=1)):
            longest[n] = _runs(resting[[n]])[1].max() / self.rate
        return longest

    @cached_property
    def flat(self) -> NDArray[np.bool_]:
        """(12,) leads without a signal, altogether or for `LOST_RUN` seconds."""
        spread = _quantile(self.signal, 0.995) - _quantile(self.signal, 0.005)
        return (spread < FLAT_RANGE) | (self.longest_rest >= LOST_RUN)


def _quantile(rows: NDArray[np.float64], part: float) -> NDArray[np.float64]:
    """The quantile of each row, as the sample at that place."""
    place = min(int(part * rows.shape[1]), rows.shape[1] - 1)
    quantile: NDArray[np.float64] = np.partition(rows, place, axis=1)[:, place]
    return quantile


def _runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and length of each stretch in which a mask, (rows, samples), holds."""
    width = mask.shape[1] + 1  # a column that ends what the row before it left open
    held = np.zeros(mask.shape[0] * width + 1, np.bool_)
    held[:-1].reshape(-1, width)[:, 1:] = mask
    edges = np.flatnonzero(held[1:] != held[:-1])
    return edges[::2] // width, edges[1::2] - edges[::2]


def _names(mask: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(lead for lead, named in zip(LEADS, mask, strict=True) if named)


def _warn(code: str, measured: NDArray[np.float64], wrong: NDArray[np.bool_], message: str) -> Iterator[Finding]:
    """A warning that names the wrong leads, with the largest of their values."""
    if wrong.any():
        leads, value = _names(wrong), float(measured[wrong].max())
        text = message.format(leads=", ".join(leads), value=value)
        yield Finding(code=code, severity="warning", leads=leads, value=value, message=text)


def _duration(seen: View) -> Iterator[Finding]:
    seconds = seen.recording.duration
    if seconds < SHORTEST:
        message = f"{seconds:.1f} s; at least {SHORTEST:g} s are needed"
        yield Finding(code="too-short", severity="error", value=seconds, message=message)
    elif seconds < STANDARD_DURATION:
        yield Finding(code="short", severity="warning", value=seconds, message=f"{seconds:.1f} s instead of 10 s")


def _sampling_rate(seen: View) -> Iterator[Finding]:
    if seen.rate < LOWEST_RATE:
        message = f"sampled at {seen.rate:g} Hz: detail of the QRS complex is lost below {LOWEST_RATE:g} Hz"
        yield Finding(code="low-sampling-rate", severity="warning", value=seen.rate, message=message)


def _flat_leads(seen: View) -> Iterator[Finding]:
    if seen.flat.any():
        leads = _names(seen.flat)
        yield Finding(code="flat-leads", severity="error", leads=leads, message=f"no signal in {', '.join(leads)}")
    resting = (seen.longest_rest >= FLAT_RUN) & ~seen.flat
    yield from _warn("flat-stretch", seen.longest_rest, resting, "{leads} without any change for up to {value:.1f} s")


def _saturation(seen: View) -> Iterator[Finding]:
    """Runs at exactly the highest or lowest value of a lead: an amplifier or converter at its limit."""
    shortest = max(round(SHORTEST_RUN * seen.rate), 3)
    limits = seen.signal.max(axis=1), seen.signal.min(axis=1)
    share = np.maximum(*(_share(seen.signal == limit[:, None], shortest) for limit in limits))
    share[seen.flat] = 0
    degrees: tuple[tuple[str, Severity, NDArray[np.bool_]], ...] = (
        ("saturated-leads", "error", share >= SATURATED),
        ("clipped-leads", "warning", (share >= CLIPPED) & (share < SATURATED)),
    )
    for code, severity, mask in degrees:
        if mask.any():
            part, leads = float(share[mask].max()), _names(mask)
            message = f"{', '.join(leads)} at the limit for up to {part:.0%} of the time"
            yield Finding(code=code, severity=severity, leads=leads, value=part, message=message)


def _share(mask: NDArray[np.bool_], shortest: int) -> NDArray[np.float64]:
    """(rows,) part of each row of a mask that lies in stretches of some length."""
    row, length = _runs(mask)
    long = length >= shortest
    share: NDArray[np.float64] = np.bincount(row[long], length[long], minlength=len(mask)) / mask.shape[1]
    return share


def _amplitude(seen: View) -> Iterator[Finding]:
    typical = float(np.median(seen.amplitude))
    if not LOWEST <= typical <= HIGHEST and not seen.flat.all():
        message = f"a typical lead reaches {typical:.3g} mV, hearts {LOWEST:g} to {HIGHEST:g} mV"
        yield Finding(code="implausible-amplitude", severity="error", value=typical, message=message)
        return
    message = "{leads} up to {value:.1f} mV: artefacts, or a wrong gain"
    yield from _warn("large-amplitude", seen.amplitude, seen.amplitude > LARGE, message)


def _baseline(seen: View) -> Iterator[Finding]:
    edge = min(round(0.4 * seen.rate), (seen.signal.shape[1] - 1) // 2)
    excursion = np.ptp(seen.wander[:, edge : seen.signal.shape[1] - edge], axis=1)
    message = "the baseline of {leads} wanders by up to {value:.1f} mV"
    yield from _warn("baseline-wander", excursion, excursion > WANDER, message)


def _mains(seen: View) -> Iterator[Finding]:
    """The Fourier sum at the mains frequencies under a Hann window, against those 3 Hz beside them."""
    for mains in (50.0, 60.0):
        if seen.rate <= 2 * (mains + 3):
            continue
        in_phase, in_quadrature = (seen.signal @ wave for wave in _waves(mains, seen.rate, seen.signal.shape[1]))
        below, at, above = 2 * np.hypot(in_phase, in_quadrature).T
        humming = (at > MAINS) & (at > 3 * np.maximum(below, above))
        yield from _warn("mains-hum", at, humming, f"{mains:g} Hz hum of up to {{value:.2f}} mV in {{leads}}")


def _waves(mains: float, rate: float, samples: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(samples, 3) cosines and sines at the mains frequency and 3 Hz beside it, under the window."""
    return _usual_waves(mains, rate, samples) if samples <= _USUAL else _new_waves(mains, rate, samples)


_USUAL = 10_000  # samples, 10 s of the fastest carts: what is kept for the next recording stays small


def _new_waves(mains: float, rate: float, samples: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    window = np.hanning(samples + 2)[1:-1] * 2 / (samples + 1)
    angles = 2 * np.pi / rate * np.outer(np.arange(samples), (mains - 3, mains, mains + 3))
    return window[:, None] * np.cos(angles), window[:, None] * np.sin(angles)


_usual_waves = lru_cache(maxsize=4)(_new_waves)  # 1 ms for each recording otherwise


@lru_cache(maxsize=16)  # the design takes longer than the filter
def _above_40_hertz(rate: float) -> NDArray[np.float64]:
    sections: NDArray[np.float64] = butter(2, 40.0, "highpass", fs=rate, output="sos")
    return sections


def _muscle(seen: View) -> Iterator[Finding]:
    """Robust standard deviation (median / 0.6745) above 40 Hz, which the short QRS complexes do not move."""
    if seen.rate <= 2 * 45:
        return
    fast = parted(sosfilt(_above_40_hertz(seen.rate), paired(seen.signal), axis=1))
    deviation = _quantile(np.abs(fast), 0.5) / 0.6745
    message = "noise above 40 Hz of {value:.2f} mV in {leads}, as of muscles"
    yield from _warn("muscle-noise", deviation, deviation > MUSCLE, message)


def _beats(seen: View) -> Iterator[Finding]:
    """Whether beats stand out, and, where they do, whether the arms were exchanged."""
    if seen.flat.all():
        return
    contrast = seen.activity.contrast
    if contrast < BEAT_CONTRAST:
        message = f"no beat stands out: the highest energies are {contrast:.1f} times the median"
        yield Finding(code="too-noisy", severity="error", value=contrast, message=message)
        return
    yield from _exchanged_arms(seen, seen.activity.beats)


def _exchanged_arms(seen: View, beats: NDArray[np.int64]) -> Iterator[Finding]:
    """QRS negative in I, upright in aVR and in V6: the arms' electrodes, or a rare axis.

    Of the 131, none shows it; with the arms exchanged in all of them, two thirds do. Upright V6 tells it from
    dextrocardia (Batchvarov, Malik and Camm, Europace 2007;9:1081).
    """
    half = round(0.06 * seen.rate)
    inner = beats[(beats >= half) & (beats < seen.signal.shape[1] - half)]
    if len(inner) == 0:
        return
    rows = [LEADS.index(lead) for lead in ("I", "aVR", "V6")]
    columns = inner[:, None] + np.arange(-half, half + 1)
    complexes = median((seen.signal[rows] - seen.wander[rows])[:, columns], axis=1)
    one, right, sixth = complexes.max(axis=1) + complexes.min(axis=1)
    if one < 0 < right and sixth > 0:
        message = "QRS negative in I and upright in aVR: the electrodes of the arms may be exchanged"
        yield Finding(code="arm-reversal", severity="warning", leads=("I", "aVR"), message=message)


def _limb_identities(seen: View) -> Iterator[Finding]:
    """III = II − I and Goldberger's equations, up to an offset; which lead is wrong cannot be told from them."""
    i, ii, *stored = seen.signal[:6]
    expected = (ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2)
    deviation = np.array([np.std(got - want) for got, want in zip(stored, expected, strict=True)])
    tolerance = np.maximum(IDENTITY_ABSOLUTE, IDENTITY_RELATIVE * np.std(expected, axis=1))
    if (deviation > tolerance).any():
        leads = tuple(lead for lead, wrong in zip(LEADS[2:6], deviation > tolerance, strict=True) if wrong)
        worst = float(deviation.max())
        message = f"{', '.join(leads)} differ from what I and II imply by up to {1e3 * worst:.0f} µV (RMS)"
        yield Finding(code="limb-identity", severity="warning", leads=leads, value=worst, message=message)


def _statements(seen: View) -> Iterator[Finding]:
    """What the file and its reader say."""
    recording = seen.recording
    if recording.paced:
        message = "the file says that the heart was paced"
        yield Finding(code="paced", severity="warning", message=message)
    if recording.derived:
        message = f"{', '.join(recording.derived)} computed from I and II"
        yield Finding(code="derived-leads", severity="info", leads=recording.derived, message=message)
    for remark in recording.remarks:
        severity: Severity = "info" if remark.code == "extra-leads" else "warning"
        yield Finding(code=remark.code, severity=severity, leads=remark.leads, message=remark.message)


CHECKS: tuple[Callable[[View], Iterator[Finding]], ...] = (
    _duration,
    _flat_leads,
    _saturation,
    _amplitude,
    _beats,
    _sampling_rate,
    _limb_identities,
    _baseline,
    _mains,
    _muscle,
    _statements,
)
