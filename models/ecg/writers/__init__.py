"""Recordings to ECG files, one format a file: ``FORMATS["DICOM"].write(recording)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.ecg.recording import Recording
from models.ecg.writers import csv_table, dicom, edf, fhir, json_document, muse, wfdb_record
from models.ecg.writers.errors import Unwritable

__all__ = ["FORMATS", "Format", "Unwritable", "save"]


@dataclass(frozen=True)
class Format:
    """A file that a recording can be written as.

    Attributes
    ----------
    suffix : str
        Of the file's name.
    write : callable
        Its bytes, the same for the same recording; `Unwritable` where the format has no place for it.
    """

    suffix: str
    write: Callable[[Recording], bytes]


FORMATS: Mapping[str, Format] = {
    "WFDB": Format(".zip", wfdb_record.write),
    "DICOM": Format(".dcm", dicom.write),
    "MUSE": Format(".xml", muse.write),
    "EDF": Format(".edf", edf.write),
    "CSV": Format(".csv", csv_table.write),
    "JSON": Format(".json", json_document.write),
    "FHIR": Format(".json", fhir.write),
}


def save(recording: Recording, folder: Path, name: str, formats: Iterable[str]) -> list[Path]:
    """Write the recording into `folder` once for each format, as `name` with the suffix of the format.

    All formats are written or none: an `Unwritable` comes before the first file.
    """
    files = {folder / f"{name}{FORMATS[each].suffix}": FORMATS[each].write(recording) for each in formats}
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        path.write_bytes(content)
    return list(files)
