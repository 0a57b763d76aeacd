"""Real files with their right readings, and real recordings."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.ecg import Recording, archive

FILES = Path(__file__).resolve().parents[3] / "shared" / "data" / "ecg-files"


def expected_rows(*formats: str) -> list[Any]:
    """The rows of expected.json whose format starts with one of `formats`; one that skips where there are no files."""
    if not (FILES / "expected.json").is_file():
        return [pytest.param(None, marks=pytest.mark.skip(reason="the real files are not beside the repository"))]
    rows = json.loads((FILES / "expected.json").read_text())
    return [pytest.param(row, id=row["path"]) for row in rows if row["format"].startswith(formats)]


def upload_of(row: dict[str, Any]) -> bytes:
    """The bytes a sender would send: a header and its companions travel in one zip."""
    file = FILES / row["path"]
    companions = row.get("companions") or []
    if not companions:
        return file.read_bytes()
    return archive.pack({name: (file.parent / name).read_bytes() for name in [file.name, *companions]})


@pytest.fixture(scope="session")
def ludb(shared_data: Path) -> dict[int, Recording]:
    """100 real ECGs by record number, 10 s at 500 Hz."""
    stored = np.load(shared_data / "ludb" / "ludb_adc.npz")
    millivolts = (stored["adc"] - stored["baseline"][..., None]) / stored["gain"][..., None]
    with (shared_data / "ludb" / "records.csv").open() as file:
        numbers = [int(row["record"]) for row in csv.DictReader(file)]
    return {n: Recording(signal=signal, sampling_rate=500.0) for n, signal in zip(numbers, millivolts, strict=True)}
