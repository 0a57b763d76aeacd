"""Arrays without a word beside them, in NumPy's, MATLAB's and Parquet's files; and what came in gzip."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ecg import LEADS, DecodeError, EcgError, Recording, Stated, UnsupportedFormat, archive, inflate
from models.ecg.errors import ChecksumMismatch, MissingMetadata, MissingSamples, TruncatedFile, UnsafeFile
from models.ecg.formats import matlab, numpy_array, parquet
from models.ecg.recording import INDEPENDENT_LEADS
from tests.models.ecg_files import FILES, SHARED, Row, assert_reading, content, expected, made_up_signal, name_of

SIGNAL = made_up_signal()
EIGHT = SIGNAL[[LEADS.index(lead) for lead in INDEPENDENT_LEADS]]
STATED = Stated(500, "mV", LEADS)
CODE15 = sorted((SHARED / "code15_sample").glob("*.mat"))


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npz(**arrays: Any) -> dict[str, bytes]:
    """As `models.ecg.archive.unpack` gives the members."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return archive.unpack(file.getvalue())


def mat(*, level: str = "5", compress: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, arrays, format=level, do_compression=compress)
    return file.getvalue()


def columns(metadata: Mapping[str, str] | None = None, **named: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(named).replace_schema_metadata(metadata), file)
    return file.getvalue()


TWELVE = dict(zip(LEADS, SIGNAL, strict=True))
NPY, MAT, PARQUET = npy(SIGNAL), mat(ecg=SIGNAL, compress=True), columns({"fs": "500", "unit": "mV"}, **TWELVE)


@pytest.mark.parametrize("row", expected("numpy"), ids=name_of)
def test_a_real_array_is_read_as_known(row: Row) -> None:
    assert numpy_array.matches(content(row))
    assert_reading(numpy_array.read(content(row), STATED), row)


@pytest.mark.parametrize("row", expected("parquet"), ids=name_of)
def test_a_real_parquet_table_is_read_as_known(row: Row) -> None:
    assert parquet.matches(content(row))
    assert_reading(parquet.read(content(row), Stated(500, "uV")), row)


@pytest.mark.parametrize("path", CODE15, ids=lambda path: path.stem)
def test_every_record_of_code_15_is_read_as_scipy_reads_it(path: Path) -> None:
    data = path.read_bytes()
    assert matlab.matches(data)
    truth = scipy.io.loadmat(path)
    for stated in (Stated(400, "mV", LEADS), Stated(None, "mV", LEADS)):
        recording = matlab.read(data, stated)
        np.testing.assert_array_equal(recording.signal, truth["feats"])
        assert recording.sampling_rate == truth["curr_sample_rate"].item() == 400
    with pytest.raises(MissingMetadata, match="leads"):
        matlab.read(data, Stated(400, "mV"))
    with pytest.raises(DecodeError, match="500"):
        matlab.read(data, STATED)


