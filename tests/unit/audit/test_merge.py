import random
from copy import deepcopy
from typing import Any, cast

import pytest

from muster.audit import clones, modules, processing, research
from muster.audit.analysis import lint
from muster.audit.canonical import canonical_json, digest
from muster.audit.local import audit, graph_request
from muster.audit.merge import findings, merge
from muster.audit.report_shapes import Parts
from muster.audit.scoring import SIGNALS, signals_of
from muster.audit.shapes import Collection, Complexity, FileLint, Finding, Manifest
from muster.audit.sources import data_of
from tests.unit.audit.samples import PROJECT

COLLECTION: Collection = {
    "target": {"name": "shop", "form": "folder"},
    "sources": sorted(PROJECT, key=lambda source: source["path"]),
    "skipped": {"tests": 2, "hidden": 1},
}


def manifest_of(collection: Collection) -> Manifest:
    files = [{"path": s["path"], "bytes": len(data_of(s))} for s in collection["sources"]]
    return {"target": collection["target"], "files": files, "skipped": collection["skipped"]}  # type: ignore[typeddict-item]


@pytest.fixture(scope="module")
def parts() -> Parts:
    content = manifest_of(COLLECTION)
    surveys = [research.survey({"sources": [s]}) for s in COLLECTION["sources"]]
    prints = [clones.fingerprint({"sources": [s]})["files"][0] for s in COLLECTION["sources"]]
    return {
        "manifest": content,
        "survey": surveys,
        "measure": [processing.measure({"sources": [s]}) for s in COLLECTION["sources"]],
        "lint": [
            lint({"sources": COLLECTION["sources"][:4]}),
            lint({"sources": COLLECTION["sources"][4:]}),
        ],
        "clones": clones.match({"files": prints}),
        "imports": modules.graph(graph_request(content, surveys)),
    }


def without(parts: Parts, *names: str) -> Parts:
    less: Any = dict(parts)
    for name in names:
        less[name] = [] if isinstance(less[name], list) else None
    return cast(Parts, less)


def test_order_and_repetition_of_answers_leave_no_trace(parts: Parts):
    expected = canonical_json(findings(parts))
    shuffled = random.Random(3)
    for _ in range(5):
        again: Any = deepcopy(parts)
        for name in ("survey", "measure", "lint"):
            again[name] += again[name][:2]
            shuffled.shuffle(again[name])
        again["manifest"]["files"].reverse()
        assert canonical_json(findings(again)) == expected


def test_what_the_mesh_did_does_not_touch_the_findings(parts: Parts):
    quiet, busy = merge(parts), merge(parts, {"wall_ms": 17.0, "statistics": None})
    assert quiet["findings"] == busy["findings"]
    assert quiet["findings_sha256"] == busy["findings_sha256"] == digest(quiet["findings"])
    assert quiet["run"] != busy["run"]


def test_batches_and_processes_do_not_matter(parts: Parts):
    expected = canonical_json(findings(parts))
    for size in (1, 500, 1_000_000):
        assert canonical_json(audit(COLLECTION, batch_bytes_max=size)) == expected


@pytest.mark.parametrize(
    ("absent", "kinds", "silent"),
    [
        (["survey", "imports"], ["research"], "licences"),
        (["measure"], ["processing"], "largest_functions"),
        (["lint", "clones", "imports"], ["analysis"], "rules"),
        (["clones"], [], None),
        (
            ["survey", "measure", "lint", "clones", "imports"],
            ["research", "processing", "analysis"],
            "rules",
        ),
    ],
)
def test_a_missing_kind_is_named_and_the_rest_goes_on(parts: Parts, absent, kinds, silent):
    found: Any = findings(without(parts, *absent))
    assert found["missing"] == kinds
    assert set(found["missing_parts"]) == set(absent)
    assert len(found["files"]) == len(COLLECTION["sources"])
    assert silent is None or not found[silent]
    assert digest(found) != digest(findings(parts))


def test_files_a_step_did_not_answer_for_are_listed(parts: Parts):
    partial: Any = dict(parts)
    partial["measure"] = parts["measure"][:-1]
    last = COLLECTION["sources"][-1]["path"]
    found = findings(partial)
    assert found["incomplete"] == {"measure": {"files": 1, "paths": [last]}}
    assert found["missing"] == []


def test_answers_about_files_nobody_asked_for_are_ignored(parts: Parts):
    odd: Any = deepcopy(parts)
    odd["survey"].append({"files": [{**odd["survey"][0]["files"][0], "path": "elsewhere.py"}]})
    assert findings(odd) == findings(parts)


def test_files_are_ranked_by_score_then_path(parts: Parts):
    found = findings(parts)
    ranked = [(-file["score"], file["path"]) for file in found["files"]]
    assert ranked == sorted(ranked)
    assert found["files"][0]["score"] > 0
    for file in found["files"]:
        assert file["score"] == pytest.approx(sum(file["signals"].values()), abs=0.01)


def test_totals_add_the_files_up(parts: Parts):
    found: Any = findings(parts)
    totals = found["totals"]
    assert totals["files"] == len(COLLECTION["sources"])
    assert totals["unparsed"] == ["shop/broken.py"]
    assert totals["lines"]["total"] == sum(f["measures"]["lines"]["total"] for f in found["files"])
    assert totals["findings"] == sum(rule["count"] for rule in found["rules"])
    assert sum(totals["severities"].values()) == totals["findings"]
    assert sum(language["files"] for language in found["languages"]) == totals["files"]
    assert totals["duplicated_lines"] == sum(found["duplicates"]["by_file"].values())
    assert [licence["id"] for licence in found["licences"]] == ["Apache-2.0"]
    assert found["imports"]["cycle_count"] == 1


def test_rules_are_ranked_by_the_gravest_of_their_findings(parts: Parts):
    order = ["high", "medium", "low"]
    ranks = [order.index(rule["severity"]) for rule in findings(parts)["rules"]]
    assert ranks == sorted(ranks)


def test_nothing_to_audit_is_nothing_missing():
    empty: Collection = {"target": {"name": "x", "form": "folder"}, "sources": [], "skipped": {}}
    found = audit(empty)
    assert (found["missing"], found["incomplete"], found["files"]) == ([], {}, [])
    assert found["totals"]["files"] == 0


def lint_of(findings: list[Finding], excess: int = 0) -> FileLint:
    complexity = Complexity(functions=1, sum=excess, max=excess, excess=excess)
    return {"path": "a.py", "findings": findings, "dropped": 0, "complexity": complexity}


def security(severity: Any, rule: str = "S1") -> Finding:
    return {
        "rule": rule,
        "category": "security",
        "severity": severity,
        "line": 1,
        "column": 1,
        "message": "",
    }


def test_weights_add_up_to_a_hundred():
    assert sum(signal.weight for signal in SIGNALS) == 100


def test_at_its_half_a_signal_gives_half_its_weight():
    assert signals_of(None, lint_of([], excess=40), None) == {"complexity": 15.0}
    assert signals_of(None, lint_of([security("high")] * 2), 80) == {
        "security": 12.5,
        "duplication": 7.5,
    }


def test_one_habit_of_low_findings_counts_like_one_grave_finding():
    many = signals_of(None, lint_of([security("low")] * 500), None)
    assert many == signals_of(None, lint_of([security("high")]), None)
    two = [security("low", "S1"), security("low", "S2")] * 500
    assert signals_of(None, lint_of(two), None)["security"] == 12.5


def test_canonical_json_is_the_same_for_the_same_data():
    assert canonical_json({"b": [1.5, "é"], "a": None}) == '{"a":null,"b":[1.5,"é"]}\n'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": float("nan")})
