"""A real ECG goes in over HTTP; phenotypes and an embedding come out; nothing accepted is lost or doubled."""

from __future__ import annotations

import io
import os
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest
import redis

from models.ecg import LEADS, Recording, decode
from models.ecg.writers import FORMATS
from models.phenotypes import PHENOTYPES
from tests.e2e.conftest import Server, redis_on, worker
from tests.models.ecg_files import made_up_signal

WAIT = {"Prefer": "wait=30"}


def as_json(lead_values: dict[str, np.ndarray], rate: float = 500, unit: str = "mV") -> bytes:
    return orjson.dumps(
        {"sampling_rate_hz": rate, "unit": unit, "leads": {name: v.tolist() for name, v in lead_values.items()}}
    )


def real_leads(real_dicom: bytes) -> dict[str, np.ndarray]:
    return {lead: decode(real_dicom).lead(lead) for lead in LEADS}


def study_count(client: httpx.Client) -> int:
    return len(client.get("/v1/ecgs?limit=200").json()["ecgs"])


def test_a_real_dicom_ecg_gives_every_phenotype_while_the_sender_waits(server: Server, real_dicom: bytes) -> None:
    with server.client() as client:
        answer = client.post("/v1/ecgs", content=real_dicom, headers=WAIT)
        report = answer.json()
        assert answer.status_code == 200
        assert answer.headers["Location"] == f"/v1/ecgs/{report['id']}"
        assert answer.headers["Preference-Applied"] == "wait=30"
        assert report["status"] == "done"
        assert {e["symbol"] for e in report["estimates"]} | {a["symbol"] for a in report["abstained"]} == set(
            PHENOTYPES
        )
        assert len(report["notices"]) >= 2
        assert client.get(f"/v1/ecgs/{report['id']}").json() == report


def test_the_numbers_of_one_report_never_contradict_each_other(server: Server, real_dicom: bytes) -> None:
    with server.client() as client:
        report = client.post("/v1/ecgs", content=real_dicom, headers=WAIT).json()
    value = {e["symbol"]: e["value"] for e in report["estimates"]}
    for ventricle in ("LV", "RV"):
        edv, esv = value[f"{ventricle}EDV"], value[f"{ventricle}ESV"]
        assert value[f"{ventricle}SV"] == pytest.approx(edv - esv, rel=1e-9)
        assert value[f"{ventricle}EF"] == pytest.approx(100 * (edv - esv) / edv, rel=1e-9)
    assert value["CO"] == pytest.approx(value["LVSV"] * report["heart_rate"] / 1000, rel=1e-9)
    for e in report["estimates"]:
        assert e["interval"]["low"] < e["value"] < e["interval"]["high"], e["symbol"]
        assert e["unit"] == PHENOTYPES[e["symbol"]].unit
        assert e["derived"] == PHENOTYPES[e["symbol"]].derived


def test_embedding_and_both_waveforms_can_be_read(server: Server, real_dicom: bytes) -> None:
    with server.client() as client:
        report = client.post("/v1/ecgs", content=real_dicom, headers=WAIT).json()
        embedding = client.get(f"/v1/ecgs/{report['id']}/embedding").json()
        original = client.get(f"/v1/ecgs/{report['id']}/waveform").json()
        preprocessed = client.get(f"/v1/ecgs/{report['id']}/waveform?kind=preprocessed").json()
    assert embedding["size"] == len(embedding["values"]) > 0
    assert np.isfinite(embedding["values"]).all()
    recording = decode(real_dicom)
    assert original["sampling_rate"] == 1000
    for lead in LEADS:
        np.testing.assert_allclose(original["leads"][lead], recording.lead(lead), atol=1e-5)
    assert preprocessed["sampling_rate"] == 500
    assert len(preprocessed["leads"]["V6"]) == 5000


def test_one_ecg_in_every_format_that_is_written_is_one_study(server: Server) -> None:
    recording = Recording(signal=made_up_signal(seed=5), sampling_rate=500.0, age=61.0, sex="F")
    with server.client() as client:
        sent = {name: client.post("/v1/ecgs", content=each.write(recording)).json() for name, each in FORMATS.items()}
        assert len({answer["id"] for answer in sent.values()}) == 1, sent


def test_the_report_says_what_was_measured_here_and_by_the_device(server: Server, real_dicom: bytes) -> None:
    with server.client() as client:
        measured = client.post("/v1/ecgs", content=real_dicom, headers=WAIT).json()["measurements"]
    device, ours = measured["device"], measured["ours"]
    assert (device["pr_interval"], device["qrs_duration"], device["qt_interval"]) == (161, 75, 368)
    assert ours["qt_interval"] == pytest.approx(device["qt_interval"], abs=30)
    assert ours["qrs_axis"] == pytest.approx(device["qrs_axis"], abs=15)


