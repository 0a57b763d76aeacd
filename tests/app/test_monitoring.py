"""Alerts, scalers and the dashboard ask for metrics that the gateway has, in PromQL that parses."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.ecgs import router as ecgs
from app.metrics import Metrics
from app.store import Store
from models.report import ModelIdentity
from tests.conftest import REPOSITORY, missing

DEPLOY = REPOSITORY / "deploy"
RULES = yaml.safe_load((DEPLOY / "kubernetes" / "monitoring" / "rules.yaml").read_text())["spec"]["groups"]
DASHBOARD = json.loads((DEPLOY / "grafana" / "ecg2cmr.json").read_text())
RECORDED = {rule["record"] for group in RULES for rule in group["rules"] if "record" in rule}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for group in RULES for rule in group["rules"])
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    scaled = yaml.safe_load((DEPLOY / "kubernetes" / "autoscaling" / "worker.yaml").read_text())
    yield from (trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"])


@pytest.fixture
def exported(tmp_path: Path) -> Iterator[set[str]]:
    """The names that a gateway exports, whether they were counted yet or not."""
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    store.migrate()
    metrics = Metrics(store, ModelIdentity(name="m", version="1", digest="0" * 64))
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    yield {family.name + suffix for family in families for suffix in SUFFIXES.get(family.type, ())}
    store.close()


def test_every_metric_that_is_asked_for_exists(exported: set[str]) -> None:
    asked = {name for expression in expressions() for name in re.findall(r"\becg2cmr[a-z0-9_:]+", expression)}
    assert len(asked) > 10
    assert asked <= exported | RECORDED


def test_every_expression_is_promql() -> None:
    try:
        parse = importlib.import_module("promql_parser").parse
    except ImportError:
        missing("promql-parser")
    for expression in expressions():
        parse(expression)
    with pytest.raises(ValueError, match="unclosed"):
        parse("sum(rate(ecg2cmr_requests_total[5m])")


def test_the_routes_that_are_asked_for_exist() -> None:
    routes = {route.path for route in ecgs.routes}  # type: ignore[attr-defined]  # all are paths
    asked = {route for expression in expressions() for route in re.findall(r'route="([^"]+)"', expression)}
    assert asked == {"/v1/ecgs"}
    assert asked <= routes


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    alerts = [rule for group in RULES for rule in group["rules"] if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) > 5
    for rule in alerts:
        assert rule["labels"]["severity"] in {"warning", "critical"}, rule["alert"]
        assert {"summary", "description"} == set(rule["annotations"]), rule["alert"]


def test_the_dashboard_shows_what_matters_first() -> None:
    titles = " ".join(panel["title"] for panel in DASHBOARD["panels"]).lower()
    for subject in ("age", "throughput", "refusals", "dead letters"):
        assert subject in titles
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert not any("localhost" in json.dumps(panel) for panel in DASHBOARD["panels"])


def test_the_adapter_reads_a_rule_that_is_recorded() -> None:
    rules = yaml.safe_load((DEPLOY / "kubernetes" / "autoscaling" / "adapter-rules.yaml").read_text())
    for rule in rules["rules"]["custom"]:
        assert re.match(r"[a-z0-9_:]+", rule["seriesQuery"])[0] in RECORDED  # type: ignore[index]
