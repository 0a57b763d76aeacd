"""Real: normal ECGs of real people beside the repository, for comparison alone; never shipped, never trained on."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.ecg import decode
from models.ecg.archive import pack
from models.ecg.recording import Recording, Sex
from training.cohort import CohortError

NORMAL_IN_LUDB = frozenset(
    {
        "Rhythm: Sinus rhythm",
        "Rhythm: Sinus bradycardia",
        "Rhythm: Sinus arrhythmia",
        "Electric axis of the heart: normal",
        "Electric axis of the heart: vertical",
        "Electric axis of the heart: horizontal",
    }
)
"""Diagnoses that a normal ECG may have in LUDB (Kalyakulina et al., IEEE Access 2020;8:186181); any other bars it."""

NORMAL_IN_CINC = frozenset({"426783006", "426177001", "427393009"})
"""SNOMED CT codes that a normal ECG may have in the CinC 2021 headers: sinus rhythm, bradycardia, arrhythmia."""

ADULT = 18.0  # years


class NoRealEcgs(CohortError):
    """The folder holds no normal ECGs of LUDB or CinC 2021."""


def normal_ecgs(folder: Path) -> list[Recording]:
    """Normal ECGs of adults in `folder/ludb` and `folder/cinc2021_sample`.

    Raises
    ------
    NoRealEcgs
        If there are none.
    """
    found = [one for one in (*_ludb(folder / "ludb"), *_cinc(folder / "cinc2021_sample")) if (one.age or 0) >= ADULT]
    if not found:
        raise NoRealEcgs(f"{folder} holds no normal ECGs in ludb/ or cinc2021_sample/")
    return found


def _ludb(folder: Path) -> Iterator[Recording]:
    for diagnoses, recording in ludb_recordings(folder):
        if recording.age is not None and diagnoses <= NORMAL_IN_LUDB:
            yield recording


def ludb_recordings(folder: Path) -> Iterator[tuple[frozenset[str], Recording]]:
    """Every ECG of LUDB with its diagnoses, in the words of the database; none where the folder is not there."""
    if not (folder / "records.csv").is_file():
        return
    stored = np.load(folder / "ludb_adc.npz")
    signals = (stored["adc"].astype(np.float64) - stored["baseline"][..., None]) / stored["gain"][..., None]
    with (folder / "records.csv").open() as table:
        for row, signal in zip(csv.DictReader(table), signals, strict=True):
            sex: Sex = "F" if row["sex"] == "F" else "M"
            age = float(row["age"]) if row["age"].isdigit() else None  # above 89 LUDB says ">89"
            diagnoses = frozenset(row["diagnoses"].strip().split(" | "))
            yield diagnoses, Recording(signal=signal, sampling_rate=float(stored["fs"]), age=age, sex=sex)


def _cinc(folder: Path) -> Iterator[Recording]:
    for _, diagnoses, data in cinc_files(folder):
        if diagnoses and diagnoses <= NORMAL_IN_CINC:
            yield decode(data)


def cinc_files(folder: Path) -> Iterator[tuple[str, frozenset[str], bytes]]:
    """Name, SNOMED CT codes and bytes of every ECG of CinC 2021; none where the folder is not there."""
    for header in sorted(folder.glob("*.hea")):
        text = header.read_text()
        stated = re.search(r"^# ?Dx: *(.+)$", text, re.MULTILINE)
        diagnoses = frozenset(stated[1].strip().split(",")) if stated else frozenset()
        samples = header.with_suffix(".mat")
        yield header.stem, diagnoses, pack({header.name: text.encode(), samples.name: samples.read_bytes()})
