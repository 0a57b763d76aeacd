"""Rhythm: when each beat of ten seconds comes, where it starts, and which P wave goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from training.simulate.person import Person, bounded_normal
from training.simulate.population import RhythmName, Subject

Rng = np.random.Generator

Kind = Literal["conducted", "ventricular", "paced"]
"""Down the bundles from above; a premature beat of the ventricles; from the electrode in the right ventricular apex."""

DURATION = 10.0
"""Seconds of a resting ECG."""

_BEFORE, _AFTER = -900.0, 1000 * DURATION + 400  # ms; beats outside cannot be seen
_FIRST_DEGREE = 200.0
"""Milliseconds; a longer PR is first-degree block (AHA/ACC/HRS part III, Surawicz 2009)."""

_ECTOPIC_COUPLING, _ATRIAL_COUPLING = (0.52, 0.80), (0.60, 0.85)  # shares of RR; ours


@dataclass(frozen=True, kw_only=True)
class Event:
    """One beat of the ventricles.

    Attributes
    ----------
    time : float
        Onset of QRS after the start of the recording, ms.
    kind : Kind
    rr : float
        Since the beat before, ms.
    pr : float or None
        From the onset of P to that of QRS, ms; negative when P hides behind the start of a premature QRS; None
        without a P wave.
    p_gain : tuple of 8 floats
        Factors on the P wave in I, II, V1 to V6: ones from the sinus node, others from elsewhere in the atria.
    """

    time: float
    kind: Kind
    rr: float
    pr: float | None
    p_gain: tuple[float, ...] = (1.0,) * 8


@dataclass(frozen=True, kw_only=True)
class Fibrillation:
    """The f waves: a sawtooth whose frequency and size wander (Stridh & Sörnmo, IEEE TBME 2001;48:105 [R]).

    Attributes
    ----------
    rate : float
        Mean frequency, Hz.
    size : float
        Peak to peak in V1, mV.
    phase : float
        Radians, of everything that turns in it.
    """

    rate: float
    size: float
    phase: float


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """Ten seconds of beats, and the breathing that moves the heart meanwhile.

    Attributes
    ----------
    name : str
        "sinus", "AF" or "paced".
    events : tuple of Event
        In order, from just before the recording to just after it.
    usual : float
        Mean RR, ms.
    breathing, phase : float
        Respiratory frequency in Hz and its phase.
    swing : float
        How far breathing changes the amplitude of the beats, as a share.
    fibrillation : Fibrillation or None
    """

    name: RhythmName
    events: tuple[Event, ...]
    usual: float
    breathing: float
    phase: float
    swing: float
    fibrillation: Fibrillation | None = None

    @property
    def kinds(self) -> set[Kind]:
        """The kinds of beat for which a template is needed."""
        return {event.kind for event in self.events}


def sample_rhythm(subject: Subject, rng: Rng) -> Rhythm:
    """Draw the beats of this subject's ten seconds."""
    usual, person = 60_000 / subject.heart_rate, subject.person
    breathing, phase = rng.uniform(0.18, 0.30), rng.uniform(0, 2 * np.pi)
    atria_fibrillate = subject.rhythm == "AF" or (subject.rhythm == "paced" and rng.random() < _PACED_IN_AF)
    pr = None if atria_fibrillate else _conduction_time(subject, rng)
    if subject.rhythm == "AF":
        times = _irregular(usual, rng)
    elif subject.rhythm == "paced":
        times = _regular(usual, rng)
    else:
        times = _modulated(usual, person, breathing, phase, rng)
    kind: Kind = "paced" if subject.rhythm == "paced" else "conducted"
    events = [Event(time=now, kind=kind, rr=now - before, pr=pr) for before, now in pairwise(times)]
    if subject.atrial_ectopy:
        events = _with_atrial_beats(events, rng)
    if subject.ventricular_ectopy:
        events = _with_ventricular_beats(events, rng)
    return Rhythm(
        name=subject.rhythm,
        events=tuple(event for event in events if _BEFORE < event.time < _AFTER),
        usual=usual,
        breathing=breathing,
        phase=phase,
        swing=0.045 * float(np.exp(bounded_normal(rng, 0.0, 0.45))),
        fibrillation=_fibrillation(rng) if atria_fibrillate else None,
    )


_PACED_IN_AF = 0.4
"""Share of right ventricular pacing under atrial fibrillation; the rest follows the P wave. Ours."""


def _conduction_time(subject: Subject, rng: Rng) -> float:
    """PR: 158 ms at 60 years (women: PMC3825808 [A]), a little longer with age; with first-degree block 200 to 320."""
    if subject.first_degree:
        return _FIRST_DEGREE + 5.0 + min(115.0, float(rng.gamma(2.0, 15.0)))
    if subject.rhythm == "paced":
        return float(rng.uniform(140, 190))  # the delay to which the device is set
    return float(np.clip(bounded_normal(rng, 158 + 0.25 * (subject.person.age - 60), 22), 112, 199))