def test_the_same_upload_twice_is_one_study_and_one_result(server: Server, real_dicom: bytes) -> None:
    with server.client() as client:
        first = client.post("/v1/ecgs", content=real_dicom, headers=WAIT).json()
        before = study_count(client)
        again = client.post("/v1/ecgs", content=real_dicom)
        assert again.status_code == 200, "the result is there already: nobody has to wait for it"
        assert again.json() == first
        assert study_count(client) == before


def test_the_same_ecg_in_another_format_is_the_same_study(server: Server, real_dicom: bytes) -> None:
    with server.client() as client:
        dicom = client.post("/v1/ecgs", content=real_dicom, headers=WAIT).json()
        leads = {lead: samples * 1000 for lead, samples in real_leads(real_dicom).items()}
        json = client.post("/v1/ecgs", content=as_json(leads, 1000, "uV"), headers=WAIT).json()
    assert json["id"] == dicom["id"]


def test_without_prefer_the_answer_is_202_with_the_place_of_the_report(server: Server, real_dicom: bytes) -> None:
    leads = {lead: samples * 0.9 for lead, samples in real_leads(real_dicom).items()}
    with server.client() as client:
        answer = client.post("/v1/ecgs", content=as_json(leads, 1000))
        assert answer.status_code == 202
        assert answer.json() == {"id": answer.headers["Location"].rpartition("/")[2], "status": "queued"}
        report = client.get(answer.headers["Location"], headers=WAIT).json()
    assert report["status"] == "done"


def test_header_and_signal_of_a_wfdb_record_may_be_sent_as_a_form(server: Server, shared_data: Path) -> None:
    folder = shared_data / "ecg-files" / "wfdb"
    files = [("file", (name, (folder / name).read_bytes())) for name in ("w16.hea", "w16.dat")]
    with server.client() as client:
        form = client.post("/v1/ecgs", files=files, headers=WAIT).json()
        archive = client.post(
            "/v1/ecgs", content=(shared_data / "ecg-files" / "zip" / "w16.zip").read_bytes(), headers=WAIT
        ).json()
    assert form["status"] == "done"
    assert form["id"] == archive["id"]


def test_rate_and_unit_may_be_stated_with_the_request(server: Server, shared_data: Path) -> None:
    body = (shared_data / "ecg-files" / "csv" / "00009_hr.csv").read_bytes()
    with server.client() as client:
        refused = client.post("/v1/ecgs", content=body)
        accepted = client.post("/v1/ecgs?sampling_rate=500&unit=mV", content=body, headers=WAIT)
    assert refused.json()["type"] == "/problems/missing-metadata"
    assert accepted.json()["status"] == "done"


