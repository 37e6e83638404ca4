"""The manifests as kustomize renders them: by the schemas of who takes them, and by a linter."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from muster.servers.finding import PROGRAMS
from tests.support.deploying import K8S, Manifest, documents, of_kind, pods, texts
from tests.support.servers import require

SCHEMAS = Path(__file__).parent / "schemas"
FOLDERS = ("base", "overlays/development", "overlays/production")
# The overlays with more of the components, as whoever needs these lists them.
MORE = {
    f"{folder} with temporal": (folder, "temporal", "temporal/cert-manager")
    for folder in FOLDERS[1:]
}
ALL = (*FOLDERS, *MORE)
# What somebody else puts into the namespace; deploy/README.md says so.
GIVEN = {
    "base": {
        "muster-backends",
        "muster-scheduler-tls",
        "muster-registry-tls",
        "muster-executor-tls",
        "muster-agents-tls",
    },
    "overlays/development": set[str](),
    "overlays/production": {"muster-backends"},
    "overlays/development with temporal": {"muster-temporal"},
    "overlays/production with temporal": {"muster-backends", "muster-temporal"},
}


@cache
def rendered(folder: str) -> tuple[Manifest, ...]:
    """What `kubectl apply` would be given."""
    return tuple(documents(rendering(folder)))


@cache
def rendering(folder: str) -> str:
    if folder not in MORE:
        return _built(K8S / folder)
    overlay, *components = MORE[folder]
    with tempfile.TemporaryDirectory() as place:
        everything = shutil.copytree(K8S, Path(place) / "k8s")
        file = everything / overlay / "kustomization.yaml"
        told = yaml.safe_load(file.read_text())
        told["components"] += [f"../../components/{name}" for name in components]
        file.write_text(yaml.safe_dump(told))
        return _built(everything / overlay)


def _built(folder: Path) -> str:
    require("kustomize")
    ended = subprocess.run(
        [PROGRAMS["kustomize"].find(), "build", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout


def extension(manifest: Manifest) -> Path:
    """The schema of what is not Kubernetes' own."""
    group, _, version = manifest["apiVersion"].partition("/")
    return SCHEMAS / f"{manifest['kind'].lower()}-{group}-{version}.json"


