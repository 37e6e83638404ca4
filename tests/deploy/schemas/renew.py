"""Makes the schemas beside this file again: python tests/deploy/schemas/renew.py

They are other people's, without their descriptions, defaults and status: of the Go modules below,
each under the Apache License 2.0. Needs Go, and gets the modules through its proxy.
"""

from __future__ import annotations

import json
import subprocess
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
