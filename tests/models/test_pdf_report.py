from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ecg import LEADS, DecodeError, EcgError, Recording, Stated, UnsupportedFormat
from models.ecg.errors import MissingLeads, MissingMetadata, TooShort, TruncatedFile, UnsafeFile
from models.ecg.formats import pdf_report
from models.ecg.formats.pdf_report import Curve, curves
from models.ecg.recording import INDEPENDENT_LEADS
from tests.models.ecg_files import FILES, made_up_signal
from tests.models.pdf_files import STATED, line, pdf, pulse, report, words

SIGNAL = made_up_signal()
COARSE = made_up_signal(rate=125.0)
WHOLE = report(SIGNAL)
SMALL = report(COARSE[:, :125], rate=12.5)
REAL = FILES / "pdf" / "00009_hr.pdf"
needs_real = pytest.mark.skipif(not REAL.is_file(), reason="the real files are not beside the repository")


def decode(data: bytes, stated: Stated | None = None) -> Recording:
    return pdf_report.read(data, stated or Stated())


def outcome(data: bytes) -> Recording | EcgError:
    try:
        return decode(data)
    except EcgError as error:
        return error


def truth() -> dict[str, np.ndarray]:
    header, *rows = (FILES / "csv" / "00009_hr.csv").read_text().split()
    return dict(zip(header.split(","), np.array([row.split(",") for row in rows], dtype=float).T, strict=True))


def against(curve: Curve, lead: np.ndarray, lag: float) -> tuple[np.ndarray, np.ndarray]:
    """A curve and 500 Hz of the truth at the same instants; columns were recorded 2.5 s apart."""
    instants = 2.5 * round(curve.start / 2.5) + curve.seconds + lag
    inside = slice(2, -4)
    return curve.millivolts[inside], np.interp(instants, np.arange(len(lead)) / 500, lead)[inside]


@needs_real
@pytest.mark.parametrize("lead", LEADS)
def test_the_curves_of_a_real_report_are_its_signal_of_2_5_s(lead: str) -> None:
    found = curves(REAL.read_bytes())
    assert sorted(found) == sorted(LEADS)
    assert found[lead].duration == pytest.approx(2.5, abs=0.01)
    drawn, known = against(found[lead], truth()[lead], lag=0.008)
    assert np.corrcoef(drawn, known)[0, 1] > 0.99
    assert 1e3 * np.sqrt(np.mean((drawn - known) ** 2)) < 20
    assert np.polyfit(known, drawn, 1)[0] == pytest.approx(1, abs=0.04)


@needs_real
def test_a_lag_of_8_ms_fits_all_curves_of_the_real_report_best() -> None:
    found, known = curves(REAL.read_bytes()), truth()
    lags = np.arange(-0.02, 0.04, 0.002)
    fit = [np.mean([np.corrcoef(*against(found[lead], known[lead], lag))[0, 1] for lead in LEADS]) for lag in lags]
    assert lags[int(np.argmax(fit))] == pytest.approx(0.008, abs=0.003)


@needs_real
def test_a_real_report_is_refused_for_what_it_holds() -> None:
    with pytest.raises(TooShort, match=r"2\.5 s of each lead, one after the other.*send the ECG itself"):
        decode(REAL.read_bytes())


def test_leads_that_run_side_by_side_are_a_recording() -> None:
    recording = decode(WHOLE)
    assert recording.sampling_rate == 500
    assert recording.signal.shape == (12, 5000)
    zero = np.median(SIGNAL, axis=1, keepdims=True)  # no pulse shows where 0 mV is
    np.testing.assert_allclose(recording.signal, SIGNAL - zero, rtol=0, atol=1e-4)
    assert [remark.code for remark in recording.remarks] == ["read-from-print"]
    assert recording.derived == ()


@pytest.mark.parametrize(("speed", "gain"), [(25.0, 10.0), (12.5, 5.0), (50.0, 20.0), (25.0, 20.0)])
@pytest.mark.parametrize("pulses", [False, True])
def test_speed_and_gain_are_those_of_the_words_or_the_pulses(speed: float, gain: float, pulses: bool) -> None:
    text = "" if pulses else f"{speed:g}mm/sec {gain:g} mm/mV"
    file = report(COARSE, rate=125, speed=speed, gain=gain, text=text, pulses=pulses)
    found = curves(file)
    assert list(found) == list(LEADS)
    for lead, row in zip(LEADS, COARSE, strict=True):
        zero = 0 if pulses else np.median(row)
        np.testing.assert_allclose(found[lead].millivolts, row - zero, rtol=0, atol=1e-4)
        np.testing.assert_allclose(found[lead].seconds, np.arange(1250) / 125, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("columns", "seconds"), [(2, "5.0"), (4, "2.5")])
