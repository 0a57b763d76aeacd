"""Cines from NIfTI and DICOM: geometry, time, and what is refused."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from training.cine import UnreadableCine, read_labels, read_nifti
from training.cine_dicom import MAX_FILES, IncompleteStack, MixedSeries, read_dicom
from training.simulate import scan_dicom, scan_nifti
from training.simulate.heart import heart_of
from training.simulate.imaging import cine as simulated
from training.simulate.scan import Scan


@pytest.fixture(scope="module")
def scan() -> Scan:
    return simulated(heart_of(100), phases=6, spacing=(20.0, 5.0, 4.0))


@pytest.fixture
def folder(scan: Scan, tmp_path: Path) -> Path:
    paths = scan_dicom.write(scan, tmp_path, 100, heart_of(100).subject.person)
    return paths[0].parent


def edit(folder: Path, change: Callable[[pydicom.Dataset], None], pattern: str = "*.dcm") -> None:
    for path in folder.glob(pattern):
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)


def zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("manifest.cvs", "filename,patientid\n")
        for path in folder.iterdir():
            archive.write(path, path.name)
    return buffer.getvalue()


def test_a_simulated_scan_comes_back_from_nifti_as_it_was_made(scan: Scan, tmp_path: Path) -> None:
    image, labels = scan_nifti.write(scan, tmp_path)
    cine, (read, spacing) = read_nifti(image), read_labels(labels)
    assert np.array_equal(cine.frames, scan.image)
    assert np.array_equal(read, scan.labels)
    assert cine.spacing == spacing == pytest.approx(scan.spacing)
    assert cine.cycle == pytest.approx(60 / heart_of(100).subject.heart_rate)


def test_every_way_of_storing_the_axes_is_read_the_same(scan: Scan, tmp_path: Path) -> None:
    stored = nib.load(scan_nifti.write(scan, tmp_path)[0])
    directions = nib.orientations.io_orientation(stored.affine)
    for order, flips in product(permutations(range(3)), ((1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1))):
        change = nib.orientations.ornt_transform(np.array([directions[n] * [1, flips[n]] for n in order]), directions)
        volume = stored.as_reoriented(nib.orientations.ornt_transform(directions, change))
        nib.save(volume, tmp_path / "turned.nii")
        cine = read_nifti(tmp_path / "turned.nii")
        assert cine.spacing == pytest.approx(scan.spacing)
        assert np.array_equal(cine.frames, scan.image)


def test_a_single_volume_has_one_phase_and_no_beat(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((5, 6, 3), np.int16), np.diag([2.0, 2.0, 8.0, 1.0])), tmp_path / "ed.nii.gz")
    cine = read_nifti(tmp_path / "ed.nii.gz")
    assert cine.frames.shape == (1, 3, 6, 5)
    assert cine.spacing == (8.0, 2.0, 2.0)
    assert cine.cycle is None


def test_a_time_step_without_a_unit_is_not_taken_for_seconds(tmp_path: Path) -> None:
    for unit, cycle in (("unknown", None), ("sec", 0.8), ("msec", None)):
        volume = nib.Nifti1Image(np.zeros((5, 6, 3, 20), np.int16), np.diag([2.0, 2.0, 8.0, 1.0]))
        volume.header.set_zooms((2.0, 2.0, 8.0, 0.04))
        volume.header.set_xyzt_units("mm", unit)
        nib.save(volume, tmp_path / "cine.nii")
        assert read_nifti(tmp_path / "cine.nii").cycle == (None if cycle is None else pytest.approx(cycle))


def test_what_is_no_nifti_cine_is_refused_with_its_reason(tmp_path: Path) -> None:
    def saved(voxels: np.ndarray, millimetres: float = 2.0) -> Path:
        nib.save(nib.Nifti1Image(voxels, np.diag([millimetres] * 3 + [1.0])), tmp_path / "x.nii")
        return tmp_path / "x.nii"

    (tmp_path / "text.nii").write_text("no image")
    cut = tmp_path / "cut.nii"
    cut.write_bytes(saved(np.zeros((8, 8, 8), np.float32)).read_bytes()[:-40])
    for path in (tmp_path / "text.nii", cut, tmp_path / "missing.nii"):
        with pytest.raises(UnreadableCine, match=path.name):
            read_nifti(path)
    with pytest.raises(UnreadableCine, match="axes"):
        read_nifti(saved(np.zeros((4, 4, 4, 2, 3), np.float32)))
    with pytest.raises(UnreadableCine, match="mm"):
        read_nifti(saved(np.zeros((4, 4, 4), np.float32), 0.002))
    with pytest.raises(UnreadableCine, match="finite"):
        read_nifti(saved(np.full((4, 4, 4), np.nan, np.float32)))
    with pytest.raises(UnreadableCine, match="label map"):
        read_labels(saved(np.full((4, 4, 4), 1.5, np.float32)))


def test_a_header_that_promises_more_than_a_cine_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((30000, 30000, 30, 30))
    header["vox_offset"] = 352
    (tmp_path / "bomb.nii").write_bytes(header.binaryblock + bytes(4))
    with pytest.raises(UnreadableCine, match="30000"):
        read_nifti(tmp_path / "bomb.nii")


def test_a_simulated_scan_comes_back_from_dicom_folder_and_zip(scan: Scan, folder: Path) -> None:
    step = scan.image.max() / 65535
    for source in (folder, zipped(folder)):
        cine = read_dicom(source)
        np.testing.assert_allclose(cine.frames, scan.image, atol=step)
        assert cine.spacing == pytest.approx(scan.spacing)
        assert cine.cycle == pytest.approx(60 / heart_of(100).subject.heart_rate)


def test_phases_and_slices_are_told_by_their_headers_and_not_by_file_names(scan: Scan, folder: Path) -> None:
    rng = np.random.default_rng(0)
    for path in list(folder.iterdir()):
        path.rename(folder / f"{rng.integers(2**60)}")
    np.testing.assert_allclose(read_dicom(folder).frames, scan.image, atol=scan.image.max() / 65535)


def test_a_series_turned_by_its_header_is_turned_back(scan: Scan, folder: Path) -> None:
    def turn(dataset: pydicom.Dataset) -> None:
        """Rows and columns in each other's place, and both counted from the far end."""
        row, column = np.split(np.array(dataset.ImageOrientationPatient, float), 2)
        height, width = map(float, dataset.PixelSpacing)
        far = np.array(dataset.ImagePositionPatient, float)
        far = far + row * width * (dataset.Columns - 1) + column * height * (dataset.Rows - 1)
        pixels = dataset.pixel_array[::-1, ::-1].T
        dataset.ImagePositionPatient = [scan_dicom._decimal(x) for x in far]
        dataset.ImageOrientationPatient = [scan_dicom._decimal(x) for x in (*-column, *-row)]
        dataset.PixelSpacing = [width, height]
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = pixels.tobytes()

    edit(folder, turn)
    cine = read_dicom(folder)
    np.testing.assert_allclose(cine.frames, scan.image, atol=scan.image.max() / 65535)
    assert cine.spacing == pytest.approx(scan.spacing)


