"""Named arrays: the matrix of samples among the arrays of a file, with the rate, unit and names that lie beside it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.ecg.errors import DecodeError, UnsupportedFormat
from models.ecg.formats.table import Table, by_lead, recording_of
from models.ecg.leads import MAX_LEADS
from models.ecg.recording import Recording
from models.ecg.stated import Stated

SIGNALS = ("val", "ecg", "signal", "feats")
"""Of PhysioNet's MAT files, of most people, and of the MAT files of fairseq-signals."""

_LEADS = ("leads", "lead_names", "sig_name")

Arrays = Mapping[str, NDArray[np.generic]]


def read_arrays(arrays: Arrays, stated: Stated, source_format: str) -> Recording:
    """Read the matrix that has a known name, or else the only one.

    Parameters
    ----------
    arrays : mapping from names to arrays
        Numbers, or text.

    Raises
    ------
    UnsupportedFormat
        If there is no matrix, or nothing says which one is the ECG.
    EcgError
        As `models.ecg.formats.table.recording_of`.
    """
    table = Table(rows=rows_of(_signal(arrays)), labels=_labels(arrays), said=_said(arrays))
    return recording_of(table, stated, source_format)


def rows_of(array: NDArray[np.generic]) -> NDArray[np.float64]:
    """(leads, samples) as floating point numbers; axes of length one are left out."""
    matrix = array.squeeze()
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise DecodeError(f"an array of {array.dtype} of shape {array.shape} is no matrix of leads and samples")
    return by_lead(matrix).astype(np.float64)


def _signal(arrays: Arrays) -> NDArray[np.generic]:
    matrices = {name: array for name, array in arrays.items() if array.dtype.kind in "fiu" and array.squeeze().ndim > 1}
    named = [array for name, array in matrices.items() if name.lower() in SIGNALS]
    found = named or list(matrices.values())
    if len(found) != 1:
        raise UnsupportedFormat(
            f"nothing says which of {', '.join(arrays)[:200] or 'no arrays'} is the ECG: name the only one 'ecg'"
        )
    return found[0]


def _labels(arrays: Arrays) -> tuple[str, ...] | None:
    found = next((arrays[name] for name in _LEADS if name in arrays and arrays[name].dtype.kind == "U"), None)
    return None if found is None or found.size > MAX_LEADS else tuple(str(label).strip() for label in found.ravel())


def _said(arrays: Arrays) -> dict[str, str]:
    """Single numbers and texts."""
    single = {name.lower(): array.ravel()[0] for name, array in arrays.items() if array.size == 1}
    return {name: _text(value) for name, value in single.items()}


def _text(value: np.generic) -> str:
    return f"{float(value):.12g}" if isinstance(value, np.number) and value.dtype.kind in "fiu" else str(value).strip()
