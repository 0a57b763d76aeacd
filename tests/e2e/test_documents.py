"""Commands in the documents work when pasted, and the interface description is complete."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Server

ROOT = Path(__file__).resolve().parents[2]


def shell_blocks(document: Path) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", document.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, server: Server) -> Path:
    """A folder as it looks beside a running `scripts/serve`."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "api-key").write_text(server.key + "\n")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def pasted(command: str, folder: Path, server: Server) -> str:
    ours = command.replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", ours], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_of_the_readme_returns_phenotypes(folder: Path, server: Server) -> None:
    (command,) = (block for block in shell_blocks(ROOT / "README.md") if "curl" in block)
    printed = pasted(command, folder, server)
    assert '"symbol":"LVEF"' in printed
    assert '"status":"done"' in printed


def test_every_command_of_the_interface_document_works(folder: Path, server: Server) -> None:
    printed = pasted("".join(shell_blocks(ROOT / "docs" / "api.md")), folder, server)
    for expected in (
        '"symbol":"LVEF"',
        '"ecgs":',
        '"values":',
        '"kind":"preprocessed"',
        '"history":',
        "unsupported-format",
        "1 accepted",
        '{"name":"first","status":202',
        "event: ecg",
    ):
        assert expected in printed


def test_the_samples_of_the_openapi_description_work(folder: Path, server: Server, real_dicom: bytes) -> None:
    (folder / "ecg.dcm").write_bytes(real_dicom)
    with server.client() as client:
        description = client.get("/openapi.json").json()
    samples = [
        sample["source"]
        for path in description["paths"].values()
        for operation in path.values()
        for sample in operation.get("x-codeSamples", [])
    ]
    assert samples
    for sample in samples:
        assert '"estimates":' in pasted(f"export ECG2CMR_API_KEY={server.key}\n{sample}", folder, server)


def test_every_operation_is_described_and_every_media_type_is_named(server: Server) -> None:
    with server.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/ecgs", "/v1/ecgs/{study_id}", "/v1/models", "/healthz", "/readyz", "/metrics"} <= set(paths)
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert operation.get("summary"), (method, path)
    accepted = paths["/v1/ecgs"]["post"]["requestBody"]["content"]
    assert {
        "application/octet-stream",
        "application/dicom",
        "text/csv",
        "application/json",
        "multipart/form-data",
    } <= set(accepted)
