"""ECG file: the recording in a file of any format that is decoded here, with the signal files that a header names."""

from __future__ import annotations

from pathlib import Path

from models.ecg import EcgError, Recording, assess, decode, refusal
from models.ecg.archive import pack
from models.ecg.formats.wfdb_header import is_header, parse
from training.importing.wrong import Wrong


def read_ecg(path: Path) -> Recording:
    """Decode the ECG; a WFDB record is named by its header, with or without ``.hea``.

    Raises
    ------
    Wrong
        If there is no file, it does not decode, or no heart can be read from it, in the decoder's own sentence.
    """
    found = path if path.is_file() else path.with_name(f"{path.name}.hea")
    try:
        recording = decode(_upload(found))
        unusable = refusal(assess(recording))
        if unusable is not None:
            raise unusable
    except OSError as error:
        raise Wrong("ecg", f"{error.filename or path}: {error.strerror or error}", "correct the path") from error
    except EcgError as error:
        raise Wrong("ecg", f"{path.name}: {error.detail}", error.advice) from error
    return recording


def _upload(path: Path) -> bytes:
    """The bytes as a client would send them: a header travels with its signals in one zip."""
    data = path.read_bytes()
    if not is_header(data):
        return data
    names = dict.fromkeys(signal.file for signal in parse(data).signals)
    return pack({path.name: data, **{name: (path.parent / Path(name).name).read_bytes() for name in names}})