BAD_INPUT: dict[str, Callable[[bytes], bytes]] = {
    "empty-file": lambda _: b"",
    "unsupported-format": lambda _: b"this is no ECG, it is a sentence",
    "truncated-file": lambda dicom: dicom[: len(dicom) // 2],
    "unknown-unit": lambda dicom: as_json(real_leads(dicom), 1000, "parsec"),
    "missing-leads": lambda dicom: as_json(
        {k: v for k, v in real_leads(dicom).items() if k in {"I", "II", "III"}}, 1000
    ),
    "too-short": lambda dicom: as_json({k: v[:2000] for k, v in real_leads(dicom).items()}, 1000),
    "flat-leads": lambda dicom: as_json({k: v * (k != "V3") for k, v in real_leads(dicom).items()}, 1000),
    "missing-samples": lambda dicom: as_json(
        {k: np.where((k == "V1") & (np.arange(v.size) < 9), np.nan, v) for k, v in real_leads(dicom).items()}, 1000
    ),
    "implausible-amplitude": lambda dicom: as_json({k: v * 1000 for k, v in real_leads(dicom).items()}, 1000),
    "body-too-large": lambda _: b"0" * (16 * 2**20 + 1),
}


@pytest.mark.parametrize("code", BAD_INPUT)
def test_each_bad_input_has_its_own_problem_and_leaves_no_row(server: Server, real_dicom: bytes, code: str) -> None:
    with server.client() as client:
        before = study_count(client)
        answer = client.post("/v1/ecgs", content=BAD_INPUT[code](real_dicom))
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["type"] == f"/problems/{code}"
        assert 400 <= answer.status_code == problem["status"] < 500
        assert len(problem["detail"]) > 10
        assert len(problem["advice"]) > 10
        assert study_count(client) == before
        assert client.get(problem["type"]).json()["code"] == code, "the type leads to its explanation"


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(server: Server) -> None:
    with server.client() as client:
        answer = client.post("/v1/ecgs", content=(b"0" * 2**20 for _ in range(40)))
    assert answer.json()["type"] == "/problems/body-too-large"


def test_a_wrong_key_an_unknown_id_and_a_wrong_path_are_told_apart(server: Server, real_dicom: bytes) -> None:
    with server.client(key="wrong") as stranger, server.client() as client:
        unauthorized = stranger.post("/v1/ecgs", content=real_dicom)
        assert unauthorized.status_code == 401
        assert unauthorized.json()["type"] == "/problems/unauthorized"
        assert "Bearer" in unauthorized.headers["WWW-Authenticate"]
        for path in ("", "/embedding", "/waveform"):
            unknown = client.get(f"/v1/ecgs/{'0' * 32}{path}")
            assert (unknown.status_code, unknown.json()["type"]) == (404, "/problems/not-found")
        assert client.get("/v1/nothing").json()["type"] == "/problems/not-found"
        assert client.put("/v1/ecgs").json()["type"] == "/problems/method-not-allowed"
        assert client.get("/v1/ecgs?limit=0").json()["type"] == "/problems/invalid-request"


def test_every_adversarial_file_is_refused_and_the_service_goes_on(server: Server, shared_data: Path) -> None:
    with server.client() as client:
        before = study_count(client)
        for file in sorted((shared_data / "ecg-files" / "adversarial").iterdir()):
            started = time.monotonic()
            answer = client.post("/v1/ecgs", content=file.read_bytes())
            assert 400 <= answer.status_code < 500, file.name
            assert answer.json()["type"].startswith("/problems/"), file.name
            assert time.monotonic() - started < 2, file.name
        assert study_count(client) == before
        assert client.get("/readyz").json() == {"ready": True, "store": True, "broker": True}


def wfdb_zip(header: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in header.parent.glob(f"{header.stem}.*"):
            archive.writestr(file.name, file.read_bytes())
    return packed.getvalue()


def test_every_real_record_gets_a_report(server: Server, shared_data: Path) -> None:
    headers = sorted((shared_data / "cinc2021_sample").glob("*.hea")) + sorted(
        (shared_data / "ludb" / "wfdb_sample").glob("*.hea")
    )
    uploads = {header.stem: wfdb_zip(header) for header in headers}
    stored = np.load(shared_data / "ludb" / "ludb_adc.npz")
    adc = stored["adc"]
    millivolts = (adc - stored["baseline"][..., None]) / stored["gain"][..., None]
    order = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    for record, leads in enumerate(millivolts):
        uploads[f"ludb row {record}"] = as_json(dict(zip(order, leads.round(6), strict=True)))
    with server.client() as client:
        for name, upload in uploads.items():
            report = client.post("/v1/ecgs", content=upload, headers=WAIT).json()
            assert report.get("status") == "done", (name, report)
    assert len(uploads) >= 125


def test_kill_9_between_the_202_and_the_result_loses_nothing(serve: Callable[..., Server], real_dicom: bytes) -> None:
    server = serve()
    with server.client() as client:
        # The worker must be up, or its start-up would finish after it was stopped.
        assert client.post("/v1/ecgs", content=real_dicom, headers=WAIT).json()["status"] == "done"
        children = server.children()
        os.kill(children["worker"], signal.SIGSTOP)
        leads = {lead: samples * 1.1 for lead, samples in real_leads(real_dicom).items()}
        accepted = client.post("/v1/ecgs", content=as_json(leads, 1000))
        assert accepted.status_code == 202
    server.kill()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in children.values()):
        assert time.monotonic() < deadline, "worker and broker must die with the gateway"
        time.sleep(0.05)

    server.start()
    with server.client() as client:
        report = client.get(accepted.headers["Location"], headers=WAIT).json()
    assert report["status"] == "done"


LOSSES: dict[str, Callable[[redis.Redis], object]] = {
    "everything": lambda broker: broker.flushall(),
    "recordings": lambda broker: broker.delete(*broker.keys("ecg2cmr.ecg.*")),  # expired: the message finds none
    "messages": lambda broker: broker.delete(*broker.keys("ecg2cmr.infer*")),
}


@pytest.mark.parametrize("lost", LOSSES)
def test_what_the_broker_loses_is_asked_again_from_the_store(
    serve: Callable[..., Server], redis_url: str, real_dicom: bytes, lost: str
) -> None:
    gateway = serve(ECG2CMR_BROKER_URL=redis_url, ECG2CMR_REDISPATCH_AFTER="1")
    with gateway.client() as client, redis.Redis.from_url(redis_url) as broker:
        accepted = client.post("/v1/ecgs", content=real_dicom)
        assert accepted.status_code == 202
        deadline = time.monotonic() + 10
        while not broker.keys("ecg2cmr.infer*"):
            assert time.monotonic() < deadline, "the job reaches the broker"
            time.sleep(0.01)
        LOSSES[lost](broker)
        with worker(redis_url):
            report = client.get(accepted.headers["Location"], headers={"Prefer": "wait=50"}).json()
    assert report["status"] == "done"


def test_a_broker_that_is_away_delays_the_result_and_nothing_else(
    serve: Callable[..., Server], tmp_path: Path, real_dicom: bytes
) -> None:
    socket = tmp_path / "r.sock"
    gateway = serve(ECG2CMR_BROKER_URL=f"redis+socket://{socket}", ECG2CMR_REDISPATCH_AFTER="1")
    with gateway.client() as client:
        accepted = client.post("/v1/ecgs", content=real_dicom, headers={"Prefer": "wait=1"})
        assert accepted.status_code == 202
        assert client.get("/readyz").json() == {"ready": True, "store": True, "broker": False}
        with redis_on(socket), worker(f"redis+socket://{socket}"):
            report = client.get(accepted.headers["Location"], headers={"Prefer": "wait=50"}).json()
            assert report["status"] == "done"


def test_operators_see_health_readiness_metrics_and_the_model(server: Server, real_dicom: bytes) -> None:
    with server.client() as client:
        client.post("/v1/ecgs", content=real_dicom, headers=WAIT)
        assert client.get("/healthz").json() == {"status": "alive"}
        metrics = client.get("/metrics").text
        models = client.get("/v1/models").json()
        card = client.get(
            f"/v1/models/{models['models'][0]['model']['name']}/{models['models'][0]['model']['version']}/card"
        )
    assert 'ecg2cmr_requests_total{code="200",method="POST",route="/v1/ecgs"}' in metrics
    assert 'ecg2cmr_job_age_seconds_count{status="done"}' in metrics
    assert 'ecg2cmr_jobs{state="queued"} 0.0' in metrics
    assert models["models"][0]["simulated"] is True
    assert models["history"][-1]["model"] == models["models"][0]["model"]
    assert "simulated" in card.text.lower()


def test_the_embedded_broker_leaves_no_recording_on_the_disk(server: Server, real_dicom: bytes) -> None:
    with server.client() as client:
        assert client.post("/v1/ecgs", content=real_dicom, headers=WAIT).status_code == 200
    files = {file.name for file in (server.data_dir / "broker").rglob("*") if file.is_file()}
    assert files <= {"valkey.log"}


def test_every_answer_is_counted_by_its_route_and_carries_the_security_headers(server: Server) -> None:
    with server.client() as client:
        with client.stream("GET", "/v1/events") as stream:
            answers = [stream]
        answers += [
            client.get(path) for path in ("/healthz", "/v1/ecgs/none", "/nowhere", "/static/icon.svg", "/login")
        ]
        metrics = client.get("/metrics").text
    assert [answer.status_code for answer in answers] == [200, 200, 404, 404, 200, 200]
    for answer in answers:
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert [a.headers["Cache-Control"] for a in answers] == ["no-cache", *["no-store"] * 3, "no-cache", "no-store"]
    for code, route in (("200", "/v1/events"), ("404", "/v1/ecgs/{study_id}"), ("404", "unmatched")):
        assert f'ecg2cmr_requests_total{{code="{code}",method="GET",route="{route}"}}' in metrics


def test_no_identifier_reaches_the_log_or_the_metrics(server: Server, real_dicom: bytes) -> None:
    with server.client() as client:
        study = client.post("/v1/ecgs", content=real_dicom, headers=WAIT).json()["id"]
        assert client.get("/v1/ecgs").json()["ecgs"]
        metrics = client.get("/metrics").text
    patient = decode(real_dicom).patient_id
    assert patient
    log = (server.data_dir / "serve.log").read_text()
    for secret in (patient, server.key, study):
        assert secret not in log
        assert secret not in metrics
