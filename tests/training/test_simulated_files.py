from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from ecgdatakit import FileParser

from models.ecg import Recording, decode
from models.ecg.writers import FORMATS, save
from models.ecg.writers.storage import store
from training.simulate import simulate
from training.simulate.cart import sample_cart
from training.simulate.heart import stream
from training.simulate.torso import sample_slips


@pytest.fixture(scope="module")
def recording() -> Recording:
    return dataclasses.replace(simulate(0).recording, patient_id="sim-0", device="ecg2cmr simulator")


def test_a_simulated_ecg_is_the_same_study_whatever_file_it_travels_in(recording: Recording) -> None:
    assert {decode(FORMATS[name].write(recording)).digest for name in ("WFDB", "DICOM")} == {recording.digest}


def test_a_simulated_ecg_is_stored_in_half_steps_of_its_converter(recording: Recording) -> None:
    """The limb leads are halves of sums of whole steps."""
    wiring = stream(0, "electrodes")
    sample_slips(wiring)  # the electrodes are stuck before the cart is plugged in
    assert store(recording.signal).step == pytest.approx(500 * sample_cart(wiring).resolution)


def test_another_reader_reads_the_simulated_muse_file(recording: Recording, tmp_path: Path) -> None:
    (path,) = save(recording, tmp_path, "sim-0", ("MUSE",))
    record = FileParser().parse(path)
    for lead in record.leads:
        np.testing.assert_allclose(lead.samples, recording.lead(lead.label), rtol=0, atol=1e-9)
    assert (len(record.leads), len(record.median_beats)) == (8, 8)
