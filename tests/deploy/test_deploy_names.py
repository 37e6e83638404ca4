"""What deploy/ names beyond one process: files, certificates, and what KEDA asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from muster.runtime.directories import SERVICES
from muster.runtime.identity.spiffe import principal_of
from muster.runtime.principal import AGENT, OPERATOR, SERVICE
from tests.sources import ROOT
from tests.support.deploying import (
    DEPLOY,
    EXAMPLES,
    K8S,
    base,
    compose,
    compose_processes,
    dockerfile,
    documents,
    engine,
    environments,
    generated,
    pods,
    texts,
)

DOMAIN = "muster.local"


# --- files ----------------------------------------------------------------------------------------


def test_what_the_image_copies_is_there_and_is_let_into_its_context() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for each in dockerfile():
        if each.name == "COPY" and not each.rest.startswith("--from"):
            *sources, _ = each.rest.split()
            for source in sources:
                assert (ROOT / source).exists()
                assert any(f"!{path}" in ignored for path in (source, source.split("/")[0]))


def test_what_the_readme_names_is_there() -> None:
    text = texts()["README.md"]
    named = [*re.findall(r"\]\(([\w./]+)\)", text), *re.findall(r"\bdeploy/([\w./-]+\w)", text)]
    assert len(named) > 10
    for name in named:
        assert name.startswith("secrets") or (DEPLOY / name).exists(), name


@pytest.mark.parametrize("process", environments())
def test_agents_are_files_of_the_image_and_may_be_called_so(process: str) -> None:
    words, told = environments()[process]
    for word in words:
        if word.startswith(EXAMPLES):
            assert (ROOT / "agents" / "examples" / Path(word).name).is_file()
    if "--name" in words and "MUSTER_TLS_CERT" in told:
        name = words[words.index("--name") + 1]
        assert name.startswith("shouter.")


def test_every_certificate_of_compose_is_made_by_its_first_container() -> None:
    services = compose()["services"]
    words = services["certs"]["command"]
    folder = words[1]
    made = {f"{folder}/ca"}
    for kind, name in (word[2:].split("=") for word in words if "=" in word):
        middle = "." if kind == "service" else ".default."
        made.add(f"{folder}/{kind}{middle}{name}")
    used = {
        Path(value).with_suffix("").as_posix() if value.endswith((".pem", ".key")) else value
        for each in compose_processes().values()
        for key, value in each.get("environment", {}).items()
        if key.startswith("MUSTER_TLS_")
    }
    assert used <= made
    hosts = {word.removeprefix("--host=") for word in words if word.startswith("--host=")}
    dialled = re.findall(
        r"\b((?:scheduler|registry|executor)(?:-\d)?):\d{4}", texts()["compose.yaml"]
    )
    assert set(dialled) == hosts


# --- identities -----------------------------------------------------------------------------------


def certificates() -> dict[str, dict[str, Any]]:
    found = [
        each
        for path in (K8S / "components").rglob("*.yaml")
        for each in documents(path.read_text())
        if each["kind"] == "Certificate"
    ]
    return {each["metadata"]["name"]: each["spec"] for each in found}


def test_certificates_name_whom_the_mesh_expects() -> None:
    roles = {"muster-agents": AGENT, "muster-keda": OPERATOR}
    secrets: Mapping[str, str] = {
        name: volume["secret"]["secretName"]
        for name, pod in pods((*base(), *engine())).items()
        for volume in pod["spec"]["volumes"]
        if volume["name"] == "tls"
    }
    assert set(secrets) == set(certificates()) - {"muster-keda"}
    for name, spec in certificates().items():
        (uri,) = spec["uris"]
        principal = principal_of(uri, DOMAIN)
        assert principal is not None
        assert principal.roles == {roles.get(name, SERVICE)}
        assert spec["secretName"] == secrets.get(name, "muster-keda-tls")
        assert ("server auth" in spec["usages"]) == (SERVICE in principal.roles)


def test_certificates_are_good_for_every_name_that_is_dialled() -> None:
    configs = generated(K8S / "base")
    told = [*configs["muster-services"].values(), *configs["muster-callers"].values()]
    told += [texts()["k8s/components/keda/scaledobjects.yaml"]]
    told += [texts()["k8s/components/temporal/engine.yaml"]]
    for kind in SERVICES:
        names = certificates()[f"muster-{kind}"]["dnsNames"]
        dialled = re.findall(rf"([a-z0-9.-]*muster-{kind}[a-z0-9.-]*):\d{{4}}", "\n".join(told))
        assert dialled
        for name in dialled:
            assert name in names or f"*.{name.partition('.')[2]}" in names


def test_keda_asks_for_what_the_scaler_knows() -> None:
    for each in documents(texts()["k8s/components/keda/scaledobjects.yaml"]):
        if each["kind"] == "ScaledObject":
            (trigger,) = each["spec"]["triggers"]
            told = trigger["metadata"]
            assert set(told) <= {"scalerAddress", "capability", "target", "perReplica", "tenant"}
            assert told["target"] in ("agents", "executor")
            assert ("capability" in told) == (told["target"] == "agents")
            example = (ROOT / "agents" / "examples" / "ten_lines.py").read_text()
            assert f'"{told.get("capability", "text.shout")}"' in example
            assert each["spec"]["scaleTargetRef"]["name"] in pods(base())
