"""What deploy/ says, read as its readers do: Dockerfile, compose.yaml, units, manifests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.sources import ROOT

DEPLOY = ROOT / "deploy"
K8S = DEPLOY / "k8s"
SYSTEMD = DEPLOY / "systemd"
EXAMPLES = "/opt/muster/examples"  # where the image has agents/examples

# Another subject each, with tests of its own.
_ELSEWHERE = ("backends", "observability", "secrets")


def texts() -> dict[str, str]:
    """Every file below deploy/, by its path from there."""
    found = {}
    for path in sorted(DEPLOY.rglob("*")):
        name = path.relative_to(DEPLOY).as_posix()
        if path.is_file() and name.partition("/")[0] not in _ELSEWHERE:
            found[name] = path.read_text(encoding="utf-8")
    return found


# --- the image ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Instruction:
    """One of the Dockerfile: "COPY", and what follows, on one line. `stage` counts from 0."""

    name: str
    rest: str
    stage: int


@cache
def dockerfile() -> tuple[Instruction, ...]:
    """Its instructions, without comments."""
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    found, stage = [], -1
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        name, _, rest = line.strip().partition(" ")
        stage += name == "FROM"
        if name:
            found.append(Instruction(name, rest, stage))
    return tuple(found)


def image_environment() -> dict[str, str]:
    """What the image sets for its processes."""
    last = dockerfile()[-1].stage
    words = [
        word
        for each in dockerfile()
        if each.name == "ENV" and each.stage == last
        for word in shlex.split(each.rest)
    ]
    return dict(word.split("=", 1) for word in words)


# --- compose --------------------------------------------------------------------------------------


# What whoever runs it with the profile `temporal` says.
TEMPORAL = {
    "MUSTER_TEMPORAL": "temporals://temporal.example.com:7233/default",
    "MUSTER_TEMPORAL_API_KEY": "secret",
}


@cache
def compose(**told: str) -> dict[str, Any]:
    """compose.yaml, with what it is told, or its defaults, in place of variables."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: told.get(found[1], found[2]), text)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def compose_processes(**told: str) -> dict[str, dict[str, Any]]:
    """Those of its containers that run Muster."""
    return {name: each for name, each in compose(**told)["services"].items() if "build" in each}


# --- Kubernetes -----------------------------------------------------------------------------------

Manifest = dict[str, Any]


def documents(text: str) -> list[Manifest]:
    """The documents of a YAML file."""
    return [each for each in yaml.safe_load_all(text) if each is not None]


def base() -> tuple[Manifest, ...]:
    """The manifests of the base, as they are written."""
    return _written(K8S / "base")


def engine() -> tuple[Manifest, ...]:
    """The manifests of the component temporal, as they are written."""
    return _written(K8S / "components" / "temporal")


@cache
def _written(folder: Path) -> tuple[Manifest, ...]:
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return tuple(each for name in names for each in documents((folder / name).read_text()))


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> dict[str, Manifest]:
    """Those of some kinds, by name."""
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] in kinds}


def pods(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """The pod of every workload, by its name."""
    found = of_kind(manifests, "StatefulSet", "Deployment")
    return {name: each["spec"]["template"] for name, each in found.items()}


def generated(folder: Path) -> dict[str, dict[str, str]]:
    """The ConfigMaps that a folder's kustomization makes of literals, by name."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return {
        each["name"]: dict(literal.split("=", 1) for literal in each.get("literals", ()))
        for each in kustomization.get("configMapGenerator", ())
    }


# What somebody else puts into the namespace and containers are told, by Secret and key.
SECRETS = {"muster-temporal": {"temporal": TEMPORAL["MUSTER_TEMPORAL"]}}


def container_environment(
    container: Manifest, configs: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """What a container is told, in a pod that is called POD, with the image's own."""
    told = image_environment()
    for source in container.get("envFrom", ()):
        told |= configs[source["configMapRef"]["name"]]
    for each in container.get("env", ()):
        secret = each.get("valueFrom", {}).get("secretKeyRef")
        if secret is not None:
            told[each["name"]] = SECRETS[secret["name"]][secret["key"]]
        else:
            told[each["name"]] = each["value"] if "value" in each else f"of-{each['name'].lower()}"
    return {name: expanded(value, told) for name, value in told.items()}


def expanded(text: str, told: Mapping[str, str]) -> str:
    """With $(NAME) replaced, as Kubernetes does."""
    return re.sub(r"\$\((\w+)\)", lambda found: told[found[1]], text)


# --- systemd --------------------------------------------------------------------------------------

Unit = dict[str, list[str]]


@cache
def units() -> dict[str, Unit]:
    """What each service unit sets: "ExecStart" → its values in order."""
    return {path.name: dict(_settings(path)) for path in sorted(SYSTEMD.glob("*.service"))}


def _settings(path: Path) -> Iterator[tuple[str, list[str]]]:
    found: Unit = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    yield from found.items()


def environment_file(name: str) -> dict[str, str]:
    """An example of what a unit's EnvironmentFile holds."""
    lines = (SYSTEMD / "env" / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def unit_environment(name: str, instance: str = "", state: str = "/var/lib") -> dict[str, str]:
    """What a unit's process is told, with the examples as its files."""
    unit = units()[name]
    told = dict(word.split("=", 1) for word in unit["Environment"])
    for file in unit["EnvironmentFile"]:
        base_name = Path(file).name
        if (SYSTEMD / "env" / base_name).exists():
            told |= environment_file(base_name)
    return {key: specified(value, instance, state) for key, value in told.items()}


def specified(text: str, instance: str = "", state: str = "/var/lib") -> str:
    """With systemd's specifiers replaced: %i, %S, and %d as the folder of credentials."""
    for mark, value in (("%i", instance), ("%S", state), ("%d", "/run/credentials")):
        text = text.replace(mark, value)
    return text


# --- all of it ------------------------------------------------------------------------------------


def environments() -> dict[str, tuple[list[str], dict[str, str]]]:
    """The command and the environment of every process that deploy/ starts."""
    image = image_environment()
    found = {
        f"compose {name}": (each["command"], {**image, **each.get("environment", {})})
        for name, each in compose_processes().items()
        if "temporal" not in each.get("profiles", ())
    }
    for name, each in compose_processes(**TEMPORAL).items():
        if "MUSTER_TEMPORAL" in each.get("environment", {}):
            told = {**image, **each["environment"]}
            found[f"compose {name}, with Temporal"] = each["command"], told
    configs = generated(K8S / "base")
    for name, pod in pods((*base(), *engine())).items():
        (container,) = pod["spec"]["containers"]
        told = container_environment(container, configs)
        found[f"k8s {name}"] = [expanded(word, told) for word in container["args"]], told
    for name, unit in units().items():
        program, *words = specified(unit["ExecStart"][0], "mine").split()
        assert program == "/opt/muster/bin/muster"
        found[f"systemd {name}"] = words, unit_environment(name, "mine")
    return found
