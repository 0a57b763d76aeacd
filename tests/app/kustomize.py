"""Kustomize: a small, strict renderer of the few features that deploy/kubernetes uses, held against the real one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]  # YAML of any kind

MERGE_KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}
"""Lists that a strategic merge patch merges, and by which key (`patchMergeKey` of the Kubernetes API); others it
replaces."""

UNDERSTOOD = {
    "apiVersion", "kind", "resources", "configMapGenerator", "patches", "namespace", "images", "replicas",
}  # fmt: skip


def render(folder: Path) -> list[Manifest]:
    """Every object of a kustomization, as `kustomize build` gives it."""
    objects = _accumulate(folder)
    renamed = {o["metadata"]["name"]: _with_hash(o) for o in objects if o.pop("generated", False)}
    for item in objects:
        if item["kind"] == "ConfigMap" and item["metadata"]["name"] in renamed:
            item["metadata"]["name"] = renamed[item["metadata"]["name"]]
        for reference in _named(item, "configMapRef"):
            reference["name"] = renamed.get(reference["name"], reference["name"])
    return objects


def _accumulate(folder: Path) -> list[Manifest]:
    spec = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := set(spec) - UNDERSTOOD:
        raise ValueError(f"{folder}: {unknown} is not understood here")
    objects: list[Manifest] = []
    for resource in spec["resources"]:
        path = (folder / resource).resolve()
        objects += _accumulate(path) if path.is_dir() else _documents(path)
    for generator in spec.get("configMapGenerator", []):
        _generate(objects, generator)
    for patch in spec.get("patches", []):
        for document in _documents(folder / patch["path"]):
            _merge(_found(objects, document["kind"], document["metadata"]["name"]), document)
    for item in objects if "namespace" in spec else []:
        item["metadata"]["namespace"] = spec["namespace"]
    for image in spec.get("images", []):
        for container in (c for item in objects for containers in _named(item, "containers") for c in containers):
            _rename(container, image)
    for replicas in spec.get("replicas", []):
        _found(objects, "Deployment", replicas["name"])["spec"]["replicas"] = replicas["count"]
    return objects


def _documents(path: Path) -> list[Manifest]:
    # An alias is the same object everywhere: through JSON each becomes one of its own.
    return [json.loads(json.dumps(document)) for document in yaml.safe_load_all(path.read_text())]


def _found(objects: list[Manifest], kind: str, name: str) -> Manifest:
    [found] = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found


def _generate(objects: list[Manifest], generator: Manifest) -> None:
    data = dict(literal.split("=", 1) for literal in generator["literals"])
    if generator.get("behavior") == "merge":
        _found(objects, "ConfigMap", generator["name"])["data"].update(data)
        return
    metadata = {"name": generator["name"]}
    objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, "generated": True})


def _merge(target: Manifest, patch: Manifest) -> None:
    """Strategic merge: maps key by key, lists with a merge key item by item, all else is replaced."""
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        elif key in MERGE_KEYS and isinstance(target.get(key), list):
            by = MERGE_KEYS[key]
            for item in value:
                same = [known for known in target[key] if known[by] == item[by]]
                _merge(same[0], item) if same else target[key].append(item)
        else:
            target[key] = value


def _rename(container: Manifest, image: Manifest) -> None:
    name, _, tag = container["image"].partition(":")
    if name == image["name"]:
        container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"


def _with_hash(config_map: Manifest) -> str:
    """The name with the hash of the contents, so that changed settings restart what uses them (kustomize, api/hasher).

    Kustomize looks up the name as one field "metadata/name", finds none and hashes an empty one; so must we.
    """
    encoded = json.dumps(
        {"data": config_map["data"], "kind": "ConfigMap", "name": ""}, sort_keys=True, separators=(",", ":")
    )
    digest = hashlib.sha256(encoded.encode()).hexdigest()[:10]
    return f"{config_map['metadata']['name']}-{digest.translate(str.maketrans('013ae', 'ghkmt'))}"


def _named(node: Any, key: str) -> list[Any]:
    """Every value of this key, however deep."""
    if isinstance(node, list):
        return [found for item in node for found in _named(item, key)]
    if not isinstance(node, dict):
        return []
    here = [node[key]] if key in node else []
    return here + [found for value in node.values() for found in _named(value, key)]
