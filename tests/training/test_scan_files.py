from __future__ import annotations

import dataclasses
import shutil
import subprocess
import warnings
from itertools import pairwise, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from training.simulate import scan_dicom, scan_nifti
from training.simulate.population import Person
from training.simulate.scan import Scan

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says that its DICOM readers are experimental
    from nibabel.nicom import dicomwrappers

PERSON = Person(sex="F", age=61.7, height=167.3, weight=71.25)
OBLIQUE = Rotation.from_euler("zyx", [50, -35, 20], degrees=True).as_matrix()


def scan_of(shape: tuple[int, int, int, int] = (5, 3, 8, 6), axes: np.ndarray = OBLIQUE) -> Scan:
    """An oblique scan whose voxels are all different, with a ventricle of known voxels."""
    rng = np.random.default_rng(3)
    labels = np.zeros(shape, np.uint8)
    labels[:, 1:3, 2:6, 1:4] = 1
    labels[0, 0, 0, 0] = 3
    return Scan(
        name="short axis",
        image=rng.gamma(2, 70, shape).astype(np.float32),
        labels=labels,
        times=np.arange(shape[0]) * 0.04 + 0.01,
        spacing=(10.0, 2.5, 1.25),
        thickness=8.0,
        origin=np.array([-31.5, 12.25, 87.0]),
        axes=axes,
    )


SCAN = scan_of()
CORNERS = list(product((0, 2), (0, 7), (0, 5)))


def point(scan: Scan, k: int, row: int, column: int) -> np.ndarray:
    """Where a voxel is in the patient, as the contract of Scan says it: left, posterior, superior."""
    at = scan.origin.copy()
    for index, spacing, axis in zip((k, row, column), scan.spacing, scan.axes, strict=True):
        at += index * spacing * axis
    return at


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[pydicom.Dataset]:
    paths = scan_dicom.write(SCAN, tmp_path_factory.mktemp("series"), 7, PERSON, number=2)
    return [pydicom.dcmread(path) for path in paths]


def test_nifti_corners_are_where_the_scan_has_them_with_left_and_back_turned_over(tmp_path: Path) -> None:
    for path in scan_nifti.write(SCAN, tmp_path):
        volume = nib.load(path)
        for affine in (volume.affine, volume.get_qform(), volume.get_sform()):
            for k, row, column in CORNERS:
                right, front, head, _ = affine @ [column, row, k, 1]
                np.testing.assert_allclose([-right, -front, head], point(SCAN, k, row, column), atol=1e-4)


def test_nifti_voxels_are_those_of_the_scan(tmp_path: Path) -> None:
    image, labels = (nib.load(path) for path in scan_nifti.write(SCAN, tmp_path))
    assert image.get_data_dtype() == np.float32
    assert labels.get_data_dtype() == np.uint8
    for phase, k, row, column in product((0, 4), (0, 2), (1, 6), (0, 5)):
        assert image.dataobj[column, row, k, phase] == SCAN.image[phase, k, row, column]
        assert labels.dataobj[column, row, k, phase] == SCAN.labels[phase, k, row, column]


def test_nifti_zooms_give_the_volume_of_the_labels(tmp_path: Path) -> None:
    _, path = scan_nifti.write(SCAN, tmp_path)
    labels = nib.load(path)
    voxel = np.prod(labels.header.get_zooms()[:3])
    volume = (np.asarray(labels.dataobj)[..., 0] == 1).sum() * voxel
    assert volume == pytest.approx(2 * 4 * 3 * 10.0 * 2.5 * 1.25)
    assert labels.header.get_intent()[0] == "label"


def test_nifti_tells_when_the_phases_were(tmp_path: Path) -> None:
    header = nib.load(scan_nifti.write(SCAN, tmp_path)[0]).header
    assert header.get_xyzt_units() == ("mm", "sec")
    assert header.get_zooms()[3] == pytest.approx(0.04)
    assert float(header["toffset"]) == pytest.approx(0.01)
    assert bytes(header["descrip"].item()).startswith(b"simulated short axis")
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 1)


def test_nifti_does_not_state_a_time_between_phases_that_are_not_even(tmp_path: Path) -> None:
    uneven = dataclasses.replace(SCAN, times=np.array([0.0, 0.04, 0.08, 0.3, 0.5]))
    assert nib.load(scan_nifti.write(uneven, tmp_path)[0]).header.get_zooms()[3] == 0


def test_nifti_of_one_phase_has_three_axes(tmp_path: Path) -> None:
    still = scan_of((1, 3, 8, 6))
    image, labels = (nib.load(path) for path in scan_nifti.write(still, tmp_path))
    assert image.shape == labels.shape == (6, 8, 3)
    assert image.dataobj[5, 2, 1] == still.image[0, 1, 2, 5]


@given(angles=st.tuples(*[st.floats(-180, 180)] * 3), mirrored=st.booleans())
def test_any_orientation_is_told_by_affine(angles: tuple[float, float, float], mirrored: bool) -> None:
    axes = Rotation.from_euler("zyx", angles, degrees=True).as_matrix() * ([[-1], [1], [1]] if mirrored else 1)
    scan = scan_of(axes=axes)
    at = scan_nifti.affine(scan) @ [4, 5, 2, 1]
    np.testing.assert_allclose(at[:3] * [-1, -1, 1], point(scan, 2, 5, 4), atol=1e-9)


