"""Dockerfile and docker-compose.yml say what the code understands."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from app.cli import cli
from app.settings import Settings as GatewaySettings
from worker.settings import Settings as WorkerSettings

KNOWN = {f"ECG2CMR_{name.upper()}" for settings in (GatewaySettings, WorkerSettings) for name in settings.model_fields}


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (Path(__file__).parents[2] / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    compose = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
    services: dict[str, Any] = compose["services"]
    return services


def stages(dockerfile: str) -> dict[str, str]:
    parts = re.split(r"^FROM \S+ AS (\S+)$", dockerfile, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def runs_here(command: list[str]) -> bool:
    if command[0] == "ecg2cmr":
        return CliRunner().invoke(cli, [*command[1:], "--help"]).exit_code == 0
    return command[:2] == ["python", "-m"] and importlib.util.find_spec(f"{command[2]}.__main__") is not None


def test_every_variable_that_is_set_exists_in_the_settings(dockerfile: str, services: dict[str, Any]) -> None:
    composed = {name for service in services.values() for name in service.get("environment", {}) if "ECG2CMR" in name}
    built = set(re.findall(r"\b(ECG2CMR_[A-Z_]+)=", dockerfile))
    assert composed
    assert built
    assert composed | built <= KNOWN


def test_every_value_that_is_set_is_valid(services: dict[str, Any]) -> None:
    for name, service in services.items():
        environment = {k: v for k, v in service.get("environment", {}).items() if k.startswith("ECG2CMR_")}
        values = {k.removeprefix("ECG2CMR_").lower(): v for k, v in environment.items() if "${" not in v}
        (GatewaySettings if name == "gateway" else WorkerSettings)(**values)


def test_every_command_that_is_run_exists(dockerfile: str, services: dict[str, Any]) -> None:
    ours = [service["command"] for service in services.values() if "build" in service]
    images = [re.findall(r'"([^"]+)"', line) for line in re.findall(r"^(?:CMD|ENTRYPOINT) (\[.*\])$", dockerfile, re.M)]
    commands = ours + [command for command in images if command != ["--help"]]
    assert len(commands) == 7
    for command in commands:
        assert runs_here(command), command


def test_every_image_target_exists_and_none_runs_as_root(dockerfile: str, services: dict[str, Any]) -> None:
    targets = stages(dockerfile)
    assert set(targets) == {"base", "app", "worker", "worker-gpu", "training"}
    for name in set(targets) - {"base"}:
        assert "\nUSER ecg2cmr\n" in targets[name], f"{name} runs as root"
    for name, service in services.items():
        if "build" in service:
            assert service["build"]["target"] in targets, name


def test_every_extra_that_an_image_installs_exists(dockerfile: str) -> None:
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = {extra for group in re.findall(r"'\.\[([^\]]+)\]'", dockerfile) for extra in group.split(",")}
    assert named
    assert named <= set(extras)
    assert "onnxruntime-gpu" in extras["gpu"][0]
    assert not any("onnxruntime" in requirement for requirement in extras["postgres"])


def test_the_gateway_has_what_each_place_of_its_settings_needs(dockerfile: str) -> None:
    [extras] = re.findall(r"'\.\[([^\]]+)\]'", stages(dockerfile)["app"])
    assert {"postgres", "s3"} <= set(extras.split(",")), "ECG2CMR_DATABASE_URL and ECG2CMR_BLOBS_URL"


def test_files_that_an_image_copies_exist(dockerfile: str) -> None:
    root = Path(__file__).parents[2]
    for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.M):
        for source in line.split():
            assert (root / source).exists(), source
    for locked in re.findall(r"-c (\S+)", dockerfile):
        assert (root / locked).is_file(), locked


def test_the_broker_never_evicts_jobs(services: dict[str, Any]) -> None:
    command = services["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--appendonly") + 1] == "yes"


def test_the_broker_has_room_for_all_that_gateways_send_it(services: dict[str, Any]) -> None:
    command = services["redis"]["command"]
    megabytes = int(command[command.index("--maxmemory") + 1].removesuffix("mb"))
    gateways = services["gateway"].get("deploy", {}).get("replicas", 1)
    assert 2 * gateways * GatewaySettings().wire_bytes < megabytes * 2**20


def test_every_service_is_bounded_and_all_but_the_store_have_no_rights(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"]), name
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("cap_drop") == ["ALL"] or name == "postgres", name


def test_every_service_is_asked_how_it_is(services: dict[str, Any], dockerfile: str) -> None:
    targets = stages(dockerfile)
    for name, service in services.items():
        in_image = "build" in service and "HEALTHCHECK" in targets[service["build"]["target"]]
        assert in_image or service["healthcheck"]["test"], name
    for name in ("worker", "worker-gpu"):
        assert runs_here_as_module(services[name]["healthcheck"]["test"][1:])


def runs_here_as_module(command: list[str]) -> bool:
    return command[:2] == ["python", "-m"] and importlib.util.find_spec(command[2]) is not None


def test_several_workers_run_and_each_has_the_threads_of_its_limit(services: dict[str, Any]) -> None:
    assert services["worker"]["deploy"]["replicas"] == 2
    assert "container_name" not in services["worker"], "a name would keep it from being scaled"
    assert "ports" not in services["worker"]
    for name in ("worker", "worker-gpu"):
        limit = services[name]["deploy"]["resources"]["limits"]["cpus"]
        assert services[name]["environment"]["ECG2CMR_THREADS"] == limit, name
    gateway = services["gateway"]
    own = int(gateway["deploy"]["resources"]["limits"]["cpus"]) - 1
    assert int(gateway["environment"]["ECG2CMR_READERS"]) == own, "the gateway itself is one"


def test_a_zip_of_a_batch_fits_on_the_disk_of_the_gateway(services: dict[str, Any]) -> None:
    (mount,) = services["gateway"]["tmpfs"]
    megabytes = int(mount.removeprefix("/tmp:size=").removesuffix("m"))
    packed_and_unpacked = 2 * int(services["gateway"]["environment"]["ECG2CMR_MAX_BATCH_BYTES"])
    assert packed_and_unpacked < megabytes * 2**20


def test_the_store_compresses_waveforms_fast(services: dict[str, Any]) -> None:
    assert services["postgres"]["command"] == ["postgres", "-c", "default_toast_compression=lz4"]


def test_what_is_in_hand_may_be_finished(services: dict[str, Any]) -> None:
    for name in ("gateway", "worker", "worker-gpu"):
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > 10, name  # Celery's soft shutdown: 10 s
