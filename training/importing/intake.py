"""Intake: the files of one visit become an entry of a cohort, or everything that is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from models.ecg.beats import heart_rate
from models.ecg.recording import Recording
from training.check import PERSON
from training.entry import Entry
from training.importing.ecg_file import read_ecg
from training.importing.heart import heart_images
from training.importing.label_values import OWN, LabelValues
from training.importing.truth import Preference, truth
from training.importing.visit import Visit
from training.importing.wrong import Wrong
from training.manifest import Fault

Read = TypeVar("Read")

UNGROUPED = "ungrouped"
"""Group of a visit whose table names none."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How files are read: the classes of label maps, which source of a phenotype wins, whether cines are kept."""

    label_values: LabelValues = field(default_factory=lambda: OWN)
    preference: Preference = field(default_factory=Preference)
    cine: bool = False


def take(visit: Visit, rules: Rules) -> Entry | list[Fault]:
    """Read one visit; it becomes an entry only if nothing at all is wrong with it."""
    wrong = [Wrong(column, what, "correct the table") for column, what in visit.wrong.items()]
    recording = _tried(wrong, lambda: None if "ecg" in visit.wrong else read_ecg(visit.ecg))
    heart = _tried(
        wrong,
        lambda: None if "cmr" in visit.wrong else heart_images(visit.images, rules.label_values, rules.cine),
    )
    wrong += _of_the_person(visit, recording)
    rate = None if recording is None else heart_rate(recording)
    phenotypes, contradictions = truth(visit.stated, heart.measured if heart else {}, rate, rules.preference)
    wrong += [Wrong(symbol, what, "correct the table or the labels") for symbol, what in contradictions.items()]
    wrong += [Wrong("labels", what, "correct the segmentation") for what in (heart.faults if heart else ())]
    if recording is None or heart is None or wrong:
        return [one.of(visit) for one in wrong]
    return Entry(
        id=visit.id,
        participant=visit.participant,
        group=visit.group or UNGROUPED,
        severity=math.nan,
        sex=visit.sex or recording.sex or "",
        age=visit.age if recording.age is None or not math.isnan(visit.age) else recording.age,
        height=visit.height,
        weight=visit.weight,
        heart_rate=math.nan if rate is None else rate,
        rhythm=visit.rhythm,
        recording=recording,
        volumes=heart.volumes,
        phenotypes=phenotypes,
        cine=heart.cine,
    )


def _tried(wrong: list[Wrong], read: Callable[[], Read]) -> Read | None:
    """What was read, or nothing and one more thing that is wrong."""
    try:
        return read()
    except Wrong as error:
        wrong.append(error)
        return None


def _of_the_person(visit: Visit, recording: Recording | None) -> list[Wrong]:
    stated: Mapping[str, float] = {"age": visit.age, "height": visit.height, "weight": visit.weight}
    wrong = [
        Wrong(name, f"{stated[name]:g} lies outside {low:g} to {high:g}", "correct the value or its unit")
        for name, (low, high) in PERSON.items()
        if name in stated and not (math.isnan(stated[name]) or low <= stated[name] <= high)
    ]
    found = recording.sex if recording else None
    if visit.sex and found and visit.sex != found:
        told = f"the table says {visit.sex}, the ECG file {found}: perhaps another person's"
        wrong.append(Wrong("sex", told, "correct the pair or the table"))
    return wrong
