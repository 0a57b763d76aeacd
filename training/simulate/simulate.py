"""Simulate: a seed becomes a participant, whose ECG and cardiac MRI come from one heart."""

from __future__ import annotations

import numpy as np

from models.ecg.recording import Recording
from models.phenotypes import PHENOTYPES, derive
from training.simulate.activation import RIGHT_APEX
from training.simulate.cart import sample_cart
from training.simulate.electrics import Beat, Generator
from training.simulate.heart import FIRST_VISIT, Again, Heart, heart_of, stream
from training.simulate.imaging import left_atrial_volume, measure, short_axis
from training.simulate.p_wave import atrial_wave
from training.simulate.participant import Participant
from training.simulate.recording import record
from training.simulate.rhythm import Kind, sample_rhythm
from training.simulate.setting import ENRICHED, Setting
from training.simulate.torso import sample_slips, torso_lead_field


def simulate(seed: int, again: Again = FIRST_VISIT, setting: Setting = ENRICHED) -> Participant:
    """The participant of this seed, the same bytes every time on one machine.

    Parameters
    ----------
    seed : not negative; another seed is another person.
    again : the same heart with new electrodes, rhythm, noise or scan.
    setting : where this person comes from.

    Returns
    -------
    Participant
        Its labels are counted on the label maps, as CMR counts them. LVWT is that of the whole rings, so without the
        apex, 4 % more than the mean over the endocardium that `analytic` has. LAV is counted on the stack continued
        over the atria.
    """
    heart = heart_of(seed, setting)
    person, disease, heart_rate = heart.subject.person, heart.subject.disease, heart.subject.heart_rate
    scan = short_axis(heart, again.imaging)
    analytic = true_phenotypes(heart)
    return Participant(
        seed=seed,
        pathology=disease.pathology,
        severity=disease.severity,
        sex=person.sex,
        age=person.age,
        height=person.height,
        weight=person.weight,
        heart_rate=heart_rate,
        rhythm=heart.subject.rhythm,
        recording=record_ecg(heart, again),
        ed=scan.image[0],
        es=scan.image[1],
        spacing=scan.spacing,
        phenotypes=_complete(measure(scan) | {"LAV": left_atrial_volume(heart)}, heart_rate),
        analytic=_complete(analytic, heart_rate),
    )


def record_ecg(heart: Heart, again: Again = FIRST_VISIT, sampling_rate: int = 500) -> Recording:
    """The ECG of a heart, without imaging it: at 500 Hz the same recording as `simulate` returns.

    Parameters
    ----------
    again : the same heart with new electrodes and cart, rhythm or noise.
    sampling_rate : 250, 500 or 1000 Hz.
    """
    seed = heart.seed
    wiring = stream(seed, "electrodes", again.electrodes)
    field = torso_lead_field(heart.torso, sample_slips(wiring), heart.lie.conductivity)
    cart = sample_cart(wiring, sampling_rate)
    rhythm = sample_rhythm(heart.subject, stream(seed, "rhythm", again.rhythm))
    generator = heart.seen_by(field)
    beats = {kind: _template(kind, generator, heart) for kind in rhythm.kinds}
    p_wave = atrial_wave(heart.atria, field)
    return record(beats, p_wave, rhythm, heart.subject.person, cart, stream(seed, "noise", again.noise))


def _template(kind: Kind, generator: Generator, heart: Heart) -> Beat:
    """One beat of this kind."""
    if kind == "conducted":
        return generator.conducted()
    return generator.from_focus(RIGHT_APEX if kind == "paced" else heart.focus)


def true_phenotypes(heart: Heart) -> dict[str, float]:
    """The predicted phenotypes as the parametric heart has them."""
    volumes = heart.subject.volumes
    return {
        "LVEDV": volumes.lv_edv,
        "LVESV": volumes.lv_esv,
        "LVM": volumes.lv_mass,
        "LVWT": heart.ed.left.mean_wall,
        "RVEDV": volumes.rv_edv,
        "RVESV": volumes.rv_esv,
        "LAV": volumes.la,
    }


def _complete(predicted: dict[str, float], heart_rate: float) -> dict[str, float]:
    """Add the derived phenotypes, in the order of the catalogue."""
    derived = derive({symbol: np.array(value) for symbol, value in predicted.items()}, heart_rate)
    values = predicted | {symbol: float(value) for symbol, value in derived.items()}
    return {symbol: values[symbol] for symbol in PHENOTYPES}
