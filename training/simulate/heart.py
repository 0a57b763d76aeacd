"""Heart: everything about one participant before anything is measured; its ECG and its images are views of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from training.simulate.activation import Conduction, Focus, sample_conduction, sample_focus
from training.simulate.anatomy import Shape, Ventricles, build_ventricles, sample_shape
from training.simulate.atria import Atria, build_atria
from training.simulate.calibration import CALIBRATION, Calibration
from training.simulate.electrics import Generator, Repolarisation, generator_of, sample_repolarisation
from training.simulate.population import Subject, sample_subject
from training.simulate.setting import ENRICHED, Setting
from training.simulate.torso import LeadField, Lie, Pose, Torso, pose_of, sample_lie, torso_of

Stage = Literal[
    "population", "shape", "electrics", "lie", "electrodes", "rhythm", "noise", "imaging", "tissue", "k-space"
]


@dataclass(frozen=True, kw_only=True)
class Again:
    """Which draw of each stage that may differ between two visits of one heart; 0 is the first.

    Attributes
    ----------
    electrodes : int
        Where the electrodes are stuck.
    rhythm : int
        The ten seconds: rate, breathing, ectopic beats.
    noise : int
        Wander, muscle, mains.
    imaging : int
        Planning of the slices, coil, breath-holds, noise.
    """

    electrodes: int = 0
    rhythm: int = 0
    noise: int = 0
    imaging: int = 0

    @classmethod
    def another_day(cls, day: int) -> Again:
        """All of them anew: the same person comes back."""
        return cls(electrodes=day, rhythm=day, noise=day, imaging=day)


FIRST_VISIT = Again()


def stream(seed: int, stage: Stage, draw: int = 0) -> np.random.Generator:
    """The random numbers of one stage of one participant; each stage has a stream of its own.

    So one stage can be drawn again while the others stay, and a stage that takes more numbers disturbs no other.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(get_args(Stage).index(stage), draw)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Heart:
    """One heart in its chest: what stays when electrodes, rhythm, noise and scan are drawn again.

    Its ectopic beats come from `focus`, if it has any.
    """

    seed: int
    subject: Subject
    shape: Shape
    torso: Torso
    lie: Lie
    conduction: Conduction
    repolarisation: Repolarisation
    focus: Focus
    ed: Ventricles
    es: Ventricles
    pose: Pose
    atria: Atria
    calibration: Calibration

    def seen_by(self, field: LeadField) -> Generator:
        """The ventricles as the leads of `field` see them."""
        return generator_of(
            self.ed,
            self.pose,
            field,
            self.subject.disease,
            self.conduction,
            self.repolarisation,
            self.subject.heart_rate,
            self.calibration,
        )


def heart_of(seed: int, setting: Setting = ENRICHED, calibration: Calibration = CALIBRATION) -> Heart:
    """The heart of this seed.

    Parameters
    ----------
    seed : not negative; another seed is another person.
    setting : where this person comes from.

    Raises
    ------
    ImpossibleHeart
        If the setting draws one impossible heart after the other.
    """
    subject = sample_subject(stream(seed, "population"), setting)
    person, disease = subject.person, subject.disease
    shape = sample_shape(disease, stream(seed, "shape"))
    ed, es = build_ventricles(subject, shape, 0.0), build_ventricles(subject, shape, 1.0)
    torso, lie = torso_of(person), sample_lie(person, stream(seed, "lie"), calibration)
    pose = pose_of(lie, torso, ed, calibration)
    electrics = stream(seed, "electrics")
    return Heart(
        seed=seed,
        subject=subject,
        shape=shape,
        torso=torso,
        lie=lie,
        conduction=sample_conduction(disease, electrics, calibration),
        repolarisation=sample_repolarisation(person, electrics, calibration),
        ed=ed,
        es=es,
        pose=pose,
        atria=build_atria(subject.volumes, ed, pose, electrics),
        focus=sample_focus(electrics),
        calibration=calibration,
    )
