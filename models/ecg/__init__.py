"""ECG files to trustworthy recordings: ``recording = ecg.decode(data)``."""

from models.ecg.decode import Stated, decode
from models.ecg.errors import (
    DecodeError,
    EcgError,
    IncompleteRecording,
    UnsupportedFormat,
    UnusableSignal,
)
from models.ecg.preprocess import Preprocessing
from models.ecg.quality import Finding, Quality, assess, refusal
from models.ecg.recording import LEADS, Filters, Recording

__all__ = [
    "LEADS",
    "DecodeError",
    "EcgError",
    "Filters",
    "Finding",
    "IncompleteRecording",
    "Preprocessing",
    "Quality",
    "Recording",
    "Stated",
    "UnsupportedFormat",
    "UnusableSignal",
    "assess",
    "decode",
    "refusal",
]