def test_the_mat_file_of_physionet_is_read_alone_where_all_is_stated() -> None:
    path = FILES / "wfdb/E07500.mat"
    if not path.is_file():
        pytest.skip("the real files are not here")
    recording = matlab.read(path.read_bytes(), Stated(500, "uV", LEADS))
    np.testing.assert_allclose(1e3 * recording.signal, scipy.io.loadmat(path)["val"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["all_inf", "all_nan"])
def test_arrays_of_nothing_are_refused(name: str) -> None:
    path = FILES / f"adversarial/{name}.npy"
    if path.is_file():
        with pytest.raises(MissingSamples):
            numpy_array.read(path.read_bytes(), STATED)


@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f4", ">f4", "<i2", ">i2", "<i4", "<i8", "<f2"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_type_byte_order_and_way_round_is_read(kind: str, turned: bool, order: Any) -> None:
    microvolts = np.rint(1e3 * SIGNAL).astype(kind)
    array = np.array(microvolts.T if turned else microvolts, order=order)
    truth = microvolts.astype(float) * 1e-3
    for recording in (
        numpy_array.read(npy(array), Stated(500, "uV", LEADS)),
        numpy_array.read(npy(array[None]), Stated(500, "uV", LEADS)),
    ):
        np.testing.assert_allclose(recording.signal, truth, rtol=0, atol=1e-12)
    if kind not in ("<f2",):
        recording = matlab.read(mat(x=array), Stated(500, "uV", LEADS))
        np.testing.assert_allclose(recording.signal, truth, rtol=0, atol=1e-12)


READERS: dict[str, Callable[..., Recording]] = {
    "npz": lambda stated=None, **arrays: numpy_array.read_files(npz(**arrays), stated or Stated()),
    "mat 5": lambda stated=None, **arrays: matlab.read(mat(**arrays), stated or Stated()),
    "mat 5, compressed": lambda stated=None, **arrays: matlab.read(mat(compress=True, **arrays), stated or Stated()),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["ecg", "signal", "val", "feats", "whatever"])
def test_the_matrix_goes_by_its_name_or_is_the_only_one(reader: str, name: str) -> None:
    recording = READERS[reader](**{name: SIGNAL.T}, fs=500, unit="mV", leads=np.array(LEADS))
    np.testing.assert_array_equal(recording.signal, SIGNAL)
    assert recording.sampling_rate == 500


@pytest.mark.parametrize("reader", READERS)
def test_words_beside_the_matrix_are_kept(reader: str) -> None:
    said = {"fs": 500.0, "unit": "uV", "age": 61, "sex": "F", "height": 170, "device": "Cart 9", "other": np.eye(3)}
    recording = READERS[reader](ecg=1e3 * EIGHT, leads=np.array(INDEPENDENT_LEADS), **said)
    np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=1e-12)
    assert (recording.age, recording.sex, recording.height, recording.device) == (61, "F", 170, "Cart 9")
    assert recording.derived == ("III", "aVR", "aVL", "aVF")


@pytest.mark.parametrize("reader", READERS)
def test_several_matrices_or_none_are_refused(reader: str) -> None:
    for arrays in ({"a": SIGNAL, "b": SIGNAL}, {"ecg": SIGNAL, "val": SIGNAL}, {"fs": 500}):
        with pytest.raises(UnsupportedFormat):
            READERS[reader](STATED, **arrays)


def test_names_of_leads_may_be_a_cell_array() -> None:
    names = np.array(LEADS[::-1], dtype=object)
    recording = matlab.read(mat(ecg=SIGNAL[::-1], leads=names, fs=500, unit="mV"), Stated())
    np.testing.assert_array_equal(recording.signal, SIGNAL)


def test_level_4_is_read_in_both_byte_orders() -> None:
    np.testing.assert_array_equal(
        matlab.read(mat(level="4", ecg=SIGNAL, fs=500), Stated(None, "mV", LEADS)).signal, SIGNAL
    )
    big = struct.pack(">5i", 1000, 12, 5000, 0, 4) + b"ecg\0" + SIGNAL.T.astype(">f8").tobytes()
    assert matlab.matches(big)
    np.testing.assert_array_equal(matlab.read(big, STATED).signal, SIGNAL)


def test_big_endian_level_5_is_read() -> None:
    name, rows = b"ecg\0\0\0\0\0", SIGNAL.T.astype(">f8").tobytes()
    body = struct.pack(">6I2i2I", 6, 8, 6, 0, 5, 8, 12, 5000, 1, 3) + name + struct.pack(">2I", 9, len(rows)) + rows
    data = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + struct.pack(">2I", 14, len(body)) + body
    assert scipy.io.loadmat(io.BytesIO(data))["ecg"].shape == (12, 5000)
    np.testing.assert_array_equal(matlab.read(data, STATED).signal, SIGNAL)


def test_structures_objects_and_complex_numbers_are_passed_over() -> None:
    others = {"a": {"b": 1}, "c": SIGNAL * 1j, "d": np.array([1, "x"], dtype=object)}
    np.testing.assert_array_equal(matlab.read(mat(ecg=SIGNAL, **others), STATED).signal, SIGNAL)


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<2I", kind, len(content)) + content + bytes(-len(content) % 8)