def _modulated(usual: float, person: Person, breathing: float, phase: float, rng: Rng) -> list[float]:
    """Sinus arrhythmia: RR follows breathing (less with age), 0.1 Hz (Mayer waves) and chance."""
    respiratory = rng.uniform(0.008, 0.04) * float(np.exp(-(person.age - 55) / 40))
    slow, jitter = rng.uniform(0.006, 0.02), 0.006
    times = [_start(usual, rng)]
    while times[-1] < _AFTER + 3 * usual:
        t = times[-1] / 1000
        share = respiratory * np.sin(2 * np.pi * breathing * t + phase) + slow * np.sin(0.2 * np.pi * t + 1.7 * phase)
        times.append(times[-1] + usual * float(1 + share + jitter * rng.standard_normal()))
    return times


def _irregular(usual: float, rng: Rng) -> list[float]:
    """Atrial fibrillation: a refractory time, longer after a long interval, then a random wait (gamma).

    The coefficient of variation is about 0.23, as in treated patients [R].
    """
    refractory, shape, times, rr = 0.55 * usual, 4.0, [_start(usual, rng)], usual
    while times[-1] < _AFTER + 3 * usual:
        rr = refractory + 0.12 * (rr - usual) + float(rng.gamma(shape, (usual - refractory) / shape))
        times.append(times[-1] + rr)
    return times


def _regular(usual: float, rng: Rng) -> list[float]:
    """A pacemaker's clock, in whole milliseconds."""
    start, interval = round(_start(usual, rng)), round(usual)
    return [float(start + interval * k) for k in range(int((_AFTER - start) / interval) + 4)]


def _start(usual: float, rng: Rng) -> float:
    """A beat so long before the recording that the next ones are still unseen."""
    return _BEFORE - 2 * usual - float(rng.uniform(0, usual))


def _with_atrial_beats(events: list[Event], rng: Rng) -> list[Event]:
    """Premature P waves of another shape that reset the sinus node: the next beat comes a little late after them."""
    for i in _chosen(events, rng):
        early, after = events[i], events[i + 1]
        rr, pause = early.rr * float(rng.uniform(*_ATRIAL_COUPLING)), after.rr * float(rng.uniform(1.0, 1.15))
        time = events[i - 1].time + rr
        tired = None if early.pr is None else early.pr + float(rng.uniform(0, 30))  # the node has not yet recovered
        premature = replace(early, time=time, rr=rr, pr=tired, p_gain=_elsewhere(rng))
        events = [*events[:i], premature, *_moved(events[i + 1 :], time + pause - after.time, pause)]
    return events


def _elsewhere(rng: Rng) -> tuple[float, ...]:
    """Factors on the sinus P wave when the atria are activated from elsewhere: flat, or turned round; ours."""
    return tuple(float(gain) for gain in np.r_[rng.uniform(-0.9, 0.9, 2), rng.uniform(-0.5, 1.2, 6)])


def _moved(events: list[Event], shift: float, rr: float) -> list[Event]:
    """The events `shift` ms later, the first of them `rr` after the one before it."""
    first, *rest = (replace(event, time=event.time + shift) for event in events)
    return [replace(first, rr=rr), *rest]


def _with_ventricular_beats(events: list[Event], rng: Rng) -> list[Event]:
    """Beats from the ventricles in the place of others.

    The sinus node keeps its time, so that the pause is compensatory; a pacemaker starts its interval anew.
    """
    for i in _chosen(events, rng):
        replaced, after = events[i], events[i + 1]
        restarts = replaced.kind == "paced"
        rr = replaced.rr * float(rng.uniform(*_ECTOPIC_COUPLING))
        time = events[i - 1].time + rr
        hidden = None if replaced.pr is None or restarts else time - (replaced.time - replaced.pr)
        premature = replace(replaced, time=time, kind="ventricular", rr=rr, pr=hidden)
        shift = time - replaced.time if restarts else 0.0
        events = [*events[:i], premature, *_moved(events[i + 1 :], shift, after.time + shift - time)]
    return events


def _chosen(events: list[Event], rng: Rng) -> Iterator[int]:
    """One or a few beats that lie within the recording, never neighbours; the last first, so that shifts do no harm."""
    inside = [i for i, event in enumerate(events) if 700 < event.time < 1000 * DURATION - 900]
    wanted = 1 + int(rng.poisson(0.7))
    taken: list[int] = []
    for i in rng.permutation(inside)[: 2 * wanted]:
        if len(taken) < wanted and all(abs(int(i) - other) > 2 for other in taken):
            taken.append(int(i))
    return iter(sorted(taken, reverse=True))


def _fibrillation(rng: Rng) -> Fibrillation:
    """4 to 9 waves a second, 0.05 to 0.15 mV in V1, where coarse begins at 0.1 mV [R]."""
    return Fibrillation(
        rate=bounded_normal(rng, 6.2, 0.9),
        size=float(np.clip(np.exp(bounded_normal(rng, np.log(0.085), 0.35)), 0.04, 0.2)),
        phase=float(rng.uniform(0, 2 * np.pi)),
    )