@pytest.mark.parametrize("strip", [False, True])
def test_columns_are_told_by_what_they_hold_of_each_lead(columns: int, seconds: str, strip: bool) -> None:
    file = report(COARSE, rate=125, columns=columns, strip=strip)
    found = curves(file)
    assert sorted(found) == sorted(LEADS)
    samples = 1250 // columns
    for number, lead in enumerate(LEADS):
        start = number // (12 // columns) * samples
        piece = COARSE[number, start : start + samples]
        np.testing.assert_allclose(found[lead].millivolts, piece - np.median(piece), rtol=0, atol=1e-4)
        assert found[lead].start == pytest.approx(start / 125, abs=1e-4)
    with pytest.raises(TooShort, match=f"{seconds} s of each lead, one after the other"):
        decode(file)


def test_a_short_strip_of_all_leads_is_too_short() -> None:
    with pytest.raises(TooShort, match=r"5\.0 s of each lead"):
        decode(report(COARSE[:, :625], rate=125))


def test_limb_leads_that_are_not_drawn_are_derived_and_others_are_missed() -> None:
    assert decode(report(COARSE, rate=125, leads=INDEPENDENT_LEADS)).derived == ("III", "aVR", "aVL", "aVF")
    with pytest.raises(MissingLeads, match="V6"):
        decode(report(COARSE, rate=125, leads=LEADS[:11]))


@pytest.mark.parametrize("text", ["", "25 mm/s", "10 mm/mV", "25 mm 10 mV"])
def test_a_report_that_does_not_say_how_it_draws_is_refused(text: str) -> None:
    with pytest.raises(MissingMetadata, match="neither in words nor by a pulse"):
        decode(report(COARSE, rate=125, text=text))


def test_a_report_of_two_gains_is_refused() -> None:
    with pytest.raises(DecodeError, match="several gains: 5, 10"):
        decode(report(COARSE, rate=125, text="25 mm/s 10 mm/mV chest: 5 mm/mV"))


def test_a_label_between_two_curves_is_refused() -> None:
    x = np.linspace(60, 400, 200)
    rows = "\n".join(line(x, np.full(200, y)) for y in (300.0, 200.0))
    with pytest.raises(DecodeError, match="between two curves"):
        decode(pdf(f"{words(70, 250, 'V1')}\n{words(60, 570, STATED)}\n{rows}".encode()))


@pytest.mark.parametrize(
    "content",
    [
        "",
        words(60, 500, "The patient in lead I has a grid") + "\n100 100 m 100 400 l S",
        line(np.linspace(60, 400, 200), np.full(200, 300.0)),
        words(60, 310, "II") + "\n" + line(np.linspace(400, 60, 200), np.full(200, 300.0)),
        words(60, 310, "II") + "\n60 300 m 100 320 200 320 300 300 c S",
        pulse(300, 25, 10) + words(60, 310, "II"),
    ],
)
def test_a_pdf_without_curves_of_leads_is_a_picture(content: str) -> None:
    with pytest.raises(UnsupportedFormat, match="a PDF without the curves of leads"):
        decode(pdf(content.encode()))


def form(content: bytes) -> bytes:
    """A drawing that a page may place, and that knows itself by the same name."""
    head = (
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 900 600] /Resources << /XObject << /X1 6 0 R >> >> /Length %d >>"
    )
    return head % len(content) + b"\nstream\n" + content + b"\nendstream"


def test_a_form_is_drawn_where_it_stands() -> None:
    drawing = line(np.linspace(0, 340, 400), np.tile([0.0, 5.0], 200)).encode()
    content = f"{words(70, 310, 'V2')} {words(60, 570, STATED)} q 1 0 0 2 60 300 cm /X1 Do Q"
    found = curves(pdf(content.encode(), inside=form(drawing)))
    assert list(found) == ["V2"]
    assert np.ptp(found["V2"].millivolts) == pytest.approx(10 / (10 * 72 / 25.4))


