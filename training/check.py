"""Check: everything that is wrong with a cohort, named by participant and column, and what training does about it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from models.ecg.errors import EcgError
from models.ecg.quality import assess
from models.phenotypes import PHENOTYPES
from training.cohort import Cohort, CohortError, Fault, load_shard
from training.config import Recipe
from training.manifest import UnreadableShard, read_manifest
from training.split import FILE, in_two_parts, parse_split

PERSON = {"age": (0.0, 130.0), "height": (50.0, 250.0), "weight": (20.0, 350.0), "heart_rate": (20.0, 300.0)}
"""Years (as `Recording` takes them), cm, kg, beats per minute: wide physical limits of people who lie in a scanner."""

FACTORS = (1000.0, 100.0, 10.0, 0.1, 0.01, 0.001)
"""Between units that are confused: L and mL, a fraction and per cent, cm and mm, m and cm."""

ROUNDED = 2.0
"""mL, or points of an ejection fraction: by more than rounding to whole ones makes them differ."""

FOLLOWS: dict[str, tuple[str, ...]] = {
    "LVSV": ("LVEDV", "LVESV"),
    "LVEF": ("LVEDV", "LVESV"),
    "CO": ("LVEDV", "LVESV", "heart_rate"),
    "RVSV": ("RVEDV", "RVESV"),
    "RVEF": ("RVEDV", "RVESV"),
}
"""The columns that a derived phenotype follows from: it is as wrong as they are."""

NUMBERS = (*PHENOTYPES, *PERSON)
"""Columns of which a wrong number alone becomes unknown; whatever else is wrong, the whole visit is left out."""


class FaultyCohort(CohortError):
    """A cohort with faults, where the recipe says that none is to be trained on."""


def check(folder: Path, progress: Progress, min_duration: float = Recipe.min_duration) -> list[Fault]:
    """Read a whole cohort and name everything that is wrong with it, what its source left out included.

    Parameters
    ----------
    min_duration : seconds below which the model refuses an ECG

    Raises
    ------
    CohortError
        If there is no cohort, or its manifest cannot be read.
    """
    manifest = read_manifest(folder)
    task = progress.add_task("check the cohort", total=sum(shard.entries for shard in manifest.shards), note="")
    faults, visits = list(manifest.left_out), list[tuple[str, str]]()
    for shard in manifest.shards:
        try:
            cohort = load_shard(folder, shard, manifest)
        except UnreadableShard as error:
            faults.append(_unreadable(error))
            continue
        visits += zip(cohort.ids.tolist(), cohort.participants.tolist(), strict=True)
        faults += faults_of_shard(cohort, min_duration)
        progress.advance(task, len(cohort))
    return [*faults, *_twice(visits), *_mixed(folder)]


def _unreadable(error: UnreadableShard) -> Fault:
    advice = "restore it, or make the cohort anew; until then its participants are missing"
    return Fault(id="", participant="", column="shard", what=str(error), advice=advice)


def _twice(visits: Sequence[tuple[str, str]]) -> Iterator[Fault]:
    participants = dict(visits)
    for visit, count in Counter(visit for visit, _ in visits).items():
        if count > 1:
            what, advice = f"occurs {count} times", "give every visit an id of its own; training refuses it"
            yield Fault(id=visit, participant=participants[visit], column="id", what=what, advice=advice)


def _mixed(folder: Path) -> Iterator[Fault]:
    twice = in_two_parts(parse_split(folder / FILE)) if (folder / FILE).is_file() else []
    for participant in twice:
        advice = f"correct {FILE}; training refuses it"
        yield Fault(id="", participant=participant, column="split", what="stands in two parts", advice=advice)


def unread(cohort: Cohort) -> list[Fault]:
    """The shards that a cohort was loaded without."""
    faults = []
    for shard in set(cohort.manifest.shards) - set(cohort.shards):
        try:
            load_shard(cohort.folder, shard, cohort.manifest)
        except UnreadableShard as error:
            faults.append(_unreadable(error))
    return faults


def faults_of_shard(cohort: Cohort, min_duration: float) -> list[Fault]:
    """What is wrong with each visit by itself; reads everything of it once."""
    found = []
    for row in range(len(cohort)):
        visit, participant = str(cohort.ids[row]), str(cohort.participants[row])
        for column, what, advice in _faults(cohort, row, min_duration):
            found.append(Fault(id=visit, participant=participant, column=column, what=what, advice=advice))
    return found


Findings = Iterator[tuple[str, str, str]]


def _faults(cohort: Cohort, row: int, min_duration: float) -> Findings:
    if cohort.digest_of(row) != cohort.digests[row].tobytes():
        yield "shard", "is not what was written", "restore the shard: some of its files are damaged"
    yield from _ecg(cohort, row, min_duration)
    for name, volumes in cohort.volumes.items():
        if volumes[row].min() == volumes[row].max():
            yield f"volumes/{name}", "shows nothing but one grey", "look at the image that was imported"
    for name, limits in PERSON.items():
        yield from _number(name, float(getattr(cohort, name)[row]), limits)
    if cohort.sex[row] not in ("F", "M", ""):
        yield "sex", f"{cohort.sex[row]} is neither F nor M", "import it as F, M or nothing"
    stated = dict(zip(PHENOTYPES, map(float, cohort.phenotypes[row]), strict=True))
    for symbol, value in stated.items():
        wrong = list(_number(symbol, value, PHENOTYPES[symbol].plausible, PHENOTYPES[symbol].unit))
        stated[symbol] = math.nan if wrong else value  # named once, not again wherever it is compared
        yield from wrong
    for ventricle in ("LV", "RV"):
        yield from _ventricle(ventricle, stated)


def _ecg(cohort: Cohort, row: int, min_duration: float) -> Findings:
    """What serving refuses is not trained on: flat or saturated leads, no beat, amplitudes of another unit."""
    try:
        recording = cohort.recording(row)
    except EcgError as error:
        yield "ecg", str(error), "look at the file that was imported"
        return
    if recording.duration < min_duration:
        yield "ecg", f"{recording.duration:.1f} s are shorter than {min_duration:g} s", "leave it out"
        return
    for finding in assess(recording).findings:
        if finding.severity == "error":
            unit = finding.code == "implausible-amplitude"
            advice = "see in which unit the file keeps its samples" if unit else "leave it out; serving refuses it too"
            yield "ecg", finding.message, advice


def _number(name: str, value: float, limits: tuple[float, float], unit: str = "") -> Findings:
    if math.isnan(value) or limits[0] <= value <= limits[1]:
        return
    fitting = [factor for factor in FACTORS if limits[0] <= value * factor <= limits[1]]
    if fitting:
        advice = f"{fitting[0]:g} times that would do: see in which unit it was imported"
    else:
        advice = "measure it again, or leave it empty"
    yield name, f"{value:g} {unit}".strip() + f" is outside {limits[0]:g} to {limits[1]:g}", advice


def _ventricle(ventricle: str, stated: Mapping[str, float]) -> Findings:
    """Comparisons with NaN are false: what is unknown is not wrong."""
    edv, esv = stated[f"{ventricle}EDV"], stated[f"{ventricle}ESV"]
    if edv <= esv:
        for symbol in (f"{ventricle}EDV", f"{ventricle}ESV"):
            what = f"{ventricle}EDV of {edv:g} mL is not above {ventricle}ESV of {esv:g} mL"
            yield symbol, what, "see whether the phases were exchanged"
        return
    for symbol, expected in ((f"{ventricle}SV", edv - esv), (f"{ventricle}EF", 100 * (edv - esv) / edv)):
        if abs(stated[symbol] - expected) > ROUNDED:
            what = f"{stated[symbol]:g} does not follow from the volumes, which give {expected:.1f}"
            yield symbol, what, "see whether rows of two tables were joined wrongly"


def admitted(cohort: Cohort, faults: Sequence[Fault]) -> tuple[Cohort, NDArray[np.bool_]]:
    """The cohort with every wrong number unknown, and (n,) which visits may be used at all.

    Of a wrong number the derived phenotypes that follow from it become unknown too.
    """
    places = {str(visit): row for row, visit in enumerate(cohort.ids)}
    usable = np.ones(len(cohort), bool)
    person = {name: getattr(cohort, name).copy() for name in PERSON}
    phenotypes, sex = cohort.phenotypes.copy(), cohort.sex.copy()
    for fault in faults:
        row = places.get(fault.id)
        if row is None:
            continue  # it was left out already
        if fault.column in NUMBERS:
            wrong = {fault.column, *(name for name, parents in FOLLOWS.items() if fault.column in parents)}
            phenotypes[row, [symbol in wrong for symbol in PHENOTYPES]] = np.nan
            for name in wrong & set(person):
                person[name][row] = np.nan
        elif fault.column == "sex":
            sex[row] = ""
        else:
            usable[row] = False
    return replace(cohort, phenotypes=phenotypes, sex=sex, **person), usable


def summary(faults: Sequence[Fault]) -> list[str]:
    """How many visits each column has something wrong in, most first."""
    counts = Counter(fault.column for fault in faults)
    return [f"{column}: {count}" for column, count in counts.most_common()]


def write_report(folder: Path, faults: Sequence[Fault]) -> tuple[Path, Path]:
    """Write `check.json` for programs and `check.txt` for people."""
    folder.mkdir(parents=True, exist_ok=True)
    table, text = folder / "check.json", folder / "check.txt"
    table.write_text(json.dumps([fault.model_dump() for fault in faults], indent=1))
    heading = f"{len(faults)} faults" if faults else "nothing is wrong"
    text.write_text("\n".join([heading, *summary(faults), "", *map(str, faults)]) + "\n")
    return table, text
