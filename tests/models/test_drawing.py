from __future__ import annotations

import dataclasses
import io
import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from models.ecg import LEADS, Filters, Recording
from models.ecg.drawing import LAYOUTS, LEFT, SPEED, Layout, draw
from models.ecg.drawing_header import MARGIN
from models.ecg.drawing_parts import Drawing, Stroke
from models.ecg.drawing_png import DOTS, png
from models.ecg.drawing_svg import svg
from models.ecg.measurements import Measurements
from models.ecg.thinning import thinned
from tests.models.ecg_files import REPOSITORY, made_up_signal

RESTING = Recording(signal=made_up_signal(), sampling_rate=500.0)
KNOWN = dataclasses.replace(
    RESTING,
    age=61.0,
    sex="F",
    patient_id="<7&>",
    acquired_at=datetime(2024, 3, 9, 5, 6, 7, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    device="cart of the test",
    filters=Filters(high_pass=0.05, low_pass=150.0, notch=50.0),
    measured=Measurements(heart_rate=74, qt_interval=400, p_axis=54, qrs_axis=-30, t_axis=12),
    statements=("Sinus rhythm", "a long statement about the heart " * 9, "Borderline"),
    source_format="DICOM",
)
PAPER_LEFT = MARGIN + LEFT
Samples = np.ndarray[tuple[int], np.dtype[np.float64]]
SVG = "{http://www.w3.org/2000/svg}"


def spiked(at: int, millivolts: float, lead: str = "II") -> Recording:
    """Silence, but for one sample of one lead."""
    signal = np.zeros((12, 5000))
    signal[LEADS.index(lead), at] = millivolts
    return Recording(signal=signal, sampling_rate=500.0)


def named(drawing: Drawing, pen: str, name: str | None = None) -> list[Stroke]:
    return [stroke for stroke in drawing.strokes if stroke.pen.name == pen and name in (None, stroke.name)]


def words(drawing: Drawing) -> str:
    return "\n".join(text.text for text in drawing.texts)


def test_a_millivolt_is_ten_millimetres_and_a_second_twenty_five() -> None:
    rhythm = named(draw(spiked(1000, 1.0)), "trace", "II")[-1].points
    peak = rhythm[rhythm[:, 1].argmin()]
    assert peak[0] == pytest.approx(PAPER_LEFT + 2.0 * 25)
    assert rhythm[0, 1] - peak[1] == pytest.approx(10.0)


def test_the_pulse_is_as_high_as_a_millivolt_and_lasts_a_fifth_of_a_second() -> None:
    for gain in (5.0, 10.0, 20.0):
        for pulse in named(draw(RESTING, gain=gain), "pulse"):
            assert np.ptp(pulse.points, axis=0) == pytest.approx((0.2 * 25, gain))


@pytest.mark.parametrize("layout", Layout)
def test_the_columns_of_a_row_follow_each_other_in_time(layout: Layout) -> None:
    traces = iter(named(draw(RESTING, layout=layout), "trace"))
    for leads in LAYOUTS[layout]:
        for column, lead in enumerate(leads):
            trace = next(traces)
            assert trace.name == lead
            assert trace.points[0, 0] == pytest.approx(PAPER_LEFT + column * 250 / len(leads))
            assert trace.points[-1, 0] == pytest.approx(PAPER_LEFT + (column + 1) * 250 / len(leads) - SPEED / 500)
    assert next(traces, None) is None


@pytest.mark.parametrize("layout", Layout)
def test_every_lead_is_drawn_and_named_and_no_trace_leaves_the_paper(layout: Layout) -> None:
    drawing = draw(RESTING, layout=layout)
    (frame,) = named(drawing, "frame")
    for trace in named(drawing, "trace"):
        assert (trace.points.min(axis=0) >= frame.points.min(axis=0)).all()
        assert (trace.points.max(axis=0) <= frame.points.max(axis=0)).all()
    assert {text.text for text in drawing.texts if text.font.name == "lead"} == set(LEADS)


def test_baselines_lie_on_lines_of_five_millimetres() -> None:
    drawing = draw(RESTING)
    top = named(drawing, "frame")[0].points[:, 1].min()
    for pulse in named(drawing, "pulse"):
        assert (pulse.points[0, 1] - top) % 5 == pytest.approx(0)


@pytest.mark.parametrize("layout", [Layout.QUARTERS, Layout.WHOLE])
def test_the_paper_is_that_of_the_dashboard(layout: Layout, tmp_path: Path) -> None:
    """Every trace starts at the same millimetre of the paper, by another program in another language."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    recording = Recording(signal=made_up_signal(seconds=9.37), sampling_rate=500.0)
    waveform = {"sampling_rate": 500, "leads": dict(zip(LEADS, recording.signal.tolist(), strict=True))}
    (tmp_path / "waveform.json").write_text(json.dumps(waveform))
    shutil.copy(REPOSITORY / "app/dashboard/static/ecg-geometry.js", tmp_path / "geometry.mjs")
    (tmp_path / "print.mjs").write_text(
        "import { readFileSync } from 'fs';\nimport { geometry } from './geometry.mjs';\n"
        f"const drawn = geometry(JSON.parse(readFileSync('waveform.json')), {{ layout: '{layout}' }});\n"
        "console.log(JSON.stringify(drawn.traces.map((t) => [t.lead, t.d.slice(1).split('L')[0]])));\n"
    )
    done = subprocess.run(["node", "print.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
    drawing = draw(recording, layout=layout)
    corner = named(drawing, "frame")[0].points.min(axis=0)
    for (lead, start), trace in zip(json.loads(done.stdout), named(drawing, "trace"), strict=True):
        assert trace.name == lead
        np.testing.assert_allclose(trace.points[0] - corner, [float(part) for part in start.split()], atol=0.001)


def test_a_constant_offset_is_not_drawn() -> None:
    moved = dataclasses.replace(RESTING, signal=RESTING.signal + 3.0)
    for ours, theirs in zip(named(draw(RESTING), "trace"), named(draw(moved), "trace"), strict=True):
        x = ours.points[:, 0]
        np.testing.assert_allclose(np.interp(x, *theirs.points.T), ours.points[:, 1], atol=2 * 0.07)


@pytest.mark.parametrize(("lead", "height"), [("V3", 17.0), ("V3", -17.0), ("II", 4.1)])
def test_what_is_larger_than_the_paper_is_cut_in_red_and_said(lead: str, height: float) -> None:
    drawing = draw(spiked(3000, height, lead))
    cuts = named(drawing, "cut", lead)
    assert len(cuts) == 1
    assert np.abs(cuts[0].points[:, 0].mean() - PAPER_LEFT - 6 * 25) < 0.01
    assert f"Cut at 4 mV, where the line is red: {lead} reaches {abs(height):.1f} mV." in words(drawing)


def test_what_fits_is_not_cut() -> None:
    drawing = draw(spiked(3000, 3.9, "V3"))
    assert not named(drawing, "cut")
    assert "Cut" not in words(drawing)
    assert not named(draw(spiked(3000, 7.9, "V3"), gain=5.0), "cut")


def test_the_rest_of_a_long_recording_is_said_to_be_missing() -> None:
    drawing = draw(Recording(signal=made_up_signal(seconds=30), sampling_rate=500.0))
    assert max(trace.points[:, 0].max() for trace in named(drawing, "trace")) < PAPER_LEFT + 250
    assert "The recording lasts 30.0 s; its first 10 s are drawn." in words(drawing)


@pytest.mark.parametrize("samples", [1, 2, 3, 700])
def test_the_shortest_recordings_are_drawn(samples: int) -> None:
    drawing = draw(Recording(signal=made_up_signal()[:, :samples], sampling_rate=500.0))
    assert np.concatenate([trace.points for trace in named(drawing, "trace", "II")])[:, 0].max() < PAPER_LEFT + 36
    assert png(drawing)
    ET.fromstring(svg(drawing))


def test_the_header_tells_what_is_known_and_nothing_else() -> None:
    told = words(draw(KNOWN, ours=Measurements(heart_rate=75.4, t_axis=10.0)))
    for fact in (
        "Patient <7&>",
        "61 years, female",
        "2024-03-09 05:06:07-03:30",
        "cart of the test",
        "DICOM, 10.0 s at 500 Hz (5000 samples)",
        "ours\n75\n–\n–/–/10\ndevice\n74\n400\n54/-30/12\nheart rate\n/min\nQT\nms\nP/QRS/T axis\n°",
        "Sinus rhythm",
        "lines more",
        "25 mm/s    10 mm/mV    filter above 0.05 Hz, below 150 Hz, notch 50 Hz    each lead about its median",
        KNOWN.digest[:16],
    ):
        assert fact in told
    unknown = words(draw(RESTING))
    for word in ("Patient", "years", "device", "None", "heart rate", "–"):
        assert word not in unknown
    assert "filter not stated" in unknown


def test_computed_and_extra_leads_are_said() -> None:
    from models.ecg.recording import Remark

    extra = Remark(code="extra-leads", leads=("V3R", "vx"), message="left out: V3R, vx")
    told = words(draw(dataclasses.replace(RESTING, derived=("III", "aVF"), remarks=(extra,))))
    assert "III, aVF computed from I and II." in told
    assert "Not drawn: V3R, vx." in told


@settings(max_examples=100, deadline=None)
@given(values=arrays(np.float64, st.integers(1, 400), elements=st.floats(-50, 50)), tolerance=st.floats(0, 2))
def test_no_sample_lies_off_a_thinned_line(values: Samples, tolerance: float) -> None:
    kept = thinned(values, tolerance)
    line = np.interp(np.arange(len(values)), kept, values[kept])
    assert (kept[0], kept[-1]) == (0, len(values) - 1)
    assert np.abs(line - values).max() <= tolerance + 1e-9


@pytest.mark.parametrize("at", range(2500, 2564))
def test_a_peak_of_one_sample_survives_wherever_it_stands(at: int) -> None:
    rhythm = named(draw(spiked(at, 1.5)), "trace", "II")[-1].points
    assert np.ptp(rhythm[:, 1]) == pytest.approx(15.0)
    assert len(rhythm) < 400


def test_a_smooth_line_needs_few_points() -> None:
    slow = np.sin(np.arange(5000) / 800)
    assert len(thinned(slow, 0.02)) < 200


def test_the_svg_is_to_scale_and_says_the_same_words() -> None:
    drawing = draw(KNOWN)
    root = ET.fromstring(svg(drawing))
    assert root.get("viewBox") == f"0 0 {drawing.width:g} {drawing.height:g}"
    assert (root.get("width"), root.get("height")) == (f"{drawing.width:g}mm", f"{drawing.height:g}mm")
    assert [text.text for text in root.iter(f"{SVG}text")] == [text.text for text in drawing.texts]


def test_the_path_of_a_lead_follows_its_samples() -> None:
    root = ET.fromstring(svg(draw(RESTING, layout=Layout.WHOLE)))
    for lead in LEADS:
        (path,) = [path for path in root.iter(f"{SVG}path") if path.get("data-name") == lead]
        points = walked(str(path.get("d")))
        samples = RESTING.lead(lead)
        heights = 10 * (samples - np.sort(samples)[2500])
        x = PAPER_LEFT + np.arange(5000) * 25 / 500
        baseline = points[0, 1] + heights[0]
        np.testing.assert_allclose(np.interp(x, *points.T), baseline - heights, atol=0.07 + 0.03)


def walked(path: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Points of a path of one start and relative steps."""
    start, *steps = path.removeprefix("M").split("l")
    return np.cumsum([[float(part) for part in step.split()] for step in (start, *steps)], axis=0)


def test_control_characters_of_a_file_break_neither_drawing() -> None:
    drawing = draw(dataclasses.replace(KNOWN, patient_id="\x00\x1b[31m\nred", device="\ud800病"))
    ET.fromstring(svg(drawing).encode())
    assert png(drawing)


@pytest.mark.parametrize("layout", Layout)
def test_the_png_has_whole_pixels_to_the_millimetre(layout: Layout) -> None:
    drawing = draw(KNOWN, layout=layout)
    image = Image.open(io.BytesIO(png(drawing)))
    assert image.size == (round(drawing.width * DOTS), round(drawing.height * DOTS))
    assert image.width == 1620
    assert image.info["dpi"] == pytest.approx((DOTS * 25.4,) * 2, abs=0.01)


@pytest.mark.parametrize("dots", [3, 6, 10])
def test_the_pixel_at_a_sample_is_dark_and_those_around_it_are_paper(dots: int) -> None:
    drawing = draw(spiked(1000, 1.0))
    image = Image.open(io.BytesIO(png(drawing, dots))).convert("L")
    (foot_x, foot_y), (_, head_y), *_ = named(drawing, "pulse")[-1].points
    for x, y, darkest in (
        (PAPER_LEFT + 50, head_y + 0.5, 120),  # half a millimetre below the peak
        (PAPER_LEFT + 100, foot_y, 120),  # silence
        (foot_x, foot_y - 5, 120),  # the pulse
    ):
        assert around(image, x * dots, y * dots).min() < darkest
    assert around(image, (PAPER_LEFT + 53) * dots, (head_y + 2) * dots).min() > 150
    assert around(image, (PAPER_LEFT + 50) * dots, (head_y - 1.5) * dots).min() > 150


def around(image: Image.Image, x: float, y: float) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """A pixel and its neighbours."""
    column, row = round(x), round(y)
    return np.asarray(image)[row - 1 : row + 2, column - 1 : column + 2]


def test_the_same_recording_gives_the_same_drawing() -> None:
    again = dataclasses.replace(KNOWN, signal=KNOWN.signal.copy())
    assert svg(draw(KNOWN)) == svg(draw(again))
    assert png(draw(KNOWN)) == png(draw(again))
