"""What a clinician sees in a real browser: the ECG to scale, and the numbers of the API and no others."""

from __future__ import annotations

import io
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from playwright.sync_api import Browser, Page, expect

from models.ecg import decode
from models.ecg.writers import json_document
from models.phenotypes import PHENOTYPES
from tests.e2e.conftest import Server

PX_PER_MM = 96 / 25.4  # CSS Values and Units 4, section 6.2: 1in = 2.54cm = 96px
GEOMETRY = "async ([waveform, options]) => (await import('/static/ecg-geometry.js')).geometry(waveform, options)"
PHENOTYPE = "Cardiac-MRI phenotypes estimated from this ECG"


def sign_in(page: Page, server: Server) -> None:
    page.goto(server.url)
    page.get_by_label("API key").fill(server.key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Studies")).to_be_visible()


def await_result(page: Page) -> None:
    expect(page.locator("#result .status")).to_have_text("Done", timeout=30_000)
    expect(page.locator("path.trace").first).to_be_attached()


@pytest.fixture(scope="module")
def session(browser: Browser, server: Server) -> list[Any]:  # cookies, whose type is Playwright's own
    """The cookies of somebody who has signed in."""
    page = browser.new_page()
    sign_in(page, server)
    cookies = page.context.cookies()
    page.context.close()
    return cookies


@pytest.fixture
def signed_in(page: Page, server: Server, session: list[Any]) -> Page:
    page.context.add_cookies(session)
    page.goto(f"{server.url}/studies")
    return page


@pytest.fixture(scope="module")
def address(server: Server, real_dicom: bytes) -> str:
    """Where the page of a real ECG with its result is."""
    with server.client() as client:
        report = client.post("/v1/ecgs", content=real_dicom, headers={"Prefer": "wait=30"}).json()
    return f"{server.url}/studies/{report['id']}"


@pytest.fixture
def study(page: Page, session: list[Any], address: str) -> Page:
    """That page, opened by somebody who has signed in."""
    page.context.add_cookies(session)
    page.goto(address)
    await_result(page)
    return page


@pytest.fixture
def complaints(page: Page, server: Server) -> list[str]:
    """Everything that a browser would complain of, from before the first page on."""
    heard: list[str] = []
    page.add_init_script(
        "document.addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.violatedDirective))"
    )
    page.on("console", lambda message: heard.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(server.url) else heard.append(request.url))
    # Going on to the next page aborts what the last one was still loading: that is no complaint.
    page.on(
        "requestfailed",
        lambda request: (
            None if request.failure == "net::ERR_ABORTED" else heard.append(f"{request.url} {request.failure}")
        ),
    )
    return heard


def choose(page: Page, name: str, content: bytes) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_text("choose files").click()
    chooser.value.set_files({"name": name, "mimeType": "application/octet-stream", "buffer": content})


def told(server: Server, page: Page, path: str = "") -> Any:  # a JSON document
    study_id = page.url.rsplit("/", 1)[-1]
    with server.client() as client:
        return client.get(f"/v1/ecgs/{study_id}{path}").json()


def points(d: str) -> np.ndarray:
    """The points of a path of absolute moves and lines, (points, 2) millimetres."""
    return np.array(re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", d), float)


def drawn(page: Page, lead: str, row: str = "part") -> np.ndarray:
    return points(page.locator(f'path[data-lead="{lead}"][data-row="{row}"]').get_attribute("d") or "")


def text_of(page: Page, selector: str) -> str:
    return page.locator(selector).inner_text().strip()


def test_what_was_measured_stands_beside_what_the_device_measured(study: Page, server: Server) -> None:
    measured = told(server, study)["measurements"]
    rows = {row.locator("th").inner_text(): row.locator("td") for row in study.locator(".ruler tbody tr").all()}
    for name, key in (("Heart rate", "heart_rate"), ("PR", "pr_interval"), ("QRS", "qrs_duration")):
        for side, cell in zip(("ours", "device"), rows[name].all(), strict=True):
            value = measured[side].get(key)
            assert cell.inner_text().split()[0] == ("–" if value is None else f"{value:.0f}")


def test_the_whole_way_from_login_over_an_upload_to_logout_raises_no_complaint(
    complaints: list[str], page: Page, server: Server, real_dicom: bytes, tmp_path: Path
) -> None:
    sign_in(page, server)
    choose(page, "ecg.dcm", real_dicom)
    page.wait_for_url("**/studies/*")
    await_result(page)
    for choice in ("12×1", "20", "50", "As the model reads it"):
        page.get_by_role("radio", name=choice, exact=True).check(force=True)
    expect(page.locator("text.printed")).to_contain_text("50 mm/s   20 mm/mV")
    expect(page.locator("text.printed")).to_contain_text("as the model reads it")
    page.screenshot(path=tmp_path / "study.png", full_page=True)
    assert (tmp_path / "study.png").stat().st_size > 50_000
    page.get_by_role("link", name="Studies").click()
    expect(page.locator("#rows tr").first).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    page.goto(page.url.replace("/login", "/studies"))
    expect(page.get_by_label("API key")).to_be_visible()
    assert complaints == []


def test_a_wrong_key_opens_nothing_and_says_so(page: Page, server: Server) -> None:
    page.goto(server.url)
    page.get_by_label("API key").fill("not a key")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("This key opens nothing")


def test_every_number_on_the_page_is_the_number_of_the_api(server: Server, study: Page) -> None:
    report = told(server, study)
    assert report["estimates"]
    assert study.locator(".phenotype").count() == len(report["estimates"])
    for estimate in report["estimates"]:
        line = f'[data-symbol="{estimate["symbol"]}"]'
        interval, digits = estimate["interval"], PHENOTYPES[estimate["symbol"]].digits
        for part, value in (("value", estimate["value"]), ("low", interval["low"]), ("high", interval["high"])):
            shown = study.locator(f'{line} [data-part="{part}"]')
            assert float(shown.get_attribute("value") or "nan") == value
            assert shown.inner_text() == f"{value:.{digits}f}"
        assert text_of(study, f"{line} .unit") == estimate["unit"]
        assert text_of(study, f"{line} .name") == estimate["name"]
        assert f"{100 * interval['level']:g} % interval" in text_of(study, f"{line} .range")
        assert ("derived" in text_of(study, f"{line} .what")) == estimate["derived"]
        against, reference = text_of(study, f"{line} .against"), estimate["reference"]
        if reference:
            assert f"{reference['low']:.{digits}f} – {reference['high']:.{digits}f} {estimate['unit']}" in against
            assert reference["source"] in study.locator(".sources").inner_text()
        else:
            assert against == f"No reference range: {estimate['reference_note']}"


def test_what_is_withheld_is_said_with_its_reason_and_the_model_is_named(server: Server, study: Page) -> None:
    report = told(server, study)
    withheld = study.locator("[data-withheld]")
    assert withheld.count() == len(report["abstained"])
    for abstention in report["abstained"]:
        assert text_of(study, f'[data-withheld="{abstention["symbol"]}"] dd') == abstention["reason"]
    panel = text_of(study, "#result")
    for told_of_model in (report["model"]["name"], report["model"]["version"], report["model"]["digest"][:12]):
        assert told_of_model in panel
    assert float(study.locator('[data-part="ood"]').get_attribute("value") or "nan") == report["ood"]["score"]
    assert study.locator('[data-part="heart-rate"]').inner_text() == f"{report['heart_rate']:.0f}"


def test_the_notices_are_visible_everywhere(server: Server, study: Page) -> None:
    report = told(server, study)
    assert report["notices"]
    for notice in report["notices"]:
        expect(study.get_by_text(notice, exact=True)).to_be_visible()
    for path in ("/studies", "/login"):
        study.goto(server.url + path)
        expect(study.get_by_role("note")).to_contain_text("Trained on simulated hearts. Not a medical device")


def test_the_list_shows_the_ejection_fraction_of_the_report(server: Server, signed_in: Page, real_dicom: bytes) -> None:
    recording = decode(real_dicom)
    fresh = json_document.write(
        replace(recording, signal=1.01 * recording.signal)
    )  # the newest stands on the first page
    with server.client() as client:
        report = client.post("/v1/ecgs", content=fresh, headers={"Prefer": "wait=30"}).json()
    (ef,) = (estimate for estimate in report["estimates"] if estimate["symbol"] == "LVEF")
    signed_in.reload()
    row = signed_in.locator("tr", has=signed_in.locator(f"#study-{report['id']}"))
    expect(row).to_contain_text(f"{ef['value']:.0f} %")
    expect(row).to_contain_text(f"{ef['interval']['low']:.0f} – {ef['interval']['high']:.0f} %")


def test_the_calibration_pulse_is_10_mm_high_and_5_mm_wide(study: Page) -> None:
    pulses = study.locator("path[data-calibration]")
    assert pulses.count() == 4
    for pulse in pulses.all():
        box = pulse.evaluate("(path) => { const b = path.getBBox(); return [b.width, b.height]; }")
        assert box == pytest.approx([5, 10], abs=1e-4)  # getBBox answers in single precision


@pytest.mark.parametrize(("gain", "speed"), [(5, 25), (20, 25), (10, 50)])
def test_the_pulse_follows_gain_and_speed(study: Page, gain: int, speed: int) -> None:
    study.get_by_role("radio", name=str(gain), exact=True).check(force=True)
    study.get_by_role("radio", name=str(speed), exact=True).check(force=True)
    expect(study.locator("text.printed")).to_contain_text(f"{speed} mm/s   {gain} mm/mV")
    box = study.locator("path[data-calibration]").first.evaluate(
        "(path) => { const b = path.getBBox(); return [b.width, b.height]; }"
    )
    assert box == pytest.approx([0.2 * speed, gain], abs=1e-4)


def test_one_second_is_25_mm_and_each_sample_stands_where_it_belongs(server: Server, study: Page) -> None:
    waveform = told(server, study, "/waveform")
    rate, lead = round(waveform["sampling_rate"]), np.array(waveform["leads"]["II"])
    trace = drawn(study, "II", "whole")
    assert len(trace) == len(lead) == 10 * rate
    assert trace[rate:, 0] - trace[:-rate, 0] == pytest.approx(25, abs=0.01)
    assert np.argmin(trace[:, 1]) == np.argmax(lead)
    assert trace[0, 1] - trace[:, 1] == pytest.approx(10 * (lead - lead[0]), abs=0.01)


def test_the_amplitude_of_v1_is_the_amplitude_of_the_api(server: Server, study: Page) -> None:
    waveform = told(server, study, "/waveform")
    lead = np.array(waveform["leads"]["V1"])
    third_column = lead[len(lead) // 2 : 3 * len(lead) // 4]  # 5 s to 7.5 s
    assert np.ptp(drawn(study, "V1")[:, 1]) == pytest.approx(10 * np.ptp(third_column), abs=0.01)
    study.get_by_role("radio", name="12×1", exact=True).check(force=True)
    expect(study.locator('path[data-lead="V6"][data-row="whole"]')).to_be_attached()
    assert np.ptp(drawn(study, "V1", "whole")[:, 1]) == pytest.approx(10 * np.ptp(lead), abs=0.01)
    assert study.locator("path.trace").count() == 12


def test_a_millimetre_on_screen_is_a_css_millimetre(study: Page) -> None:
    sheet = study.locator("svg.sheet")
    width, height = (float(v) for v in (sheet.get_attribute("viewBox") or "").split()[2:])
    box = sheet.bounding_box()
    assert box is not None
    assert box["width"] == pytest.approx(width * PX_PER_MM, abs=0.5)
    assert box["height"] == pytest.approx(height * PX_PER_MM, abs=0.5)
    pulse = study.locator("path[data-calibration]").first.evaluate("(path) => path.getBoundingClientRect().toJSON()")
    assert pulse["height"] == pytest.approx(10 * PX_PER_MM, abs=0.5)
    assert pulse["width"] == pytest.approx(5 * PX_PER_MM, abs=0.5)


def test_the_drawing_has_a_name_for_those_who_do_not_see_it(study: Page) -> None:
    image = study.get_by_role("img", name="12-lead ECG, 10.0 s at 1000 Hz, 25 mm/s")
    expect(image).to_have_count(1)
    for lead in ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"):
        assert study.locator(f'path[data-lead="{lead}"][data-row="part"]').count() == 1


def test_the_keyboard_alone_changes_the_gain(study: Page) -> None:
    study.get_by_role("radio", name="10", exact=True).focus()
    study.keyboard.press("ArrowRight")
    expect(study.locator("text.printed")).to_contain_text("20 mm/mV")


def test_a_refused_file_shows_the_sentences_of_the_api(server: Server, signed_in: Page) -> None:
    nonsense = b"this is a letter, not an ECG"
    with server.client() as client:
        problem = client.post("/v1/ecgs", content=nonsense).json()
    choose(signed_in, "letter.txt", nonsense)
    line = signed_in.locator("#uploads .refused")
    for part in ("title", "detail", "advice"):
        expect(line).to_contain_text(problem[part])
    expect(line.get_by_role("button", name="Send again")).to_be_hidden()
    assert signed_in.url.endswith("/studies")


def test_a_file_without_its_sampling_rate_asks_for_it_and_is_sent_again(signed_in: Page, real_dicom: bytes) -> None:
    millivolts = pydicom.dcmread(io.BytesIO(real_dicom)).waveform_array(0)[::2, :12] / 1000  # µV, every second sample
    table = io.StringIO("")
    np.savetxt(table, millivolts, "%.4f", ",", header="I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6", comments="")
    choose(signed_in, "ecg.csv", table.getvalue().encode())
    line = signed_in.locator("#uploads .refused")
    line.get_by_label("Sampling rate").fill("500")
    line.get_by_label("Unit").select_option("mV")
    line.get_by_role("button", name="Send again").click()
    signed_in.wait_for_url("**/studies/*")
    expect(signed_in.locator("text.printed")).to_be_attached()


def test_several_files_are_several_studies_and_each_tells_its_fate(signed_in: Page, real_dicom: bytes) -> None:
    signed_in.locator("#files").set_input_files(
        [
            {"name": "one.dcm", "mimeType": "application/dicom", "buffer": real_dicom},
            {"name": "letter.txt", "mimeType": "text/plain", "buffer": b"this is a letter"},
        ]
    )
    expect(signed_in.locator("#uploads .accepted")).to_contain_text("one.dcm", timeout=30_000)
    expect(signed_in.locator("#uploads .refused")).to_contain_text("letter.txt")
    signed_in.get_by_role("link", name="open the study").click()
    expect(signed_in.get_by_role("heading", name=PHENOTYPE)).to_be_visible()


def test_a_study_that_waits_fills_itself_in(server: Server, study: Page, real_dicom: bytes) -> None:
    worker = server.children()["worker"]
    os.kill(worker, signal.SIGSTOP)
    try:
        recording = pydicom.dcmread(io.BytesIO(real_dicom))
        samples = recording.WaveformSequence[0]
        raw = np.frombuffer(samples.WaveformData, "<i2")
        samples.WaveformData = (raw * 0.93).astype("<i2").tobytes()  # another ECG to the service
        changed = io.BytesIO()
        recording.save_as(changed)
        with server.client() as client:
            study_id = client.post("/v1/ecgs", content=changed.getvalue()).json()["id"]
        study.goto(f"{server.url}/studies/{study_id}")
        expect(study.locator("#result .status")).to_have_text("Waiting")
        expect(study.locator("path.trace").first).to_be_attached()
    finally:
        os.kill(worker, signal.SIGCONT)
    expect(study.locator("#result .status")).to_have_text("Done", timeout=30_000)
    expect(study.locator(".phenotype").first).to_be_visible()


def flat(lead: list[float | None], rate: int = 100) -> dict[str, object]:
    names = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    return {"sampling_rate": rate, "leads": dict.fromkeys(names, lead)}


def test_a_missing_sample_interrupts_the_line_and_is_never_drawn(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/login")
    lead: list[float | None] = [1.0] * 1000
    lead[300:400] = [None] * 100
    drawing = page.evaluate(GEOMETRY, [flat(lead), {"layout": "12x1"}])
    d = drawing["traces"][0]["d"]
    assert d.count("M") == 2
    assert len(points(d)) == 900
    x = points(d)[:, 0]
    assert np.sort(np.diff(x))[-1] == pytest.approx(101 * 25 / 100, abs=0.01)
    missing = page.evaluate(GEOMETRY, [{**flat(lead), "leads": {"I": lead}}, {"layout": "12x1"}])
    assert [trace["missing"] for trace in missing["traces"]] == [False] + [True] * 11
    assert missing["traces"][1]["d"] == ""


@pytest.mark.parametrize(("seconds", "shown"), [(7, 7.0), (10, 10.0), (30, 10.0)])
def test_a_recording_ends_where_it_ends_and_at_10_s_at_the_latest(
    page: Page, server: Server, seconds: int, shown: float
) -> None:
    page.goto(f"{server.url}/login")
    drawing = page.evaluate(GEOMETRY, [flat([0.0] * 100 * seconds), {"layout": "3x4"}])
    assert (drawing["seconds"], drawing["recordedSeconds"]) == (shown, seconds)
    rhythm = points(drawing["traces"][-1]["d"])
    assert np.ptp(rhythm[:, 0]) == pytest.approx((shown - 0.01) * 25, abs=0.01)
    columns = [points(trace["d"]) for trace in drawing["traces"][:4]]
    assert sum(len(column) for column in columns) == len(rhythm)  # every lead is there, one after the other
    assert rhythm[:, 0].max() <= drawing["width"]


def test_padding_behind_the_recording_is_not_drawn(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/login")
    padded = {**flat([0.5] * 800 + [0.0] * 200), "duration": 8}
    drawing = page.evaluate(GEOMETRY, [padded, {"layout": "12x1"}])
    assert {len(points(trace["d"])) for trace in drawing["traces"]} == {800}
