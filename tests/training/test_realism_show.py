"""One participant on one page: the recording in millimetres of paper, and the word that it is simulated."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from models.ecg.recording import LEADS
from training.cohort import CohortError
from training.realism.show import NOTICE, draw_ecg, show
from training.simulate import simulate


def test_the_sheet_holds_every_lead_to_scale():
    recording = simulate(5000).recording
    axes = Figure().add_subplot()
    draw_ecg(axes, recording)
    traces = [line.get_xydata() for line in axes.get_lines()]
    long = [trace for trace in traces if len(trace) in (1250, 5000)]
    assert len(long) == len(LEADS) + 1
    order = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    for number, (lead, trace) in enumerate(zip(order, long, strict=False)):
        part = recording.lead(lead)[1250 * (number // 3) :][:1250]
        assert np.ptp(trace[:, 1]) == pytest.approx(10 * np.ptp(part))  # 10 mm/mV
        assert np.ptp(trace[:, 0]) == pytest.approx(25 * 1249 / 500)  # 25 mm/s
    assert {text.get_text() for text in axes.texts} >= set(LEADS)
    assert any(NOTICE in text.get_text() for text in axes.texts)


@pytest.mark.parametrize("suffix", ["png", "html"])
def test_a_participant_is_drawn_as_picture_or_page(tmp_path, suffix):
    path = tmp_path / f"heart.{suffix}"
    show(5000, path)
    content = path.read_bytes()
    if suffix == "png":
        assert content.startswith(b"\x89PNG")
    else:
        assert NOTICE.encode() in content
        assert b"data:image/png;base64," in content


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(CohortError, match=r"\.png or \.html"):
        show(5000, tmp_path / "heart.pdf")
