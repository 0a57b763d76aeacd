"""Seeds: one small file of every format that is read, made up, so that a thousand changes of it take a second."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import scipy.io
from pyarrow import parquet

from models.ecg import LEADS, Recording
from models.ecg.writers import csv_table, dicom, edf, fhir, json_document, wfdb_record
from tests.models import pdf_files
from tests.models.aecg_files import aecg_xml, sequence_set, series
from tests.models.cardiosoft_files import cardiosoft_xml
from tests.models.ecg_files import made_up_signal
from tests.models.ishne_files import ishne
from tests.models.mfer_files import mfer
from tests.models.mortara_files import mortara_xml
from tests.models.muse_files import muse_xml
from tests.models.philips_files import philips_xml
from tests.models.schiller_files import schiller_xml
from tests.models.scp_files import scp

SIGNAL = made_up_signal(0.2)
STEPS = np.rint(1e3 * SIGNAL).astype(np.int64)
RECORDING = Recording(signal=SIGNAL, sampling_rate=500.0, age=61.0, sex="F", patient_id="P-17", device="Cart 3")


def _saved(write: object, *arguments: object, **options: object) -> bytes:
    file = io.BytesIO()
    write(file, *arguments, **options)  # type: ignore[operator]  # one of NumPy's, SciPy's or Arrow's
    return file.getvalue()


def _table() -> pa.Table:
    columns = dict(zip(LEADS, SIGNAL, strict=True))
    return pa.table(columns).replace_schema_metadata({"sampling_rate": "500", "unit": "mV"})


NAMED = {"signal": SIGNAL, "fs": np.array(500.0), "unit": np.array("mV"), "leads": np.array(LEADS)}

SEEDS: dict[str, bytes] = {
    "DICOM": dicom.write(RECORDING),
    "WFDB": wfdb_record.write(RECORDING),
    "CardioSoft XML": cardiosoft_xml(SIGNAL, step=1.0),
    "MUSE XML": muse_xml(SIGNAL[[0, 1, *range(6, 12)]]),
    "Philips XML": philips_xml(SIGNAL, seconds=1.2),
    "Schiller XML": schiller_xml(SIGNAL),
    "Mortara ELI XML": mortara_xml(SIGNAL),
    "HL7 aECG": aecg_xml(series(sequence_set(SIGNAL))),
    "SCP-ECG": scp(STEPS),
    "ISHNE": ishne(1e3 * SIGNAL),
    "MFER": mfer(STEPS),
    "EDF": edf.write(RECORDING),
    "CSV": csv_table.write(RECORDING),
    "JSON": json_document.write(RECORDING),
    "FHIR": fhir.write(RECORDING),
    "NumPy": _saved(np.savez, **NAMED),
    "MATLAB": _saved(scipy.io.savemat, NAMED),
    "Parquet": _saved(lambda file, table: parquet.write_table(table, file), _table()),
    "PDF report": pdf_files.report(made_up_signal(7.2, rate=20.0), rate=20.0),
}
"""By the name that the reader gives its format."""
