from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.ecg import DecodeError, EcgError, Stated, UnsupportedFormat
from models.ecg.errors import TooShort
from models.ecg.formats import pdf_report, picture
from tests.models.ecg_files import Row, content, expected, name_of
from tests.models.pdf_files import pdf

Install = Callable[..., None]


def painted(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    return buffer.getvalue()


PICTURES = {kind: painted(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WebP")} | {
    "HEIC": b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(40),
    "SVG": b'<?xml version="1.0"?><!-- ECG --><svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>',
    "BigTIFF": b"II+\0\x08\0\0\0" + bytes(16),
}

PLUGIN = """
import numpy as np
from models.ecg import Recording
from models.ecg.errors import TooShort

class Digitizer:
    def digitize(self, data):
        return Recording(signal=np.full((12, 5000), len(data) / 1000), sampling_rate=500.0, age=61)

class Refusing:
    def digitize(self, data):
        raise TooShort("the picture shows 2.5 s of each lead")

class Failing:
    def digitize(self, data):
        raise OSError("/secret/weights.bin")

class Silent:
    def digitize(self, data):
        return None

good, refusing, failing, silent = Digitizer(), Refusing(), Failing(), Silent()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A distribution with these digitizers, as pip would leave it in the environment."""

    def installed(**points: str) -> None:
        (tmp_path / "tiny_digitizer.py").write_text(PLUGIN)
        info = tmp_path / "tiny_digitizer-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-digitizer\nVersion: 1.0\n")
        lines = "".join(f"{name} = {target}\n" for name, target in points.items())
        (info / "entry_points.txt").write_text(f"[ecg2cmr.digitizers]\n{lines}")
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()
        sys.modules.pop("tiny_digitizer", None)

    return installed


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_refused_by_its_name_and_with_what_to_send_instead(kind: str) -> None:
    assert picture.matches(PICTURES[kind])
    with pytest.raises(UnsupportedFormat, match=f"{kind} picture.* send the ECG itself"):
        picture.read(PICTURES[kind], Stated())


@pytest.mark.parametrize("row", expected("image"), ids=name_of)
def test_a_real_picture_is_refused(row: Row) -> None:
    assert picture.matches(content(row))
    with pytest.raises(UnsupportedFormat, match="PNG picture"):
        picture.read(content(row), Stated())


@pytest.mark.parametrize(
    "data",
    [b"", b"BM", b"BMI,I,II\n1,2,3\n", b"II*", b"GIF8", b"<html><svg/></html>", b"RIFF1234WAVE", b"\0\0\0\x20ftypisom"],
)
def test_anything_else_is_no_picture(data: bytes) -> None:
    assert not picture.matches(data)


def test_an_installed_digitizer_reads_the_picture(install: Install) -> None:
    install(tiny="tiny_digitizer:good")
    recording = picture.read(PICTURES["PNG"], Stated())
    np.testing.assert_array_equal(recording.signal, np.full((12, 5000), len(PICTURES["PNG"]) / 1000))
    assert (recording.age, recording.source_format) == (61, "PNG picture")
    (remark,) = recording.remarks
    assert remark.code == "digitized"
    assert "'tiny'" in remark.message
    with pytest.raises(DecodeError):
        picture.read(PICTURES["PNG"], Stated(sampling_rate=250))


def test_a_scan_in_a_pdf_is_a_picture_too(install: Install) -> None:
    install(tiny="tiny_digitizer:good")
    scan = pdf(b"q 900 0 0 600 0 0 cm /X1 Do Q")
    assert pdf_report.read(scan, Stated()).source_format == "PDF without the curves of leads"
    with pytest.raises(DecodeError):
        pdf_report.read(scan, Stated(sampling_rate=250))


def test_of_several_digitizers_the_first_by_name_is_asked(install: Install) -> None:
    install(b="tiny_digitizer:failing", a="tiny_digitizer:good")
    assert picture.read(PICTURES["JPEG"], Stated()).source_format == "JPEG picture"


def test_what_a_digitizer_refuses_is_refused_in_its_words(install: Install) -> None:
    install(tiny="tiny_digitizer:refusing")
    with pytest.raises(TooShort, match="of each lead"):
        picture.read(PICTURES["PNG"], Stated())


@pytest.mark.parametrize(
    "target", ["tiny_digitizer:failing", "tiny_digitizer:silent", "tiny_digitizer:nothing", "absent:x"]
)
def test_a_digitizer_that_fails_becomes_an_ecg_error_without_its_secrets(install: Install, target: str) -> None:
    install(tiny=target)
    with pytest.raises(EcgError, match="'tiny'") as refused:
        picture.read(PICTURES["PNG"], Stated())
    assert "secret" not in refused.value.detail