def test_both_are_the_same_bytes_for_the_same_scan(tmp_path: Path) -> None:
    def written(folder: Path) -> list[bytes]:
        paths = [*scan_nifti.write(scan_of(), folder), *scan_dicom.write(scan_of(), folder, 7, PERSON)]
        return [path.read_bytes() for path in paths]

    assert written(tmp_path / "one") == written(tmp_path / "two")


def test_dicom_pixels_are_within_half_a_rescale_step(series: list[pydicom.Dataset]) -> None:
    assert len(series) == 15
    for dataset in series:
        phase, k = dataset.TemporalPositionIdentifier - 1, (dataset.InstanceNumber - 1) // 5
        pixels = dataset.pixel_array * dataset.RescaleSlope + dataset.RescaleIntercept
        np.testing.assert_allclose(pixels, SCAN.image[phase, k], rtol=0, atol=0.501 * dataset.RescaleSlope)
        assert float(dataset.RescaleSlope) == pytest.approx(SCAN.image.max() / 65535)


def test_dicom_voxels_are_where_the_scan_has_them(series: list[pydicom.Dataset]) -> None:
    """The mapping of PS3.3 C.7.6.2.1.1, written out."""
    firsts = [dataset for dataset in series if dataset.TemporalPositionIdentifier == 1]
    for k, row, column in CORNERS:
        dataset = firsts[k]
        x, y = np.split(np.array(dataset.ImageOrientationPatient, dtype=float), 2)
        between_rows, between_columns = map(float, dataset.PixelSpacing)
        position = np.array(dataset.ImagePositionPatient, dtype=float)
        at = position + column * between_columns * x + row * between_rows * y
        np.testing.assert_allclose(at, point(SCAN, k, row, column), atol=1e-9)


def test_dicom_slices_are_as_far_apart_as_they_say(series: list[pydicom.Dataset]) -> None:
    positions = [np.array(dataset.ImagePositionPatient, dtype=float) for dataset in series[::5]]
    for dataset, (one, other) in zip(series, pairwise(positions), strict=False):
        normal = np.cross(*np.split(np.array(dataset.ImageOrientationPatient, dtype=float), 2))
        assert abs((other - one) @ normal) == pytest.approx(float(dataset.SpacingBetweenSlices)) == 10.0
    assert {float(dataset.SliceThickness) for dataset in series} == {8.0}


def test_dicom_phases_are_in_the_order_of_the_beat(series: list[pydicom.Dataset]) -> None:
    for k in range(3):
        times = [float(dataset.TriggerTime) for dataset in series[5 * k : 5 * k + 5]]
        np.testing.assert_allclose(times, [10, 50, 90, 130, 170])
    assert {dataset.CardiacNumberOfImages for dataset in series} == {5}


def test_dicom_says_who_and_that_nobody_was_scanned(series: list[pydicom.Dataset]) -> None:
    for dataset in series:
        assert (dataset.PatientID, dataset.PatientSex, dataset.PatientAge) == ("sim-7", "F", "061Y")
        assert (dataset.PatientSize, dataset.PatientWeight) == (1.673, 71.25)
        assert (dataset.SeriesDescription, dataset.SeriesNumber, dataset.Modality) == ("simulated short axis", 2, "MR")
        assert list(dataset.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
        assert dataset.Manufacturer == "ecg2cmr simulator"
        assert "imulated" in dataset.ImageComments
        assert dataset.StudyDate == dataset.ContentDate == ""


def test_dicom_series_of_one_heart_share_study_and_frame_and_nothing_else(
    series: list[pydicom.Dataset], tmp_path: Path
) -> None:
    others = [
        (dataclasses.replace(SCAN, name="four chamber"), 7),
        (dataclasses.replace(SCAN, image=SCAN.image + 1), 7),
        (SCAN, 8),
    ]
    first = [pydicom.dcmread(scan_dicom.write(scan, tmp_path, seed, PERSON)[0]) for scan, seed in others]
    datasets = [series[0], *first]
    assert len({dataset.SeriesInstanceUID for dataset in datasets}) == 4
    assert len({dataset.SOPInstanceUID for dataset in [*series, *first]}) == 18
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        uids = [dataset[keyword].value for dataset in datasets]
        assert uids[0] == uids[1] == uids[2] != uids[3]
    assert len({dataset.SeriesInstanceUID for dataset in series}) == 1


def test_nibabel_finds_the_same_patient_in_the_dicom_series(series: list[pydicom.Dataset]) -> None:
    wrapper = dicomwrappers.Wrapper(series[10])
    assert wrapper.image_shape == (8, 6)
    np.testing.assert_allclose(wrapper.affine @ [7, 5, 0, 1], [*point(SCAN, 2, 7, 5), 1], atol=1e-9)
    np.testing.assert_allclose(wrapper.get_data(), SCAN.image[0, 2], atol=0.501 * float(series[0].RescaleSlope))


def test_dicom_of_an_empty_image_keeps_its_value(tmp_path: Path) -> None:
    flat = dataclasses.replace(SCAN, image=np.full_like(SCAN.image, -2.5))
    dataset = pydicom.dcmread(scan_dicom.write(flat, tmp_path, 7, PERSON)[0])
    np.testing.assert_allclose(dataset.pixel_array * dataset.RescaleSlope + dataset.RescaleIntercept, -2.5, atol=1e-4)


def test_an_independent_validator_finds_no_error(tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    path = scan_dicom.write(SCAN, tmp_path, 7, PERSON)[0]
    report = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
    assert "MRImage" in report
    assert "Error" not in report, report
