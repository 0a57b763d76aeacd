"""Fuzz: a million changed files for each reader, grown from real ones by coverage (atheris, libFuzzer).

::

    python -m benchmarks.fuzz scp --runs 1000000 --data ../shared/data --corpus fuzz
    python -m benchmarks.fuzz                       # every reader, one after the other: a night

What must hold for any bytes: a recording or an `EcgError`, within 2 s and 512 MB beyond what the process had. A file
for which it does not is written into the corpus folder as ``crash-…`` or ``timeout-…``; started again, the search goes
on from what the corpus has reached. Needs ``pip install atheris`` (Apache-2.0).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

SEEDS = {
    "dicom": "dicom/*.dcm",
    "wfdb": "zip/w16.zip",
    "muse": "muse/*",
    "philips": "philips/*",
    "aecg": "aecg/*",
    "scp": "scp/*",
    "cardiosoft": "cardiosoft/*",
    "schiller": "schiller/*",
    "mortara": "mortara/*",
    "edf": "edf/*",
    "ishne": "ishne/*",
    "mfer": "mfer/*",
    "csv": "csv/*",
    "json": "json/*",
    "fhir": "fhir/*",
    "numpy": "numpy/*",
    "parquet": "parquet/*",
    "pdf": "pdf/*",
    "hostile": "adversarial/*",
}
"""The reader, and the files under ecg-files that its corpus starts from."""

SECONDS = 2
MEGABYTES = 512
LONGEST = 600_000  # bytes; the largest real file of 10 s has half a megabyte


def _one_reader(arguments: list[str]) -> None:
    """Run libFuzzer in this process; it ends with it."""
    import atheris

    with atheris.instrument_imports(include=["models.ecg"]):
        from models.ecg import LEADS, EcgError, Recording, Stated, decode
    stated = Stated(sampling_rate=500, unit="uV", leads=LEADS)

    def property_holds(data: bytes) -> None:
        for said in (None, stated):
            try:
                recording = decode(data, said)
            except EcgError:
                continue
            if not isinstance(recording, Recording):
                raise TypeError(f"decode gave a {type(recording).__name__}")

    atheris.Setup([sys.argv[0], *arguments], property_holds)
    atheris.Fuzz()


def _seeded(reader: str, data: Path, corpus: Path) -> Path:
    """The reader's folder of the corpus, with the real files in it."""
    folder = corpus / reader
    folder.mkdir(parents=True, exist_ok=True)
    for seed in sorted((data / "ecg-files").glob(SEEDS[reader])):
        (folder / f"seed-{seed.name}").write_bytes(seed.read_bytes())
    return folder


def main(
    readers: Annotated[list[str] | None, typer.Argument(help=f"Some of {', '.join(SEEDS)}; default all.")] = None,
    runs: Annotated[int, typer.Option(help="Executions for each reader.")] = 1_000_000,
    seconds: Annotated[int, typer.Option(help="At most, for each reader; 0 for as long as the runs take.")] = 0,
    data: Annotated[Path, typer.Option(help="The folder that holds ecg-files.")] = Path("../shared/data"),
    corpus: Annotated[Path | None, typer.Option(help="Kept between runs; default a temporary folder.")] = None,
) -> None:
    """Search for bytes that bring a reader down, and say for each reader whether any were found."""
    corpus = corpus or Path(tempfile.mkdtemp(prefix="fuzz-"))
    failed = []
    for reader in readers or SEEDS:
        folder = _seeded(reader, data, corpus)
        # The instrumented process itself grows by some 20 kB a run; one allocation of a reader is what is bounded.
        limits = [f"-timeout={SECONDS}", f"-rss_limit_mb={16 * MEGABYTES}", f"-malloc_limit_mb={MEGABYTES}"]
        options = [
            *limits,
            f"-runs={runs}",
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            f"-artifact_prefix={folder}/",
            "-print_final_stats=1",
        ]
        child = [sys.executable, "-m", "benchmarks.fuzz", "--one-reader", *options, str(folder)]
        status = subprocess.run(child, check=False).returncode
        print(f"{reader}: {'nothing found' if status == 0 else f'FAILED, see {folder}'}", flush=True)
        failed += [reader] if status else []
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one-reader"]:
        _one_reader(sys.argv[2:])
    else:
        typer.run(main)
