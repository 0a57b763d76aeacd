"""Dossier: one simulated participant as the files that a hospital would have of a real one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from models.ecg.writers import save
from training.simulate import kspace, scan_dicom, scan_nifti
from training.simulate.heart import FIRST_VISIT, Again, Heart, heart_of, stream
from training.simulate.imaging import cine, four_chamber, late_enhancement
from training.simulate.plan import SHAPE
from training.simulate.scan import Scan
from training.simulate.setting import ENRICHED, Setting
from training.simulate.simulate import record_ecg, simulate

View = Literal["short-axis", "four-chamber", "late-enhancement"]
ScanFormat = Literal["NIfTI", "DICOM"]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a dossier holds.

    Attributes
    ----------
    ecg : tuple of str
        Formats of `models.ecg.writers`.
    sampling_rate : int
        Of the ECG: 250, 500 or 1000 Hz.
    scans : tuple of str
        "NIfTI" (with label maps), "DICOM".
    views : tuple of str
        "short-axis" (a cine), "four-chamber" (a cine), "late-enhancement".
    phases : int
        Of the cines.
    acceleration : float
        Of the raw data of the middle short-axis slice, from 8 coils; 0 for none.
    """

    ecg: tuple[str, ...] = ("WFDB", "DICOM", "MUSE")
    sampling_rate: int = 500
    scans: tuple[ScanFormat, ...] = ("NIfTI",)
    views: tuple[View, ...] = ("short-axis", "four-chamber", "late-enhancement")
    phases: int = 25
    acceleration: float = 0.0


USUAL = Contents()

_NOISE = 0.02  # of the raw data, as a share of the brightest voxel


def write_dossier(
    folder: Path,
    seed: int,
    contents: Contents = USUAL,
    again: Again = FIRST_VISIT,
    setting: Setting = ENRICHED,
) -> list[Path]:
    """Write the participant's ECG, scans, raw data and truth into `folder`; the same files for the same seed.

    Returns
    -------
    What was written, `truth.json` last: person, disease and phenotypes, counted and analytic.
    """
    if contents.acceleration:
        kspace.sampled_lines(SHAPE[1], contents.acceleration)  # refused before anything is written
    heart, identity = heart_of(seed, setting), f"sim-{seed}"
    ecg = record_ecg(heart, again, contents.sampling_rate)
    recording = replace(ecg, patient_id=identity, device=scan_dicom.MANUFACTURER)
    written = save(recording, folder, identity, contents.ecg)
    for number, view in enumerate(contents.views, start=1):
        scan = _scan(view, heart, contents.phases, again.imaging)
        if contents.acceleration and view == "short-axis":
            written.append(_write_kspace(folder / "kspace.npz", scan, contents.acceleration, heart.seed, again.imaging))
        if "NIfTI" in contents.scans:
            written += scan_nifti.write(scan, folder)
        if "DICOM" in contents.scans:
            written += scan_dicom.write(scan, folder, seed, heart.subject.person, number)
    written.append(_write_truth(folder / "truth.json", seed, again, setting))
    return written


def _scan(view: View, heart: Heart, phases: int, draw: int) -> Scan:
    if view == "late-enhancement":
        return late_enhancement(heart, draw)
    return (cine if view == "short-axis" else four_chamber)(heart, phases, draw=draw)


def _write_kspace(path: Path, scan: Scan, acceleration: float, seed: int, draw: int) -> Path:
    """The middle slice of a cine before reconstruction, from eight coils."""
    middle = scan.image[:, scan.image.shape[1] // 2]
    raw = kspace.sample(middle, 8, acceleration, _NOISE * float(middle.max()), stream(seed, "k-space", draw))
    np.savez_compressed(path, samples=raw.samples, mask=raw.mask, sensitivities=raw.sensitivities)
    return path


def _write_truth(path: Path, seed: int, again: Again, setting: Setting) -> Path:
    participant, subject = simulate(seed, again, setting), heart_of(seed, setting).subject
    truth = {
        "notice": "A simulated heart, not a patient.",
        "seed": seed,
        "setting": setting.name,
        "again": asdict(again),
        **asdict(subject),
        "phenotypes_counted_on_label_maps": dict(participant.phenotypes),
        "phenotypes_of_the_parametric_heart": dict(participant.analytic),
    }
    path.write_text(json.dumps(truth, indent=1))
    return path