def test_instance_numbers_tell_the_phases_where_trigger_times_do_not(scan: Scan, folder: Path) -> None:
    edit(folder, lambda dataset: dataset.__delattr__("TriggerTime"))
    cine = read_dicom(folder)
    np.testing.assert_allclose(cine.frames, scan.image, atol=scan.image.max() / 65535)
    assert cine.cycle is None


def test_the_beat_is_the_scanners_where_it_states_one(folder: Path) -> None:
    edit(folder, lambda dataset: dataset.__setattr__("NominalInterval", 912))
    assert read_dicom(folder).cycle == pytest.approx(0.912)


def test_a_missing_phase_and_a_missing_slice_are_refused(folder: Path) -> None:
    next(folder.glob("slice_04_phase_02*")).unlink()
    with pytest.raises(IncompleteStack, match=r"number of phases: .*5"):
        read_dicom(folder)
    for path in folder.glob("slice_04*"):
        path.unlink()
    with pytest.raises(IncompleteStack, match=r"40\.0"):
        read_dicom(folder)


def test_another_view_is_left_out_if_the_short_axis_has_a_name_and_refused_if_not(scan: Scan, folder: Path) -> None:
    def tilt(dataset: pydicom.Dataset) -> None:
        row, column = np.split(np.array(dataset.ImageOrientationPatient, float), 2)
        dataset.ImageOrientationPatient = [scan_dicom._decimal(x) for x in (*row, *np.cross(row, column))]
        dataset.SeriesDescription = "cine_trufi_4CH"

    edit(folder, tilt, "slice_01*")
    rest = scan.image[:, 1:]
    edit(folder, lambda dataset: dataset.__setattr__("SeriesDescription", "CINE_segmented_SAX_b3"), "slice_0[2-8]*")
    np.testing.assert_allclose(read_dicom(folder).frames, rest, atol=scan.image.max() / 65535)
    edit(folder, lambda dataset: dataset.__setattr__("SeriesDescription", "cine_trufi"), "slice_0[2-8]*")
    with pytest.raises(MixedSeries, match="cine_trufi, cine_trufi_4CH"):
        read_dicom(folder)


