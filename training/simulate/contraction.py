"""Contraction: how far the ventricles have contracted, and how full the atria are, at every moment of the beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.simulate.population import Subject

Array = NDArray[np.float64]

_Q_TO_R = 40.0
"""Milliseconds from the onset of QRS, where systolic intervals start, to the R wave, where a scanner starts."""

_LEFT_EMPTYING, _RIGHT_EMPTYING = 0.60, 0.47
"""Share of its largest volume that a healthy atrium empties (left 60 %, right 45 to 49 %: Petersen et al., JCMR
2017;19:18; recalled, unverified)."""

_BOOSTER = 0.4
"""Share of what leaves the atria that their own contraction drives out (recalled, unverified)."""

_LEFT_USUAL, _RIGHT_USUAL = 36.0, 41.0
"""Largest healthy volume, mL/m² (`population`)."""


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """When things happen in one beat, in milliseconds after the R wave.

    Attributes
    ----------
    opening, end_systole : float
        The aortic valve opens and closes; ejection lies between.
    filling, diastasis : float
        The mitral valve opens; rapid filling is over.
    kick, length : float
        The atria contract, until the next R wave.
    passive : float
        Share of the filling that is done before the atria contract.
    booster : float
        Share of what leaves the atria in the kick: their own contraction; none in fibrillation.
    """

    opening: float
    end_systole: float
    filling: float
    diastasis: float
    kick: float
    length: float
    passive: float
    booster: float

    def contraction(self, time: Array) -> Array:
        """Share of the stroke volume that is out: 0 at end-diastole, 1 from end-systole until filling begins."""
        at = np.mod(time, self.length)
        passive, active = _run(at, self.filling, self.diastasis), _run(at, self.kick, self.length)
        return _run(at, self.opening, self.end_systole) - self.passive * passive - (1 - self.passive) * active

    def reservoir(self, time: Array) -> Array:
        """How far the atria are filled from their smallest (0, end-diastole) to their largest volume (1, end-systole).

        Six tenths of what leaves them leaves as a conduit, the rest in the kick (passive over total emptying of the
        left atrium, Blume et al., Eur J Echocardiogr 2011;12:421; recalled, unverified).
        """
        at = np.mod(time, self.length)
        passive, active = _run(at, self.filling, self.diastasis), _run(at, self.kick, self.length)
        return _run(at, 0.0, self.end_systole) - (1 - self.booster) * passive - self.booster * active

    def open(self, time: Array) -> NDArray[np.bool_]:
        """Whether the mitral and tricuspid valves stand open."""
        return np.asarray(np.mod(time, self.length) > self.filling)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One moment of the beat: contraction of the ventricles, volumes of the atria in mL, valves."""

    contraction: float
    la: float
    ra: float
    valves_open: bool = False


def cycle_of(subject: Subject) -> Cycle:
    """The beat of this subject at the resting heart rate.

    Electromechanical systole QS2 is 546 - 2.1 HR in men and 549 - 2.0 HR in women (Weissler et al., Circulation
    1968;37:149); a weak ventricle spends more of it before ejection, PEP/LVET = 1.125 - 1.25 EF (Garrard et al.,
    Circulation 1970;42:455). The filling shares and lengths are round figures of Doppler practice; older ventricles
    rely more on the kick, and fibrillating atria give none. All recalled, unverified.
    """
    rate, person, fibrillates = subject.heart_rate, subject.person, subject.rhythm == "AF"
    length = 60000 / rate
    systole = 546 - 2.1 * rate if person.sex == "M" else 549 - 2.0 * rate
    ratio = float(np.clip(1.125 - 1.25 * subject.volumes.lv_ejected, 0.25, 0.9))
    opening, end = systole * ratio / (1 + ratio) - _Q_TO_R, systole - _Q_TO_R
    diastole = length - end
    filling = end + min(75.0, 0.2 * diastole)
    return Cycle(
        opening=opening,
        end_systole=end,
        filling=filling,
        diastasis=filling + min(210.0, 0.5 * diastole),
        kick=length - min(130.0, 0.3 * diastole),
        length=length,
        passive=1.0 if fibrillates else float(np.clip(0.85 - 0.003 * (person.age - 20), 0.6, 0.85)),
        booster=0.0 if fibrillates else _BOOSTER,
    )


def end_diastole(subject: Subject) -> Moment:
    """The moment of the R wave: ventricles full, atria empty."""
    return _moment(subject, 0.0, 0.0)


def end_systole(subject: Subject) -> Moment:
    """The moment at which the aortic valve closes: ventricles empty, atria full."""
    return _moment(subject, 1.0, 1.0)


def diastasis(subject: Subject) -> Moment:
    """The long quiet middle of diastole, in which late enhancement is imaged."""
    return moments(subject, np.array([cycle_of(subject).kick / 1000]))[0]


def moments(subject: Subject, times: Array) -> list[Moment]:
    """The moments at `times` (n,), seconds after the R wave."""
    cycle, at = cycle_of(subject), np.asarray(times) * 1000
    states = zip(cycle.contraction(at), cycle.reservoir(at), cycle.open(at), strict=True)
    return [_moment(subject, float(contraction), float(filled), bool(open_)) for contraction, filled, open_ in states]


def _moment(subject: Subject, contraction: float, filled: float, valves_open: bool = False) -> Moment:
    """A large atrium empties less: 0.25 of emptying lost for each doubling of its size over the healthy one (ours)."""
    volumes, bsa = subject.volumes, subject.person.bsa
    kept = 1 - _BOOSTER if subject.rhythm == "AF" else 1.0  # of the emptying, where the atria do not contract
    left = kept * _emptied(_LEFT_EMPTYING, volumes.la / bsa / _LEFT_USUAL)
    right = kept * _emptied(_RIGHT_EMPTYING, volumes.ra / bsa / _RIGHT_USUAL)
    return Moment(
        contraction=contraction,
        la=volumes.la * (1 - left * (1 - filled)),
        ra=volumes.ra * (1 - right * (1 - filled)),
        valves_open=valves_open,
    )


def _emptied(usual: float, size: float) -> float:
    return float(np.clip(usual - 0.25 * (size - 1), 0.15, 0.70))


def _run(time: Array, start: float, stop: float) -> Array:
    """From 0 at `start` to 1 at `stop`: the cubic that sets out fast (slope 1.1) and arrives at rest.

    Flow peaks a third of the way, as it does through the aortic and the mitral valve.
    """
    x = np.clip((time - start) / (stop - start), 0, 1)
    return np.asarray(1.1 * x * (1 - x) ** 2 + x * x * (3 - 2 * x))
