"""Simulate: a seed becomes a participant, whose ECG and cardiac MRI come from one heart."""

from __future__ import annotations

import numpy as np

from models.ecg.recording import Recording
from models.phenotypes import PHENOTYPES, derive
from training.simulate.electrics import beat
from training.simulate.heart import Again, Heart, heart_of, stream
from training.simulate.imaging import SPACING, acquire, measure
from training.simulate.participant import Participant
from training.simulate.recording import record, sample_rhythm
from training.simulate.torso import sample_slips, torso_lead_field


def simulate(seed: int, again: Again = Again()) -> Participant:  # noqa: B008  # frozen
    """The participant of this seed, the same bytes every time on one machine.

    Parameters
    ----------
    seed : not negative; another seed is another person.
    again : the same heart with new electrodes, rhythm, noise or scan.

    Returns
    -------
    Participant
        Its labels LVEDV, LVESV, LVM, RVEDV and RVESV are counted on the label maps. LVWT and LAV are those of the
        parametric heart: 2.5 mm voxels are too coarse for a wall of 5 mm, and the short-axis stack does not hold the
        whole left atrium (in practice it is measured on long-axis views). LVWT is the wall thickness averaged over the
        endocardial surface at end-diastole, LAV the left atrial volume at its largest.
    """
    heart = heart_of(seed)
    person, disease, heart_rate = heart.subject.person, heart.subject.disease, heart.subject.heart_rate
    stack = acquire(
        person, (heart.ed, heart.es), heart.atria, heart.torso, heart.pose, stream(seed, "imaging", again.imaging)
    )
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
        recording=record_ecg(heart, again),
        ed=stack.ed,
        es=stack.es,
        spacing=SPACING,
        phenotypes=_complete(analytic | measure(stack), heart_rate),
        analytic=_complete(analytic, heart_rate),
    )


def record_ecg(heart: Heart, again: Again = Again()) -> Recording:  # noqa: B008  # frozen
    """The ECG of a heart, without imaging it: the same recording as `simulate` returns."""
    seed, subject = heart.seed, heart.subject
    slips = sample_slips(stream(seed, "electrodes", again.electrodes))
    field = torso_lead_field(heart.torso, slips, heart.lie.conductivity)
    one_beat = beat(
        heart.ed,
        heart.atria,
        heart.pose,
        field,
        subject.disease,
        heart.conduction,
        heart.repolarisation,
        subject.heart_rate,
    )
    timing = stream(seed, "rhythm", again.rhythm)
    rhythm = sample_rhythm(subject.person, subject.heart_rate, timing)
    return record(one_beat, rhythm, subject.person, timing, stream(seed, "noise", again.noise))


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