def test_a_slice_imaged_again_is_taken_from_the_last_series(scan: Scan, folder: Path) -> None:
    for path in list(folder.glob("slice_03*")):
        shutil.copy(path, folder / f"again_{path.name}")

    def again(dataset: pydicom.Dataset) -> None:
        dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.3", 9
        dataset.PixelData = bytes(len(dataset.PixelData))

    edit(folder, again, "again*")
    frames = read_dicom(folder).frames
    assert np.ptp(frames[:, 2]) == 0
    assert np.ptp(frames[:, 1]) > 0


def test_series_of_other_content_at_the_same_place_are_refused(folder: Path) -> None:
    for path in list(folder.glob("slice_03*")):
        shutil.copy(path, folder / f"tagged_{path.name}")
    edit(folder, lambda dataset: dataset.__setattr__("SeriesDescription", "tagging"), "tagged*")
    with pytest.raises(MixedSeries, match="tagging"):
        read_dicom(folder)


def test_what_is_no_dicom_series_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableCine, match="zip"):
        read_dicom(b"no zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableCine, match="no DICOM"):
        read_dicom(tmp_path / "empty")
    with pytest.raises(UnreadableCine, match="none of the series"):
        read_dicom(folder, "perfusion")
    edit(folder, lambda dataset: dataset.__delattr__("PixelSpacing"), "slice_02_phase_03*")
    with pytest.raises(UnreadableCine, match="slice_02_phase_03"):
        read_dicom(folder)


def test_cut_pixels_are_refused(folder: Path) -> None:
    edit(folder, lambda dataset: dataset.__setattr__("PixelData", dataset.PixelData[:100]), "slice_02_phase_03*")
    with pytest.raises(UnreadableCine, match="decoded"):
        read_dicom(folder)


def test_too_many_files_are_refused_before_any_is_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for n in range(MAX_FILES + 1):
            archive.writestr(str(n), b"")
    with pytest.raises(UnreadableCine, match=str(MAX_FILES + 1)):
        read_dicom(buffer.getvalue())


def test_a_zip_that_unpacks_to_more_than_it_should_is_refused(folder: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.dcm", bytes(2**24))
    assert len(buffer.getvalue()) < 2**15
    with pytest.raises(UnreadableCine, match=str(2**24)):
        read_dicom(buffer.getvalue())


def test_a_real_series_is_read_with_its_geometry(shared_data: Path) -> None:
    folder = shared_data / "sunnybrook_cine" / "dicom_sample_SC-HF-I-1"
    cine = read_dicom(folder)
    assert cine.frames.shape == (2, 9, 256, 256)
    assert cine.spacing == pytest.approx((10.0, 1.367188, 1.367188), rel=1e-5)
    assert cine.cycle == pytest.approx(0.779, rel=0.1)


def test_a_compressed_file_with_a_damaged_byte_is_refused_wherever_it_is(tmp_path):
    import nibabel

    voxels = np.random.default_rng(1).integers(0, 900, (12, 12, 6, 4)).astype(np.int16)
    whole = tmp_path / "whole.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2.0, 2.0, 8.0, 1.0])), whole)
    data = whole.read_bytes()
    read_nifti(whole)
    for place in range(len(data) // 8, len(data), len(data) // 8):
        damaged = tmp_path / f"{place}.nii.gz"
        damaged.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with pytest.raises(UnreadableCine):
            read_nifti(damaged)