def test_the_request_never_contradicts_the_report() -> None:
    printed = report(COARSE, rate=125)
    assert decode(printed, Stated(sampling_rate=125, unit="mV")).digest == decode(printed).digest
    for stated in (Stated(sampling_rate=250), Stated(unit="uV"), Stated(leads=LEADS[::-1])):
        with pytest.raises(DecodeError):
            decode(printed, stated)


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (b"%PDF-1.4\n" + bytes(4 * 2**20) + b"%%EOF", UnsafeFile, "4 MB"),
        (pdf(bytes(17 * 2**20)), UnsafeFile, "inflates"),
        (pdf(b"0 0 m " + b"1 1 l " * 300_000), UnsafeFile, "draws more"),
        (pdf(b"q Q " * 100_000), UnsafeFile, "draws more"),
        (pdf(b"(" * 30_000), UnsafeFile, "draws more"),
        (pdf(b"BT /F1 1 Tf (" + b"1" * 1_000_000 + b") Tj ET"), UnsafeFile, "characters"),
        (b"%PDF-1.4\n1 0 obj\n" + b"[" * 1_000_000 + b"\n%%EOF", UnsafeFile, "more parts"),
        (b"%PDF-1.4\n" + b"stream\n" * 100_000 + b"\n%%EOF", UnsafeFile, "more parts"),
        (pdf(b"1 " * 500_000), UnsafeFile, "draws more"),
        (pdf(b"") + b"7 0 obj\n1\nendobj\n" * 6_000 + b"%%EOF", UnsafeFile, "5000 objects"),
        (pdf(b"/X1 Do", inside=form(b"/X1 Do /X1 Do")), EcgError, "PDF"),
        (pdf(b"0 0 m").replace(b"/FlateDecode", b"/LZWDecode  "), UnsafeFile, "compressed"),
        (pdf(b"0 0 m").replace(b"/FlateDecode", b"[/Fl /FlateDecode]"), UnsafeFile, "compressed"),
        (pdf(b"0 0 m").replace(b"/FlateDecode", b"[/ASCIIHexDecode /FlateDecode]"), UnsafeFile, "compressed"),
        (pdf(b"0 0 m").replace(b"/FlateDecode", b"[/A85 /Fl#61teDecode /Fl]"), UnsafeFile, "compressed"),
        (pdf(b"0 0 m").replace(b"/FlateDecode", b"6 0 R"), UnsafeFile, "compressed"),
        (pdf(bytes(17 * 2**20)).replace(b"stream\nx", b"stream  \nx"), UnsafeFile, "inflates"),
        (pdf(bytes(2**19)).replace(b"/FlateDecode", b"/FlateDecode /DP << /Predictor 12 >>"), UnsafeFile, "inflates"),
        (pdf(zlib.compress(b"0 0 m"), compressed=False)[:-20], TruncatedFile, "end mark"),
        (b"%PDF-1.4\n%%EOF\n", DecodeError, "broken"),
    ],
)
def test_a_hostile_pdf_is_refused_before_it_costs_much(data: bytes, error: type[EcgError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        decode(data)


def test_an_encrypted_pdf_is_refused() -> None:
    lock = b"/ID [<00> <00>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%b> /U <%b> >>"
    locked = WHOLE.replace(b"/Root 1 0 R", b"/Root 1 0 R " + lock % (b"00" * 32, b"00" * 32))
    with pytest.raises(DecodeError, match="encrypted"):
        decode(locked)


def test_it_is_told_by_its_signature() -> None:
    assert pdf_report.matches(WHOLE)
    assert pdf_report.matches(b"\n" + WHOLE)
    for other in (b"", b"%PD", b"\0" * 2000 + b"%PDF-", b"<svg/>"):
        assert not pdf_report.matches(other)


@pytest.mark.parametrize("whole", [SMALL, *([REAL.read_bytes()] if REAL.is_file() else [])])
def test_a_file_cut_anywhere_is_refused_as_cut(whole: bytes) -> None:
    for percent in range(1, 100):
        assert isinstance(outcome(whole[: len(whole) * percent // 100]), TruncatedFile), percent


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_give_a_recording_or_an_ecg_error(draw: st.DataObject) -> None:
    damaged = bytearray(SMALL)
    for _ in range(draw.draw(st.integers(1, 6))):
        reach = draw.draw(st.sampled_from((600, len(damaged))))
        damaged[-1 - draw.draw(st.integers(0, reach - 1))] = draw.draw(st.integers(0, 255))
    assert isinstance(outcome(bytes(damaged)), Recording | EcgError)


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_a_page_that_draws_any_bytes_gives_a_recording_or_an_ecg_error(content: bytes) -> None:
    assert isinstance(outcome(pdf(content)), EcgError)
