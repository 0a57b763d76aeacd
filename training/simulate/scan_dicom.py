"""Scan as DICOM: a series of MR images, a file a slice and phase, marked as simulated (PS3.3 A.4 and C.8.3.1)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from models.ecg.writers.identity import uid
from training.simulate.population import Person
from training.simulate.scan import Scan

MANUFACTURER = "ecg2cmr simulator"

_FULL = 2**16 - 1


def write(scan: Scan, folder: Path, seed: int, person: Person, number: int = 1) -> list[Path]:
    r"""Write the images of a series into ``folder/<name>``, the same bytes for the same scan and person.

    They are DERIVED\SECONDARY, as no patient was examined (C.7.6.1.1.2); dates are empty.

    Parameters
    ----------
    seed : of the participant, ``sim-<seed>``; all series of one seed are one study in one frame of reference.
    number : of the series.

    Returns
    -------
    The files, slice by slice and phase by phase.
    """
    series = folder / scan.name.replace(" ", "_")
    series.mkdir(parents=True, exist_ok=True)
    stored, slope, intercept = _quantise(scan.image)
    common = _series(scan, seed, person, number, slope, intercept)
    paths = []
    for k in range(stored.shape[1]):
        for phase in range(stored.shape[0]):
            paths.append(series / f"slice_{k + 1:02}_phase_{phase + 1:02}.dcm")
            dcmwrite(paths[-1], _image(scan, common, stored[phase, k], k, phase), enforce_file_format=True)
    return paths


def _quantise(image: NDArray[np.float32]) -> tuple[NDArray[np.uint16], float, float]:
    """The whole series in 16 bits, with the slope and intercept that lead back, as the file will state them."""
    low = min(float(image.min()), 0.0)
    slope = float(_decimal((float(image.max()) - low) / _FULL or 1.0))
    intercept = float(_decimal(low))
    steps = np.rint((image.astype(np.float64) - intercept) / slope)
    return np.clip(steps, 0, _FULL).astype(np.uint16), slope, intercept


def _series(scan: Scan, seed: int, person: Person, number: int, slope: float, intercept: float) -> Dataset:
    """All that the images of the series have in common."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = MRImageStorage
    _add_patient(dataset, seed, person)
    _add_study(dataset, scan, seed, number)
    _add_sequence(dataset)
    _add_plane(dataset, scan)
    _add_pixels(dataset, scan, slope, intercept)
    return dataset


def _add_patient(dataset: Dataset, seed: int, person: Person) -> None:
    dataset.PatientName = ""
    dataset.PatientID = f"sim-{seed}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = person.sex
    dataset.PatientAge = f"{int(person.age):03}Y"
    dataset.PatientSize = _decimal(person.height / 100)  # metres
    dataset.PatientWeight = _decimal(person.weight)


def _add_study(dataset: Dataset, scan: Scan, seed: int, number: int) -> None:
    """Study, series, equipment; what a scan that never took place does not have is empty, as type 2 elements may be."""
    dataset.StudyInstanceUID = uid("study", seed)
    dataset.FrameOfReferenceUID = uid("frame of reference", seed)
    dataset.SeriesInstanceUID = uid("series", seed, scan.name, _digest(scan))
    empty = ("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName")
    for keyword in (*empty, "PositionReferenceIndicator", "ContentDate", "ContentTime"):
        setattr(dataset, keyword, "")
    dataset.Modality = "MR"
    dataset.SeriesNumber = number
    dataset.SeriesDescription = f"simulated {scan.name}"[:64]
    dataset.BodyPartExamined = "HEART"
    dataset.PatientPosition = "HFS"
    dataset.Manufacturer = MANUFACTURER
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.ImageComments = "Simulated: not an examination of a person."


def _add_sequence(dataset: Dataset) -> None:
    """No scanner made the images: a research sequence (RM), gated by the ECG (CG), without times of its own."""
    dataset.ScanningSequence = "RM"
    dataset.SequenceVariant = "NONE"
    dataset.ScanOptions = "CG"
    dataset.MRAcquisitionType = "2D"
    dataset.EchoTime = None
    dataset.RepetitionTime = None
    dataset.EchoTrainLength = None


def _add_plane(dataset: Dataset, scan: Scan) -> None:
    """Directions of a row (along the columns) and of a column (C.7.6.2.1.1); spacing between rows comes first."""
    _, along_column, along_row = scan.axes
    dataset.ImageOrientationPatient = [_decimal(x) for x in (*along_row, *along_column)]
    dataset.PixelSpacing = [_decimal(x) for x in scan.spacing[1:]]
    dataset.SliceThickness = _decimal(scan.thickness)
    dataset.SpacingBetweenSlices = _decimal(scan.spacing[0])
    dataset.CardiacNumberOfImages = len(scan.times)
    dataset.NumberOfTemporalPositions = len(scan.times)


def _add_pixels(dataset: Dataset, scan: Scan, slope: float, intercept: float) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = scan.image.shape[2:]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept = _decimal(intercept)
    dataset.RescaleSlope = _decimal(slope)
    dataset.RescaleType = "US"  # unspecified units
    dataset.WindowCenter = _decimal(intercept + slope * _FULL / 2)
    dataset.WindowWidth = _decimal(slope * _FULL)


def _image(scan: Scan, common: Dataset, pixels: NDArray[np.uint16], k: int, phase: int) -> Dataset:
    dataset = Dataset(common)
    instance = 1 + k * len(scan.times) + phase
    dataset.SOPInstanceUID = uid(common.SeriesInstanceUID, instance)
    dataset.InstanceNumber = instance
    dataset.ImagePositionPatient = [_decimal(x) for x in scan.origin + k * scan.spacing[0] * scan.axes[0]]
    dataset.TriggerTime = _decimal(1000 * scan.times[phase])  # ms
    dataset.TemporalPositionIdentifier = phase + 1
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _decimal(number: float) -> str:
    """A number in the 16 characters of a DS (PS3.5 section 6.2)."""
    return format_number_as_ds(float(number))


def _digest(scan: Scan) -> str:
    """Of the voxels and their places and times: another acquisition is another series."""
    places = np.concatenate([scan.times, scan.spacing, [scan.thickness], scan.origin, scan.axes.ravel()])
    voxels = np.asarray(scan.image, dtype="<f4")
    return hashlib.sha256(np.asarray(places, dtype="<f8").tobytes() + voxels.tobytes()).hexdigest()
