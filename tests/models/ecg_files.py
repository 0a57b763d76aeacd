"""The real and constructed ECG files beside the repository, with the right reading of each."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from models.ecg import LEADS, Recording
from models.ecg.archive import pack

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("ECG2CMR_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
FILES = SHARED / "ecg-files"

Row = dict[str, Any]  # a row of expected.json: text, numbers and nested readings


def expected(*kinds: str) -> list[Row]:
    """Rows of expected.json of these folders; none where the files are not beside the repository."""
    listing = FILES / "expected.json"
    rows: list[Row] = json.loads(listing.read_text()) if listing.is_file() else []
    return [row for row in rows if row["path"].split("/")[0] in kinds]


def name_of(row: Row) -> str:
    return str(row["path"])


def content(row: Row) -> bytes:
    """The upload: the file, or a zip of the header and its signal files."""
    path = FILES / row["path"]
    if "companions" not in row:
        return path.read_bytes()
    return pack({name: (path.parent / name).read_bytes() for name in (path.name, *row["companions"])})


def assert_reading(recording: Recording, row: Row) -> None:
    """First samples, extremes and sums of each lead in the file.

    Within a hundredth of a microvolt of other readers; or, where a file was constructed, within its own step of the
    known source.
    """
    reading = row["reading"]
    known = "true_" if "first8_uV" not in reading else ""
    step = reading["tolerance_uV"] if known else 0.01
    assert recording.sampling_rate == reading["sampling_rate_hz"]
    assert recording.signal.shape == (12, reading["samples"])
    for lead in LEADS:
        if lead not in reading["leads_in_file"]:
            assert lead in recording.derived
            step = reading["tolerance_derived_leads_uV"] if known else step
        elif lead not in reading[f"{known}first8_uV"]:
            raise AssertionError(f"no truth for {lead}")
        microvolts = 1e3 * recording.lead(lead)
        if truth := reading[f"{known}first8_uV"].get(lead):
            np.testing.assert_allclose(microvolts[:8], truth, atol=step)
            extremes = reading[f"{known}min_max_uV"][lead]
            np.testing.assert_allclose((microvolts.min(), microvolts.max()), extremes, atol=step)
            total = reading[f"{known}sum_uV"][lead]
            np.testing.assert_allclose(microvolts.sum(), total, atol=step * reading["samples"])


def age_of(row: Row) -> float | None:
    """The age that the file says, where another reader or its maker knows it."""
    patient = row.get("patient_as_read") or {}
    age = patient.get("age_years", patient.get("age"))
    return None if age is None else float(age)


def sex_of(row: Row) -> str | None:
    return (row.get("patient_as_read") or {}).get("sex")


def ludb() -> list[Recording]:
    """The 100 LUDB records, leads in the order of the file, which is ours."""
    stored = np.load(SHARED / "ludb" / "ludb_adc.npz")
    signals = (stored["adc"].astype(float) - stored["baseline"][..., None]) / stored["gain"][..., None]
    return [Recording(signal=signal, sampling_rate=500.0) for signal in signals]


def ludb_qrs() -> list[list[int]]:
    """Manual QRS marks of each record: the median sample of the marks that at least half of the leads share."""
    import csv
    import gzip

    marks: dict[str, list[int]] = defaultdict(list)
    with gzip.open(SHARED / "ludb" / "waves.csv.gz", "rt") as table:
        for wave in csv.DictReader(table):
            if wave["wave"] == "QRS":
                marks[wave["record"]].append(int(wave["peak"]))
    with (SHARED / "ludb" / "records.csv").open() as table:
        names = [record["record"] for record in csv.DictReader(table)]
    return [_shared_marks(np.sort(marks[name])) for name in names]


def _shared_marks(peaks: np.ndarray[Any, np.dtype[np.int64]]) -> list[int]:
    clusters = np.split(peaks, np.flatnonzero(np.diff(peaks) > 75) + 1)
    return [int(np.median(cluster)) for cluster in clusters if len(cluster) >= 6]


def made_up_signal(seconds: float = 10.0, rate: float = 500.0, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Twelve leads in whole microvolts that obey Einthoven and Goldberger: 75 beats per minute and a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    phase = (time + 0.3) % 0.8
    beat = np.exp(-0.5 * ((phase - 0.4) / 0.012) ** 2) + 0.2 * np.exp(-0.5 * ((phase - 0.65) / 0.04) ** 2)
    independent = np.outer(rng.uniform(0.4, 1.5, 8) * [1, 1, -1, -1, 1, 1, 1, 1], beat)
    independent = np.rint(1e3 * (independent + 0.005 * rng.standard_normal(independent.shape))) * 1e-3
    i, ii = independent[:2]
    return np.stack([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2, *independent[2:]])
