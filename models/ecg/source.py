"""Source: an ECG on a disk and its bytes, a WFDB header together with the signal files beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.ecg.archive import pack
from models.ecg.decode import MAX_BYTES
from models.ecg.errors import EcgError, UnsafeFile
from models.ecg.formats.wfdb_header import is_header, parse


@dataclass(frozen=True)
class Source:
    """A file that somebody named, or that lies in a folder that somebody named.

    Attributes
    ----------
    path : Path
    folder : Path or None
        The folder that was named.
    """

    path: Path
    folder: Path | None = None

    @property
    def name(self) -> Path:
        """How it is called: within its folder, or alone."""
        return Path(self.path.name) if self.folder is None else self.path.relative_to(self.folder)


def sources(path: Path) -> list[Source]:
    """The file, or every file of a folder and those in it; neither hidden ones nor signal files of a WFDB header."""
    if not path.is_dir():
        return [Source(path)]
    files = sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file.relative_to(path)))
    signals = {signal for file in files if file.suffix == ".hea" for signal in _companions_if_sound(file)}
    return [Source(file, path) for file in files if file not in signals]


def content(path: Path) -> bytes:
    """What `models.ecg.decode` takes: the file itself, or a zip of a WFDB header and its signal files.

    Of the names in a header only those of files in its own folder are read: no path and no link leads out of it.

    Raises
    ------
    UnsafeFile
        If it is larger than any ECG.
    EcgError
        If it is a WFDB header that cannot be read.
    OSError
        If the file cannot be.
    """
    data = _bytes(path)
    if not is_header(data):
        return data
    files = _companions(path, data)
    if sum(file.stat().st_size for file in files) > MAX_BYTES:
        raise UnsafeFile(f"the signal files of this record are larger than any resting ECG ({MAX_BYTES >> 20} MB)")
    return pack({path.name: data} | {file.name: _bytes(file) for file in files})


def _companions(path: Path, header: bytes) -> list[Path]:
    """The files beside a header that it names, as far as they are there and no links."""
    names = dict.fromkeys(signal.file for signal in parse(header).signals)
    beside = [path.parent / name for name in names if Path(name).name == name]
    return [file for file in beside if file.is_file() and not file.is_symlink()]


def _companions_if_sound(path: Path) -> list[Path]:
    """None for a broken header: whoever reads it will hear why."""
    try:
        header = _bytes(path)
        return _companions(path, header) if is_header(header) else []
    except (EcgError, OSError):
        return []


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _bytes(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UnsafeFile(f"{size >> 20} MB is more than any resting ECG has ({MAX_BYTES >> 20} MB)")
    return path.read_bytes()
