"""Files of simulated participants as a hospital or UK Biobank has them, for the tests of imports."""

from __future__ import annotations

import csv
import functools
import zipfile
from dataclasses import dataclass
from pathlib import Path

from models.ecg import Recording
from models.ecg.writers import wfdb_record
from tests.models.cardiosoft_files import cardiosoft_xml
from training.simulate import heart_of, simulate
from training.simulate.heart import Heart
from training.simulate.imaging import cine
from training.simulate.scan import Scan
from training.simulate.scan_dicom import write as write_dicom
from training.simulate.scan_nifti import write as write_nifti

PHASES = 10


@dataclass(frozen=True)
class Person:
    """A simulated participant: heart, ECG, cine with its label maps, and what is true."""

    heart: Heart
    recording: Recording
    scan: Scan
    truth: dict[str, float]

    @property
    def sex(self) -> str:
        return self.heart.subject.person.sex


@functools.cache
def person(seed: int) -> Person:
    heart, participant = heart_of(seed), simulate(seed)
    return Person(heart, participant.recording, cine(heart, phases=PHASES), dict(participant.phenotypes))


def nifti(one: Person, folder: Path) -> tuple[Path, Path]:
    """Cine and its label maps."""
    return write_nifti(one.scan, folder)


def wfdb(one: Person, folder: Path, name: str) -> Path:
    """Header and signal file, side by side."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in wfdb_record.files(one.recording, name=name).items():
        (folder / file).write_bytes(content)
    return folder / f"{name}.hea"


def ukb_ecg(one: Person, bulk: Path, eid: str, instance: int) -> None:
    gender = {"F": "FEMALE", "M": "MALE"}[one.sex]
    patient = f'<PID>{eid}</PID><Age units="YEARS">62</Age><Gender>{gender}</Gender>'
    content = cardiosoft_xml(one.recording.signal, rate=one.recording.sampling_rate, patient=patient)
    (bulk / f"{eid}_20205_{instance}_0.xml").write_bytes(content)


def ukb_cine(one: Person, bulk: Path, eid: str, instance: int, scratch: Path) -> None:
    """A flat zip of images beside a manifest, as they are delivered."""
    paths = write_dicom(one.scan, scratch / eid, one.heart.seed, one.heart.subject.person)
    with zipfile.ZipFile(bulk / f"{eid}_20209_{instance}_0.zip", "w") as archive:
        archive.writestr("manifest.csv", "filename,series\n")
        for path in paths:
            archive.write(path, path.name)


def table(path: Path, rows: list[dict[str, object]]) -> Path:
    """A CSV of rows that may differ in their columns."""
    header = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path
