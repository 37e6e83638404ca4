"""Makes the schemas beside this file again: python tests/deploy/schemas/renew.py

They are other people's, without their descriptions, defaults and status, each under the Apache
License 2.0: of Go modules, which Go gets, and, for Kubernetes, of the Python package
kubernetes-validate, which uv gets. As a dependency that one would have 17,000 files.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent

COMPOSE = ("github.com/compose-spec/compose-go/v2@v2.16.2", "schema/compose-spec.json")
# Module, the files of its CustomResourceDefinitions, and which kinds we use.
KINDS = (
    (
        "github.com/kedacore/keda/v2@v2.21.0",
        "config/crd/bases/keda.sh_*.yaml",
        {"ScaledObject", "TriggerAuthentication"},
    ),
    (
        "github.com/cert-manager/cert-manager@v1.21.2",
        "deploy/crds/cert-manager.io_*.yaml",
        {"Certificate", "Issuer"},
    ),
    (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "example/prometheus-operator-crd/*_servicemonitors.yaml",
        {"ServiceMonitor"},
    ),
)
KUBERNETES = "kubernetes-validate==1.37.0"
# The oldest that deploy/README.md promises, and the newest.
VERSIONS = ("1.31", "1.37")
KUBERNETES_KINDS = {
    "v1": ("ConfigMap", "Namespace", "Secret", "Service", "ServiceAccount"),
    "apps/v1": ("Deployment", "StatefulSet"),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "networking.k8s.io/v1": ("NetworkPolicy",),
    "policy/v1": ("PodDisruptionBudget",),
}
_KEPT_EXTENSIONS = {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"}
_NAMED = {"properties", "definitions", "patternProperties", "$defs"}  # whose keys are no keywords


def main() -> None:
    """Writes them."""
    module, path = COMPOSE
    _write("compose-spec", json.loads((_folder(module) / path).read_text()))
    for module, pattern, kinds in KINDS:
        for file in sorted(_folder(module).glob(pattern)):
            for definition in yaml.safe_load_all(file.read_text()):
                if definition["spec"]["names"]["kind"] in kinds:
                    for name, schema in _versions(definition["spec"]):
                        _write(name, schema)
    with tempfile.TemporaryDirectory() as folder:
        uv = Path(sys.executable).with_name("uv")
        words = [uv, "pip", "install", "--quiet", "--no-deps", "--target", folder, KUBERNETES]
        subprocess.run([str(word) for word in words], check=True)
        for version in VERSIONS:
            name = f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict"
            file = Path(folder, name, "_definitions.json")
            _write(f"kubernetes-{version}", _kubernetes(json.loads(file.read_text())["$defs"]))


def _kubernetes(all_of_it: dict[str, Any]) -> dict[str, Any]:
    """The kinds that we use, as "apps/v1 Deployment", and what they refer to."""
    kinds: dict[str, Any] = {}
    for name, schema in all_of_it.items():
        for told in schema.get("x-kubernetes-group-version-kind", ()):
            version = "/".join(each for each in (told["group"], told["version"]) if each)
            if told["kind"] in KUBERNETES_KINDS.get(version, ()):
                kinds[f"{version} {told['kind']}"] = {"$ref": f"#/$defs/{name}"}
    expected = sum(map(len, KUBERNETES_KINDS.values()))
    assert len(kinds) == expected, sorted(kinds)
    needed: dict[str, Any] = {}
    open_ends = [each["$ref"] for each in kinds.values()]
    while open_ends:
        name = open_ends.pop().rpartition("/")[2]
        if name not in needed:
            needed[name] = _local(all_of_it[name])
            open_ends += _references(needed[name])
    return {"$defs": needed, "kinds": kinds}


def _local(schema: Any) -> Any:
    """With references within the file."""
    if isinstance(schema, list):
        return [_local(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _local(each) for key, each in schema.items() if key != "status"}
    if isinstance(schema.get("$ref"), str):
        made["$ref"] = f"#/$defs/{schema['$ref'].rpartition('/')[2]}"
    return made


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for each in schema:
            yield from _references(each)
    elif isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for each in schema.values():
            yield from _references(each)


def _versions(spec: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for version in spec["versions"]:
        if version["served"]:
            schema = version["schema"]["openAPIV3Schema"]
            schema["properties"].pop("status", None)
            yield f"{spec['names']['kind'].lower()}-{spec['group']}-{version['name']}", schema


def _folder(module: str) -> Path:
    words = ["go", "mod", "download", "-json", module]
    told = subprocess.run(words, cwd="/", check=True, capture_output=True, text=True).stdout
    return Path(json.loads(told)["Dir"])


def _write(name: str, schema: Any) -> None:
    text = json.dumps(_bare(schema), separators=(",", ":"), sort_keys=True)
    (HERE / f"{name}.json").write_text(f"{text}\n")


def _bare(schema: Any) -> Any:
    """Without what refuses nothing."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _bare(each) for name, each in value.items()} if key in _NAMED else _bare(value)
        for key, value in schema.items()
        if not _is_talk(key, value)
    }


def _is_talk(key: str, value: Any) -> bool:
    if key == "description":
        return isinstance(value, str)
    return key == "default" or (key.startswith("x-kubernetes") and key not in _KEPT_EXTENSIONS)


if __name__ == "__main__":
    main()