def mat_with(name: bytes, kind: int, shape: bytes, flags: int, *content: tuple[int, bytes]) -> bytes:
    """The ECG, and beside it an array as it is written here: `shape` are numbers of type `kind`."""
    head = element(6, struct.pack("<2I", flags, 0)) + element(kind, shape) + element(1, name)
    return mat(ecg=SIGNAL) + element(14, head + b"".join(element(*part) for part in content))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (9, np.array([np.nan, 1.0])),
        (9, np.array([np.inf, 1.0])),
        (9, np.array([1.0, 1.0])),
        (5, np.array([0, 2**31 - 1, 2**31 - 1, 2**31 - 1], np.int32)),
    ],
)
def test_impossible_dimensions_are_refused(kind: int, shape: np.ndarray[Any, Any]) -> None:
    numbers = bytes(8) if kind == 9 else b""
    with pytest.raises(DecodeError, match=r"dimensions|shape"):
        matlab.read(mat_with(b"x", kind, shape.tobytes(), 6, (9, numbers)), STATED)


def test_billions_of_rows_without_a_letter_are_not_built() -> None:
    shape = np.array([2**31 - 1, 0], np.int32).tobytes()
    np.testing.assert_array_equal(matlab.read(mat_with(b"x", 5, shape, 4, (4, b"")), STATED).signal, SIGNAL)


@pytest.mark.parametrize("kind", [4, 17])
def test_letters_of_two_words_stay_whole_and_halves_of_them_are_replaced(kind: int) -> None:
    for units, text in (("A😀b".encode("utf-16-le"), "A😀b"), (b"A\0\x3d\xd8b\0", "A\ufffdb")):
        shape = np.array([1, len(units) // 2], np.int32).tobytes()
        assert matlab.read(mat_with(b"device", 5, shape, 4, (kind, units)), STATED).device == text


def test_matlab_7_3_says_how_to_save_it() -> None:
    data = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(384) + b"\x89HDF\r\n\x1a\n"
    assert matlab.matches(data)
    with pytest.raises(UnsupportedFormat, match="-v7"):
        matlab.read(data, STATED)


def test_a_small_mat_file_that_inflates_without_end_is_refused() -> None:
    with pytest.raises(UnsafeFile, match="inflate"):
        matlab.read(mat(ecg=np.zeros((12, 2_000_000)), compress=True), STATED)


def test_cells_within_cells_without_end_are_passed_over() -> None:
    inner = b""
    for _ in range(30_000):
        head = struct.pack("<6I2i2I", 6, 8, 1, 0, 5, 8, 1, 1, 1, 0)
        inner = struct.pack("<2I", 14, len(head) + len(inner)) + head + inner
        if len(inner) > 2**20:
            break
    with pytest.raises(UnsupportedFormat, match="nothing says"):
        matlab.read(mat()[:128] + inner, STATED)


def test_millions_of_empty_elements_are_not_built() -> None:
    many = struct.pack("<2I", 14, 8 * 2**22) + struct.pack("<2I", 1, 0) * 2**22
    with pytest.raises(UnsupportedFormat, match="nothing says"):
        matlab.read(mat()[:128] + many, STATED)
    with pytest.raises(UnsafeFile, match="100 arrays"):
        matlab.read(mat()[:128] + struct.pack("<2I", 1, 0) * 2**22, STATED)


def test_a_matrix_of_bytes_is_not_blown_up_before_it_is_refused() -> None:
    tracemalloc.start()
    with pytest.raises(UnsafeFile, match="no ECG"):
        numpy_array.read(npy(np.zeros((60, 400_000), np.int8)), STATED)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


def forged(shape: str, kind: str = "'<f8'", size: int = 1000) -> bytes:
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(size)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (forged("(12, 100000000000)"), TruncatedFile),
        (forged("(12, 10)"), DecodeError),
        (forged("(12, 11)"), TruncatedFile),
        (forged("(12, -10)"), DecodeError),
        (forged("(12, True)"), DecodeError),
        (forged("12"), DecodeError),
        (forged("(125,)"), DecodeError),
        (forged("(5, 5, 5)"), DecodeError),
        (forged("(12, 12)", size=1152), DecodeError),
        (forged("(65, 66)", size=65 * 66 * 8), UnsafeFile),
        (forged("(12, 600000)", "'|i1'", 7_200_000), UnsafeFile),
        (forged(f"(0, {10**30})", size=0), DecodeError),
        (forged("(12,)", "'<U0'", 0), UnsafeFile),
        (forged("(125,)", "'|O'"), UnsafeFile),
        (forged("(125,)", "[('a', '<f8')]"), UnsafeFile),
        (forged("(125,)", "'<M8[s]'"), UnsafeFile),
        (forged("(125,)", "'<c16'"), UnsafeFile),
        (forged("(" * 300), DecodeError),
        (forged("__import__('os')"), DecodeError),
        (b"\x93NUMPY\x01", TruncatedFile),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", DecodeError),
        (b"\x93NUMPY\x07\x00\x10\x00", DecodeError),
    ],
)
def test_a_wrong_array_is_refused_for_its_own_reason(data: bytes, error: type[EcgError]) -> None:
    with pytest.raises(error):
        numpy_array.read(data, STATED)


