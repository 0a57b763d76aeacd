"""MATLAB: a MAT file with one matrix of leads and samples; rate, unit and names beside it, or with the request.

CODE-15 % is often unpacked into such files: ``feats`` of 12 rows in the order I, II, III, aVR, aVL, aVF, V1 to V6 and
``curr_sample_rate``, but neither names nor unit. The MAT files of PhysioNet with their headers are WFDB
(`models.ecg.formats.wfdb_record`); without one, ``val`` counts the steps of a converter.
"""

from __future__ import annotations

from models.ecg.errors import UnsupportedFormat
from models.ecg.formats.matlab_file import arrays_of, is_level_4, is_level_5
from models.ecg.formats.named_arrays import read_arrays
from models.ecg.recording import Recording
from models.ecg.stated import Stated

_LEVEL_7 = (b"\x00\x02IM", b"\x02\x00MI")


def matches(data: bytes) -> bool:
    """Whether this is a MAT file of any level."""
    return is_level_5(data) or _is_level_7(data) or is_level_4(data)


def read(data: bytes, stated: Stated) -> Recording:
    """Read the matrix named ``val``, ``ecg``, ``signal`` or ``feats``, or the only one.

    Raises
    ------
    UnsupportedFormat
        If it is a file of MATLAB 7.3, which is HDF5, or nothing says which matrix is the ECG.
    EcgError
        If it is broken or unsafe, does not hold the twelve leads, or nobody says rate, unit or leads.
    """
    if _is_level_7(data):
        raise UnsupportedFormat("this is a MAT file of version 7.3, which is HDF5: save it with save(..., '-v7')")
    return read_arrays(arrays_of(data), stated, "MATLAB")


def _is_level_7(data: bytes) -> bool:
    return data[124:128] in _LEVEL_7