def strictly(schema: Any) -> Any:
    """A schema that refuses what it does not name, which Kubernetes would drop without a word."""
    if isinstance(schema, list):
        return [strictly(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strictly(each) for key, each in schema.items()}
    closed = "properties" in schema and "additionalProperties" not in schema
    if closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made


def mistakes(manifest: Manifest) -> list[str]:
    """What is wrong with it, by the schema of its kind."""
    path = extension(manifest)
    if not path.exists():
        return [wrong for version in KUBERNETES for wrong in _by_kubernetes(manifest, version)]
    schema = json.loads(path.read_text())
    schema["properties"]["metadata"] = {"type": "object"}
    validator = jsonschema_rs.validator_for(strictly(schema))
    return [f"{each.instance_path}: {each.message}" for each in validator.iter_errors(manifest)]


# The oldest that deploy/README.md promises, and the newest that is known here.
KUBERNETES = ("1.31", "1.37")


def _by_kubernetes(manifest: Manifest, version: str) -> Iterator[str]:
    known = json.loads((SCHEMAS / f"kubernetes-{version}.json").read_text())
    kind = f"{manifest['apiVersion']} {manifest['kind']}"
    assert kind in known["kinds"], f"name it in schemas/renew.py: {kind}"
    schema = {**known["kinds"][kind], "$defs": strictly(known["$defs"])}
    for each in jsonschema_rs.validator_for(schema).iter_errors(manifest):
        yield f"{version}, {each.instance_path}: {each.message}"


def test_the_readme_says_which_kubernetes_it_is_for() -> None:
    assert f"(Kubernetes {KUBERNETES[0]} or newer.)" in texts()["README.md"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("folder", ALL)
def test_everything_that_is_rendered_is_what_its_kind_may_be(folder: str) -> None:
    found = {
        f"{each['kind']} {each['metadata']['name']}": mistakes(each) for each in rendered(folder)
    }
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_the_schemas_refuse_what_is_wrong() -> None:
    wrong = {
        "Service": ("spec", "prots"),
        "StatefulSet": ("spec", "serviceNam"),
        "Certificate": ("spec", "dnsName"),
        "ScaledObject": ("spec", "trigers"),
        "ServiceMonitor": ("spec", "endpoint"),
    }
    for kind, (section, field) in wrong.items():
        manifest = next(iter(of_kind(rendered("overlays/production"), kind).values()))
        broken = {**manifest, section: {**manifest[section], field: []}}
        assert mistakes(broken), kind


# What kube-score is not asked for, and why.
IGNORED = (
    "container-image-pull-policy",  # a version does not move; and pods start without the registry
    "deployment-has-host-podantiaffinity",  # topologySpreadConstraints do it
    "statefulset-has-host-podantiaffinity",
    "deployment-replicas",  # KEDA sets it, or there is one of everything
)


@pytest.mark.parametrize("folder", ALL[1:])  # the base has no image yet
def test_a_linter_finds_nothing(folder: str, tmp_path: Path) -> None:
    require("kube-score")
    file = tmp_path / "all.yaml"
    file.write_text(rendering(folder))
    # A limit of CPU would slow what others leave idle.
    words = ["score", "--kubernetes-version=v1.34", "--ignore-container-cpu-limit"]
    words += ["--output-format=ci", "--exit-one-on-warning"]
    words += [f"--ignore-test={name}" for name in IGNORED]
    ended = subprocess.run(
        [PROGRAMS["kube-score"].find(), *words, file],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said = ended.stdout.splitlines()
    assert [line for line in said if not line.startswith(("[OK]", "[SKIPPED]"))] == []
    assert (ended.returncode, bool(said)) == (0, True), ended.stderr


@pytest.mark.parametrize("folder", ALL)
def test_everything_that_a_pod_names_is_there(folder: str) -> None:
    everything = rendered(folder)
    configs = set(of_kind(everything, "ConfigMap"))
    secrets = set(of_kind(everything, "Secret")) | GIVEN[folder]
    certificates = of_kind(everything, "Certificate").values()
    secrets |= {each["spec"]["secretName"] for each in certificates}
    for name, pod in pods(everything).items():
        volumes = pod["spec"].get("volumes", ())
        assert {each["secret"]["secretName"] for each in volumes if "secret" in each} <= secrets
        named = {each["configMap"]["name"] for each in volumes if "configMap" in each}
        for container in pod["spec"]["containers"]:
            named |= {each["configMapRef"]["name"] for each in container.get("envFrom", ())}
            told = [each.get("valueFrom", {}) for each in container.get("env", ())]
            refs = [each["secretKeyRef"]["name"] for each in told if "secretKeyRef" in each]
            assert set(refs) <= secrets
            mounted = {each["name"] for each in container["volumeMounts"]}
            own = {each["metadata"]["name"] for each in claims(everything, name)}
            assert mounted == {each["name"] for each in volumes} | own
        assert named <= configs
        assert pod["spec"]["serviceAccountName"] in of_kind(everything, "ServiceAccount")


def claims(everything: tuple[Manifest, ...], name: str) -> list[Manifest]:
    workload = of_kind(everything, "StatefulSet", "Deployment")[name]
    found: list[Manifest] = workload["spec"].get("volumeClaimTemplates", [])
    return found


def test_two_never_set_the_number_of_the_same_pods() -> None:
    everything = rendered("overlays/production")
    scaled = [
        each["spec"]["scaleTargetRef"]["name"]
        for each in of_kind(everything, "HorizontalPodAutoscaler", "ScaledObject").values()
    ]
    assert sorted(scaled) == ["muster-agents", "muster-executor", "muster-scheduler"]
    for name, each in of_kind(everything, "StatefulSet", "Deployment").items():
        assert ("replicas" in each["spec"]) is (name not in scaled), name


@pytest.mark.parametrize("folder", ALL)
def test_everything_is_in_the_one_namespace(folder: str) -> None:
    for each in rendered(folder):
        assert each["kind"] == "Namespace" or each["metadata"]["namespace"] == "muster"
    told = of_kind(rendered(folder), "Service")
    assert {"muster-scheduler", "muster-registry", "muster-executor"} <= told.keys()


@pytest.mark.parametrize(
    ("folder", "more"),
    [("overlays/production", []), ("overlays/production with temporal", ["muster-engine"])],
)
def test_the_monitor_finds_each_pod_once(folder: str, more: list[str]) -> None:
    everything = rendered(folder)
    (monitor,) = of_kind(everything, "ServiceMonitor").values()
    found = [
        name
        for name, each in of_kind(everything, "Service").items()
        if all(_matches(rule, each["metadata"]["labels"]) for rule in _rules(monitor))
    ]
    assert sorted(found) == sorted(
        ["muster-executor", "muster-registry", "muster-scheduler", *more]
    )
    http = {of_kind(everything, "Service")[name]["spec"]["ports"][-1]["port"] for name in found}
    policy = of_kind(everything, "NetworkPolicy")["muster-monitoring"]["spec"]
    (rule,) = policy["ingress"]
    assert http <= {each["port"] for each in rule["ports"]}
    kinds = {name.removeprefix("muster-") for name in found}
    assert kinds <= set(policy["podSelector"]["matchExpressions"][0]["values"])


def _rules(monitor: Manifest) -> list[Manifest]:
    found: list[Manifest] = monitor["spec"]["selector"]["matchExpressions"]
    return found


def _matches(rule: Manifest, labels: dict[str, str]) -> bool:
    if rule["operator"] == "DoesNotExist":
        return rule["key"] not in labels
    return labels.get(rule["key"]) in rule["values"]


@pytest.mark.parametrize("folder", MORE)
def test_schedulers_and_workers_of_the_engine_are_told_the_same_temporal(folder: str) -> None:
    found = {
        name: [each for each in container["env"] if each["name"] == "MUSTER_TEMPORAL"]
        for name, pod in pods(rendered(folder)).items()
        for container in pod["spec"]["containers"]
        if "env" in container
    }
    assert len(found["muster-engine"]) == 1
    assert found["muster-scheduler"] == found["muster-engine"]
    assert {name for name, told in found.items() if told} == {"muster-scheduler", "muster-engine"}


@pytest.mark.parametrize("folder", MORE)
def test_the_workers_of_the_engine_have_the_image_of_the_others(folder: str) -> None:
    images = {
        pod["spec"]["containers"][0]["image"]
        for name, pod in pods(rendered(folder)).items()
        if name.startswith("muster-")
    }
    assert len(images) == 1