def test_a_pickle_is_never_loaded() -> None:
    with pytest.raises(UnsafeFile, match="pickle"):
        numpy_array.read(npy(np.array([{"a": 1}], dtype=object), allow_pickle=True), STATED)


@pytest.mark.parametrize("code", [0x110000, 0xFFFFFFFF, 0xD800, 0xDFFF])
@pytest.mark.parametrize("order", "<>")
def test_text_of_other_than_letters_is_refused(code: int, order: str) -> None:
    names = forged("(1,)", f"'{order}U1'", 0) + np.array([code], f"{order}u4").tobytes()
    with pytest.raises(DecodeError, match="text"):
        numpy_array.read_files({"ecg.npy": NPY, "leads.npy": names}, STATED)


def test_the_request_must_complete_an_array() -> None:
    for stated in (Stated(500, "mV"), Stated(500, None, LEADS), Stated(None, "mV", LEADS)):
        with pytest.raises(MissingMetadata):
            numpy_array.read(NPY, stated)
    with pytest.raises(DecodeError, match="8 lead names"):
        numpy_array.read(NPY, Stated(500, "mV", INDEPENDENT_LEADS))


def test_parquet_says_rate_and_unit_in_several_ways() -> None:
    time = np.arange(5000) / 500
    volts = {f"{lead} (uV)": 1e3 * row for lead, row in TWELVE.items()}
    for data in (
        PARQUET,
        columns({"Sampling_Rate": "500 Hz"}, **volts),
        columns({"unit": "mV"}, time=time, **TWELVE),
        columns({"unit": "mV", "fs": "500"}, who=["x"] * 5000, __index_level_0__=np.arange(5000), **TWELVE),
    ):
        recording = parquet.read(data, Stated())
        np.testing.assert_allclose(recording.signal, SIGNAL, rtol=0, atol=1e-12)
        assert (recording.sampling_rate, recording.remarks) == (500, ())
    with pytest.raises(MissingMetadata):
        parquet.read(columns(None, **TWELVE), Stated(500))


def test_gaps_in_parquet_are_gaps() -> None:
    gappy = pa.array([None, *SIGNAL[0][1:]])
    with pytest.raises(MissingSamples):
        parquet.read(columns(None, **(TWELVE | {"I": gappy})), Stated(500, "mV"))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (columns(None, **{f"x{n}": [0.0] for n in range(65)}), UnsafeFile),
        (columns(None, I=np.zeros(500_001, np.int8)), UnsafeFile),
        (columns(None, I=["a"], II=["b"]), DecodeError),
        (columns(None, name=["a"]), DecodeError),
        (columns({"fs": "fast"}, **TWELVE), DecodeError),
        (columns({"fs": "500", "rate": "250"}, **TWELVE), DecodeError),
        (b"PAR1" + bytes(100) + b"PAR1", DecodeError),
        (b"PAR1", TruncatedFile),
    ],
)
def test_a_wrong_parquet_table_is_refused_for_its_own_reason(data: bytes, error: type[EcgError]) -> None:
    with pytest.raises(error):
        parquet.read(data, Stated(None, "mV"))


