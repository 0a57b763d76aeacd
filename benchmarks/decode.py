"""Decoding: milliseconds per file of each format, ours against every other reader that is installed, interleaved.

::

    python -m benchmarks.decode --data ../shared/data            # all formats, as Markdown
    python -m benchmarks.decode --data ../shared/data dicom scp  # some of them

One thread, one file after the other: in every round each reader reads each file once, so that a noisy machine is noisy
for all of them; the median of the rounds stands in the table. Others are asked for the samples in physical units, as we
are; they neither derive leads nor check them, and for tables and arrays they are bare parsers. Those that read paths
only get one in memory (/dev/shm).
"""

from __future__ import annotations

import io
import os
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import numpy as np
import typer

from models.ecg import LEADS, Stated, decode
from models.ecg.archive import pack
from models.ecg.confined import Readers

Read = Callable[[bytes, Path], object]


@dataclass(frozen=True)
class Case:
    """One file of one format, what its sender states, the target in milliseconds, and who else reads it."""

    format: str
    files: tuple[str, ...]
    others: Mapping[str, Read]
    target: float | None = None
    stated: Stated | None = None


def _ecgdatakit(_data: bytes, path: Path) -> object:
    from ecgdatakit import FileParser

    return [np.asarray(lead.samples) for lead in FileParser().parse(str(path)).leads]


def _wfdb(_data: bytes, path: Path) -> object:
    import wfdb

    return wfdb.rdrecord(str(path.with_suffix(""))).p_signal


def _pydicom(data: bytes, _path: Path) -> object:
    import pydicom

    return pydicom.dcmread(io.BytesIO(data)).waveform_array(0)


def _edfio(_data: bytes, path: Path) -> object:
    import edfio

    read = edfio.read_bdf if path.suffix == ".bdf" else edfio.read_edf
    return [signal.data for signal in read(path).signals]


def _pyedflib(_data: bytes, path: Path) -> object:
    import pyedflib

    with pyedflib.EdfReader(str(path)) as file:
        return [file.readSignal(n) for n in range(file.signals_in_file)]


def _sierraecg(_data: bytes, path: Path) -> object:
    import sierraecg

    return sierraecg.read_file(str(path)).leads


def _orjson(data: bytes, _path: Path) -> object:
    import orjson

    return [np.array(row, float) for row in orjson.loads(data)["leads"].values()]


def _fhir(data: bytes, _path: Path) -> object:
    import json

    rows = [component["valueSampledData"] for component in json.loads(data)["component"]]
    return [np.array(row["data"].split(), float) * row.get("factor", 1) for row in rows]


def _pandas(data: bytes, path: Path) -> object:
    import pandas

    separator = "\t" if path.suffix == ".tsv" else ","
    return pandas.read_csv(io.BytesIO(data), sep=separator, comment="#").to_numpy(float)


def _numpy(data: bytes, _path: Path) -> object:
    return np.load(io.BytesIO(data), allow_pickle=False).astype(float)


def _pyarrow(data: bytes, _path: Path) -> object:
    from pyarrow import parquet

    return [column.to_numpy().astype(float) for column in parquet.read_table(io.BytesIO(data)).columns]


def _scipy(data: bytes, _path: Path) -> object:
    from scipy.io import loadmat

    return np.asarray(loadmat(io.BytesIO(data))["feats"], float)


def _pdfplumber(data: bytes, _path: Path) -> object:
    import pdfplumber

    with pdfplumber.open(io.BytesIO(data)) as document:
        return document.pages[0].curves


def _unzipped(read: Read) -> Read:
    """Readers of paths have the zip of a record to unpack, as we do."""

    def unzip_and_read(data: bytes, path: Path) -> object:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(path.parent)
        return read(data, path)

    return unzip_and_read


