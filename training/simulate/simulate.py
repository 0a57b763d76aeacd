"""Simulate: a seed becomes a participant, whose ECG and cardiac MRI come from one heart."""

from __future__ import annotations

import numpy as np

from models.phenotypes import PHENOTYPES, derive
from training.simulate.activation import sample_conduction
from training.simulate.anatomy import Ventricles, build_ventricles, sample_shape
from training.simulate.atria import build_atria
from training.simulate.electrics import beat, sample_repolarisation
from training.simulate.imaging import SPACING, acquire, measure
from training.simulate.participant import Participant
from training.simulate.population import Subject, sample_subject
from training.simulate.recording import record, sample_rhythm
from training.simulate.torso import pose_of, sample_placement, torso_lead_field, torso_of

_STAGES = 7


def simulate(seed: int) -> Participant:
    """The participant of this seed, the same bytes every time on one machine.

    Each stage (population, shape, electrics, placement, rhythm, noise, imaging) draws from a stream of its own, so that
    one can be drawn again while the others stay.

    Parameters
    ----------
    seed : not negative; another seed is another person.

    Returns
    -------
    Participant
        Its labels LVEDV, LVESV, LVM, RVEDV and RVESV are counted on the label maps. LVWT and LAV are those of the
        parametric heart: 2.5 mm voxels are too coarse for a wall of 5 mm, and the short-axis stack does not hold the
        whole left atrium (in practice it is measured on long-axis views). LVWT is the wall thickness averaged over the
        endocardial surface at end-diastole, LAV the left atrial volume at its largest.
    """
    streams = [np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(_STAGES)]
    population, shaping, electrics, placing, timing, noise, imaging = streams
    subject = sample_subject(population)
    person, disease = subject.person, subject.disease

    shape = sample_shape(disease, shaping)
    phases = build_ventricles(subject, shape, "ED"), build_ventricles(subject, shape, "ES")
    torso, placement = torso_of(person), sample_placement(person, placing)
    pose = pose_of(placement, torso, phases[0])
    atria = build_atria(subject.volumes, phases[0], pose, electrics)

    one_beat = beat(
        phases[0],
        atria,
        pose,
        torso_lead_field(torso, placement),
        disease,
        sample_conduction(disease, electrics),
        sample_repolarisation(person, electrics),
        subject.heart_rate,
    )
    stack = acquire(person, phases, atria, torso, pose, imaging)
    analytic = _true_phenotypes(subject, phases[0])
    return Participant(
        seed=seed,
        pathology=disease.pathology,
        severity=disease.severity,
        sex=person.sex,
        age=person.age,
        height=person.height,
        weight=person.weight,
        heart_rate=subject.heart_rate,
        recording=record(one_beat, sample_rhythm(person, subject.heart_rate, timing), person, timing, noise),
        ed=stack.ed,
        es=stack.es,
        spacing=SPACING,
        phenotypes=_complete(analytic | measure(stack), subject.heart_rate),
        analytic=_complete(analytic, subject.heart_rate),
    )


def _true_phenotypes(subject: Subject, ed: Ventricles) -> dict[str, float]:
    volumes = subject.volumes
    return {
        "LVEDV": volumes.lv_edv,
        "LVESV": volumes.lv_esv,
        "LVM": volumes.lv_mass,
        "LVWT": ed.left.mean_wall,
        "RVEDV": volumes.rv_edv,
        "RVESV": volumes.rv_esv,
        "LAV": volumes.la,
    }


def _complete(predicted: dict[str, float], heart_rate: float) -> dict[str, float]:
    """Add the derived phenotypes, in the order of the catalogue."""
    derived = derive({symbol: np.array(value) for symbol, value in predicted.items()}, heart_rate)
    values = predicted | {symbol: float(value) for symbol, value in derived.items()}
    return {symbol: values[symbol] for symbol in PHENOTYPES}