@pytest.mark.parametrize(
    ("reader", "data"), [(numpy_array, NPY), (matlab, mat(ecg=SIGNAL)), (matlab, MAT), (parquet, PARQUET)]
)
def test_a_cut_file_is_refused_wherever_it_is_cut(reader: Any, data: bytes) -> None:
    for percent in range(1, 100):
        with pytest.raises((TruncatedFile, DecodeError)):
            reader.read(data[: len(data) * percent // 100], STATED)


@settings(max_examples=300, deadline=None)
@given(
    choice=st.sampled_from([0, 1, 2, 3, 4]), position=st.integers(0, 700), value=st.integers(0, 255), end=st.booleans()
)
def test_whatever_the_bytes_there_is_a_recording_or_a_reason(choice: int, position: int, value: int, end: bool) -> None:
    seeds: list[tuple[Any, bytes]] = [
        (numpy_array, NPY), (matlab, mat(ecg=EIGHT, fs=500, leads=np.array(["a"], dtype=object))), (matlab, MAT),
        (parquet, PARQUET), (matlab, mat(level="4", ecg=SIGNAL)),
    ]  # fmt: skip
    reader, data = seeds[choice]
    broken = bytearray(data)
    broken[-1 - position if end else position] = value
    reader.matches(bytes(broken))
    try:
        recording = reader.read(bytes(broken), STATED)
    except EcgError:
        return
    assert recording.signal.shape[0] == 12


@pytest.mark.parametrize("seed", range(25))
def test_a_changed_byte_of_a_compressed_matrix_changes_no_sample_in_silence(seed: int) -> None:
    rng = np.random.default_rng(seed)
    broken = bytearray(MAT)
    broken[rng.integers(136, len(MAT))] ^= 1 << rng.integers(8)
    with contextlib.suppress(EcgError):
        np.testing.assert_array_equal(matlab.read(bytes(broken), STATED).signal, SIGNAL)


ECG = b"I,II,V1,V2,V3,V4,V5,V6\n" + b"".join(b"%d,2,3,4,5,6,7,8\n" % n for n in range(2000))


def test_a_gzip_holds_one_file_in_one_part_or_several() -> None:
    packed = gzip.compress(ECG, mtime=0)
    assert inflate.matches(packed)
    assert inflate.unpack(packed) == ECG
    assert inflate.unpack(packed + bytes(512)) == ECG
    assert inflate.unpack(gzip.compress(ECG[:999]) + gzip.compress(ECG[999:])) == ECG
    assert inflate.unpack(gzip.compress(b"")) == b""


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (gzip.compress(bytes(65 * 2**20)), UnsafeFile),
        (gzip.compress(bytes(10 * 2**20)), UnsafeFile),
        (gzip.compress(gzip.compress(ECG)), UnsafeFile),
        (gzip.compress(archive.pack({"a": ECG})), UnsafeFile),
        (gzip.compress(ECG[:10]) * 21, UnsafeFile),
        (gzip.compress(ECG)[:-1], TruncatedFile),
        (gzip.compress(ECG)[:-8] + bytes(8), ChecksumMismatch),
        (gzip.compress(ECG)[:-4] + bytes(4), ChecksumMismatch),
        (gzip.compress(ECG) + b"more", DecodeError),
        (b"\x1f\x8b", TruncatedFile),
        (b"\x1f\x8b\x08\xff" + bytes(20), DecodeError),
    ],
)
def test_a_wrong_gzip_is_refused_for_its_own_reason(data: bytes, error: type[EcgError]) -> None:
    with pytest.raises(error):
        inflate.unpack(data)


def test_every_cut_of_a_gzip_is_refused() -> None:
    packed = gzip.compress(ECG)
    for end in range(1, len(packed), 37):
        with pytest.raises((TruncatedFile, DecodeError)):
            inflate.unpack(packed[:end])


def test_a_bare_stream_is_bounded_too() -> None:
    assert inflate.inflate(zlib.compress(ECG) + b"rest", inflate.ZLIB) == (ECG, b"rest")
    with pytest.raises(UnsafeFile):
        inflate.inflate(zlib.compress(bytes(2**20)), inflate.ZLIB, 2**19)
