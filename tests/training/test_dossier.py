"""A dossier: what other programs read in it is the heart of the seed."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from models.ecg import decode
from training.simulate import heart_of, record_ecg
from training.simulate.dossier import Contents, write_dossier

SEED = 11
SMALL = Contents(ecg=("WFDB", "DICOM"), scans=("NIfTI",), phases=3, acceleration=3.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dossier")
    write_dossier(folder, SEED, SMALL)
    return folder


def test_the_ecg_files_are_the_recording_of_the_seed(folder):
    expected = record_ecg(heart_of(SEED))
    for suffix in (".zip", ".dcm"):
        found = decode((folder / f"sim-{SEED}{suffix}").read_bytes())
        assert found.digest == expected.digest
        assert (found.sex, found.age) == (expected.sex, pytest.approx(expected.age, abs=1))


def test_the_label_map_at_end_diastole_holds_the_volume_of_the_truth(folder):
    truth = json.loads((folder / "truth.json").read_text())
    labels = nib.load(folder / "short_axis_labels.nii.gz")
    voxels = (np.asarray(labels.dataobj)[..., 0] == 1).sum()
    millilitres = voxels * np.prod(labels.header.get_zooms()[:3]) / 1000
    assert millilitres == pytest.approx(truth["phenotypes_counted_on_label_maps"]["LVEDV"])
    assert millilitres == pytest.approx(truth["phenotypes_of_the_parametric_heart"]["LVEDV"], rel=0.12)


def test_every_view_is_there_and_the_raw_data_of_the_cine(folder):
    for view in ("short_axis", "four_chamber", "late_enhancement"):
        assert (folder / f"{view}.nii.gz").exists()
    with np.load(folder / "kspace.npz") as raw:
        assert raw["samples"].shape[:2] == (3, 8)
        assert raw["mask"].mean() == pytest.approx(1 / 3, abs=0.05)


def test_the_same_seed_is_the_same_dossier(folder, tmp_path):
    for path in write_dossier(tmp_path, SEED, SMALL):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes(), path.name
