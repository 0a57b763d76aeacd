"""deploy/kubernetes says what Kubernetes and our own code understand, and asks for no more than it needs."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from app.cli import cli
from app.operations import router as operations
from app.settings import Settings as GatewaySettings
from tests.app.crds import SCHEMAS
from tests.app.kustomize import Manifest, render
from tests.conftest import REPOSITORY, missing
from worker.settings import Settings as WorkerSettings

KUBERNETES = REPOSITORY / "deploy" / "kubernetes"
OVERLAYS = sorted(folder.name for folder in (KUBERNETES / "overlays").iterdir())
VERSIONS = ("1.31", "1.37")
"""The oldest and the newest Kubernetes that the manifests are for."""

OURS = {"gateway": "app", "migrate": "app", "worker": "worker"}
"""Which target of the Dockerfile runs in which container."""


def needed(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError:
        missing(module.replace("_", "-"))
        raise


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def objects(overlay: str) -> list[Manifest]:
    return render(KUBERNETES / "overlays" / overlay)


def of_kind(objects: list[Manifest], *kinds: str) -> list[Manifest]:
    return [item for item in objects if item["kind"] in kinds]


def pods(objects: list[Manifest]) -> dict[str, Manifest]:
    """The pod template of everything that makes pods, by name."""
    return {
        item["metadata"]["name"]: item["spec"]["template"]
        for item in of_kind(objects, "Deployment", "StatefulSet", "Job")
    }


def containers(objects: list[Manifest]) -> list[Manifest]:
    return [c for pod in pods(objects).values() for c in pod["spec"]["containers"]]


def settings_of(container: Manifest, objects: list[Manifest]) -> dict[str, str | None]:
    """The variables of a container; None for those that a Secret holds."""
    maps = {item["metadata"]["name"]: item["data"] for item in of_kind(objects, "ConfigMap")}
    whole = chain.from_iterable(maps[s["configMapRef"]["name"]].items() for s in container.get("envFrom", []))
    return dict(whole) | {variable["name"]: variable.get("value") for variable in container.get("env", [])}


def cores(quantity: str) -> float:
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def test_there_is_an_overlay_for_each_size() -> None:
    assert OVERLAYS == ["gpu", "production", "small"]


def test_production_is_scaled_and_watched_and_a_small_one_needs_no_operator() -> None:
    kinds = {name: {item["kind"] for item in render(KUBERNETES / "overlays" / name)} for name in OVERLAYS}
    for_operators = {"HorizontalPodAutoscaler", "ScaledObject", "ServiceMonitor", "PrometheusRule"}
    assert for_operators <= kinds["production"]
    assert for_operators <= kinds["gpu"]
    assert not for_operators & kinds["small"]
    assert all({"Job", "PodDisruptionBudget", "NetworkPolicy"} <= found for found in kinds.values())


def test_a_gpu_worker_has_a_gpu_and_uses_it() -> None:
    objects = render(KUBERNETES / "overlays" / "gpu")
    [worker] = [c for c in containers(objects) if c["name"] == "worker"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert settings_of(worker, objects)["ECG2CMR_PROVIDER"] == "cuda"


def test_our_renderer_gives_what_kustomize_gives(overlay: str, objects: list[Manifest]) -> None:
    folder = str(KUBERNETES / "overlays" / overlay)
    command = ["kustomize", "build", folder] if shutil.which("kustomize") else ["kubectl", "kustomize", folder]
    if shutil.which(command[0]) is None:
        pytest.skip("neither kustomize nor kubectl is here to compare with")
    built = yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def by_name(items: Any) -> dict[tuple[str, str], Manifest]:
        return {(item["kind"], item["metadata"]["name"]): item for item in items}

    assert by_name(objects) == by_name(built)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(objects: list[Manifest], version: str) -> None:
    validate = needed("kubernetes_validate").validate
    jsonschema = needed("jsonschema")
    for item in objects:
        own = SCHEMAS.get((item["apiVersion"], item["kind"]))
        if own is None:
            validate(item, version, strict=True)
        else:
            jsonschema.validate(item, own)


def test_a_misspelt_field_is_found(objects: list[Manifest]) -> None:
    validate, jsonschema = needed("kubernetes_validate").validate, needed("jsonschema")
    for item in objects:
        own = SCHEMAS.get((item["apiVersion"], item["kind"]))
        if item["kind"] == "ConfigMap":
            continue
        wrong = item | {"spec": item["spec"] | {"replicsa": 1}}
        with pytest.raises(jsonschema.ValidationError):
            validate(wrong, VERSIONS[1], strict=True) if own is None else jsonschema.validate(wrong, own)


def test_no_pod_may_do_more_than_it_must(objects: list[Manifest]) -> None:
    for name, pod in pods(objects).items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
    for container in containers(objects):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, container["name"]


def test_the_user_of_our_pods_is_that_of_the_image(objects: list[Manifest]) -> None:
    [uid] = re.findall(r"useradd .*--uid (\d+)", (REPOSITORY / "Dockerfile").read_text())
    for pod in pods(objects).values():
        if pod["spec"]["containers"][0]["name"] in OURS:
            assert pod["spec"]["securityContext"]["runAsUser"] == int(uid)


def test_every_container_has_limits_and_asks_for_no_more(objects: list[Manifest]) -> None:
    for container in containers(objects):
        resources = container["resources"]
        assert {"cpu", "memory"} <= set(resources["limits"]), container["name"]
        assert {"cpu", "memory"} <= set(resources["requests"]), container["name"]
        assert cores(resources["requests"]["cpu"]) <= cores(resources["limits"]["cpu"])


def test_every_lasting_container_is_probed(objects: list[Manifest]) -> None:
    probed = of_kind(objects, "Deployment", "StatefulSet")
    for container in containers(probed):
        assert {"livenessProbe", "readinessProbe"} <= set(container), container["name"]
    routes = {route.path for route in operations.routes}  # type: ignore[attr-defined]  # all are paths
    [gateway] = [c for c in containers(probed) if c["name"] == "gateway"]
    asked = {gateway[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asked == {"/healthz", "/readyz"}
    assert asked <= routes
    assert gateway["livenessProbe"]["httpGet"]["path"] == "/healthz", "a store that is away is cured by no restart"


def test_every_variable_exists_in_the_settings_and_is_valid(objects: list[Manifest]) -> None:
    seen = set()
    for container in containers(objects):
        if container["name"] not in OURS:
            continue
        settings: Any = WorkerSettings if container["name"] == "worker" else GatewaySettings
        values = settings_of(container, objects)
        seen |= set(values)
        for name in values:
            assert name.removeprefix("ECG2CMR_").lower() in settings.model_fields, name
        settings(**{k.removeprefix("ECG2CMR_").lower(): v for k, v in values.items() if v is not None})
    assert {"ECG2CMR_DATABASE_URL", "ECG2CMR_BROKER_URL", "ECG2CMR_API_KEY"} <= seen


def test_processes_and_threads_are_those_of_the_limit_and_not_of_the_node(objects: list[Manifest]) -> None:
    for container in containers(objects):
        values = settings_of(container, objects)
        limit = cores(container["resources"]["limits"]["cpu"])
        if container["name"] == "gateway":
            assert int(values["ECG2CMR_READERS"] or 0) + 1 == limit, "the gateway itself is one"
        if container["name"] == "worker":
            assert int(values["ECG2CMR_THREADS"] or 0) == limit


def test_a_zip_of_a_batch_fits_into_a_volume_that_evicts_nobody_when_it_is_full(objects: list[Manifest]) -> None:
    spec = pods(objects)["ecg2cmr-gateway"]["spec"]
    [volume] = [volume["emptyDir"] for volume in spec["volumes"] if volume["name"] == "tmp"]
    assert volume["medium"] == "Memory", "more than the limit on the disk of the node evicts the pod"
    packed_and_unpacked = 2 * int(settings_of(spec["containers"][0], objects)["ECG2CMR_MAX_BATCH_BYTES"] or 0)
    assert 0 < packed_and_unpacked < int(volume["sizeLimit"].removesuffix("Mi")) * 2**20


def test_secrets_are_referred_to_and_never_written() -> None:
    for file in (REPOSITORY / "deploy").rglob("*.y*ml"):
        for document in yaml.safe_load_all(file.read_text()):
            assert document.get("kind") != "Secret", file
            assert "secretGenerator" not in document, file
        assert "://:" not in file.read_text(), file
        assert not re.search(r"://[^/\s]+:[^/\s]+@", file.read_text()), f"a password in {file}"


def test_images_are_the_targets_of_the_dockerfile(overlay: str, objects: list[Manifest]) -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", (REPOSITORY / "Dockerfile").read_text(), re.M))
    for container in containers(objects):
        repository, tag = container["image"].rsplit(":", 1)
        assert tag
        assert tag != "latest"
        if container["name"] in OURS:
            target = OURS[container["name"]] + ("-gpu" if (overlay, container["name"]) == ("gpu", "worker") else "")
            assert repository.endswith(f"/ecg2cmr-{target}")
            assert target in targets


def test_every_command_exists(objects: list[Manifest]) -> None:
    commands = [c["command"] for c in containers(objects) if c["name"] in OURS]
    commands += [
        c[probe]["exec"]["command"] for c in containers(objects) if c["name"] == "worker"
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    ]  # fmt: skip
    assert len(commands) == 6
    for command in commands:
        if command[0] == "ecg2cmr":
            assert CliRunner().invoke(cli, [*command[1:], "--help"]).exit_code == 0, command
        else:
            assert command[:2] == ["python", "-m"]
            assert importlib.util.find_spec(command[2]) is not None, command


def selects(selector: dict[str, str], pod: Manifest) -> bool:
    return selector.items() <= pod["metadata"]["labels"].items()


def test_every_selector_finds_its_pods(objects: list[Manifest]) -> None:
    templates = pods(objects)
    for item in of_kind(objects, "Deployment", "StatefulSet"):
        assert selects(item["spec"]["selector"]["matchLabels"], templates[item["metadata"]["name"]])
    for item in of_kind(objects, "Service"):
        [found] = [pod for pod in templates.values() if selects(item["spec"]["selector"], pod)]
        names = {port["name"] for c in found["spec"]["containers"] for port in c["ports"]}
        assert {port["targetPort"] for port in item["spec"]["ports"]} <= names
    for item in of_kind(objects, "PodDisruptionBudget"):
        assert item["spec"]["maxUnavailable"] == 1, "a single replica must not block the draining of its node"
        assert any(selects(item["spec"]["selector"]["matchLabels"], pod) for pod in templates.values())
    services = of_kind(objects, "Service")
    for item in of_kind(objects, "ServiceMonitor"):
        [service] = [
            s
            for s in services
            if item["spec"]["selector"]["matchLabels"].items() <= s["metadata"].get("labels", {}).items()
        ]
        assert item["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_every_pod_has_a_network_policy_for_both_ways(objects: list[Manifest]) -> None:
    policies = of_kind(objects, "NetworkPolicy")
    for name, pod in pods(objects).items():
        [policy] = [p for p in policies if selects(p["spec"]["podSelector"]["matchLabels"], pod)]
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"], name
    [worker] = [p for p in policies if p["metadata"]["name"] == "ecg2cmr-worker"]
    assert "ingress" not in worker["spec"], "nobody calls a worker"
    reached = {
        p["metadata"]["name"]: {to["port"] for r in p["spec"].get("egress", []) for to in r["ports"]} for p in policies
    }
    assert reached["ecg2cmr-worker"] == {53, 6379}
    assert reached["ecg2cmr-gateway"] == {53, 5432, 6379, 443}, "443: webhooks, and blobs in an object store"


def test_what_is_scaled_exists_and_states_no_number_of_its_own(objects: list[Manifest]) -> None:
    deployments = {item["metadata"]["name"]: item for item in of_kind(objects, "Deployment")}
    scaled = of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")
    for item in scaled:
        assert "replicas" not in deployments[item["spec"]["scaleTargetRef"]["name"]]["spec"]
    for item in of_kind(objects, "ScaledObject"):
        spec = item["spec"]
        assert spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
        for trigger in spec["triggers"]:
            assert trigger["metricType"] == "AverageValue", "KEDA falls back for averages only"
            assert {"serverAddress", "query", "threshold"} <= set(trigger["metadata"])
    if not scaled:
        assert all(item["spec"]["replicas"] >= 1 for item in deployments.values())


def test_the_processor_decides_when_the_latency_is_not_known(objects: list[Manifest]) -> None:
    for item in of_kind(objects, "HorizontalPodAutoscaler"):
        kinds = [metric["type"] for metric in item["spec"]["metrics"]]
        assert kinds == ["Object", "Resource"]
        asked = item["spec"]["metrics"][0]["object"]
        assert asked["describedObject"]["name"] in {s["metadata"]["name"] for s in of_kind(objects, "Service")}
        rules = yaml.safe_load((KUBERNETES / "autoscaling" / "adapter-rules.yaml").read_text())["rules"]["custom"]
        assert asked["metric"]["name"] in {rule["name"]["as"] for rule in rules}


def test_the_broker_in_the_cluster_never_evicts_jobs(objects: list[Manifest]) -> None:
    for container in containers(objects):
        if container["name"] == "redis":
            arguments = container["args"]
            assert arguments[arguments.index("--maxmemory-policy") + 1] == "noeviction"
            assert arguments[arguments.index("--appendonly") + 1] == "yes"
            (gateway,) = (d for d in of_kind(objects, "Deployment") if d["metadata"]["name"] == "ecg2cmr-gateway")
            megabytes = int(arguments[arguments.index("--maxmemory") + 1].removesuffix("mb"))
            assert 2 * gateway["spec"]["replicas"] * GatewaySettings().wire_bytes < megabytes * 2**20


def test_the_migration_makes_the_tables(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["admin", "migrate", "--data-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "ecg2cmr.sqlite").stat().st_size > 0


def test_a_migration_without_a_store_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECG2CMR_DATABASE_URL", f"postgresql+psycopg://ecg2cmr@/none?host={tmp_path}")
    refused = CliRunner().invoke(cli, ["admin", "migrate"])
    assert refused.exit_code == 1
    assert "the store does not answer" in refused.output