KIT: dict[str, Read] = {"ECGDataKit": _ecgdatakit}
CASES = {
    "wfdb": Case(
        "WFDB 16, zipped",
        ("ecg-files/wfdb/w16.hea", "ecg-files/wfdb/w16.dat"),
        {"wfdb": _unzipped(_wfdb), "ECGDataKit": _unzipped(_ecgdatakit)},
        3,
    ),
    "dicom": Case("DICOM, 500 Hz", ("ecg-files/dicom/general8.dcm",), {"pydicom": _pydicom, **KIT}, 5),
    "dicom-1000": Case("DICOM, 1000 Hz", ("ecg-files/dicom/waveform_ecg.dcm",), {"pydicom": _pydicom, **KIT}),
    "muse": Case("GE MUSE XML", ("ecg-files/muse/constructed_500hz.xml",), KIT, 3),
    "cardiosoft": Case("CardioSoft XML", ("ecg-files/cardiosoft/constructed.xml",), {}, 3),
    "json": Case("JSON", ("ecg-files/json/ecg.json",), {"orjson + NumPy": _orjson}, 3),
    "philips": Case(
        "Philips Sierra XML", ("ecg-files/philips/2020-5-18_15-48-11.xml",), {"sierraecg": _sierraecg, **KIT}, 60
    ),
    "scp": Case("SCP-ECG, 12 leads", ("ecg-files/scp/Example.scp",), KIT, 40),
    "aecg": Case("HL7 aECG", ("ecg-files/aecg/Example_aECG.xml",), KIT),
    "schiller": Case("Schiller SEMA XML", ("ecg-files/schiller/constructed.xml",), {}),
    "mortara": Case("Mortara ELI XML", ("ecg-files/mortara/constructed_200.xml",), KIT),
    "edf": Case("EDF", ("ecg-files/edf/rest12.edf",), {"edfio": _edfio, "pyEDFlib": _pyedflib, **KIT}),
    "bdf": Case("BDF", ("ecg-files/edf/rest12.bdf",), {"edfio": _edfio, "pyEDFlib": _pyedflib}),
    "ishne": Case("ISHNE", ("ecg-files/ishne/constructed_10s.ecg",), KIT),
    "mfer": Case("MFER", ("ecg-files/mfer/constructed_le.mwf",), KIT),
    "fhir": Case("FHIR R4", ("ecg-files/fhir/ecg12_r4.json",), {"json + NumPy": _fhir}),
    "csv": Case(
        "CSV", ("ecg-files/csv/00009_hr.csv",), {"pandas": _pandas}, stated=Stated(sampling_rate=500, unit="mV")
    ),
    "numpy": Case(
        "NumPy",
        ("ecg-files/numpy/mv_5000x12.npy",),
        {"np.load": _numpy},
        stated=Stated(sampling_rate=500, unit="mV", leads=LEADS),
    ),
    "parquet": Case(
        "Parquet", ("ecg-files/parquet/uv.parquet",), {"pyarrow": _pyarrow}, stated=Stated(sampling_rate=500, unit="uV")
    ),
}


def _upload(folder: Path, case: Case) -> tuple[bytes, Path]:
    """What is sent, and the first file at a path in memory with its companions beside it."""
    contents = {Path(name).name: (folder / name).read_bytes() for name in case.files}
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    for name, content in contents.items():
        (place / name).write_bytes(content)
    first = next(iter(contents))
    return (contents[first] if len(contents) == 1 else pack(contents)), place / first


def measure(case: Case, folder: Path, rounds: int, confined: Readers) -> dict[str, float]:
    """Median milliseconds of each reader, ours first; None of the others where it is not installed or refuses."""
    data, path = _upload(folder, case)
    readers: dict[str, Callable[[], object]] = {"ours": lambda: decode(data, case.stated)}
    for name, read in case.others.items():
        try:
            read(data, path)
        except ImportError:
            continue
        readers[name] = lambda read=read: read(data, path)
    readers["examined in a confined reader"] = lambda: confined.examine(data, case.stated)
    taken: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, read_once in readers.items():
            started = time.perf_counter()
            read_once()
            taken[name].append(1e3 * (time.perf_counter() - started))
    return {name: float(np.median(times)) for name, times in taken.items()}


def _row(case: Case, taken: dict[str, float]) -> str:
    others = {name: ms for name, ms in taken.items() if name in case.others}
    told = ", ".join(f"{name} {ms:.2f}" for name, ms in sorted(others.items(), key=lambda item: item[1])) or "none"
    ratio = f"{min(others.values()) / taken['ours']:.2f}" if others else ""
    target = "" if case.target is None else f"≤ {case.target:g}"
    confined = taken["examined in a confined reader"]
    return f"| {case.format} | {taken['ours']:.2f} | {target} | {told} | {ratio} | {confined:.2f} |"


def main(
    formats: Annotated[list[str] | None, typer.Argument(help=f"Some of {', '.join(CASES)}; default all.")] = None,
    data: Annotated[Path, typer.Option(help="The folder that holds ecg-files.")] = Path("../shared/data"),
    rounds: Annotated[int, typer.Option(min=3)] = 30,
) -> None:
    """Print milliseconds per file as a Markdown table."""
    warnings.simplefilter("ignore")  # other readers warn of what they pass over
    print("| format | ours, ms | target | others, ms | fastest other / ours | whole examination, confined, ms |")
    print("|---|---|---|---|---|---|")
    with Readers(count=1) as confined:
        for name in formats or CASES:
            print(_row(CASES[name], measure(CASES[name], data, rounds, confined)), flush=True)


if __name__ == "__main__":
    typer.run(main)
