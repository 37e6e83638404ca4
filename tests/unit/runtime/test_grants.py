import json
from pathlib import Path
from typing import Any

import pytest

from muster.model.errors import NotAllowed
from muster.runtime.config import ConfigError
from muster.runtime.identity.grants import parse_grants
from muster.runtime.identity.spiffe import domain_of, principal_of
from muster.runtime.identity.watched import Watched
from muster.runtime.principal import (
    AGENT,
    NOTHING,
    SERVICE,
    Grants,
    Principal,
    allows,
    are_patterns,
    metadata_of,
    principal_passed_on,
)

DOMAIN = "test.local"


def principal(path: str) -> Principal | None:
    return principal_of(f"spiffe://{DOMAIN}/{path}", DOMAIN)


def test_an_identity_names_tenant_role_and_names_of_its_own():
    agent = principal("tenant/acme/agent/team.a")
    own = ("team.a", "team.a.*")
    assert agent == Principal(
        "acme", "agent/team.a", frozenset({AGENT}), Grants(hosts=own, agents=own)
    )
    service = principal("service/scheduler-1")
    assert service is not None
    assert service.roles == {SERVICE}
    assert service.grants == Grants(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "service",
        "service/",
        "service/a/b",
        "service/..",
        "service/a%2fb",
        "tenant/acme/service/a",
        "tenant/Acme/agent/a",
        "tenant/acme/agent/",
        "tenant/acme/agent/a*",
        "tenant/acme/agent/a b",
        "tenant//agent/a",
        "tenant/acme/agent/a?x=1",
        "tenant/acme/agent/" + "a" * 101,
    ],
)
def test_what_is_no_identity_names_nobody(path: str):
    assert principal(path) is None


def test_another_domain_names_nobody():
    for uri in (
        "spiffe://other/service/a",
        f"spiffe://{DOMAIN}x/service/a",
        "spiffe:///service/a",
        f"SPIFFE://{DOMAIN}/service/a",
    ):
        assert principal_of(uri, DOMAIN) is None
    assert domain_of([f"spiffe://{DOMAIN}/service/a", "https://x"]) == DOMAIN
    assert domain_of(["spiffe://a/x", "spiffe://b/x"]) is None


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*", ["", "a"], []),
        ("text.*", ["text.a", "text."], ["text", "textile.a", "a.text.b"]),
        ("*.scan", ["a.scan"], ["scan", "a.scans"]),
        ("a*a", ["aa", "aba"], ["a", "ab"]),
        ("text.sum", ["text.sum"], ["text.summ", "textxsum"]),
    ],
)
def test_a_pattern_fits_the_whole_name(pattern: str, yes: list[str], no: list[str]):
    assert are_patterns([pattern])
    assert [name for name in (*yes, *no) if allows((pattern,), name)] == yes


@pytest.mark.parametrize(
    "found", ["*", [""], ["a*b*"], ["a,b"], ["a" * 129], ["a"] * 65, [1], None]
)
def test_what_is_no_list_of_patterns_is_refused(found: Any):
    assert not are_patterns(found)


def test_the_first_entry_that_fits_counts_and_who_has_none_is_granted_nothing():
    book = parse_grants(
        b"""
- {principals: [acme/agent/a], offers: ["text.*"], hosts: ["*"], publishes: ["a.*"]}
- {principals: ["acme/*"], submits: ["*"]}
"""
    )
    first, second, third = (
        principal(f"tenant/{path}") for path in ("acme/agent/a", "acme/client/b", "globex/client/b")
    )
    assert first is not None
    assert second is not None
    assert third is not None
    assert book.of(first).grants == Grants(NOTHING, ("text.*",), ("*",), ("a", "a.*"), ("a.*",))
    assert book.of(second).grants == Grants(("*",), NOTHING, ("b", "b.*"), ("b", "b.*"), NOTHING)
    assert book.of(third).grants[:2] == (NOTHING, NOTHING)
    assert book.of(third).grants.publishes == NOTHING
    book.of(first).require_publish("a.b")
    with pytest.raises(NotAllowed, match="grant it: publishes"):
        book.of(first).require_publish("b")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "a: 1",
        "- 1",
        "- {}",
        "- {principals: x/y}",
        "- {principals: [x]}",
        "- {principals: [a/*/*]}",
        "- {principals: [a/b], submits: '*'}",
        "- {principals: [a/b], offers: [1]}",
        "- {principals: [a/b], admin: true}",
        "!!python/object/apply:os.system [ls]",
    ],
)
def test_grants_that_cannot_be_read_are_refused_by_setting(content: str):
    with pytest.raises(ConfigError, match="MUSTER_GRANTS"):
        parse_grants(content.encode())


def test_what_is_passed_on_arrives_and_nothing_more():
    caller = Principal("acme", "client/ann", frozenset({AGENT}), Grants(("a.*", "b"), ("x",)))
    assert principal_passed_on(metadata_of(caller)) == caller._replace(
        grants=Grants(("a.*", "b"), NOTHING, NOTHING, NOTHING, NOTHING)
    )
    assert principal_passed_on([("other", "x")]) is None
    bare = principal_passed_on([("muster-tenant", "acme")])
    nothing = Grants(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)
    assert bare == Principal("acme", "local", frozenset({SERVICE}), nothing)


def test_a_file_is_read_when_it_has_changed_and_not_before_its_time(tmp_path: Path):
    path, now = tmp_path / "grants", [0.0]
    path.write_text("[]")

    def load() -> Any:
        try:
            return json.loads(path.read_text())
        except ValueError:
            raise ConfigError("MUSTER_GRANTS is wrong") from None

    watched = Watched("grants", lambda: [path], load, seconds=1.0, clock=lambda: now[0])
    path.write_text("[1]")
    assert watched.current() == []
    now[0] = 1.0
    assert (watched.current(), watched.version) == ([1], 1)
    path.write_text("nonsense")
    now[0] = 2.0
    assert (watched.current(), watched.version) == ([1], 1)
    path.write_text("[2]")
    now[0] = 3.0
    assert (watched.current(), watched.version) == ([2], 2)
